"""Small corpora, and what is said of them in the plainest way."""

import random
import tempfile
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from tests.tinydistill.conftest import WORDS, make_tokenizer
from tinydistill.corpus.store import Corpus
from tinydistill.corpus.tokens import tokenise_corpus


def made_up(documents: int, lines: int, words: int, seed: int = 0) -> list[list[str]]:
    """Documents of up to so many lines of up to so many words."""
    draw = random.Random(seed)
    return [
        [
            " ".join(draw.choice([*WORDS.split(), "goods"]) for _ in range(draw.randint(1, words)))
            for _ in range(draw.randint(1, lines))
        ]
        for _ in range(documents)
    ]


def write_text(path: Path, texts: list[list[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join("\n".join(lines) for lines in texts) + "\n", encoding="utf-8")
    return path


def corpus_of(folder: Path, texts: list[list[str]], tokenizer: PreTrainedTokenizerBase | None = None) -> Corpus:
    path = write_text(folder / "corpus.txt", texts)
    return tokenise_corpus([path], tokenizer or make_tokenizer(), folder / "cache", workers=1)


def ids_of(texts: list[list[str]], tokenizer: PreTrainedTokenizerBase) -> list[list[list[int]]]:
    """Of each document, of each line that has pieces, the pieces."""
    lines = [[tokenizer(line, add_special_tokens=False)["input_ids"] for line in text] for text in texts]
    return [kept for kept in ([line for line in text if line] for text in lines) if kept]


def ids_in(corpus: Corpus) -> list[list[list[int]]]:
    """The same, of a corpus."""
    return [
        [
            corpus.pieces[corpus.lines[line] : corpus.lines[line + 1]].tolist()
            for line in range(corpus.documents[document], corpus.documents[document + 1])
        ]
        for document in range(len(corpus.documents) - 1)
    ]


def corpus_with(lengths: list[list[int]]) -> Corpus:
    """In memory alone: of documents of lines of so many pieces, each another number."""
    corpus = Corpus.__new__(Corpus)
    corpus.folder = Path(tempfile.gettempdir())  # for files without a name
    flat = [length for document in lengths for length in document]
    corpus.lines = np.append(0, np.cumsum(flat)).astype(np.int64)
    corpus.documents = np.append(0, np.cumsum([len(document) for document in lengths])).astype(np.int64)
    corpus.pieces = np.arange(corpus.lines[-1], dtype=np.uint32)
    return corpus
