"""train.tsv -> train_aug.tsv, or .jsonl, in blocks: memory does not grow with the file."""

import time
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from augment.augmenter import Augmenter, WordCounts
from augment.blocks import Blocks, Plan
from augment.kinds import RowKind, kind_of
from augment.languages import check_script
from augment.record import describe_inputs, read_record, record_path, write_record
from augment.settings import Counts, Settings, Shard
from glue_tasks import UserError
from glue_tasks.errors import warn_once
from glue_tasks.files import open_table
from glue_tasks.rows import Split
from glue_tasks.seals import is_whole

_SAMPLED_ROWS = 1000  # rows, before the work


def augment_file(
    settings: Settings,
    *,
    resume: bool = False,
    overwrite: bool = False,
    show: int = 0,
    shard: Shard | None = None,
) -> Counts:
    """Write the output and its record; both appear whole or not at all.

    The work is cut into blocks of rows, kept in a folder beside the output until all are there. resume: go on where an
    unfinished run of the same settings stopped; the output is then that of an undisturbed run, byte for byte. shard: do
    a part of the blocks and leave the joining to `merge_file`. show: first print so many rows with three variants each.

    Where output and record are there already, with these settings, they stay and their counts are returned. Raises
    UserError if the output or an unfinished run is there and neither `resume` nor `overwrite` allows to go on, or if a
    file or model cannot be used.
    """
    split = open_table(settings.task, settings.train_file, skip_bad_rows=settings.skip_bad_rows, needs_labels=False)
    kind = kind_of(split, settings)
    options = settings.options
    used_vectors = settings.vectors if "vectors" in options.sources(settings.vectors) else None
    files = {
        "task_file": settings.task_file,
        "vectors": used_vectors,
        "stop_words": options.stop_words,
        "keep_words": options.keep_words,
    }
    first_texts = [text for row in islice(split, _SAMPLED_ROWS) for text in kind.texts(row)]
    check_script(options.language, first_texts, settings.task.name)
    inputs = describe_inputs(settings.train_file, settings.mlm, files)
    blocks = Blocks(settings.output)
    begun = blocks.read_plan()
    if overwrite:
        if shard:
            raise UserError(
                f"--overwrite would delete what other shards have done; remove {settings.output} and {blocks.folder} "
                "by hand to start anew"
            )
        begun = None
    elif _is_finished(settings, inputs) and not is_whole(record_path(settings.output)):
        begun = None
    elif settings.output.exists() and (begun is None or _is_finished(settings, inputs)):
        blocks.remove()  # left by a kill after the last step
        return _counts_of_finished(settings, inputs)
    # Read once to the end, so that a bad row is told before the work and not after it.
    rows = begun.rows if begun else sum(1 for _ in islice(split, settings.limit))
    left_out = begun.left_out if begun else split.tally.left_out()
    augmenter = Augmenter(
        settings.mlm,
        used_vectors,
        options,
        settings.probability,
        settings.batch_size,
        settings.device,
        settings.precision,
        settings.compiled,
    )
    unknown, asked = augmenter.without_vector(first_texts)
    if 2 * len(unknown) > asked:
        warn_once(
            f"{settings.vectors} lacks {len(unknown):,} of the {asked:,} words that it is asked for in the first rows "
            f"({', '.join(unknown[:5])}, ...); take larger vectors, or let the model answer too with "
            "--multi-piece-words vectors,fill"
        )
    run = {
        "device": augmenter.device.partition(":")[0],  # any of its kind
        "precision": augmenter.precision,
        "compiled": settings.compiled,
        "batch_size": settings.batch_size,
        "block_rows": settings.block_rows,
    }
    plan = Plan(_identity(settings), inputs, run, kind.header, rows, left_out)
    ours = (shard or Shard()).blocks(plan.blocks)
    if overwrite and blocks.read_plan():
        with blocks.locked():
            blocks.remove()  # and not before all that could be wrong has been checked
    begun = begun or blocks.begin(plan)  # another shard may have begun while the models were loaded
    _check_unfinished(blocks, begun, plan, ours, resume)
    with blocks.locked(f"{shard.number}-of-{shard.of}" if shard else ""):
        if show:
            print(_examples(split, kind, augmenter, show), flush=True)
        _work(split, kind, augmenter, settings, blocks, ours, rows)
        if shard:
            print(
                f"{blocks.finished(range(plan.blocks)):,} of {plan.blocks:,} blocks are in {blocks.folder}; when all "
                "are there, join them with python -m augment merge"
            )
            return _total(blocks.counts(ours))
        return merge_file(settings.output)


