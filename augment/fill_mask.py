"""Candidates of several pieces: as many masks as the word has, filled by the masked LM from left to right.

Each step asks for one more piece, given those chosen before it, and keeps the `beam` rows of pieces with the highest
sum of log-probabilities (beam search; the whole word is masked at once, as in Cui et al., arXiv 1906.08101). Each place
takes pieces of the kind that the word itself has there, one that begins a word or one that goes on with it; a
dictionary then tells the rows that are words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor

from augment.masked_lm import Gap, Input, MaskedLM
from augment.words import Word

LONGEST = 8  # pieces; longer rows of characters are names and noise, and are left as they are
# Of the last step so many times M rows are searched for words.
_SEARCHED_ROWS = 20


@dataclass
class _Filling:
    """A word on its way: the input with its k masks, and the rows of pieces so far with their log-probabilities."""

    sentence: int
    gap: Gap
    masked: Input
    own: list[int]  # ids of the k pieces that stood there
    rows: list[tuple[float, tuple[int, ...]]] = field(default_factory=lambda: [(0.0, ())])

    def inputs(self) -> list[Input]:
        """One input for each row, its pieces in place; the score of the next place is wanted."""
        filled = []
        for _, pieces in self.rows:
            ids = self.masked.ids.copy()
            ids[self.masked.positions[: len(pieces)]] = pieces
            filled.append(Input(ids, self.masked.segments, [self.masked.positions[len(pieces)]]))
        return filled


class MaskFiller:
    """Fills words by a masked LM. is_word: tells the rows of pieces that are words; None takes all for words.

    In float32 the answers are the same for any batch size, but for ties in rounding.
    """

    def __init__(self, masked_lm: MaskedLM, is_word: Callable[[str], bool] | None = None):
        self._is_word = is_word or (lambda word: True)
        self.beam = masked_lm.options.beam
        self._lm = masked_lm
        # (2, V): what may begin a word, and what may go on with it
        self._may_be = torch.tensor(masked_lm.pieces.parts(masked_lm.rules), device=masked_lm.device)

    def candidates(
        self, sentences: Sequence[str], words: Sequence[Sequence[Word]]
    ) -> list[list[tuple[str, ...] | None]]:
        """For each word of each sentence its candidates, the likeliest first, or None if there are none."""
        answers: list[list[tuple[str, ...] | None]] = [[None] * len(of_sentence) for of_sentence in words]
        encodings = self._lm.encode(sentences)
        fillings = [
            _Filling(i, gap, self._lm.input(encoding, [gap], keeps_length=True), encoding.ids[gap.first : gap.last + 1])
            for i, (encoding, sentence, of_sentence) in enumerate(zip(encodings, sentences, words, strict=True))
            for gap in self._lm.gaps(encoding, sentence, of_sentence)
            if self._can_be_filled(encoding, gap)
        ]
        fillings.sort(key=lambda filling: (len(filling.own), len(filling.masked.ids)))
        for start in range(0, len(fillings), self._lm.batch_size):
            block = fillings[start : start + self._lm.batch_size]
            for step in range(max(len(filling.own) for filling in block)):
                self._step([filling for filling in block if step < len(filling.own)], step)
            for filling in block:
                text = words[filling.sentence][filling.gap.word].text
                answers[filling.sentence][filling.gap.word] = self._words(filling, text) or None
        return answers

    def _can_be_filled(self, encoding: Encoding, gap: Gap) -> bool:
        own = encoding.ids[gap.first : gap.last + 1]
        if len(own) > LONGEST:
            return False
        pieces = self._lm.pieces
        if pieces.marks_spaces and self._lm.tokenizer.unk_token_id in own:
            return False  # whether an unknown piece begins a word cannot be told
        # Two pieces that each begin a word are one word in Chinese alone.
        return self._lm.rules.language == "zh" or all(pieces.continues[piece] for piece in own[1:])

    def _step(self, fillings: list[_Filling], step: int) -> None:
        """Lengthen the rows of each word by a piece."""
        inputs = [each for filling in fillings for each in filling.inputs()]
        kinds = torch.tensor([int(self._lm.pieces.continues[f.own[step]]) for f in fillings for _ in f.rows])
        most = max(self._kept(filling, step) for filling in fillings)
        likeliest = []  # (log-probability, piece), for each input
        for start in range(0, len(inputs), self._lm.batch_size):
            part = slice(start, start + self._lm.batch_size)
            likeliest += self._likeliest(self._lm.scores(inputs[part]), kinds[part], most)
        longer = iter(likeliest)
        for filling in fillings:
            rows = [
                (total + further, (*pieces, piece)) for total, pieces in filling.rows for further, piece in next(longer)
            ]
            rows.sort(key=lambda row: -row[0])
            filling.rows = rows[: self._kept(filling, step)]

    def _kept(self, filling: _Filling, step: int) -> int:
        """How many rows go on after a step; after the last, how many are searched."""
        return self.beam if step + 1 < len(filling.own) else _SEARCHED_ROWS * self._lm.m

    def _likeliest(self, scores: Tensor, kinds: Tensor, most: int) -> list[list[tuple[float, int]]]:
        """For each row of scores (Q, V) its likeliest pieces of its kind, with their log-probabilities."""
        allowed = self._may_be[kinds.to(scores.device)]
        log_probabilities = scores.log_softmax(dim=-1).masked_fill(~allowed, -torch.inf)
        top = log_probabilities.topk(min(most, scores.shape[-1]))
        return [
            [(value, piece) for value, piece in zip(values, pieces, strict=True) if value > -np.inf]
            for values, pieces in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]

    def _words(self, filling: _Filling, text: str) -> tuple[str, ...]:
        """The first m of the rows that are content words, in one form each, without the word that stood there."""
        texts = self._lm.pieces.texts
        seen = {text.casefold(), "".join(texts[piece] for piece in filling.own).casefold()}
        found = []
        for _, pieces in filling.rows:
            word = "".join(texts[piece] for piece in pieces)
            if word.casefold() not in seen and self._lm.rules.may_replace(word) and self._is_word(word):
                seen.add(word.casefold())
                found.append(word)
        return tuple(found[: self._lm.m])
