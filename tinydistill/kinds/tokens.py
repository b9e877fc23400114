"""Tokens with a tag each: named entities.

The first piece of a token has its label; the others are outside the loss and the metric, as in BERT (arXiv 1810.04805,
section 5.3). A sentence longer than the maximum length is in several windows: each token counts in one of them, where
it has context on both sides, so that no entity is cut off.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, List, Value
from scipy.special import softmax
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedConfig, PreTrainedTokenizerBase

from glue_tasks.entities import Entity, EntityScores, Scheme, entity_scores, read_entities, write_tags
from glue_tasks.rows import Row, Split
from glue_tasks.task import Task
from glue_tasks.writers import TableWriter
from tinydistill import label_order
from tinydistill.data import (
    PLACES,
    Collator,
    Columns,
    blocks_of,
    cached_rows,
    column,
    counted_outputs,
    flat_column,
    piece_columns,
)
from tinydistill.kinds.kind import Answers, Batch, Classes, Collate, Doubts, Lengths, Said, said_of
from tinydistill.kinds.luck import beats_shuffles
from tinydistill.kinds.sentences import head_of_labels
from tinydistill.kinds.units import Units, of_entities
from tinydistill.outputs import COUNTED, OfTokens, Outputs
from tinydistill.pieces import Frame, pieces_of
from tinydistill.token_windows import by_token, windows

_TRIED = 300  # sentences that are enough to tell a score from luck
_SENTENCES = ".jsonl"


class Tokens:
    """A tag of BIO for each token."""

    auto_model: Any = AutoModelForTokenClassification
    head_name = "token classifier"
    losses: Mapping[str, str] = {"logits": "soft_cross_entropy", "labels": "gold_cross_entropy"}
    outputs: Outputs = OfTokens()
    ending = "txt"

    def __init__(self, task: Task):
        self.task = task
        self.joint = "" if task.language == "zh" else " "  # between tokens, as a text

    # Inputs
    def encode(
        self,
        table: Split,
        tokenizer: PreTrainedTokenizerBase,
        lengths: Lengths,
        cache_dir: Path,
        for_training: bool = False,
    ) -> Dataset:
        """Columns besides those of all kinds: `places` of first pieces that count, `labels` of their tokens, and `row`,
        the sentence's number in the file."""
        columns = piece_columns(tokenizer) | {PLACES: List(Value("uint16")), "row": Value("int32")}
        if table.is_labelled:
            columns["labels"] = List(Value("int16"))
        return cached_rows(
            table,
            tokenizer,
            f"tokens {lengths.max_length}",
            cache_dir,
            Features(columns),
            lambda: ((block,) for block in self._blocks(table, tokenizer, lengths.max_length)),
        )

    def _blocks(self, table: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Iterator[Columns]:
        frame = Frame.of(tokenizer, two=False)
        room = frame.room(max_length, 1)
        with_types = "token_type_ids" in tokenizer.model_input_names
        number = 0
        for block in blocks_of(table):
            columns: Columns = {name: [] for name in ("input_ids", "length", "cut", PLACES, "row")}
            columns |= {"token_type_ids": []} if with_types else {}
            columns |= {"labels": []} if table.is_labelled else {}
            for row, pieces in zip(block, self._pieces(block, tokenizer), strict=True):
                for ids, places, (first, end) in windows(pieces, room):
                    own, types = frame.around(ids)
                    start = frame.start_of_last(ids)
                    columns["input_ids"].append(own)
                    columns["length"].append(len(own))
                    columns["cut"].append(False)
                    columns[PLACES].append([start + place for place in places])
                    columns["row"].append(number)
                    if with_types:
                        columns["token_type_ids"].append(types)
                    if table.is_labelled:
                        assert isinstance(row.label, tuple)
                        columns["labels"].append(row.label[first:end])
                number += 1
            yield columns

    def _pieces(self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[list[int]]]:
        """The pieces of each token of each row; of one that gives none the unknown piece."""
        texts = [self.joint.join(row.texts) for row in rows]
        for row, pieces in zip(rows, pieces_of(texts, tokenizer, by_character=not self.joint), strict=True):
            yield by_token(row.texts, pieces, len(self.joint), tokenizer.unk_token_id or 0)

    def collate(self, tokenizer: PreTrainedTokenizerBase, pad_to: int | None = None) -> Collate:
        return Collator(tokenizer, pad_to, at_places="labels")

    def blank(self, mask: Tensor) -> Batch:
        return {COUNTED: mask.bool(), "labels": torch.zeros_like(mask)}

    # Outputs
    def head(self) -> dict[str, object]:
        return head_of_labels(self.task, None)

    def score(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig | None = None) -> dict[str, float]:
        return self._metrics(self._scores(outputs.argmax(-1), flat_column(data, "labels"), data))

    def _scores(self, predicted: np.ndarray, gold: np.ndarray, data: Dataset) -> EntityScores:
        return entity_scores(self.sentences(predicted, data), self.sentences(gold, data))

    def _metrics(self, scores: EntityScores) -> dict[str, float]:
        micro = scores.micro
        known = {"entity_f1": micro.f1, "entity_precision": micro.precision, "entity_recall": micro.recall}
        return {name: known[name] for name in self.task.metrics}

    def sentences(self, labels: np.ndarray, data: Dataset) -> list[list[str]]:
        """The tags of each sentence. labels: ids (P,), windows joined."""
        names = self.task.labels
        rows, counts = column(data, "row"), counted_outputs(data)
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        sizes = np.add.reduceat(counts, starts) if len(starts) else np.zeros(0, dtype=np.int64)
        tags = [names[label] for label in labels.tolist()]
        ends = list(accumulate(sizes.tolist()))
        return [tags[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def places(self, data: Dataset) -> np.ndarray:
        """(P, 2): of each row of outputs its sentence's number in the file, and the token's in the sentence, from 0."""
        sentences = np.repeat(column(data, "row").astype(np.int64), counted_outputs(data))
        firsts = np.flatnonzero(np.diff(sentences, prepend=-1))
        of_first = np.repeat(firsts, np.diff([*firsts, len(sentences)]))
        return np.stack([sentences, np.arange(len(sentences)) - of_first], axis=1)

    def details(self, outputs: np.ndarray, data: Dataset, config: PreTrainedConfig) -> dict[str, Any]:
        """The scores of each type of entity, and how many of them there are."""
        scores = self._scores(outputs.argmax(-1), flat_column(data, "labels"), data).by_type
        return {
            name: {"precision": of.precision, "recall": of.recall, "f1": of.f1, "entities": of.known}
            for name, of in scores.items()
        }

    def units(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Units:
        found, known = (
            [set(read_entities(tags)) for tags in self.sentences(labels, data)]
            for labels in (outputs.argmax(-1), flat_column(data, "labels"))
        )
        counts = [(len(own & gold), len(own), len(gold)) for own, gold in zip(found, known, strict=True)]
        rows = column(data, "row")
        sizes = np.bincount(np.unique(rows, return_inverse=True)[1], weights=counted_outputs(data))
        drawn = of_entities(np.array(counts).reshape(-1, 3), self.task.metrics)
        return Units("sentences", sizes.astype(np.int64), "tokens", drawn)

    def classes(self, outputs: np.ndarray, data: Dataset) -> Classes | None:
        return Classes(softmax(outputs.astype(np.float64), axis=-1), flat_column(data, "labels"))

    def said(self, outputs: np.ndarray, data: Dataset, scores: Mapping[str, float]) -> Said | None:
        classes = self.classes(outputs, data)
        return said_of(classes, self.task.labels) if classes else None

    def chance(self, data: Dataset) -> float:
        """0: there is no constant answer that finds an entity."""
        return 0.0

    def beats_chance(self, outputs: np.ndarray, data: Dataset) -> bool:
        """Against the tags dealt anew to the tokens, of some sentences."""
        numbers = np.unique(np.linspace(0, len(data) - 1, _TRIED).astype(int))
        chosen = np.repeat(np.isin(np.arange(len(data)), numbers), counted_outputs(data))
        data = data.select(numbers)
        predicted, gold = self.sentences(outputs[chosen].argmax(-1), data), flat_column(data, "labels")

        def score(labels: np.ndarray) -> float:
            return entity_scores(predicted, self.sentences(labels, data)).micro.f1

        return score(gold) > 0 and beats_shuffles(score, gold)

    def keep(self, config: PreTrainedConfig, scores: Mapping[str, float]) -> None:
        """Nothing: the outputs say it all."""

    # Checks
    def doubts(self, name: str, outputs: np.ndarray, data: Dataset, unnamed: bool) -> Doubts:
        gold = flat_column(data, "labels")
        note = label_order.check_order(self.task, name, outputs, gold, unnamed)
        return Doubts([note], [label_order.doubt(self.task, name, outputs, gold)] if unnamed else [])

    # Predictions
    def files(self, path: Path, n_best: int = 0) -> tuple[Path, ...]:
        return (path,) if path.suffix == _SENTENCES else (path, path.with_suffix(_SENTENCES))

    def write(self, answers: Answers, path: Path) -> None:
        """A token and its tag a line, with a blank line between sentences; and JSON lines of each sentence's tokens,
        tags, text, and entities with their places in it. A path of JSON lines is of these alone."""
        of_tokens, of_sentences = (self.files(path)[0], self.files(path)[-1])
        found = self.sentences(answers.outputs.argmax(-1), answers.data)
        with contextlib.ExitStack() as stack:
            sentences = stack.enter_context(TableWriter(of_sentences))
            lines = stack.enter_context(TableWriter(of_tokens)) if of_tokens != of_sentences else None
            for row, tags in zip(answers.table, found, strict=True):
                entities = read_entities(tags)
                tags = write_tags(entities, len(tags), Scheme.BIO)  # a tag that nothing begins is mended
                record = {"tokens": row.texts, "tags": tags, **self._in_text(row.texts, entities)}
                sentences.write([json.dumps(record, ensure_ascii=False)])
                if lines:
                    for cells in zip(row.texts, tags, strict=True):
                        lines.write(cells)
                    lines.write([])

    def _in_text(self, tokens: Sequence[str], entities: Sequence[Entity]) -> dict[str, Any]:
        starts = list(accumulate((len(token) + len(self.joint) for token in tokens), initial=0))
        text = self.joint.join(tokens)
        found = []
        for each in entities:
            start, end = starts[each.first], starts[each.last] + len(tokens[each.last])
            found.append({"type": each.type, "start": start, "end": end, "text": text[start:end]})
        return {"text": text, "entities": found}
