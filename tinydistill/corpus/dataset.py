"""The rows of a corpus to train and to validate on, as datasets that are read by their places."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from tinydistill import processes
from tinydistill.corpus.held_out import Part, hold_out
from tinydistill.corpus.index import index_path, remove_index, write_index
from tinydistill.corpus.packing import ROW, pack
from tinydistill.corpus.pairs import PAIR, SHORT_SHARE, pairs_of_part
from tinydistill.corpus.store import Corpus, mapped
from tinydistill.pieces import Frame

_AT_ONCE = 1 << 20  # rows that are measured together


@dataclass(frozen=True)
class Format:
    """What rows a corpus becomes.

    max_length: pieces of a row, special ones too. pairs: sentence pairs, drawn anew in each epoch, instead of packed
    lines. mix_documents: of packed lines, whether a row may hold the end of a document and the start of the next.
    short_share: of pairs, the share of documents whose pairs are shorter.
    """

    max_length: int
    pairs: bool = False
    mix_documents: bool = False
    short_share: float = SHORT_SHARE


def load_rows(
    corpus: Corpus, tokenizer: PreTrainedTokenizerBase, rows: Format, held_out: float, seed: int
) -> tuple["CorpusRows", "CorpusRows | None"]:
    """The rows to train on and, unless `held_out` is 0, those to validate on.

    held_out: a share of the documents, or a number of rows at least (see `hold_out`); the documents are the same for
    any number of processes. Several processes of a run call this together: the first makes what the others read.
    Raises UserError as `hold_out`, and if `max_length` has no room for text.
    """
    if rows.pairs and rows.mix_documents:
        raise UserError("pairs are of one document, or of two at random; leave mixing documents out")
    frame = Frame.of(tokenizer, two=rows.pairs)
    train, validation = hold_out(corpus, held_out, seed, frame.room(rows.max_length, 2), rows.pairs)
    with_types = "token_type_ids" in tokenizer.model_input_names
    made = [CorpusRows(part, frame, rows, seed, with_types) for part in (train, validation) if part]
    return made[0], made[1] if validation else None


class CorpusRows(Dataset):
    """Rows of a part of a corpus; each is read from disk when it is asked for.

    A row has, each of shape (L,): `input_ids` (int64), perhaps `token_type_ids` (int64), `begins_word` (bool; a special
    piece is a word, and so is what a row begins with) and `special_tokens_mask` (bool); of pairs also `is_random_next`
    (bool). `lengths` (rows,) has the L of all, of the epoch.

    Pairs are drawn anew by `set_epoch`; a row's place then has another pair. There are as many rows in each epoch as in
    the first, so that its steps are the same: of a few more pairs some are left out, of a few less some are read twice,
    evenly over the corpus. Several processes of a run call `set_epoch` together.
    """

    def __init__(self, part: Part, frame: Frame, rows: Format, seed: int, with_types: bool):
        self.part, self.frame, self.rows, self.seed = part, frame, rows, seed
        self.room = frame.room(rows.max_length, 2)
        self.with_types = with_types
        # Also of the workers of a data loader, which outlive an epoch.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._read: tuple[int, np.ndarray] | None = None  # the places of an epoch's rows
        self._make(0)
        self._count = len(self._of_epoch())
        self.lengths = np.zeros(self._count, dtype=np.int16 if rows.max_length < 1 << 15 else np.int32)
        self._measure()

    def set_epoch(self, epoch: int) -> None:
        """Draw the pairs of this epoch, and put their lengths into `lengths`; packed rows stay as they are."""
        before = int(self._epoch[0])
        if not self.rows.pairs or epoch == before:
            return
        self._make(epoch)
        self._epoch[0] = epoch
        self._measure()
        if before and processes.is_first():  # the first epoch's says how many rows there are
            remove_index(self._path(before))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> dict[str, Any]:
        row = int(row)
        if not -self._count <= row < self._count:
            raise IndexError(f"row {row} of {self._count}")
        index = self._of_epoch()
        entry = index[self._place(row % self._count, len(index))]
        if not self.rows.pairs:
            return self._example((int(entry["start"]), int(entry["length"])))
        first = int(entry["first"]), int(entry["first_length"])
        second = int(entry["second"]), int(entry["second_length"])
        return {**self._example(first, second), "is_random_next": bool(entry["is_random"])}

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return [self[row] for row in rows]

    def describe(self) -> dict[str, Any]:
        """For a report: rows, and pieces in them without special ones."""
        return {"rows": self._count, "pieces": int(self.lengths.sum(dtype=np.int64)) - self._count * self.frame.size}

    def _example(self, *texts: tuple[int, int]) -> dict[str, Any]:
        """texts: of each, the piece that it begins with, and how many it has."""
        corpus, frame = self.part.corpus, self.frame
        parts = [np.array(part, dtype=np.int64) for part in frame.parts]
        ids, types = [parts[0]], [np.array(frame.part_types[0], dtype=np.int64)]
        begins = [np.ones(len(parts[0]), np.bool_)]
        special = [np.ones(len(parts[0]), np.bool_)]
        for at, (start, length) in enumerate(texts):
            of_text = corpus.begins_word(start, start + length)
            of_text[:1] = True
            ids += [corpus.pieces[start : start + length].astype(np.int64), parts[at + 1]]
            types += [np.full(length, frame.text_types[at]), np.array(frame.part_types[at + 1], dtype=np.int64)]
            begins += [of_text, np.ones(len(parts[at + 1]), np.bool_)]
            special += [np.zeros(length, np.bool_), np.ones(len(parts[at + 1]), np.bool_)]
        example = {
            "input_ids": np.concatenate(ids),
            "begins_word": np.concatenate(begins),
            "special_tokens_mask": np.concatenate(special),
        }
        return example | ({"token_type_ids": np.concatenate(types)} if self.with_types else {})

    def _place(self, row: Any, count: int) -> Any:
        """The pair of `count` that a row, or each of some, is."""
        return row if count == self._count else row * count // self._count

    def _of_epoch(self) -> np.ndarray:
        epoch = int(self._epoch[0])
        if self._read is None or self._read[0] != epoch:  # in a worker: another process has made the file
            self._read = (epoch, mapped(self._path(epoch), self._dtype))
        return self._read[1]

    def _make(self, epoch: int) -> None:
        """Write the places of the epoch's rows, unless that is done, and read them."""
        part, rows, path = self.part, self.rows, self._path(epoch)
        made: Iterator[tuple]
        if rows.pairs:
            made = pairs_of_part(part, self.room, self.seed, epoch, rows.short_share)
        else:
            made = pack(part.segments(), part.corpus.lines, self.room, rows.mix_documents)
        processes.after_first(lambda: write_index(path, self._dtype, made))
        self._read = (epoch, mapped(path, self._dtype))

    def _path(self, epoch: int) -> Path:
        of_pairs = (self.seed, epoch, self.rows.short_share) if self.rows.pairs else ()
        decided_by = (self.rows.pairs, self.room, self.rows.mix_documents, *of_pairs, self.part.decided_by())
        return index_path(self.part.corpus, " ".join(map(str, decided_by)))

    @property
    def _dtype(self) -> np.dtype:
        return PAIR if self.rows.pairs else ROW

    def _measure(self) -> None:
        index = self._of_epoch()
        names = ("first_length", "second_length") if self.rows.pairs else ("length",)
        for start in range(0, self._count, _AT_ONCE):
            places = self._place(np.arange(start, min(start + _AT_ONCE, self._count)), len(index))
            found = index[places]
            self.lengths[start : start + _AT_ONCE] = sum(found[name] for name in names) + self.frame.size

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": None}  # another process maps the file itself
