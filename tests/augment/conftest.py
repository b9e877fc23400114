"""A masked LM with random weights and a small vocabulary, and word vectors to go with it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

_WORDS = """
    film movie story picture plot tale good bad great awful warm cold funny sad makes tells shows finds people actor
    director scene review dull bright long short old young new city house river the a is not of and it do n t s paris
    """
PIECES = ["##s", "##ly", "##ing", "un", "##real", "grip", "##ping", "##x", ".", ",", "'", '"', "-", "7", "42", "é"]
# Words of several pieces, and words of none, of which vectors know some.
VECTOR_WORDS = ["gripping", "unreal", "films", "movies", "Movies", "coldly", "warmly", "stories", "actors"]
VECTOR_WORDS += ["the", ",", "2020", "don't", "thrilling"]


@pytest.fixture(scope="session")
def tiny_mlm(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mlm")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS.split(), *PIECES]
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(vocabulary)}, model_max_length=64)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.4,  # so that the scores lie well apart, and rounding swaps none
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "vectors.txt"
    vectors = np.random.default_rng(0).normal(size=(len(VECTOR_WORDS), 6))
    lines = [" ".join([word, *map(str, row)]) for word, row in zip(VECTOR_WORDS, vectors.round(4), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
