"""Reading comprehension: the answer to a question is a part of a context.

A long context is in several overlapping windows, each behind the question: [CLS] question [SEP] window [SEP]. The
outputs that count are those of the context's pieces, and of [CLS] where a question may have no answer. Source: BERT
(arXiv 1810.04805), sections 4.2 and 4.3.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, List, Value
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PreTrainedConfig, PreTrainedTokenizerBase

from glue_tasks.rows import Answer, Question, Split
from glue_tasks.span_metrics import SpanScore, cmrc_score, no_answer_threshold, squad2_score, squad_score
from glue_tasks.task import Task
from glue_tasks.writers import write_json
from tinydistill import span_decoding
from tinydistill.data import (
    PLACES,
    Collator,
    Columns,
    blocks_of,
    cached_rows,
    column,
    counted_outputs,
    piece_columns,
    rows_beside,
)
from tinydistill.kinds.kind import Answers, Batch, Classes, Collate, Doubts, Lengths, Said
from tinydistill.kinds.units import Units, of_means
from tinydistill.outputs import COUNTED, OfSpans, Outputs
from tinydistill.pieces import Frame, Pieces, pieces_of
from tinydistill.span_decoding import Decoded, Window

_ROWS_AT_ONCE = 500
_QUESTION = 64  # pieces of a question, at most; and half of a window
THRESHOLD = "span_no_answer_threshold"  # in a model's configuration
_SCORES = {"squad": squad_score, "squad2": squad2_score, "cmrc": cmrc_score}
_TRIED, _RANDOM_SPANS = 500, 5  # questions, and random spans for each, that tell a score from luck
_CLEAR = 2.0  # standard errors
_NOT_HERE = -100  # the place of an answer that a window does not hold, which losses leave out


_NO_ANSWER = "(no answer)"  # in a report


class Spans:
    """A start and an end among the pieces of a context."""

    auto_model: Any = AutoModelForQuestionAnswering
    head_name = "model for question answering"
    losses: Mapping[str, str] = {"logits": "soft_cross_entropy", "labels": "gold_cross_entropy"}
    outputs: Outputs = OfSpans()
    ending = "json"

    def __init__(self, task: Task):
        self.task = task
        self.metric = _SCORES[task.span_score]

    # Inputs
    def encode(
        self,
        table: Split,
        tokenizer: PreTrainedTokenizerBase,
        lengths: Lengths,
        cache_dir: Path,
        for_training: bool = False,
    ) -> Dataset:
        """A row is a window. Columns besides those of all kinds: `places` of the pieces that count; `row`, the
        question's number in the file; `first`, which piece of the context is the window's first; `offsets`, the pieces'
        characters (K, 2) as int32; `labels`, the places of the answer's first and last piece, both that of [CLS] in a
        window without it where questions may have none, else -100. Beside it the questions: id, context, answers.

        for_training: without windows that do not hold the answer of a question which must have one.
        """
        columns = piece_columns(tokenizer) | {PLACES: List(Value("uint16")), "row": Value("int32")}
        columns |= {"first": Value("int32"), "offsets": Value("binary")}
        questions = {"id": Value("string"), "context": Value("string")}
        if table.is_labelled:
            columns["labels"] = List(Value("int16"), length=2)
            questions["answers"] = List(Value("string"))
        return cached_rows(
            table,
            tokenizer,
            f"spans {lengths.max_length} {lengths.doc_stride} {for_training}",
            cache_dir,
            Features(columns),
            lambda: self._blocks(table, tokenizer, lengths, for_training, list(columns)),
            Features(questions),
        )

    def _blocks(
        self, table: Split, tokenizer: PreTrainedTokenizerBase, lengths: Lengths, for_training: bool, names: list[str]
    ) -> Iterator[tuple[Columns, Columns]]:
        cutter = _Cutter(tokenizer, lengths, self.task.may_lack_answer, for_training)
        by_character = self.task.language == "zh"
        number = 0
        for block in blocks_of(table, "questions", _ROWS_AT_ONCE):
            contexts = list(dict.fromkeys(row.texts[1] for row in block))
            asked = pieces_of([row.texts[0] for row in block], tokenizer, by_character)
            read = dict(zip(contexts, pieces_of(contexts, tokenizer, by_character), strict=True))
            columns: Columns = {name: [] for name in names}
            questions: Columns = {"id": [], "context": []} | ({"answers": []} if table.is_labelled else {})
            for row, question in zip(block, asked, strict=True):
                assert isinstance(row, Question)
                questions["id"].append(row.id)
                questions["context"].append(row.texts[1])
                if table.is_labelled:
                    questions["answers"].append([answer.text for answer in row.answers or ()])
                for window in cutter.windows(question.ids, read[row.texts[1]], row.answers):
                    for name, values in columns.items():
                        values.append(number if name == "row" else window[name])
                number += 1
            yield columns, questions

    def collate(self, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None) -> Collate:
        return Collator(tokenizer, pad_to)

    def blank(self, mask: Tensor) -> Batch:
        return {COUNTED: mask.bool(), "labels": torch.zeros(len(mask), 2, dtype=torch.long)}

    # Outputs
    def head(self) -> dict[str, object]:
        return {"num_labels": self.task.num_labels}

    def decoded(self, outputs: np.ndarray, data: Dataset, n_best: int = span_decoding.N_BEST) -> list[Decoded]:
        """The best spans of each question. outputs: (P, 2)."""
        windows: dict[int, list[Window]] = {}
        ends = np.cumsum(counted_outputs(data))
        with_null = int(self.task.may_lack_answer)
        for row, first, end, packed in zip(
            column(data, "row").tolist(), column(data, "first").tolist(), ends.tolist(), data["offsets"], strict=True
        ):
            offsets = np.frombuffer(packed, dtype=np.int32).reshape(-1, 2)
            logits = outputs[end - len(offsets) : end]
            null = float(outputs[end - len(offsets) - 1].sum()) if with_null else 0.0
            windows.setdefault(row, []).append(Window(logits, offsets, first, null))
        return span_decoding.by_question(windows, len(rows_beside(data)), self.task.answer_pieces, n_best)

    def score(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig | None = None) -> dict[str, float]:
        """The task's metrics; where questions may have no answer at the model's threshold, or at the best one for
        these questions, and which it is."""
        threshold = getattr(config, THRESHOLD, None) if config is not None else None
        scores, threshold = self._scored(outputs, data, threshold)
        return self._means(scores) | ({} if threshold is None else {"threshold": threshold})

    def _scored(
        self, outputs: np.ndarray, data: Dataset, threshold: float | None
    ) -> tuple[list[SpanScore], float | None]:
        """Of each question, at this threshold or at the best one, and which it is; None where all have an answer."""
        questions, decoded = rows_beside(data), self.decoded(outputs, data)
        texts = _texts(decoded, questions["context"])
        answers = questions["answers"]
        scores = [self.metric(text, known) for text, known in zip(texts, answers, strict=True)]
        if not self.task.may_lack_answer:
            return scores, None
        nulls = _null_scores(decoded)
        if threshold is None:
            values = [self._main(each) for each in scores]
            threshold = no_answer_threshold(values, [bool(known) for known in answers], nulls).threshold
        scores = [
            self.metric("", known) if null > threshold else score
            for score, known, null in zip(scores, answers, nulls, strict=True)
        ]
        return scores, threshold

    def units(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Units:
        of_questions, _ = self._scored(outputs, data, scores.get("threshold"))
        columns = dict(zip(SpanScore._fields, np.array(of_questions).reshape(-1, 2).T, strict=True))
        lengths = np.array([len(context) for context in rows_beside(data)["context"]], dtype=np.int64)
        return Units("questions", lengths, "characters", of_means({name: columns[name] for name in self.task.metrics}))

    def classes(self, outputs: np.ndarray, data: Dataset) -> Classes | None:
        return None

    def said(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Said | None:
        """Of each question, with the probability among the n best."""
        questions, threshold = rows_beside(data), scores.get("threshold", 0.0)
        none: dict[str, Any] = {"text": "", "probability": 1.0}
        best = [
            next(iter(self.n_best(found, context, span_decoding.N_BEST, threshold)), none)
            for found, context in zip(self.decoded(outputs, data), questions["context"], strict=True)
        ]
        return Said(
            [each["text"] or _NO_ANSWER for each in best],
            np.array([each["probability"] for each in best], dtype=np.float64),
            [known[0] if known else _NO_ANSWER for known in questions["answers"]],
        )

    def _means(self, scores: Sequence[SpanScore]) -> dict[str, float]:
        means = dict(zip(SpanScore._fields, np.mean(scores, axis=0).tolist(), strict=True))
        return {name: means[name] for name in self.task.metrics}

    def _main(self, score: SpanScore) -> float:
        return float(getattr(score, self.task.main_metric))

    def details(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig) -> dict[str, Any]:
        return {}

    def chance(self, data: Dataset) -> float:
        """The better of random spans and, where questions may have no answer, none for each."""
        questions, places = rows_beside(data), self._places(data)
        firsts = [known[0] if known else "" for known in questions["answers"]]
        starts = [context.find(text) for context, text in zip(questions["context"], firsts, strict=True)]
        sizes = [
            _count_pieces(own, start, start + len(text)) if start >= 0 else 1
            for own, start, text in zip(places, starts, firsts, strict=True)
        ]
        random = [self._main(score) for score in self._random_scores(questions, places, sizes)]
        none = [self._main(self.metric("", known)) if not known else 0.0 for known in questions["answers"]]
        return max(float(np.mean(random)), float(np.mean(none)) if self.task.may_lack_answer else 0.0)

    def _places(self, data: Dataset) -> list[np.ndarray]:
        """For each question the characters of its context's pieces, (K, 2), windows joined."""
        parts: list[list[np.ndarray]] = [[np.zeros((0, 2), dtype=np.int32)] for _ in range(len(rows_beside(data)))]
        sizes = [0] * len(parts)
        for row, first, packed in zip(
            column(data, "row").tolist(), column(data, "first").tolist(), data["offsets"], strict=True
        ):
            offsets = np.frombuffer(packed, dtype=np.int32).reshape(-1, 2)
            parts[row].append(offsets[sizes[row] - first :])  # what the windows before do not have
            sizes[row] = first + len(offsets)
        return [np.concatenate(each) for each in parts]

    def _random_scores(self, questions: Dataset, places: Sequence[np.ndarray], sizes: Sequence[int]) -> list[SpanScore]:
        """Of a random span of the context for each question, of so many pieces."""
        random = np.random.default_rng(0)
        scores = []
        for context, known, own, size in zip(questions["context"], questions["answers"], places, sizes, strict=True):
            size = max(min(size, len(own)), 1)
            start = int(random.integers(max(len(own) - size, 0) + 1))
            text = context[own[start, 0] : own[start + size - 1, 1]] if len(own) else ""
            scores.append(self.metric(text, known))
        return scores

    def beats_chance(self, outputs: np.ndarray, data: Dataset) -> bool:
        """Whether the spans found are clearly better than random ones of as many pieces of the same contexts, of some
        questions that have an answer: an untrained head finds such random ones. Random characters would not do: they
        begin within words. Where there may be no answer, better than none too."""
        questions, decoded = rows_beside(data), self.decoded(outputs, data, n_best=1)
        answerable = np.flatnonzero([bool(known) for known in questions["answers"]])
        if not len(answerable):
            return False
        chosen = answerable[np.unique(np.linspace(0, len(answerable) - 1, _TRIED).astype(int))]
        some = questions.select(chosen)
        best, places = [decoded[i] for i in chosen], self._places(data)
        texts = _texts(best, some["context"])
        scores = [self.metric(text, known) for text, known in zip(texts, some["answers"], strict=True)]
        own = np.array([self._main(score) for score in scores])
        repeated = some.select(np.tile(np.arange(len(some)), _RANDOM_SPANS))
        places = [places[i] for i in chosen]
        sizes = [
            _count_pieces(own, found.spans[0].start, found.spans[0].end) if found.spans else 1
            for own, found in zip(places, best, strict=True)
        ]
        random = self._random_scores(repeated, places * _RANDOM_SPANS, sizes * _RANDOM_SPANS)
        others = np.array([self._main(score) for score in random]).reshape(_RANDOM_SPANS, -1).mean(0)
        gain = own - others
        spread = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        if not gain.mean() > _CLEAR * spread:
            return False
        return not self.task.may_lack_answer or self.score(outputs, data)[self.task.main_metric] > self.chance(data)

    def keep(self, config: PreTrainedConfig, scores: Mapping[str, float]) -> None:
        if "threshold" in scores:
            setattr(config, THRESHOLD, scores["threshold"])

    # Checks
    def doubts(self, name: str, outputs: np.ndarray, data: Dataset, unnamed: bool) -> Doubts:
        """None: the two outputs of such a head mean the same in all models."""
        return Doubts()

    # Predictions
    def files(self, path: Path, n_best: int = 0) -> tuple[Path, ...]:
        return (path, path.with_name(f"{path.stem}.nbest.json")) if n_best else (path,)

    def write(self, answers: Answers, path: Path) -> None:
        """The official layout, id -> text, "" for none; on request also that of the n best with their probabilities."""
        questions = rows_beside(answers.data)
        decoded = self.decoded(answers.outputs, answers.data)
        texts, ids, contexts = _texts(decoded, questions["context"]), questions["id"], questions["context"]
        threshold = getattr(answers.config, THRESHOLD, 0.0)
        if self.task.may_lack_answer:
            nulls = _null_scores(decoded)
            texts = ["" if null > threshold else text for text, null in zip(texts, nulls, strict=True)]
        if answers.n_best:
            write_json(
                self.files(path, answers.n_best)[1],
                {
                    id: self.n_best(found, context, answers.n_best, threshold)
                    for id, found, context in zip(ids, decoded, contexts, strict=True)
                },
            )
        write_json(path, dict(zip(ids, texts, strict=True)))

    def n_best(self, found: Decoded, context: str, count: int, threshold: float = 0.0) -> list[dict[str, Any]]:
        """The best answers of a question, the best first: text, score, characters, and their probability among these.

        threshold: how much better than the best span none must score to come before it.
        """
        ranked: list[dict[str, Any]] = [
            {"text": context[s.start : s.end], "score": s.score, "start": s.start, "end": s.end} for s in found.spans
        ]
        if self.task.may_lack_answer:
            ranked.append({"text": "", "score": found.null - threshold})
            ranked.sort(key=lambda each: -each["score"])
        ranked = ranked[:count]
        shares = span_decoding.probabilities([each["score"] for each in ranked])
        return [{**each, "probability": share} for each, share in zip(ranked, shares, strict=True)]


def _texts(decoded: Sequence[Decoded], contexts: Sequence[str]) -> list[str]:
    """The best span of each question, "" where there is none."""
    return [
        context[found.spans[0].start : found.spans[0].end] if found.spans else ""
        for found, context in zip(decoded, contexts, strict=True)
    ]


def _null_scores(decoded: Sequence[Decoded]) -> list[float]:
    """How much likelier no answer is than the best span: the higher, the less likely an answer."""
    return [found.null - found.spans[0].score if found.spans else float("inf") for found in decoded]


def _count_pieces(places: np.ndarray, start: int, end: int) -> int:
    """How many of the pieces at these characters, (K, 2), hold some of a span."""
    return int(np.searchsorted(places[:, 0], end, side="left") - np.searchsorted(places[:, 1], start, side="right"))


class _Cutter:
    """Cuts a context into windows behind a question."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, lengths: Lengths, with_null: bool, for_training: bool):
        self.frame, self.for_training = Frame.of(tokenizer, two=True), for_training
        self.room, self.stride, self.with_null = self.frame.room(lengths.max_length, 2), lengths.doc_stride, with_null
        self.with_types = "token_type_ids" in tokenizer.model_input_names
        self.cls = tokenizer.cls_token_id

    def windows(
        self, question: list[int], context: Pieces, answers: Sequence[Answer] | None
    ) -> Iterator[dict[str, Any]]:
        """The columns of each window, but for `row`."""
        asked = question[: min(_QUESTION, self.room // 2)]
        room = self.room - len(asked)
        known = next((each for each in answers or () if each.start >= 0), None)  # or it is not in the context
        answer = _pieces_of_answer(context, known) if known else None
        for first in starts_of_windows(len(context.ids), room, self.stride):
            end = min(first + room, len(context.ids))
            if end == first and self.for_training:
                continue
            ids, types = self.frame.around(asked, context.ids[first:end])
            start = self.frame.start_of_last(asked, ())
            cls = ids.index(self.cls) if self.cls in ids else 0
            places = [*([cls] if self.with_null else []), *range(start, start + end - first)]
            columns: dict[str, Any] = {"input_ids": ids, "length": len(ids), PLACES: places, "first": first}
            columns |= {"cut": len(asked) < len(question)} | ({"token_type_ids": types} if self.with_types else {})
            offsets = np.array([context.starts[first:end], context.ends[first:end]], dtype=np.int32).T
            columns["offsets"] = np.ascontiguousarray(offsets).tobytes()
            if answers is not None:
                here = answer is not None and first <= answer[0] and answer[1] < end
                nowhere = [cls, cls] if self.with_null else [_NOT_HERE, _NOT_HERE]
                columns["labels"] = [start + place - first for place in answer] if here and answer else nowhere
                if self.for_training and _NOT_HERE in columns["labels"]:
                    continue
            yield columns


def starts_of_windows(count: int, room: int, stride: int) -> range:
    """Where windows of `room` pieces begin, so that each of `count` pieces lies in one; they advance by the stride, or
    by less, if a window is shorter than that."""
    step = max(min(stride, room), 1)
    return range(0, max(count - room, 0) + step, step)


def _pieces_of_answer(context: Pieces, answer: Answer) -> tuple[int, int] | None:
    """The first and the last piece that hold some of an answer; None if no piece does, as of spaces."""
    start, end = answer.start, answer.start + len(answer.text)
    first = int(np.searchsorted(context.ends, start, side="right"))  # the first that ends behind its start
    last = int(np.searchsorted(context.starts, end, side="left")) - 1  # the last that begins before its end
    return (first, last) if first <= last else None
