"""Rows of a task's files, of any kind, and what a reading of a file came to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from glue_tasks.cells import Cells
from glue_tasks.errors import UserError, warn_once
from glue_tasks.labels import Label
from glue_tasks.lines import Fault
from glue_tasks.task import Task

_FAULTS_SHOWN = 5


class Answer(NamedTuple):
    """A span of a question's context."""

    text: str
    start: int  # characters from the start of the context; -1 of a text that is not in it, to score by alone


@dataclass(frozen=True, slots=True)
class Row:
    """One example. `cells` are all columns as the file has them; none where it has no columns.

    `texts` is a sentence, or the two of a pair; of tokens each is a text; of a question it and its context. `label` is
    an id, a value, the ids of a multi-label task in their order (perhaps none), or those of the tokens' tags; or None
    in a test split.
    """

    line: int  # 1-based, in the file
    cells: Cells
    texts: tuple[str, ...]
    label: Label | None


@dataclass(frozen=True, slots=True)
class Question(Row):
    """A question about a context: `texts` are both.

    Answers that are in the context come first, and there is at least one; a question of SQuAD 2.0 that has no answer
    has none at all, `()`.
    """

    id: str
    answers: tuple[Answer, ...] | None  # None in a test split


@dataclass
class Tally:
    """The rows of one reading, and those left out; whole when the reading is."""

    rows: int = 0  # given out
    skipped: int = 0  # rows that cannot be read
    unscored: int = 0  # rows whose label the benchmark does not score
    torn: int = 0  # lines that are parts of rows torn as released
    empty: int = 0  # rows without a text, which are given out all the same
    first_empty: int = 0  # the line of the first of them
    moved: int = 0  # answers that are not at their stated offset, and were found by their text
    first_moved: str = ""  # where the first of them is
    unplaced: int = 0  # answers that are nowhere in their context, as the file says
    mended: int = 0  # tags that break their scheme
    first_mended: str = ""
    spaces: int = 0  # tokens of white space, which are left out
    blank: int = 0  # sentences without tokens, which are left out
    first_faults: list[tuple[int, Fault]] = field(default_factory=list)  # with their lines

    def add_fault(self, line: int, fault: Fault) -> None:
        """Count a row that cannot be read."""
        self.skipped += 1
        if len(self.first_faults) < _FAULTS_SHOWN:
            self.first_faults.append((line, fault))

    def faults(self) -> str:
        """The first rows that cannot be read, and how many more there are."""
        first = ", ".join(f"{fault.where(line)} ({fault.what})" for line, fault in self.first_faults)
        more = self.skipped - len(self.first_faults)
        return first + (f" and {more:,} more" if more else "")

    def left_out(self) -> dict[str, int]:
        """What was left out, by the reason, for a report."""
        return {"skipped": self.skipped, "unscored": self.unscored, "torn": self.torn}


def in_words(left_out: Mapping[str, int]) -> str:
    """What was left out, for a person: ", 3 skipped, 50 unscored"; "" if nothing was."""
    return "".join(f", {left_out[reason]:,} {reason}" for reason in Tally().left_out() if left_out.get(reason))


@dataclass(frozen=True)
class Split:
    """An opened file of a task's split. Iterating reads its rows one at a time, again from the start each time.

    A row that cannot be read is a UserError at the end of the reading, which names the first such rows and counts them;
    with `skip_bad_rows` a warning. Rows without a text are counted in a warning; `skip_bad_rows` leaves them out.
    """

    task: Task
    path: Path
    skip_bad_rows: bool = field(default=False, kw_only=True)
    tally: Tally = field(default_factory=Tally, repr=False, compare=False, kw_only=True)  # of the last reading

    @property
    def is_labelled(self) -> bool:
        """Whether its rows have labels."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Row]:
        tally = Tally()
        try:
            yield from self._rows(tally)
        finally:
            vars(self.tally).update(vars(tally))
        self._report()

    def survey(self) -> Tally:
        """What a reading comes to, without a warning, and without an error at rows that cannot be read."""
        tally = Tally()
        for _ in self._rows(tally):
            pass
        return tally

    def _rows(self, tally: Tally) -> Iterator[Row]:
        """The rows, counted. Those that cannot be read are counted alone."""
        raise NotImplementedError

    def _report(self) -> None:
        """What was left out: a warning, or where it may not be a UserError."""
        tally, task = self.tally, self.task
        if tally.skipped and not (self.skip_bad_rows and tally.rows):
            line, fault = tally.first_faults[0]
            if tally.skipped == 1:
                raise UserError(fault.at(self.path, line))
            raise UserError(
                f"{self.path}: {tally.skipped:,} rows cannot be read: {tally.faults()}; correct them"
                + (", or leave them out with --skip-bad-rows" if not self.skip_bad_rows else "")
            )
        if tally.skipped:
            warn_once(f"{self.path}: skipped what cannot be read, {tally.skipped:,} in all: {tally.faults()}")
        if tally.empty:
            warn_once(
                f"{self.path}: {tally.empty:,} of {tally.rows:,} rows have no text in a column that should hold one, "
                f"line {tally.first_empty} the first; they are kept; --skip-bad-rows of training leaves them out"
            )
        if tally.moved:
            warn_once(
                f"{self.path}: {tally.moved:,} answers are not at their offset, {tally.first_moved} the first; they "
                "are taken from where their text is, the nearest place if there are several"
            )
        if tally.unplaced:
            warn_once(
                f"{self.path}: {tally.unplaced:,} answers are not in their context, as their offset -1 says; "
                "predictions are scored by them too, but no model is trained with them"
            )
        if tally.mended:
            warn_once(
                f"{self.path}: {tally.mended:,} tags are not as their scheme has them, {tally.first_mended} the first; "
                "they are read as conlleval reads them: an entity begins where none of its type is open"
            )
        if tally.spaces:
            warn_once(
                f"{self.path}: left out tokens of white space, of which models see nothing, {tally.spaces:,} in all"
            )
        if tally.blank:
            warn_once(f"{self.path}: left out sentences without tokens, {tally.blank:,} in all")
        if tally.torn:
            warn_once(
                f"{self.path}: {tally.torn:,} lines are parts of rows torn by a line break, as published; skipped"
            )
        if tally.unscored:
            labels = " or ".join(map(repr, task.unscored_labels))
            warn_once(f"{self.path}: left out what is labelled {labels} and not scored, {tally.unscored:,} in all")
        if not tally.rows:
            raise UserError(f"{self.path} has no rows that can be used")
