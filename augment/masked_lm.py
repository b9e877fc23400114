"""Candidates from a masked language model, batched across sentences.

Serves the words that are one piece of the model's vocabulary (TinyBERT, arXiv 1909.10351, Algorithm 1), and if asked
also those of several, which then are one gap. The model sees
`[CLS] masked sentence [SEP] original sentence [SEP]` as in the original script, one such input for each masked word;
reading the original beside the gap, it proposes words near the one that was there. Of the M likeliest pieces, those
that are no content words are dropped, so that fewer than M may remain. Masking jointly, one input holds the gaps of all
words of its sentence.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor

from augment.candidate_options import CandidateOptions, check_precision
from augment.encoder import StatesAtPositions
from augment.models import load_masked_lm, longest_input
from augment.pieces import Pieces, locate, put_space_first
from augment.words import Word, WordRules
from glue_tasks import UserError
from tinydistill.encoders.cpu import int8
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.encoders.precision import device as choose_device
from tinydistill.encoders.precision import resolve

_CALIBRATION_WORDS = 512  # of the vocabulary, for 8-bit products
_GAPS_A_ROW = 8  # on average, in a batch of jointly masked sentences: the scores are (gaps, V)


@dataclass(frozen=True, order=True, slots=True)
class Gap:
    """A word by its number in its sentence, and the positions of its first and last piece in the first copy."""

    word: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Input:
    """A sentence with its gaps and its copy: ids (L,), segments (L,), and the positions whose scores are wanted."""

    ids: np.ndarray
    segments: np.ndarray
    positions: list[int]


class MaskedLM:
    """A masked LM and its tokenizer, asked for the m likeliest words at many positions at once.

    precision: one of `candidate_options.PRECISIONS`; "auto" is bf16 where the hardware has it (CPUs with AVX512-BF16 or
    AMX too), fp16 on older GPUs, else float32. In "int8" the encoder's blocks multiply 8-bit integers, and the rest is
    as in "auto". compiled: by torch.compile, which takes half a minute and a C++ compiler; int8 compiles its own.
    In float32 the answers are the same for any batch size, but for ties in rounding. In bf16 the encoder rounds more,
    and for about one word in fifty another batch size puts another word at the end of its list. The head, and with it
    the scores that rank the vocabulary, is float32 in both.
    Raises UserError if the tokenizer is of an unknown kind or a file of words cannot be read.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        options: CandidateOptions | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ):
        options = options or CandidateOptions()
        self.options = options
        self.m = options.candidates
        self.rules = WordRules.of(options)
        self.batch_size = batch_size
        self.device = choose_device(device)
        check_precision(precision)
        self.precision = precision if precision == "int8" else resolve(precision, self.device)
        self.tokenizer = tokenizer
        self.pieces = Pieces.of(tokenizer, len(model.get_input_embeddings().weight))
        self._check_marks()
        put_space_first(tokenizer)
        self.max_length = longest_input(model, tokenizer)
        self._joint = options.masking == "joint"
        self._exactly_m = options.exactly_m
        accepted = accepted_inputs(model)
        self._takes_segments = "token_type_ids" in {*tokenizer.model_input_names} & {*accepted}
        if "attention_mask" not in accepted:
            self.batch_size = 1  # as FNet: padding would change its answers
        self._model = model.eval().to(self.device)
        self.compiled = compiled and self.precision != "int8"
        self._words = self.pieces.words(self.rules)
        runs_in = resolve("auto", self.device) if self.precision == "int8" else self.precision
        if self.precision == "int8":
            int8.quantise(model, int8.largest_inputs(model, self._calibration(), runs_in), runs_in)
        self._encoder = StatesAtPositions(getattr(model, model.base_model_prefix), self.device, runs_in, self.compiled)
        setattr(model, model.base_model_prefix, self._encoder)
        # (2, V): what a gap may be given, one that follows a space or begins as words do, and one that does not
        self._may_be = torch.tensor([[word is not None for word in words] for words in self._words], device=self.device)
        # How often a word is in the vocabulary, in this case and that
        self._most_forms = max(
            max(Counter(word.casefold() for word in words if word is not None).values(), default=1)
            for words in self._words
        )

    def _calibration(self) -> list[dict[str, Tensor]]:
        """Words of the vocabulary, drawn at random, as sentences with a mask: the same ones whatever is augmented."""
        words = sorted({word for word in self._words[0] if word is not None})
        words = Random(0).sample(words, min(len(words), _CALIBRATION_WORDS))
        space = "" if self.rules.language == "zh" else " "
        batches = []
        for start in range(0, max(len(words), 1), _CALIBRATION_WORDS // 8):
            of_batch = words[start : start + _CALIBRATION_WORDS // 8]
            sentences = [space.join(of_batch[i : i + 16]) for i in range(0, max(len(of_batch), 1), 16)]
            encodings = self.encode(sentences)
            inputs = [self.input(each, [Gap(0, 1, 1)]) for each in encodings]
            batches.append(self._batch(inputs))
        return batches

    def _check_marks(self) -> None:
        """Raises UserError if the tokenizer takes away marks that the language's words are spelt with.

        Its words would be put in without them. English has few ("naïve"), and goes without.
        """
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        if self.rules.language in ("en", "zh") or normalizer is None:
            return
        for word in sorted(self.rules.stop_words):
            left = normalizer.normalize_str(word).strip(" ▁")
            if unicodedata.normalize("NFKC", left).casefold() != unicodedata.normalize("NFKC", word).casefold():
                raise UserError(
                    f"the tokenizer of {self.tokenizer.name_or_path} takes marks away, as in {word!r}, which becomes "
                    f"{left!r}; use a cased model, with which words keep them"
                )

    @classmethod
    def load(cls, name: str, options: CandidateOptions | None = None, **settings: Any) -> "MaskedLM":
        """Load a folder or a hub id; weights become float32.

        Raises UserError if it is not there, has no masked-LM head, or no fast tokenizer with a mask token.
        """
        model, tokenizer = load_masked_lm(name)
        kind = f"{name}, a {type(model).__name__},"
        masked_lm = cls(model, tokenizer, options, **settings)
        if not masked_lm.compiled:
            masked_lm._try(kind)
        return masked_lm

    def _try(self, name: str) -> None:
        """Raises UserError if the model cannot be used as augmentation uses it, before there is work to lose."""
        ids = np.array([self.tokenizer.mask_token_id] * 2)
        inputs = [Input(ids[:1], np.zeros(1, dtype=int), [0]), Input(ids, np.zeros(2, dtype=int), [1])]
        try:
            scores = self.scores(inputs[: self.batch_size])
        except (AttributeError, TypeError, KeyError, IndexError, ValueError, NotImplementedError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{name} cannot be asked for words: {reason}; use a model such as BERT or RoBERTa"
            ) from None
        if not scores.isfinite().all():
            raise UserError(f"{name} gives scores that are not finite; use another")

    def candidates(
        self, sentences: Sequence[str], words: Sequence[Sequence[Word]], multi_piece_words: bool = False
    ) -> tuple[list[list[tuple[str, ...] | None]], int]:
        """For each word of each sentence its candidates, the likeliest first, or None if it is not asked about: it is
        several pieces, or none that the model knows.

        words: those of each sentence, by their offsets in it. multi_piece_words: ask about those too, with one mask in
        the place of all of them; None then says that there was no answer. Also returns how many sentences were longer
        than the model; of such a sentence it sees a window around the masked word, one word at a time in either way of
        masking.
        """
        answers: list[list[tuple[str, ...] | None]] = [[None] * len(of_sentence) for of_sentence in words]
        encodings = self.encode(sentences)
        queries: list[tuple[int, int, list[Gap]]] = []  # length, sentence, what is masked at once
        for i, (encoding, sentence, of_sentence) in enumerate(zip(encodings, sentences, words, strict=True)):
            gaps = [
                gap
                for gap in self.gaps(encoding, sentence, of_sentence)
                if multi_piece_words or self._known(encoding, gap)
            ]
            if self._joint and gaps and len(encoding) <= self.max_length:
                queries.append((len(encoding), i, gaps))
            else:
                queries += [(len(encoding), i, [gap]) for gap in gaps]
        queries.sort()  # by length, so that a batch needs little padding

        for batch in self._batches(queries):
            asked = [(i, gap) for _, i, gaps in batch for gap in gaps]
            # Whether it is a gap that follows no space, in a tokenizer that marks spaces
            inside = [
                self.pieces.marks_spaces and self.pieces.continues[encodings[i].ids[gap.first]] for i, gap in asked
            ]
            top = self._top_pieces(self.scores([self.input(encodings[i], gaps) for _, i, gaps in batch]), inside)
            for (i, gap), is_inside, ids in zip(asked, inside, top, strict=True):
                found = self._content_words(ids, is_inside, words[i][gap.word].text, encodings[i], gap)
                if found or self._known(encodings[i], gap):
                    answers[i][gap.word] = found
        return answers, sum(1 for encoding in encodings if len(encoding) > self.max_length)

    def encode(self, sentences: Sequence[str]) -> list[Encoding]:
        """Each sentence beside itself."""
        return self.tokenizer(list(sentences), list(sentences), verbose=False).encodings if sentences else []

    def gaps(self, encoding: Encoding, sentence: str, words: Sequence[Word]) -> Iterator[Gap]:
        """Those of the words of a sentence that begin and end where pieces do."""
        if not words:
            return
        starts, ends = locate(encoding, sentence)
        for j, word in enumerate(words):
            first, last = starts.get(word.start), ends.get(word.end)
            if first is not None and last is not None and first <= last:
                yield Gap(j, first, last)

    def input(self, encoding: Encoding, gaps: Sequence[Gap], keeps_length: bool = False) -> Input:
        """A sentence and its copy, with one mask in the place of each gap, or with one for each of its pieces.

        Of a sentence that is too long for the model a window around the gap, which then must be one.
        """
        ids = np.array(encoding.ids)
        segments = np.array(encoding.type_ids)
        keep = np.arange(len(ids))
        if len(ids) > self.max_length:
            # Of each copy keep the same window of pieces, the mask in its middle as far as the ends allow.
            (gap,) = gaps
            copies = np.array([-1 if copy is None else copy for copy in encoding.sequence_ids])
            one, other = np.flatnonzero(copies == 0), np.flatnonzero(copies == 1)
            size = (self.max_length - int((copies == -1).sum())) // 2
            begin = min(max(gap.first - int(one[0]) - size // 2, 0), len(one) - size)
            window = slice(begin, begin + size)
            keep = np.sort(np.concatenate([np.flatnonzero(copies == -1), one[window], other[window]]))
        masked: list[int] = []
        for gap in gaps:
            last = gap.last if keeps_length else gap.first
            keep = keep[(keep <= last) | (keep > gap.last)]
            masked += range(gap.first, last + 1)
        ids[masked] = self.tokenizer.mask_token_id
        return Input(ids[keep], segments[keep], np.searchsorted(keep, masked).tolist())

    @torch.inference_mode()
    def scores(self, inputs: Sequence[Input]) -> Tensor:
        """(Q, V): the scores of the vocabulary at the positions of the inputs, one input after the other."""
        positions = [(row, position) for row, each in enumerate(inputs) for position in each.positions]
        self._encoder.rows, self._encoder.positions = torch.tensor(positions, device=self.device).T
        batch = {name: tensor.to(self.device) for name, tensor in self._batch(inputs).items()}
        return self._model(**batch).logits[:, 0]

    def _batch(self, inputs: Sequence[Input]) -> dict[str, Tensor]:
        """Tensors (B, L) by their names, padded to the longest."""
        longest = max(len(each.ids) for each in inputs)
        input_ids = np.full((len(inputs), longest), self.tokenizer.pad_token_id)  # (B, L)
        segments = np.zeros_like(input_ids)
        attention_mask = np.zeros_like(input_ids)
        for row, each in enumerate(inputs):
            input_ids[row, : len(each.ids)] = each.ids
            segments[row, : len(each.ids)] = each.segments
            attention_mask[row, : len(each.ids)] = 1
        arrays = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._takes_segments:
            arrays["token_type_ids"] = segments
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _known(self, encoding: Encoding, gap: Gap) -> bool:
        """Whether a word is one piece, and one that the model knows."""
        return gap.first == gap.last and encoding.ids[gap.first] != self.tokenizer.unk_token_id

    def _batches(self, queries: list[tuple[int, int, list[Gap]]]) -> Iterator[list[tuple[int, int, list[Gap]]]]:
        batch: list[tuple[int, int, list[Gap]]] = []
        gaps = 0
        for query in queries:
            gaps += len(query[2])
            if batch and (len(batch) == self.batch_size or gaps > self.batch_size * _GAPS_A_ROW):
                yield batch
                batch, gaps = [], len(query[2])
            batch.append(query)
        if batch:
            yield batch

    def _top_pieces(self, scores: Tensor, inside: list[bool]) -> list[list[int]]:
        """The m likeliest vocabulary ids of each row of scores (Q, V), or as many as hold m words."""
        count = self.m
        if self._exactly_m:
            scores = scores.masked_fill(~self._may_be[torch.tensor(inside, device=self.device).long()], -torch.inf)
            count = (count + 1) * self._most_forms  # one more, for the word itself may be among them
        return scores.topk(min(count, scores.shape[-1])).indices.tolist()

    def _content_words(self, ids: list[int], inside: bool, text: str, encoding: Encoding, gap: Gap) -> tuple[str, ...]:
        """The words among the ids, in one form each, without the word that stood there."""
        seen = {text.casefold()}
        if gap.first == gap.last:
            seen.add(self.pieces.texts[encoding.ids[gap.first]].casefold())  # "cliches", where it was "clichés"
        found = []
        for piece in ids:
            word = self._words[inside][piece]
            if word is not None and word.casefold() not in seen:
                seen.add(word.casefold())
                found.append(word)
        return tuple(found[: self.m])
