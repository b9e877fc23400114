"""train.tsv -> train_aug.tsv, in blocks: what is held in memory does not grow with the file."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from augment.augmenter import Augmenter
from augment.choices import Choices, check_several_pieces
from augment.record import describe_inputs, read_record, record_path, write_record
from augment.variants import draw_variants
from glue_tasks import Task, UserError
from glue_tasks.files import Row, Table, TableWriter, open_table

# Rows whose words go to the models together: enough to sort them by length with little padding, and few enough that the
# progress bar moves within seconds.
BLOCK = 512


@dataclass(frozen=True)
class Settings:
    """One augmentation. Raises UserError if a value is out of range or the task's language has no words here."""

    task: Task
    train_file: Path
    output: Path  # train_aug.tsv; train_aug.json is written beside it
    mlm: str  # a folder or a hub id
    vectors: Path | None  # GloVe's or word2vec's text format; None if the masked LM answers for every word
    variants: int  # N: variants drawn for each sentence; Task.variants holds the paper's value
    candidates: int = 15  # M: of the masked LM and of the vectors alike
    probability: float = 0.4  # p: of each replaceable word to be replaced
    seed: int = 42
    limit: int | None = None  # take the first so many rows; None takes all
    batch_size: int = 64  # masked sentences the model sees at once
    device: str = "auto"  # auto, cpu, cuda
    precision: str = "auto"  # auto, bf16, float32
    vectors_limit: int | None = None  # neighbours come from the first so many words of the vectors; None: from all
    several_pieces: str = "vectors"  # who answers for words of several pieces: vectors, or the masked LM by one mask

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:  # false for nan too
            raise UserError(f"--p is a probability, from 0 to 1, not {self.probability}")
        for flag, value in (
            ("--N", self.variants),
            ("--M", self.candidates),
            ("--batch-size", self.batch_size),
            ("--limit", self.limit),
            ("--vectors-limit", self.vectors_limit),
        ):
            if value is not None and value < 1:
                raise UserError(f"{flag} is at least 1, not {value}")
        check_several_pieces(self.several_pieces, self.vectors)
        if self.task.language != "en":
            raise UserError(
                f"{self.task.name} is in {self.task.language!r}; only English tasks can be augmented so far"
            )
        if self.output.resolve() == self.train_file.resolve():
            raise UserError(f"the output {self.output} is the training file itself; name another with --output-dir")


@dataclass
class Counts:
    """What one augmentation read, did and wrote. `replaceable` is the sum of the four below it."""

    rows_in: int = 0
    rows_out: int = 0
    words: int = 0
    replaceable: int = 0
    answered_by_masked_lm: int = 0
    answered_by_vectors: int = 0
    answered_by_fill: int = 0
    without_candidate: int = 0
    duplicates_dropped: int = 0  # drawn variants equal to the original or to one drawn before
    sentences_windowed: int = 0  # longer than the masked LM; it saw a window around the masked word
    cells_mended: int = 0  # cells in which a tab or line break became a space
    seconds: float = 0.0  # models and vectors loaded before
    rows_per_second: float = 0.0


def augment_file(settings: Settings, *, overwrite: bool = False, show: int = 0) -> Counts:
    """Write the output and its record; both appear whole or not at all.

    Where both are there already, with these settings, they stay and their counts are returned. show: print the first
    so many rows with three variants each. Raises UserError if the output is there with other settings and `overwrite`
    is not set, or if a file or model cannot be used.
    """
    table = open_table(settings.task, settings.train_file)
    used_vectors = settings.vectors if "vectors" in settings.several_pieces else None
    inputs = describe_inputs(settings.train_file, settings.mlm, used_vectors)
    if settings.output.exists() and not overwrite:
        return _counts_of_finished(settings, inputs)
    # Read once to the end, for the progress bar, and so that a bad row is told before the work and not after it.
    total = sum(1 for _ in islice(table, settings.limit))
    augmenter = Augmenter(
        settings.mlm,
        used_vectors,
        Choices(
            candidates=settings.candidates,
            several_pieces=settings.several_pieces,
            vectors_limit=settings.vectors_limit,
        ),
        settings.probability,
        settings.batch_size,
        settings.device,
        settings.precision,
    )
    counts = Counts()
    began = time.perf_counter()
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    with (
        TableWriter(settings.output, table.header) as writer,
        tqdm(total=total, unit="row", desc=settings.task.name) as progress,
    ):
        for block in _augment_blocks(table, augmenter, settings):
            for row, variants in block:
                writer.write(row.cells)
                for cells in variants:
                    writer.write(cells)
                if counts.rows_in < show:
                    tqdm.write(_example(table, row, variants[:3]))
                counts.rows_in += 1
                counts.duplicates_dropped += settings.variants * len(row.texts) - len(variants)
            progress.update(len(block))
        # An older record must not stand beside the new rows, even for the moment between the two renames.
        record_path(settings.output).unlink(missing_ok=True)
    counts.rows_out = writer.rows
    counts.cells_mended = writer.breaks_replaced
    for name, value in asdict(augmenter.counts).items():
        setattr(counts, name, value)
    counts.seconds = round(time.perf_counter() - began, 3)
    counts.rows_per_second = round(counts.rows_in / counts.seconds, 1)
    run = {"device": augmenter.device, "precision": augmenter.precision, "batch_size": settings.batch_size}
    write_record(settings.output, _identity(settings), inputs, run, asdict(counts))
    return counts


def _augment_blocks(
    table: Table, augmenter: Augmenter, settings: Settings
) -> Iterator[list[tuple[Row, list[tuple[str, ...]]]]]:
    """Each row with the cells of its variants. In a pair task either side varies beside the other as it was."""
    rows = enumerate(islice(table, settings.limit))
    while block := list(islice(rows, BLOCK)):
        slots = iter(augmenter.slots([text for _, row in block for text in row.texts]))
        augmented = []
        for number, row in block:
            variants: list[tuple[str, ...]] = []
            for column, text in enumerate(row.texts):
                drawn = draw_variants(
                    text, next(slots), settings.variants, settings.probability, settings.seed, number, column
                )
                before, after = row.texts[:column], row.texts[column + 1 :]
                variants += [table.replace_texts(row, (*before, variant, *after)) for variant in drawn]
            augmented.append((row, variants))
        yield augmented


def _identity(settings: Settings) -> dict[str, object]:
    """The settings that decide what is written; batch size and device decide how fast, and how bf16 rounds."""
    return {
        "task": settings.task.name,
        "variants": settings.variants,
        "candidates": settings.candidates,
        "probability": settings.probability,
        "seed": settings.seed,
        "limit": settings.limit,
        "precision": settings.precision,
        "vectors_limit": settings.vectors_limit,
        "several_pieces": settings.several_pieces,
    }


def _counts_of_finished(settings: Settings, inputs: dict[str, dict[str, object]]) -> Counts:
    record = read_record(settings.output)
    differing = ["its record"] if record is None else record.differences(_identity(settings), inputs)
    if record is None or differing:
        raise UserError(
            f"{settings.output} is there already, and made with other settings or files ({', '.join(differing)}); "
            "--overwrite replaces it, --output-dir writes elsewhere"
        )
    print(f"already done: {settings.output} was written with the same settings; --overwrite writes it anew")
    return Counts(**record.counts)


def _example(table: Table, row: Row, variants: list[tuple[str, ...]]) -> str:
    """A row's texts, and below them those of its variants."""
    lines = [
        " | ".join(cells[position].strip() for position in table.text_positions) for cells in (row.cells, *variants)
    ]
    return "\n    ".join(lines)
