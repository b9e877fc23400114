"""Which pieces begin a word, for masking whole words (Cui et al. 2021, arXiv 1906.08101)."""

from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Encoding

# (line, its pieces without special ones) -> a bool for each piece; a function of a module, for processes to import it.
BeginsWords = Callable[[str, Encoding], Sequence[bool] | np.ndarray]


def by_word_ids(line: str, encoding: Encoding) -> np.ndarray:
    """Words as the tokenizer parts a text before it makes pieces of them: (pieces,) bool.

    BERT's parts at spaces and marks and around each Chinese character: a piece begins a word if it has no ##. RoBERTa's
    and SentencePiece's part at spaces, the former at marks and 's too.
    """
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    return np.append(True, (words[1:] != words[:-1]) | (words[1:] < 0))[: len(words)]
