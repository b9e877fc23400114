"""Files of predictions as servers take them, one a row, and scores that agree with them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

import glue_tasks
from glue_tasks import TASKS
from glue_tasks.files import open_table
from glue_tasks.task import Submission
from tests.tinydistill.predictions import (
    accuracy,
    one_at_a_time,
    predict,
    read_tsv,
    save_model,
    scores,
    sentences,
    write_split,
)
from tinydistill.__main__ import main

NLI = ("entailment", "neutral", "contradiction")
MADE_UP = replace(TASKS["SST-2"], name="made-up", label_codes=(), submission=None, hub=None)
JSON_LINES = replace(
    MADE_UP,
    name="lines",
    label_codes=("100", "102"),
    id_column="id",
    submission=Submission("clue", {"test": "lines_predict.json"}),
)


@pytest.fixture(autouse=True)
def with_made_up_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    for task in (MADE_UP, JSON_LINES):
        monkeypatch.setitem(glue_tasks.TASKS, task.name, task)


# What the GLUE server accepts, from its sample submission: file name and what may stand for the labels, by their ids.
SUBMISSIONS = [
    ("CoLA", "CoLA.tsv", ("0", "1")),
    ("SST-2", "SST-2.tsv", ("0", "1")),
    ("MRPC", "MRPC.tsv", ("0", "1")),
    ("QQP", "QQP.tsv", ("0", "1")),
    ("QNLI", "QNLI.tsv", ("entailment", "not_entailment")),
    ("RTE", "RTE.tsv", ("entailment", "not_entailment")),
    ("WNLI", "WNLI.tsv", ("0", "1")),
    ("AX", "AX.tsv", NLI),
]


@pytest.mark.parametrize(("name", "file", "written"), SUBMISSIONS)
def test_a_submission_to_glue(name: str, file: str, written: tuple[str, ...], tmp_path: Path) -> None:
    task = TASKS[name]
    texts = write_split(tmp_path / "data", task, "test", rows=40, numbered=name != "MRPC")
    model = save_model(tmp_path / "model", task)
    predict(model, task, tmp_path / "data", "--output", tmp_path / "out", "--max-length", 16, "--batch-size", 7)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [file]
    header, *rows = read_tsv(tmp_path / "out" / file)
    assert header == ["index", "prediction"]
    first = 0 if name == "MRPC" else 7
    assert [row[0] for row in rows] == [str(i) for i in range(first, first + 40)]
    expected = [written[i] for i in one_at_a_time(model, texts, 16).argmax(-1)]
    assert [row[1] for row in rows] == expected
    assert len(set(expected)) > 1


def test_mnli_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    task = TASKS["MNLI"]
    model = save_model(tmp_path / "model", task)
    texts = {split: write_split(tmp_path / "data", task, split, rows) for split, rows in MNLI_ROWS.items()}
    predict(model, "mnli", tmp_path / "data", "--output", tmp_path / "out", "--max-length", 16)
    for split, file in (("test", "MNLI-m.tsv"), ("test_mismatched", "MNLI-mm.tsv")):
        _, *rows = read_tsv(tmp_path / "out" / file)
        assert [row[1] for row in rows] == [NLI[i] for i in one_at_a_time(model, texts[split], 16).argmax(-1)]
    told = capsys.readouterr().out
    assert "note: the test file has 12 rows, the one that the server scores 9,796" in told
    assert "test_mismatched: 9 predictions (8 cut at the maximum length) in " in told
    # One file for one split, one split alone, and one that is not there.
    predict(model, task, tmp_path / "data", "--output", tmp_path / "m.tsv", "--max-length", 16)
    assert (tmp_path / "m.tsv").read_bytes() == (tmp_path / "out" / "MNLI-m.tsv").read_bytes()
    predict(
        model, task, tmp_path / "data", "--split", "test_mismatched", "--output", tmp_path / "b", "--max-length", 16
    )
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["MNLI-mm.tsv"]
    (tmp_path / "data" / "MNLI" / "test_mismatched.tsv").unlink()
    predict(model, task, tmp_path / "data", "--output", tmp_path / "c", "--max-length", 16)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["MNLI-m.tsv"]
    assert "MNLI-mm.tsv is not written: there is no file" in capsys.readouterr().out


MNLI_ROWS = {"test": 12, "test_mismatched": 9}


def test_a_regression_is_written_to_the_last_digit(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    task = TASKS["STS-B"]
    model = save_model(tmp_path / "model", task)
    texts = write_split(tmp_path / "data", task, "dev", rows=60)
    predict(model, task, tmp_path / "data", "--split", "dev", "--output", tmp_path, "--max-length", 16)
    header, *rows = read_tsv(tmp_path / "STS-B-dev.tsv")
    assert header == ["index", "prediction"]
    values = np.array([float(row[1]) for row in rows])
    np.testing.assert_allclose(values, one_at_a_time(model, texts, 16)[:, 0], atol=1e-5)
    gold = np.array([float(row[-1]) for row in read_tsv(tmp_path / "data" / "STS-B" / "dev.tsv")[1:]])
    told = scores(capsys)
    assert told == {"pearson": float(pearsonr(values, gold)[0]), "spearman": float(spearmanr(values, gold)[0])}


def f1(predictions: list[str], gold: list[str]) -> float:
    both, either = (sum((a == "1") + (b == "1") == n for a, b in zip(predictions, gold, strict=True)) for n in (2, 1))
    return 2 * both / (2 * both + either)


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("SST-2", {"accuracy": accuracy}),
        ("MRPC", {"accuracy": accuracy, "f1": f1}),
        ("MNLI", {"accuracy": accuracy}),
        ("RTE", {"accuracy": accuracy}),
        ("WNLI", {"accuracy": accuracy}),
    ],
)
def test_the_score_is_that_of_the_file(
    name: str,
    metrics: dict[str, Callable[[list[str], list[str]], float]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    task = TASKS[name]
    model = save_model(tmp_path / "model", task)
    write_split(tmp_path / "data", task, "dev", rows=73)
    predict(model, task, tmp_path / "data", "--split", "dev", "--output", tmp_path / "dev.tsv", "--max-length", 16)
    _, *rows = read_tsv(tmp_path / "dev.tsv")
    gold = [row[-1] for row in read_tsv(tmp_path / "data" / name / task.files["dev"])[1:]]
    written = [row[1] for row in rows]
    assert scores(capsys) == {metric: by_hand(written, gold) for metric, by_hand in metrics.items()}


def test_json_lines_of_clue(tmp_path: Path) -> None:
    texts = write_split(tmp_path / "data", JSON_LINES, "test", rows=30, numbered=True)
    model = save_model(tmp_path / "model", JSON_LINES)
    predict(model, JSON_LINES, tmp_path / "data", "--output", tmp_path / "out", "--max-length", 16)
    lines = (tmp_path / "out" / "lines_predict.json").read_text(encoding="utf-8").splitlines()
    expected = [("100", "102")[i] for i in one_at_a_time(model, texts, 16).argmax(-1)]
    assert [json.loads(line) for line in lines] == [{"id": 7 + i, "label": label} for i, label in enumerate(expected)]
    assert lines[0] == f'{{"id": 7, "label": "{expected[0]}"}}'


# What CLUE's server accepts, from its notes on submissions: file name, and what stands for each label, by their ids.
CLUE_SUBMISSIONS = [
    ("AFQMC", "afqmc_predict.json", ("0", "1")),
    ("TNEWS", "tnews11_predict.json", tuple(str(i) for i in range(100, 117) if i not in (105, 111))),
    ("IFLYTEK", "iflytek_predict.json", tuple(str(i) for i in range(119))),
    ("OCNLI", "ocnli_50k_predict.json", ("neutral", "entailment", "contradiction")),
    ("CMNLI", "cmnli_predict.json", ("neutral", "entailment", "contradiction")),
    ("CSL", "csl_predict.json", ("0", "1")),
    ("CLUEWSC2020", "cluewsc11_predict.json", None),
]


@pytest.mark.parametrize(("name", "file", "written"), CLUE_SUBMISSIONS)
def test_a_submission_to_clue(name: str, file: str, written: tuple[str, ...] | None, tmp_path: Path) -> None:
    task = TASKS[name]
    model = save_model(tmp_path / "model", task)
    records = []
    for i, text in enumerate(sentences(25)):
        record: dict[str, object] = {"id": 300 - i, **dict.fromkeys(task.text_columns, f"the film {text}")}
        if name == "CSL":
            record["keyword"] = text.split()
        if name == "CLUEWSC2020":
            record["target"] = {"span1_text": "the", "span1_index": 0, "span2_text": "film", "span2_index": 4}
        records.append(record)
    (tmp_path / "data" / name).mkdir(parents=True)
    path = tmp_path / "data" / name / task.files["test"]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    predict(model, task, tmp_path / "data", "--output", tmp_path / "out", "--max-length", 24)
    assert [each.name for each in (tmp_path / "out").iterdir()] == [file]
    lines = (tmp_path / "out" / file).read_text(encoding="utf-8").splitlines()
    texts = [row.texts for row in open_table(task, path, "test")]
    written = written or task.labels  # "true" and "false", in the task's order
    labels = [written[i] for i in one_at_a_time(model, texts, 24).argmax(-1)]
    expected = [{"id": 300 - i, "label": label} for i, label in enumerate(labels)]
    assert [json.loads(line) for line in lines] == expected
    assert set(labels) <= {"true", "false"} or name != "CLUEWSC2020"
    assert len(set(labels)) > 1


def test_a_task_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = write_split(tmp_path / "data", MADE_UP, "test", rows=30)
    model = save_model(tmp_path / "model", MADE_UP)
    monkeypatch.chdir(tmp_path)
    predict(model, MADE_UP, tmp_path / "data", "--max-length", 16)
    header, *rows = read_tsv(tmp_path / "made-up-test.tsv")
    assert header == ["index", "prediction", "probability of negative", "probability of positive"]
    shares = torch.tensor(one_at_a_time(model, texts, 16)).double().softmax(-1).numpy()
    np.testing.assert_allclose([[float(cell) for cell in row[2:]] for row in rows], shares, atol=2e-6)
    assert [row[1] for row in rows] == [MADE_UP.labels[i] for i in shares.argmax(-1)]
    assert [row[0] for row in rows] == [str(i) for i in range(30)]


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "tickets.toml").write_text(
        'name = "tickets"\ntext_columns = ["text"]\nlabel_column = "team"\nlabels = ["billing", "other"]\n'
        'id_column = "ticket"\n[files]\ntrain = "train.csv"\ndev = "dev.csv"\ntest = "test.csv"\n'
    )
    (tmp_path / "tickets").mkdir()
    (tmp_path / "tickets" / "test.csv").write_text('ticket,text\nA7,"the film, bad"\nB9,good plot\n')
    (tmp_path / "tickets" / "dev.csv").write_text('ticket,text,team\nC1,"the ""film""",billing\n')
    model = save_model(tmp_path / "model", replace(MADE_UP, labels=("billing", "other")))
    args = ["predict", "--model", str(model), "--task-file", str(tmp_path / "tickets.toml"), "--max-length", "16"]
    for split in ("test", "dev"):
        with pytest.raises(SystemExit):
            main([*args, "--data-dir", str(tmp_path), "--split", split, "--output", str(tmp_path / "out")])
    header, *rows = read_tsv(tmp_path / "out" / "tickets-test.tsv")
    assert header == ["index", "prediction", "probability of billing", "probability of other"]
    assert [row[0] for row in rows] == ["A7", "B9"]
    assert read_tsv(tmp_path / "out" / "tickets-dev.tsv")[1][0] == "C1"


