"""What a task's kind decides about augmentation: which words of a row may vary, and what is written of its variants.

The pipeline asks a `RowKind` and knows no kinds. A new one is a file here, and a line in `kind_of`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from augment.augmenter import Augmenter
from augment.settings import Settings
from glue_tasks.cells import Cells
from glue_tasks.files import Table
from glue_tasks.rows import Row, Split

S = TypeVar("S")  # a slot: a part of a text, and what may stand there instead


class Variant(NamedTuple):
    """One of a row's variants."""

    column: int  # which of its texts varies
    text: str  # that one
    cells: Cells  # what is written for it


class RowKind(Protocol[S]):
    """How rows of a kind are augmented."""

    @property
    def header(self) -> tuple[str, ...] | None:
        """The output's, if it has one."""

    def texts(self, row: Row) -> tuple[str, ...]:
        """The texts in which words are sought, each of which varies beside the others as they were."""

    def slots(self, rows: Sequence[Row], augmenter: Augmenter) -> list[list[list[S]]]:
        """For each row, and each of its texts, what may be replaced in it, from left to right."""

    def cells(self, row: Row) -> Cells:
        """What is written for the row itself."""

    def variants(self, number: int, row: Row, slots: Sequence[Sequence[S]], marked: bool = False) -> list[Variant]:
        """The row's variants, all different, those of its first text first.

        number: the row's, from 0, which decides with the seed what is drawn. marked: with brackets around what was
        replaced, for a person to see.
        """


def kind_of(split: Split, settings: Settings) -> RowKind[Any]:
    """How the rows of an opened train file are augmented. Raises UserError if they cannot be as the settings ask."""
    if settings.task.kind == "tokens":
        from augment.kinds.tokens import Tokens

        return Tokens.of(split, settings)
    if settings.task.kind == "spans":
        from augment.kinds.spans import Spans

        return Spans(settings)
    from augment.kinds.sentences import Sentences

    return Sentences(cast(Table, split), settings)
