"""A corpus made ready for a phase: tokenised, packed, masked anew in each epoch, and some rows of it held out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, Features, List, Value
from torch.utils.data import Dataset as TorchDataset
from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from tinydistill import processes
from tinydistill.corpus.dataset import CorpusRows, Format, load_rows
from tinydistill.corpus.masking import FIXED, NO_LABEL, Masking
from tinydistill.corpus.reading import corpus_files, corpus_lines
from tinydistill.corpus.store import Corpus
from tinydistill.corpus.tokens import tokenise_corpus
from tinydistill.corpus.words import BeginsWords, by_word_ids, chinese_words, segmenter, segmenter_version
from tinydistill.data import PLACES, piece_columns
from tinydistill.kinds.kind import Collate, TaskKind
from tinydistill.known_words import doubts_about_texts
from tinydistill.options import Options
from tinydistill.pieces import Frame

HELD_OUT = "held-out"  # the split of what is not trained on
_SAMPLE_LINES, _SAMPLE_FILES = 1_000, 50  # that tell whether the tokenizer knows the text
_SAMPLE_LINE = 1_000  # characters of each


class MaskedRows(TorchDataset):
    """The rows of a corpus, masked: `places`, the masked ones, and `labels`, what stood there.

    Without masking the rows have neither. The masks follow from the seed, the epoch and the row alone.
    """

    def __init__(self, rows: CorpusRows, masking: Masking):
        self.rows, self.masking = rows, masking
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # also of workers that outlive an epoch

    def set_epoch(self, epoch: int) -> None:
        self._epoch[0] = epoch
        self.rows.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        numbers = [int(row) + len(self) * (row < 0) for row in rows]
        return [self.masked(number, int(self._epoch[0])) for number in numbers]

    def masked(self, number: int, epoch: int) -> dict[str, Any]:
        """One row as it is in an epoch: what a collator takes."""
        row = self.rows[number]
        given: dict[str, Any] = {name: row[name] for name in ("input_ids", "token_type_ids") if name in row}
        if not self.masking.is_at_work:
            return given
        ids, labels = self.masking.mask_row(row["input_ids"], row["begins_word"], number, epoch)
        places = np.flatnonzero(labels != NO_LABEL)
        return {**given, "input_ids": ids, PLACES: places, "labels": labels[places]}

    # What `data.column` reads a column by.
    @property
    def data(self) -> pa.Table:
        return pa.table({"length": self.rows.lengths})

    _indices = None


@dataclass
class TextData:
    """What a phase on text trains on, and what it measures on."""

    train: MaskedRows
    dev: dict[str, Dataset]
    collate: Collate
    corpus: Corpus
    words_by: str = ""  # what decided which pieces are a word, beside the tokenizer
    doubts: list[str] = field(default_factory=list)  # about text that the tokenizer does not know

    @property
    def main_dev(self) -> Dataset:
        return self.dev[HELD_OUT]

    def describe(self) -> dict[str, Any]:
        """For the report: of the corpus and of its two parts."""
        held_out = self.main_dev
        return {
            "corpus": self.corpus.describe(),
            "train": {**self.train.rows.describe(), "cut": 0},
            HELD_OUT: {"rows": len(held_out), "cut": 0},
        }


def load_text(options: Options, tokenizer: PreTrainedTokenizerBase, kind: TaskKind) -> TextData:
    """Tokenise `options.corpus` into `<output-dir>/cache`, or open what is there. Raises UserError."""
    masking = Masking.of(tokenizer, options.masking, rate=options.mask_share, seed=options.seed)  # type: ignore[arg-type]
    rows = Format(options.max_length, options.corpus_rows == "pairs", options.corpus_rows == "mixed")
    Frame.of(tokenizer, two=rows.pairs).room(rows.max_length, 2)  # said before the text is read
    doubts = doubts_about_texts(_sample(options), "the corpus", tokenizer)
    cache = options.cache
    begins_words: BeginsWords = by_word_ids
    decided_by = ""
    if options.masking == "word" and options.segmenter != "none":
        begins_words = chinese_words(segmenter(options.segmenter))
        decided_by = segmenter_version(options.segmenter)
    corpus = processes.after_first(
        lambda: tokenise_corpus(
            options.corpus, tokenizer, cache, options.text_field, begins_words=begins_words, words_by=decided_by
        )
    )
    train, held_out = load_rows(corpus, tokenizer, rows, _held_out(corpus, options), options.seed)
    assert held_out is not None
    pad_to = options.max_length if options.padding == "max_length" else None
    dev = fixed(MaskedRows(held_out, masking), options.held_out, tokenizer)
    collate = kind.collate(tokenizer, pad_to)
    return TextData(MaskedRows(train, masking), {HELD_OUT: dev}, collate, corpus, decided_by, doubts)


def fixed(rows: MaskedRows, most: int, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Held-out rows with the same masks at each evaluation, at most so many, spread evenly over all.

    Raises UserError if none of their pieces can be masked.
    """
    numbers = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int).tolist()
    chosen = [rows.masked(number, FIXED) for number in numbers]
    columns = piece_columns(tokenizer)
    if rows.masking.is_at_work:
        if not any(len(each[PLACES]) for each in chosen):
            raise UserError(
                f"none of the pieces of {len(chosen):,} rows held out can be masked: the tokenizer knows none of their "
                "characters; is it one for this language? If it is, hold out more (--held-out)"
            )
        columns |= {PLACES: List(Value("int32")), "labels": List(Value("int32"))}
    made: dict[str, list] = {name: [each[name] for each in chosen] for name in columns if name in chosen[0]}
    made |= {"length": [len(each["input_ids"]) for each in chosen], "cut": [False] * len(chosen)}
    return Dataset.from_dict(made, Features({name: columns[name] for name in made}))


def _held_out(corpus: Corpus, options: Options) -> float:
    """Of a small corpus a tenth of its documents."""
    rows = len(corpus.pieces) / max(options.max_length - 2, 1)
    return float(options.held_out) if options.held_out < rows / 10 else 0.1


def _sample(options: Options) -> list[str]:
    """Lines from the beginnings of the files, spread evenly over them."""
    files = corpus_files(options.corpus)
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, _SAMPLE_FILES).astype(int))]
    lines = (islice(corpus_lines([path], options.text_field), _SAMPLE_LINES // len(chosen)) for path in chosen)
    return [line[:_SAMPLE_LINE] for of_file in lines for line, _ in of_file]
