"""Algorithm 1 on sentences: which words may be replaced, by what, and the draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.masked_lm import MaskedLM
from augment.neighbours import Neighbours
from augment.variants import Slot, draw_variants
from augment.words import find_words, match_case
from glue_tasks import UserError

SEVERAL_PIECES = ("vectors", "mask")


@dataclass
class WordCounts:
    """What became of the words seen. `replaceable` is the sum of the three below it."""

    words: int = 0
    replaceable: int = 0
    answered_by_masked_lm: int = 0
    answered_by_vectors: int = 0
    without_candidate: int = 0
    sentences_windowed: int = 0  # longer than the masked LM; it saw a window around the masked word


class Augmenter:
    """Variants of sentences by a masked LM and word vectors.

    >>> augmenter = Augmenter(masked_lm="bert-base-uncased", vectors="glove.6B.300d.txt")
    >>> augmenter.variants("a gripping film", n=3, seed=0)

    masked_lm: a folder or a hub id. vectors: GloVe's or word2vec's text format; neighbours come from its
    first `vectors_limit` words alone, the more frequent ones, as rare words make rough neighbours.
    candidates: M, of the masked LM and of the vectors alike. probability: p, of each word to be replaced.
    several_pieces: who answers for a word that the masked LM's tokenizer splits: "vectors" (the paper), or the masked
    LM itself with one "mask" in its place, which then needs no vectors.
    Raises UserError if one of them cannot be used.
    """

    def __init__(
        self,
        masked_lm: str | Path,
        vectors: str | Path | None = None,
        candidates: int = 15,
        probability: float = 0.4,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "auto",
        vectors_limit: int | None = None,
        several_pieces: str = "vectors",
    ):
        by_vectors = check_several_pieces(several_pieces, vectors)
        self.probability = probability
        self.counts = WordCounts()
        self._masked_lm = MaskedLM.load(
            str(masked_lm),
            candidates,
            batch_size=batch_size,
            device=device,
            precision=precision,
            masks_several_pieces=not by_vectors,
        )
        self.precision = self._masked_lm.precision
        self.device = str(self._masked_lm.device)
        self._neighbours = None
        if by_vectors:
            self._neighbours = Neighbours.load(Path(vectors or ""), candidates, vectors_limit, self.device)

    def variants(self, sentence: str, n: int = 20, seed: int = 42) -> list[str]:
        """At most n different variants of one sentence; for many sentences `slots` and `draw_variants` are faster."""
        (slots,) = self.slots([sentence])
        return draw_variants(sentence, slots, n, self.probability, seed)

    def slots(self, sentences: Sequence[str]) -> list[list[Slot]]:
        """For each sentence the words that have a candidate, from left to right; counts what became of each word."""
        all_words = [find_words(sentence) for sentence in sentences]
        words = [[word for word in of_sentence if word.replaceable] for of_sentence in all_words]
        answers, windowed = self._masked_lm.candidates(sentences, words)
        neighbours: dict[str, tuple[str, ...]] = {}
        if self._neighbours:
            neighbours = self._neighbours.nearest(
                {
                    word.text
                    for of_sentence, answered in zip(words, answers, strict=True)
                    for word, candidates in zip(of_sentence, answered, strict=True)
                    if candidates is None
                }
            )

        self.counts.words += sum(map(len, all_words))
        self.counts.sentences_windowed += windowed
        slots: list[list[Slot]] = []
        for of_sentence, answered in zip(words, answers, strict=True):
            slots.append([])
            for word, candidates in zip(of_sentence, answered, strict=True):
                found = neighbours.get(word.text, ()) if candidates is None else candidates
                self.counts.replaceable += 1
                if not found:
                    self.counts.without_candidate += 1
                    continue
                if candidates is None:
                    self.counts.answered_by_vectors += 1
                else:
                    self.counts.answered_by_masked_lm += 1
                # In the order of the alphabet: what is drawn then depends on which words they are, and not on the
                # last digits of two near scores.
                choices = tuple(match_case(candidate, word.text) for candidate in sorted(found))
                slots[-1].append(Slot(word.start, word.end, choices))
        return slots


def check_several_pieces(who: str, vectors: str | Path | None) -> bool:
    """Whether vectors answer for words of several pieces. Raises UserError if they are to, and there are none."""
    if who not in SEVERAL_PIECES:
        raise UserError(f"--several-pieces is vectors or mask, not {who!r}")
    if who == "vectors" and vectors is None:
        raise UserError(
            "no word vectors are given for words of several pieces; name a file with --vectors, or let the masked "
            "language model answer for them with --several-pieces mask"
        )
    return who == "vectors"
