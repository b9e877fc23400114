"""Algorithm 1 on sentences: which words may be replaced, by what, and the draw."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from augment import chinese
from augment.candidate_options import CandidateOptions
from augment.fill_mask import MaskFiller
from augment.masked_lm import MaskedLM
from augment.neighbours import Neighbours
from augment.variants import Slot, draw_variants
from augment.words import Word, match_case

_BLOCK = 512  # sentences that go to the models together: enough to sort by length, and few enough to come back soon

Answers = list[list[tuple[str, ...] | None]]


@dataclass
class WordCounts:
    """What became of the words seen. `replaceable` is the sum of the four below it."""

    words: int = 0
    replaceable: int = 0
    answered_by_masked_lm: int = 0
    answered_by_vectors: int = 0
    answered_by_fill: int = 0
    without_candidate: int = 0
    sentences_windowed: int = 0  # longer than the masked LM; it saw a window around the masked word


class Augmenter:
    """Variants of sentences by a masked LM and word vectors.

    >>> augmenter = Augmenter(masked_lm="bert-base-uncased", vectors="glove.6B.300d.txt")
    >>> augmenter.variants("a gripping film", n=3, seed=0)

    masked_lm: a folder or a hub id. vectors: GloVe's or word2vec's text format. options: which words are replaced, and
    by whose candidates. probability: p, of each word to be replaced. precision: auto, bf16, float32 or int8. compiled:
    run the masked LM by torch.compile.
    Raises UserError if one of them cannot be used.
    """

    def __init__(
        self,
        masked_lm: str | Path,
        vectors: str | Path | None = None,
        options: CandidateOptions | None = None,
        probability: float = 0.4,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ):
        options = options or CandidateOptions()
        self.options = options
        self.probability = probability
        self.counts = WordCounts()
        self._sources = options.sources(vectors)
        self._masked_lm = MaskedLM.load(
            str(masked_lm), options, batch_size=batch_size, device=device, precision=precision, compiled=compiled
        )
        self.precision = self._masked_lm.precision
        self.device = str(self._masked_lm.device)
        self._rules = self._masked_lm.rules
        self._neighbours = None
        if "vectors" in self._sources:
            self._neighbours = Neighbours.load(
                Path(vectors or ""),
                options.candidates,
                options.vectors_limit,
                self.device if self._masked_lm.device.type == "cuda" else "cpu",  # others may lack double precision
                self._rules.may_replace,
            )
        self._filler = None
        if "fill" in self._sources:
            # A filled row of pieces is taken for a word if jieba, or else the vectors, know it.
            by_vectors = self._neighbours.__contains__ if self._neighbours else None
            self._filler = MaskFiller(
                self._masked_lm, chinese.is_in_dictionary if options.language == "zh" else by_vectors
            )

    def variants(self, sentence: str, n: int = 20, seed: int = 42) -> list[str]:
        """At most n different variants of one sentence; for many sentences `variants_of` is faster."""
        return next(self.variants_of([sentence], n, seed))

    def variants_of(self, sentences: Iterable[str], n: int = 20, seed: int = 42) -> Iterator[list[str]]:
        """At most n different variants of each sentence, read and answered in blocks as they are asked for.

        What is drawn for a sentence depends on the seed and on its number among the sentences.
        """
        numbered = enumerate(sentences)
        while block := list(islice(numbered, _BLOCK)):
            all_slots = self.slots([sentence for _, sentence in block])
            for (row, sentence), slots in zip(block, all_slots, strict=True):
                yield draw_variants(sentence, slots, n, self.probability, seed, row=row)

    def without_vector(self, sentences: Iterable[str]) -> tuple[list[str], int]:
        """The words that the model has no piece for and the vectors do not know, and how many it has no piece for."""
        if not self._neighbours:
            return [], 0
        pieces = {text.casefold() for text in self._masked_lm.pieces.texts}
        words = (word for sentence in sentences for word in self._rules.find_words(sentence) if word.replaceable)
        asked = dict.fromkeys(word.text.lower() for word in words if word.text.casefold() not in pieces)
        return [word for word in asked if word not in self._neighbours], len(asked)

    def slots(
        self, sentences: Sequence[str], may_vary: Callable[[int, Word], bool] = lambda sentence, word: True
    ) -> list[list[Slot]]:
        """For each sentence the words that have a candidate, from left to right; counts what became of each word.

        may_vary: of a sentence, by its number, whether a word that is replaceable by itself is so there.
        """
        all_words = [self._rules.find_words(sentence) for sentence in sentences]
        words = [
            [word for word in of_sentence if word.replaceable and may_vary(number, word)]
            for number, of_sentence in enumerate(all_words)
        ]
        # One mask for a word of several pieces is asked for in the same passes, if it is to answer first.
        mask_first = self._sources[0] == "mask"
        answers, windowed = self._masked_lm.candidates(sentences, words, multi_piece_words=mask_first)
        by_masked_lm = _count(answers)
        others = {who: self._ask(who, sentences, words, answers) for who in self._sources[1 if mask_first else 0 :]}

        self.counts.words += sum(map(len, all_words))
        self.counts.replaceable += sum(map(len, words))
        self.counts.answered_by_masked_lm += by_masked_lm + others.get("mask", 0)
        self.counts.answered_by_vectors += others.get("vectors", 0)
        self.counts.answered_by_fill += others.get("fill", 0)
        self.counts.without_candidate += sum(map(len, words)) - by_masked_lm - sum(others.values())
        self.counts.sentences_windowed += windowed
        # In the order of the alphabet: what is drawn then depends on which words they are, and not on the last digits
        # of two near scores.
        return [
            [
                Slot(word.start, word.end, tuple(match_case(each, word.text) for each in sorted(found, key=str.lower)))
                for word, found in zip(of_sentence, answered, strict=True)
                if found
            ]
            for of_sentence, answered in zip(words, answers, strict=True)
        ]

    def _ask(self, who: str, sentences: Sequence[str], words: list[list[Word]], answers: Answers) -> int:
        """Put answers to the words that have none yet; returns to how many."""
        left = [[j for j, answer in enumerate(answered) if answer is None] for answered in answers]
        rows = [i for i, of_sentence in enumerate(left) if of_sentence]
        asked = [[words[i][j] for j in left[i]] for i in rows]
        texts = [sentences[i] for i in rows]
        if self._neighbours and who == "vectors":
            nearest = self._neighbours.nearest({word.text for of_sentence in asked for word in of_sentence})
            found: Answers = [[nearest[word.text] or None for word in of_sentence] for of_sentence in asked]
        elif self._filler and who == "fill":
            found = self._filler.candidates(texts, asked)
        else:
            found, _ = self._masked_lm.candidates(texts, asked, multi_piece_words=True)
        for i, of_sentence in zip(rows, found, strict=True):
            for j, answer in zip(left[i], of_sentence, strict=True):
                answers[i][j] = answer
        return _count(found)


def _count(answers: Answers) -> int:
    return sum(1 for answered in answers for answer in answered if answer)