def merge_file(output: Path) -> Counts:
    """Join the finished blocks beside `output` to it, write its record, and remove them.

    Raises UserError if there are none, or some are missing.
    """
    blocks = Blocks(output)
    plan = blocks.read_plan()
    if plan is None:
        raise UserError(f"there is nothing to merge: no folder {blocks.folder}")
    # An older record must not stand beside the new rows, even for the moment between the two renames.
    record_path(output).unlink(missing_ok=True)
    blocks.join(plan)
    counts = _total(blocks.counts(range(plan.blocks)))
    for reason, count in plan.left_out.items():
        setattr(counts, f"rows_{reason}", count)
    write_record(output, plan.settings, plan.inputs, plan.run, asdict(counts))
    blocks.remove()
    return counts


def _check_unfinished(blocks: Blocks, begun: Plan, plan: Plan, ours: range, resume: bool) -> None:
    differing = begun.differences(plan)
    if differing:
        raise UserError(
            f"{blocks.folder} holds an unfinished run with other settings or files ({', '.join(differing)}); go on "
            "with the same ones and --resume, or start anew with --overwrite"
        )
    if not resume and (done := blocks.finished(ours)):
        raise UserError(
            f"{blocks.folder} holds an unfinished run of the same settings ({done:,} of {len(ours):,} blocks are "
            "done); --resume goes on, --overwrite starts anew"
        )


def _work(
    split: Split,
    kind: RowKind[Any],
    augmenter: Augmenter,
    settings: Settings,
    blocks: Blocks,
    ours: range,
    rows: int,
) -> None:
    """Do the blocks that are not finished."""
    size = settings.block_rows

    def size_of(some: Iterable[int]) -> int:
        return sum(min(size, rows - block * size) for block in some)

    left = [block for block in ours if not blocks.is_finished(block)]
    numbered = enumerate(split)
    next_row = 0
    with tqdm(total=size_of(ours), initial=size_of(ours) - size_of(left), unit="row") as progress:
        progress.set_description(settings.task.name)
        for block in left:
            began = time.perf_counter()
            first, end = block * size, min((block + 1) * size, rows)
            of_block = list(islice(numbered, first - next_row, end - next_row))
            next_row = end
            augmenter.counts = WordCounts()
            counts = Counts(rows_in=len(of_block))
            with blocks.writer(block) as writer:
                all_slots = kind.slots([row for _, row in of_block], augmenter)
                for (number, row), slots in zip(of_block, all_slots, strict=True):
                    variants = kind.variants(number, row, slots)
                    for cells in (kind.cells(row), *(variant.cells for variant in variants)):
                        writer.write(cells)
                    counts.duplicates_dropped += settings.variants * len(slots) - len(variants)
                counts.rows_out, counts.cells_cleaned = writer.rows, writer.breaks_replaced
                for name, value in asdict(augmenter.counts).items():
                    setattr(counts, name, value)
            counts.seconds = time.perf_counter() - began
            blocks.finish(block, asdict(counts))
            progress.update(len(of_block))


def _total(parts: Iterable[dict[str, Any]]) -> Counts:
    total = Counts()
    for part in parts:
        for name, value in part.items():
            setattr(total, name, getattr(total, name) + value)
    total.seconds = round(total.seconds, 3)
    total.rows_per_second = round(total.rows_in / max(total.seconds, 1e-3), 1)
    return total


_FILES = ("stop_words", "keep_words")  # inputs, compared by content and not by path


def _identity(settings: Settings) -> dict[str, object]:
    """The settings that decide what is written; batch size and device decide how fast, and how bf16 rounds."""
    return {
        "task": settings.task.name,
        "variants": settings.variants,
        "probability": settings.probability,
        "seed": settings.seed,
        "limit": settings.limit,
        "skip_bad_rows": settings.skip_bad_rows,
        "precision": settings.precision,
        **{name: value for name, value in settings.options.as_record().items() if name not in _FILES},
        **({"swap_entities": settings.swap_entities} if settings.task.kind == "tokens" else {}),
    }


def _is_finished(settings: Settings, inputs: dict[str, dict[str, object]]) -> bool:
    record = read_record(settings.output)
    return record is not None and not record.differences(_identity(settings), inputs)


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


def _examples(split: Split, kind: RowKind[Any], augmenter: Augmenter, count: int) -> str:
    """The first rows' texts, and below each those of its first variants, what was replaced in brackets."""
    rows = list(islice(enumerate(split), count))
    lines = []
    for (number, row), slots in zip(rows, kind.slots([row for _, row in rows], augmenter), strict=True):
        lines.append(" | ".join(text.strip() for text in kind.texts(row)))
        variants = kind.variants(number, row, slots, marked=True)
        for column in range(len(slots)):
            of_column = [variant.text for variant in variants if variant.column == column]
            lines += [f"    {text.strip()}" for text in of_column[:3]]
    return "\n".join(lines)
