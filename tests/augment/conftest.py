"""A masked LM with random weights and a small vocabulary, and word vectors to go with it."""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaTokenizer,
)

_WORDS = """
    film movie story picture plot tale good bad great awful warm cold funny sad makes tells shows finds people actor
    director scene review dull bright long short old young new city house river the a is not of and it do n t s paris
    """
PIECES = ["##s", "##ly", "##ing", "un", "##real", "grip", "##ping", "##x", ".", ",", "'", '"', "-", "7", "42", "é"]
_LINES = [" ".join(_WORDS.split()), " ".join(reversed(_WORDS.split())), '"good film" (bad story)'] * 9
_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_CHARACTERS = "酒店房间服务干净安静宽敞舒适电影故事精彩无聊喜欢讨厌好坏大小新旧美丑看买不没的很是我了一"
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


@pytest.fixture(scope="session")
def tiny_chinese(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("chinese")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_CHARACTERS, "##酒", "##好", "，", "。", "！", "the"]
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(vocabulary)}, model_max_length=48)
    tokenizer.save_pretrained(folder)
    _save(BertForMaskedLM, BertConfig, folder, len(vocabulary), max_position_embeddings=48)
    return str(folder)


@pytest.fixture(scope="session", params=["roberta", "cased", "xlm-r", "albert"])
def tiny_other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Masked LMs with other tokenizers than the lower-casing WordPiece of `tiny_mlm`."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "cased":
        pieces = [*_WORDS.split(), "Film", "FILM", "Story", "Paris", *PIECES]
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(pieces)]
        tokenizer: Any = BertTokenizer(vocab={piece: i for i, piece in enumerate(vocabulary)}, do_lower_case=False)
        model, config, settings = BertForMaskedLM, BertConfig, {}
    elif request.param == "roberta":
        raw = Tokenizer(BPE())
        raw.pre_tokenizer = ByteLevel(add_prefix_space=False)
        trainer = BpeTrainer(
            vocab_size=420, special_tokens=_ROBERTA, initial_alphabet=ByteLevel.alphabet(), show_progress=False
        )
        raw.train_from_iterator(_LINES, trainer)
        state = json.loads(raw.to_str())["model"]
        tokenizer = RobertaTokenizer(vocab=state["vocab"], merges=[tuple(merge) for merge in state["merges"]])
        model, config, settings = RobertaForMaskedLM, RobertaConfig, {"pad_token_id": 1}
    else:
        # Words as one piece each, and all letters, so that others are several.
        special = _ROBERTA if request.param == "xlm-r" else ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
        words = [(piece, -3.0) for word in _WORDS.split() for piece in (f"▁{word}", word)]
        words += [(piece, -9.0) for piece in ("▁", "ing", "▁grip", "ping", *string.printable.strip(), "电影")]
        entries = [*((token, 0.0) for token in special), *dict(words).items()]
        tokenizer = (XLMRobertaTokenizer if request.param == "xlm-r" else AlbertTokenizer)(vocab=entries)
        model, config, settings = XLMRobertaForMaskedLM, XLMRobertaConfig, {"pad_token_id": 1}
        if request.param == "albert":
            model, config, settings = AlbertForMaskedLM, AlbertConfig, {"embedding_size": 32}
    tokenizer.save_pretrained(folder)
    _save(model, config, folder, len(tokenizer), max_position_embeddings=200, **settings)
    return str(folder)


def _save(model: Any, config: Any, folder: Path, size: int, **settings: int) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model(config(vocab_size=size, initializer_range=0.4, **sizes, **settings)).save_pretrained(folder)