@pytest.mark.realdata
def test_real_sst2(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """All 872 rows of dev, and the 1,821 of test that the server takes, by a model of random weights."""
    model = save_model(tmp_path / "model", TASKS["SST-2"])
    data = shared / "data" / "glue"
    predict(model, "sst2", data, "--split", "dev", "--output", tmp_path, "--max-length", 32)
    _, *rows = read_tsv(tmp_path / "SST-2-dev.tsv")
    gold = [row[-1] for row in read_tsv(data / "SST-2" / "dev.tsv")[1:]]
    assert len(rows) == 872
    assert scores(capsys) == {"accuracy": accuracy([row[1] for row in rows], gold)}
    predict(model, "sst2", data, "--output", tmp_path, "--max-length", 32)
    assert "note" not in capsys.readouterr().out
    _, *rows = read_tsv(tmp_path / "SST-2.tsv")
    assert [row[0] for row in rows] == [str(i) for i in range(1821)]
    assert {row[1] for row in rows} <= {"0", "1"}


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "scored", "rows"), [("TNEWS", 10_000, 10_000), ("OCNLI", 2_950, 3_000)])
def test_real_clue(
    name: str, scored: int, rows: int, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Dev by a model of random weights, scored by hand without the rows that CLUE does not score; test whole."""
    task = TASKS[name]
    model = save_model(tmp_path / "model", task)
    data = shared / "data" / "clue"
    predict(model, task, data, "--split", "dev", "--output", tmp_path / "dev.json", "--max-length", 16)
    lines = (data / name.lower() / "dev.json").read_text(encoding="utf-8").splitlines()
    gold = [label for line in lines if (label := json.loads(line)["label"]) != "-"]
    written = [json.loads(line)["label"] for line in (tmp_path / "dev.json").read_text().splitlines()]
    assert len(written) == scored
    assert scores(capsys) == {"accuracy": accuracy(written, gold)}
    predict(model, task, data, "--output", tmp_path / "test.json", "--max-length", 16)
    assert "the one that the server scores" not in capsys.readouterr().out
    ids = [json.loads(line)["id"] for line in (tmp_path / "test.json").read_text().splitlines()]
    assert ids == list(range(rows))
