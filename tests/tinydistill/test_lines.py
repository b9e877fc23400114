"""Sentences from the command line, a file or standard input, and their labels line by line."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from transformers import BertForSequenceClassification

from glue_tasks import TASKS
from tests.tinydistill.conftest import make_tokenizer, tiny_bert_config
from tests.tinydistill.predictions import one_at_a_time, save_model, sentences
from tests.tinydistill.spans_and_tokens import tiny_model
from tinydistill import lines
from tinydistill.__main__ import main
from tinydistill.lines import LineReader, read_lines

TASK = TASKS["MNLI"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), TASK)


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["predict", *map(str, args)])
    return int(stop.value.code or 0)


def rows_of(count: int) -> list[tuple[str, ...]]:
    """Sentences and pairs in turns, of all lengths, an empty one among them."""
    first, second = sentences(count, 1), sentences(count, 2)
    found = [(a, b) if i % 2 else (a,) for i, (a, b) in enumerate(zip(first, second, strict=True))]
    found[3] = ("",)
    return found


def test_lines_are_labelled_in_their_order(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Window by window, in batches of like length; as one at a time without a batch."""
    monkeypatch.setattr(lines, "_BATCHES", 3)  # windows of 9 lines
    rows = rows_of(31)
    (tmp_path / "lines.txt").write_text("\ufeff" + "\r\n".join("\t".join(row) for row in rows), encoding="utf-8")
    given = ("--model", model, "--input", tmp_path / "lines.txt", "--batch-size", 3, "--max-length", 16)
    assert run(*given, "--precision", "float32") == 0
    told = capsys.readouterr()
    expected = softmax(one_at_a_time(model, rows, 16).astype(float), axis=-1)
    found = [line.split("\t") for line in told.out.splitlines()]
    assert [label for label, _ in found] == [TASK.labels[i] for i in expected.argmax(-1)]
    np.testing.assert_allclose([float(chance) for _, chance in found], expected.max(-1), atol=1e-5)
    cut = sum(len(make_tokenizer()(*row)["input_ids"]) > 16 for row in rows)
    assert told.err == f"note: {cut} lines were cut at 16 word pieces\n"
    assert cut > 5

    out = tmp_path / "answers.jsonl"
    assert run(*given, "--precision", "float32", "--format", "jsonl", "--output", out) == 0
    for line, row, chances in zip(out.read_text().splitlines(), rows, expected, strict=True):
        answer = json.loads(line)
        assert (answer["text"], answer.get("text_pair")) == (row[0], row[1] if len(row) > 1 else None)
        assert answer["label"] == TASK.labels[chances.argmax()]
        np.testing.assert_allclose([answer["probabilities"][label] for label in TASK.labels], chances, atol=1e-5)
        assert answer["probability"] == answer["probabilities"][answer["label"]]
    assert run(*given, "--output", out) == 2
    assert "is there already; choose another --output, or write over it" in capsys.readouterr().err


class _Bytes:
    def __init__(self, content: bytes):
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        return False


def test_sentences_and_standard_input(
    model: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--model", model, "--max-length", 16, "good film", "a very bad plot\tand the cast") == 0
    given = capsys.readouterr().out
    for how in ([], ["--input", "-"]):
        monkeypatch.setattr(sys, "stdin", _Bytes(b"good film\na very bad plot\tand the cast\n"))
        assert run("--model", model, "--max-length", 16, *how) == 0
        assert capsys.readouterr().out == given
    assert given.count("\n") == 2


def test_only_a_window_is_read_ahead(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BATCHES", 2)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield ("good film",)

    answers = LineReader(str(model), max_length=16, batch_size=4).answers(endless())
    for number in range(1, 20):
        next(answers)
        assert taken == 8 * -(-number // 8)


def test_values_and_several_labels(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, changes in (
        ("values", {"num_labels": 1, "problem_type": "regression"}),
        ("several", {"num_labels": 4, "problem_type": "multi_label_classification"}),
    ):
        torch.manual_seed(3)
        config = tiny_bert_config(layers=1, initializer_range=0.5, **changes)  # type: ignore[arg-type]
        BertForSequenceClassification(config).save_pretrained(tmp_path / name)
        make_tokenizer().save_pretrained(tmp_path / name)
    rows = [(text,) for text in sentences(12)]
    texts = [text for (text,) in rows]
    fixed = ("--max-length", 24, "--precision", "float32")
    run("--model", tmp_path / "values", *fixed, *texts)
    values = [float(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(values, one_at_a_time(tmp_path / "values", rows, 24)[:, 0], atol=1e-5)
    run("--model", tmp_path / "several", *fixed, *texts)
    chances = expit(one_at_a_time(tmp_path / "several", rows, 24))
    for line, own in zip(capsys.readouterr().out.splitlines(), chances, strict=True):
        names = [f"label_{i}" for i in np.flatnonzero(own >= 0.5)]
        told, _, numbers = line.partition("\t")
        assert told == ",".join(names)
        np.testing.assert_allclose([float(each) for each in numbers.split(",") if each], own[own >= 0.5], atol=1e-5)
    run("--model", tmp_path / "several", *fixed, "--format", "jsonl", texts[0])
    assert len(json.loads(capsys.readouterr().out)["probabilities"]) == 4


def test_a_task_names_the_labels(model: Path, capsys: pytest.CaptureFixture) -> None:
    run("--model", model, "--task", "MNLI", "--max-length", 16, "good film\tbad plot")
    assert capsys.readouterr().out.split("\t")[0] in TASK.labels
    assert run("--model", model, "--task", "SST-2", "good film") == 2
    assert "has 3 outputs, SST-2 has 2 labels" in capsys.readouterr().err


def test_mistakes(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, task in (("spans", "SQuAD1.1"), ("tokens", "CoNLL2003")):
        tiny_model(TASKS[task]).save_pretrained(tmp_path / name)
        make_tokenizer().save_pretrained(tmp_path / name)
    (tmp_path / "latin").write_bytes(b"good\nb\xe4d\n")
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    for args, message in (
        (["--model", model], "predict needs sentences: give them in quotes"),
        (["--model", model, "a\tb\tc"], "sentence 1 has 2 tabs"),
        (["--model", model, "--input", tmp_path / "none"], "there is no file"),
        (["--model", model, "--input", tmp_path], "is a folder; name a file of lines"),
        (["--model", model, "--input", tmp_path / "latin"], "line 2 of"),
        (["--model", model, "--input", tmp_path / "latin", "good"], "give one of them"),
        (["--model", model, "--format", "xml", "good"], "--format is 'xml'; it can be tsv, jsonl"),
        (["--model", model, "--data-dir", tmp_path, "good"], "sentences come from --data-dir or from what"),
        (["--model", model, "--max-length", 99, "good"], "--max-length 99 is more than the model"),
        (["--model", tmp_path / "spans", "good"], "ask it with --question and --text"),
        (["--model", tmp_path / "tokens", "good"], "predict a split with --task and --data-dir"),
    ):
        assert run(*args) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_lines_of_a_file() -> None:
    assert list(read_lines(io.BytesIO(b"a\r\n\nb\tc"), "f")) == [("a",), ("",), ("b", "c")]
