"""One augmentation: its settings, the part of it that one process does, and what it counts."""

from dataclasses import dataclass, field
from pathlib import Path

from augment.candidate_options import CandidateOptions, check_precision
from glue_tasks import Task, UserError


@dataclass(frozen=True)
class Settings:
    """One augmentation. Raises UserError if a value is out of range or the task's language has no words here."""

    task: Task
    train_file: Path
    output: Path  # train_aug.tsv or .jsonl; train_aug.json is written beside it
    mlm: str  # a folder or a hub id
    vectors: Path | None  # GloVe's or word2vec's text format; None if the masked LM answers for every word
    variants: int  # N: variants drawn for each sentence; Task.variants holds the paper's value
    task_file: Path | None = None  # of a task of the user's own
    options: CandidateOptions = field(
        default_factory=CandidateOptions
    )  # which words may be replaced, and by whose candidates
    probability: float = 0.4  # p: of each replaceable word to be replaced
    swap_entities: bool = False  # of tokens: each entity too, with the same probability, by another of its type
    seed: int = 42
    limit: int | None = None  # take the first so many rows; None takes all
    skip_bad_rows: bool = False  # leave out rows that cannot be read
    batch_size: int = 64  # masked sentences the model sees at once
    device: str = "auto"  # auto, cpu, cuda
    precision: str = "auto"  # one of PRECISIONS
    compiled: bool = False  # the masked LM by torch.compile
    # Rows whose words go to the models together: enough to sort them by length with little padding. What a kill costs.
    block_rows: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:  # false for nan too
            raise UserError(f"--p is a probability, from 0 to 1, not {self.probability}")
        for flag, value in (
            ("--N", self.variants),
            ("--batch-size", self.batch_size),
            ("--limit", self.limit),
            ("--block-rows", self.block_rows),
        ):
            if value is not None and value < 1:
                raise UserError(f"{flag} is at least 1, not {value}")
        if self.swap_entities and self.task.kind != "tokens":
            raise UserError(
                f"--swap-entities is for tasks of tagged tokens, and {self.task.name} is none; leave it out"
            )
        check_precision(self.precision)
        self.options.sources(self.vectors)
        if self.task.language != self.options.language:
            raise UserError(
                f"{self.task.name} is in {self.task.language!r}, and words would be searched for in "
                f"{self.options.language!r}; choose the task's language"
            )
        if self.output.resolve() == self.train_file.resolve():
            raise UserError(f"the output {self.output} is the training file itself; name another with --output-dir")


@dataclass
class Counts:
    """What one augmentation read, did and wrote. `replaceable` is the sum of the four below it."""

    rows_in: int = 0
    rows_skipped: int = 0  # that cannot be read; left out
    rows_unscored: int = 0  # of a label that the benchmark does not score; left out
    rows_torn: int = 0  # lines that are parts of rows torn as released; left out
    rows_out: int = 0
    words: int = 0
    replaceable: int = 0
    answered_by_masked_lm: int = 0
    answered_by_vectors: int = 0
    answered_by_fill: int = 0
    without_candidate: int = 0
    duplicates_dropped: int = 0  # drawn variants equal to the original or to one drawn before
    sentences_windowed: int = 0  # longer than the masked LM; it saw a window around the masked word
    cells_cleaned: int = 0  # cells in which a tab or line break became a space
    seconds: float = 0.0  # models and vectors loaded before
    rows_per_second: float = 0.0


@dataclass(frozen=True)
class Shard:
    """Which blocks one process does: every `of`-th, from the one numbered `number - 1`."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "3/16". Raises UserError."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UserError(f"--shard is the shard's number and how many there are, such as 3/16, not {text!r}")
        return cls(int(number), int(of))

    def blocks(self, total: int) -> range:
        return range(self.number - 1, total, self.of)
