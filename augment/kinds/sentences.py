"""Sentences and pairs: a table like the train file's, the labels as they were."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from augment.augmenter import Augmenter
from augment.kinds import Variant
from augment.settings import Settings
from augment.variants import Slot, draw_variants
from glue_tasks.cells import Cells
from glue_tasks.files import Table
from glue_tasks.rows import Row


@dataclass(frozen=True)
class Sentences:
    """Rows of a table. In a pair task either side varies beside the other as it was."""

    table: Table
    settings: Settings

    @property
    def header(self) -> tuple[str, ...] | None:
        return self.table.header

    def texts(self, row: Row) -> tuple[str, ...]:
        return row.texts

    def slots(self, rows: Sequence[Row], augmenter: Augmenter) -> list[list[list[Slot]]]:
        found = iter(augmenter.slots([text for row in rows for text in row.texts]))
        return [[next(found) for _ in row.texts] for row in rows]

    def cells(self, row: Row) -> Cells:
        return row.cells

    def variants(self, number: int, row: Row, slots: Sequence[Sequence[Slot]], marked: bool = False) -> list[Variant]:
        how = self.settings
        variants = []
        for column, (text, of_text) in enumerate(zip(row.texts, slots, strict=True)):
            of_text = [in_brackets(slot) for slot in of_text] if marked else of_text
            before, after = row.texts[:column], row.texts[column + 1 :]
            for drawn in draw_variants(text, of_text, how.variants, how.probability, how.seed, number, column):
                variants.append(Variant(column, drawn, self.table.replace_texts(row, (*before, drawn, *after))))
        return variants


def in_brackets(slot: Slot) -> Slot:
    """The slot with its candidates marked. A draw depends on how many there are and not on which."""
    return replace(slot, candidates=tuple(f"[{word}]" for word in slot.candidates))
