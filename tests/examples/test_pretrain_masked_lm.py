"""The example that pretrains a masked LM: what it reads, and a whole run on a small scale."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertForMaskedLM, BertTokenizerFast
from typer import Typer
from typer.testing import CliRunner

from demo.pretrain import Shape, train_masked_lm
from examples.pretrain_masked_lm import _parts, _texts, main

SQUAD = {"data": [{"paragraphs": [{"context": "一段。", "qas": []}, {"context": "又一段。", "qas": []}]}]}


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.txt", "one line\nanother\n", ["one line", "another"]),
        ("a.tsv", "1\tthe longest cell\n0\tb\n", ["the longest cell", "0"]),
        ("a.json", '{"label": "1", "sentence": "新闻标题"}\n\n{"sentence": "b", "id": 3}\n', ["新闻标题", "b"]),
        ("a.jsonl", '{"n": 1}\n', [""]),
        ("squad.json", json.dumps(SQUAD, ensure_ascii=False), ["一段。", "又一段。"]),
        ("a.bmes", "中 B-LOC\n国 E-LOC\n\n好 O\n", ["中国", "好"]),
        ("a.txt", "中\tB-LOC\n国\tI-LOC\n好\tO\n", ["中国好"]),
    ],
)
def test_texts(tmp_path: Path, name: str, content: str, texts: list[str]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert list(_texts(tmp_path / name)) == texts


def test_parts_are_sentences_together_as_far_as_they_fit() -> None:
    sentence = "这是一个句子，它有二十个字，加上标点。"
    assert list(_parts([sentence * 4])) == [sentence * 3, sentence]
    assert list(_parts(["短。", "x" * 100])) == ["x" * 60]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    letters = [chr(0x4E00 + i) for i in range(40)]
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]), encoding="utf-8")
    return path


def test_embeddings_start_from_vectors(vocabulary: Path) -> None:
    tokenizer = BertTokenizerFast(vocab=str(vocabulary), model_max_length=128)
    shape = Shape(layers=1, hidden=16, heads=2, steps=1, batch_size=2, learning_rate=0.0)
    texts = ["".join(chr(0x4E00 + (i * j) % 40) for j in range(1, 9)) for i in range(510)]
    vectors = {
        "一": np.array([3.0, 0.0, 4.0], np.float32),
        "不在": np.ones(3, np.float32),
        "丁": np.zeros(3, np.float32),
    }
    plain, _ = train_masked_lm(texts, tokenizer, shape, seed=1)
    model, _ = train_masked_lm(texts, tokenizer, shape, seed=1, vectors=vectors)
    weights, before = (m.bert.embeddings.word_embeddings.weight.detach() for m in (model, plain))
    row = tokenizer.get_vocab()["一"]
    # In the vector's direction, as long as three dimensions are at the start: sqrt(3) / sqrt(16)
    expected = torch.tensor([0.6, 0.0, 0.8]) * (3 / 16) ** 0.5
    torch.testing.assert_close(weights[row, :3], expected)
    torch.testing.assert_close(weights[row, 3:], before[row, 3:])
    others = torch.arange(len(weights)) != row
    torch.testing.assert_close(weights[others], before[others])


def test_a_run(tmp_path: Path, vocabulary: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["".join(chr(0x4E00 + i) for i in random.integers(0, 40, 12)) for _ in range(2_100)]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "vectors.txt").write_text("一 0.5 0.5\n丁 1 0\n", encoding="utf-8")
    app = Typer()
    app.command()(main)
    arguments = [str(tmp_path / "texts.txt"), "--vocab", str(vocabulary), "--output-dir", str(tmp_path / "model")]
    sizes = ["--layers", "1", "--hidden", "64", "--steps", "3", "--batch-size", "4"]
    result = CliRunner().invoke(app, [*arguments, *sizes, "--vectors", str(tmp_path / "vectors.txt")])
    assert result.exit_code == 0, result.output
    assert "masked pieces of 500 unseen sentences guessed" in result.output.replace("\n", " ")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")) == 45
    assert BertForMaskedLM.from_pretrained(tmp_path / "model").config.num_hidden_layers == 1
    again = CliRunner().invoke(app, [*arguments, *sizes])
    assert again.exit_code == 2
    assert "is not empty" in again.output
