"""Loads jieba, which finds the likeliest way through a dictionary and guesses names by a hidden Markov model."""

import functools
import logging
import warnings
from typing import Any


@functools.cache
def jieba_tokenizer() -> Any:
    """jieba's Tokenizer with its own dictionary, loaded once a process: quietly, and without its cache."""
    with warnings.catch_warnings():  # at its import: escapes in its patterns, and pkg_resources
        warnings.simplefilter("ignore")
        import jieba
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    # What its initialize() does, without its cache: it would read the dictionary with `marshal`, which is to be trusted
    # with no one else's file, from a name in the shared temporary folder that anyone may write. It saves half a second.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer
