"""Inputs of masked-LM training: pieces or whole words are chosen anew in each epoch, and the same in each run.

Of the chosen pieces 80% become the mask, 10% another piece and 10% stay (Devlin et al. 2019, arXiv 1810.04805, section
3.1), each by a draw of its own. Whole words (Cui et al. 2019, arXiv 1906.08101) are chosen as MiniRBT does, by
transformers 4.21's DataCollatorForWholeWordMask, with these differences:

| case                               | there                             | here                                        |
|------------------------------------|-----------------------------------|---------------------------------------------|
| another piece                      | any of the vocabulary             | none that is special, such as [PAD]         |
| a piece that the vocabulary lacks  | [UNK] is chosen, then left out    | [UNK] is never chosen, and takes no room    |
| all words are longer than the room | nothing is chosen                 | the shortest word is                        |
| a word that goes on after a [SEP]  | is one with the word before that  | is one by itself                            |

The masks of a row follow from the seed, the epoch and the row's number alone. Batches, padding, the number of processes
or workers, and a resume in between change nothing.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from tinydistill.noise import Random

NO_LABEL = -100  # as transformers has it
FIXED = (1 << 32) - 1  # an epoch that no training reaches: for rows that are to have the same masks each time

_STREAM = 3  # of the seed: no other draw of the run has the same


@dataclass(frozen=True)
class Masking:
    """How rows are masked.

    masking: whether single pieces or whole words are chosen, or nothing.
    mask_id: the mask's piece; None where nothing is masked.
    special_ids: pieces that are never chosen, nor drawn.
    vocabulary: how many pieces there are, numbered from 0; a row has no others.
    rate: the share of a row's pieces that is chosen, with the special ones in the count.
    shares: of the chosen, those that become the mask, become another piece, and stay.
    most: how many are chosen in a row at most, as the 20 of the original BERT; one with longer words only has more.
    """

    masking: Literal["piece", "word", "none"]
    mask_id: int | None
    special_ids: frozenset[int]
    vocabulary: int
    rate: float = 0.15
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        """Raises UserError for what cannot be."""
        if self.masking not in ("piece", "word", "none"):
            raise UserError(f"there is no masking {self.masking!r}; take piece, word or none")
        if not 0 <= self.rate <= 1:
            raise UserError(f"a masking rate of {self.rate:g} is none; take one from 0 to 1")
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            shares = ", ".join(f"{share:g}" for share in self.shares)
            raise UserError(f"the shares of masked, random and kept pieces are {shares}; they must add up to 1")
        if self.most is not None and self.most < 1:
            raise UserError(f"at most {self.most} masked pieces in a row are too few; take 1 or more, or masking none")
        if self.is_at_work and self.mask_id is None and self.shares[0] > 0:
            raise UserError(
                "the tokenizer has no mask, which masked-LM training needs; take a model that was trained with one, or "
                "masking none"
            )

    @staticmethod
    def of(
        tokenizer: PreTrainedTokenizerBase,
        masking: Literal["piece", "word", "none"],
        *,
        rate: float = 0.15,
        shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        most: int | None = None,
    ) -> "Masking":
        """With the mask, special pieces and vocabulary of a tokenizer. Raises UserError if it lacks a mask it needs."""
        known = set(tokenizer.get_vocab().values())
        vocabulary = max(known) + 1
        # A number without a piece is as little to be drawn.
        special = frozenset((set(range(vocabulary)) - known) | set(tokenizer.all_special_ids))
        return Masking(masking, tokenizer.mask_token_id, special, vocabulary, rate, shares, seed, most)

    @property
    def is_at_work(self) -> bool:
        """Whether rows have masks at all."""
        return self.masking != "none" and self.rate > 0

    def mask_rows(self, rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], epoch: int) -> list[dict[str, Any]]:
        """Rows as they are, but for their `input_ids`, with `labels` and without `begins_word`; see `mask_row`.

        numbers: each row's in its split. epoch: from 0; `FIXED` for held-out rows.
        """
        masked = []
        for row, number in zip(rows, numbers, strict=True):
            ids, labels = self.mask_row(row["input_ids"], row.get("begins_word"), number, epoch)
            rest = {name: value for name, value in row.items() if name != "begins_word"}
            masked.append({**rest, "input_ids": ids, "labels": labels})
        return masked

    def mask_row(
        self, input_ids: Sequence[int], begins_word: Sequence[bool] | None, number: int, epoch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """A row's pieces (L,) after masking, and labels (L,): the piece that was there, -100 where none was chosen.

        input_ids: pieces (L,) without padding. begins_word: (L,), whether each begins a word; only for whole words.
        """
        ids = np.array(input_ids, dtype=np.int64)  # a copy
        if not self.is_at_work:
            return ids, np.full_like(ids, NO_LABEL)
        if self.masking == "word" and begins_word is None:
            raise ValueError("whole words are masked by begins_word, which the row does not have")
        random = np.random.default_rng((self.seed, epoch, number, _STREAM))
        return self._masked(ids, None if self.masking == "piece" else begins_word, random)

    def _masked(
        self, ids: np.ndarray, begins_word: Sequence[bool] | None, random: Random
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same with draws of `random`: for each word, the least first; then for each chosen piece two."""
        labels = np.full_like(ids, NO_LABEL)
        candidates = np.flatnonzero(~self._is_special[ids])  # (C,)
        if not len(candidates):
            return ids, labels
        room = max(1, round(len(ids) * self.rate))
        chosen = self._choose(candidates, begins_word, min(room, self.most or room), random)
        labels[chosen] = ids[chosen]

        of_kind, of_piece = random.random(2 * len(chosen)).reshape(2, -1)
        masked, other, _ = self.shares
        pieces = labels[chosen]
        if other:
            drawn = self._others[(of_piece * len(self._others)).astype(np.int64)]
            pieces = np.where(of_kind < masked + other, drawn, pieces)
        if masked:  # else there may be no mask
            pieces = np.where(of_kind < masked, self.mask_id, pieces)
        ids[chosen] = pieces
        return ids, labels

    @staticmethod
    def _choose(candidates: np.ndarray, begins_word: Sequence[bool] | None, room: int, random: Random) -> np.ndarray:
        """Which of the candidates (C,) are chosen: words as they are drawn, but for those that would go over."""
        if begins_word is None:
            drawn = random.random(len(candidates))
            return np.sort(candidates[np.argsort(drawn, kind="stable")[:room]])
        word_of = np.cumsum(np.asarray(begins_word, dtype=bool))[candidates]  # (C,)
        sizes = np.bincount(word_of)  # (W,), 0 of a special piece
        order = np.argsort(random.random(len(sizes)), kind="stable")
        order = order[sizes[order] > 0]
        in_order = sizes[order].tolist()
        taken = np.zeros(len(sizes), dtype=bool)
        if (shortest := min(in_order)) > room:
            taken[order[in_order.index(shortest)]] = True
            room = 0
        for word, size in zip(order.tolist(), in_order, strict=True):
            if room == 0:
                break
            if size <= room:
                taken[word] = True
                room -= size
        return candidates[taken[word_of]]

    @functools.cached_property
    def _is_special(self) -> np.ndarray:
        """Of each piece, (V,)."""
        found = np.zeros(max(self.vocabulary, *(id + 1 for id in self.special_ids)), dtype=bool)
        found[list(self.special_ids)] = True
        return found

    @functools.cached_property
    def _others(self) -> np.ndarray:
        """The pieces that are drawn for another."""
        return np.flatnonzero(~self._is_special[: self.vocabulary])
