"""python -m tinydistill predict: which model, which split, which file; mistakes cost nothing."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedModel, pipeline

from glue_tasks import TASKS, Task
from glue_tasks.files import open_table
from tests.tinydistill.predictions import one_at_a_time, predict, read_tsv, save_model, write_split
from tests.tinydistill.runs import NARROW, record, run
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Answers
from tinydistill.predict import output_paths, trained_with

from .conftest import PIECES, make_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def fails(capsys: pytest.CaptureFixture, *args: object) -> str:
    with pytest.raises(RuntimeError, match="2"):
        predict(*args)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_a_model_in_another_order_predicts_the_same(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    task = TASKS["RTE"]
    write_split(tmp_path / "data", task, "test", rows=30)
    model = save_model(tmp_path / "a", task)
    turned: PreTrainedModel = BertForSequenceClassification.from_pretrained(model)
    turned.config.id2label = {0: "NOT ENTAILMENT", 1: "Entailment"}
    turned.config.label2id = {"NOT ENTAILMENT": 0, "Entailment": 1}
    with torch.no_grad():
        for parameter in turned.classifier.parameters():
            parameter.copy_(parameter.flip(0))
    turned.save_pretrained(tmp_path / "b")
    make_tokenizer().save_pretrained(tmp_path / "b")
    for name in "ab":
        predict(tmp_path / name, task, tmp_path / "data", "--output", tmp_path / f"{name}.tsv", "--max-length", 16)
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    assert capsys.readouterr().out.count("has its labels in the order NOT ENTAILMENT, Entailment") == 1


def test_a_model_without_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Dev of its own answers, then of the other label throughout, then none."""
    task = TASKS["SST-2"]
    model = save_model(tmp_path / "model", task, ("LABEL_0", "LABEL_1"))
    texts = write_split(tmp_path / "data", task, "dev", rows=700)
    write_split(tmp_path / "data", task, "test", rows=5)
    answers = one_at_a_time(model, texts, 16).argmax(-1)
    dev = tmp_path / "data" / "SST-2" / "dev.tsv"
    args = [model, task, tmp_path / "data", "--output", tmp_path / "t.tsv", "--max-length", 16, "--overwrite"]

    def write_dev(labels: np.ndarray) -> None:
        rows = [f"{text}\t{label}" for (text,), label in zip(texts, labels, strict=True)]
        dev.write_text("\n".join(["sentence\tlabel", *rows]) + "\n")

    write_dev(answers)
    predict(*args)
    before = (tmp_path / "t.tsv").read_bytes()
    assert "note" not in capsys.readouterr().out.replace("note: the test file has", "")
    write_dev(1 - answers)
    error = fails(capsys, *args)
    assert "by 500 dev rows the labels of" in error
    assert "are in the order positive, negative, not in that of SST-2" in error
    write_dev(np.random.default_rng(0).permutation(answers))
    predict(*args)
    assert "500 dev rows cannot tell whether" in capsys.readouterr().out
    dev.unlink()
    predict(*args)
    assert "there is no dev file to tell their order by" in capsys.readouterr().out
    assert (tmp_path / "t.tsv").read_bytes() == before


@pytest.fixture
def sst2(tmp_path: Path) -> tuple[Path, Task, Path]:
    """A model, its task and its data."""
    task = TASKS["SST-2"]
    write_split(tmp_path / "data", task, "test", rows=10)
    write_split(tmp_path / "data", task, "dev", rows=10)
    return save_model(tmp_path / "model", task), task, tmp_path / "data"


def test_the_length_is_that_of_the_training(
    sst2: tuple[Path, Task, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert "max_length" not in trained_with(str(sst2[0]))
    assert "--max-length 64 is more than the model" in fails(capsys, *sst2, "--output", tmp_path / "a.tsv")
    (sst2[0] / "run.json").write_text(json.dumps({"state": "finished", "settings": {"max_length": 9}}))
    predict(*sst2, "--output", tmp_path / "a.tsv")
    predict(*sst2, "--output", tmp_path / "b.tsv", "--max-length", 9)
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    assert "cut at the maximum length" in capsys.readouterr().out


def test_nothing_is_left_behind_and_nothing_written_over(
    sst2: tuple[Path, Task, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    out = tmp_path / "out" / "a.tsv"
    predict(*sst2, "--output", out, "--max-length", 16)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before == {out}
    out.write_text("mine")
    error = fails(capsys, *sst2, "--output", out, "--max-length", 16)
    assert f"{out} is there already; choose another --output, or write over it with --overwrite" in error
    assert out.read_text() == "mine"
    predict(*sst2, "--output", out, "--max-length", 16, "--overwrite")
    assert out.read_text().startswith("index\tprediction\n")


def test_a_failure_leaves_what_was_there(
    sst2: tuple[Path, Task, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.tsv"
    out.write_text("mine")

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glue_tasks.writers.TableWriter.write", stop)
    with pytest.raises(RuntimeError, match="130"):
        predict(*sst2, "--output", out, "--max-length", 16, "--overwrite")
    assert out.read_text() == "mine"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--split", "tset"], "SST-2 has no split 'tset'; its splits are train, dev, test"),
        (["--model", "./nowhere"], "there is no model folder ./nowhere"),
        (["--data-dir", "nowhere"], "there is no folder nowhere"),
        (["--task", "SST3"], "there is no task named 'SST3'; did you mean"),
        (["--task", "RTE"], "there is no folder"),
        (["--precision", "half"], "--precision is 'half'; it can be auto, bf16, fp16 or float32"),
    ],
)
def test_mistakes(
    args: list[str], message: str, sst2: tuple[Path, Task, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert message in fails(capsys, *sst2, "--output", out, "--max-length", 16, *args)
    assert not out.exists()


def test_a_model_of_another_task(sst2: tuple[Path, Task, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_model(sst2[0], TASKS["MNLI"])
    assert "has 3 outputs, SST-2 has 2 labels" in fails(capsys, *sst2, "--output", tmp_path / "o", "--max-length", 16)


def test_a_model_whose_pieces_are_not_its_tokenizers(
    sst2: tuple[Path, Task, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    make_tokenizer([*PIECES, "movie"]).save_pretrained(sst2[0])
    error = fails(capsys, *sst2, "--output", tmp_path / "o", "--max-length", 16)
    assert f"has embeddings of {len(PIECES)} pieces, the tokenizer gives {len(PIECES) + 1}" in error
    for path in sst2[0].glob("token*"):
        path.unlink()
    assert "holds no tokenizer beside its model" in fails(capsys, *sst2, "--output", tmp_path / "o", "--max-length", 16)


def test_a_record_that_is_none(sst2: tuple[Path, Task, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (sst2[0] / "run.json").write_text('{"state": "fin')
    assert "run.json is no record of a run, or is damaged; remove it" in fails(
        capsys, *sst2, "--output", tmp_path / "o"
    )


def test_an_output_folder_that_is_a_file(
    sst2: tuple[Path, Task, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("mine")
    error = fails(capsys, *sst2, "--output", tmp_path / "file", "--max-length", 16)
    assert f"{tmp_path / 'file'} is a file where a folder is needed" in error
    (tmp_path / "a.tsv").mkdir()
    predict(*sst2, "--output", tmp_path / "a.tsv", "--max-length", 16)  # a folder, whatever its name
    assert [path.name for path in (tmp_path / "a.tsv").iterdir()] == ["SST-2.tsv"]


def test_output_paths() -> None:
    sst2, tnews = TASKS["SST-2"], TASKS["TNEWS"]
    assert output_paths(sst2, "test", None) == {"test": Path("SST-2.tsv")}
    assert output_paths(sst2, "dev", Path("a/b")) == {"dev": Path("a/b/SST-2-dev.tsv")}
    assert output_paths(sst2, "test", Path("a/b.txt")) == {"test": Path("a/b.txt")}
    assert output_paths(tnews, "dev", None) == {"dev": Path("TNEWS-dev.json")}
    assert output_paths(tnews, "test", None) == {
        "test": Path("tnews11_predict.json"),
        "test1.0": Path("tnews10_predict.json"),
    }


def test_help_lists_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinydistill", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "predict" in done.stdout


@pytest.mark.parametrize("header", ["index", "Index", "idx"])
def test_ids_are_found_under_the_names_that_a_header_gives_them(tmp_path: Path, header: str) -> None:
    """Else the rows of a part of the file would be numbered from 0."""
    path = tmp_path / "test.tsv"
    path.write_text(f"{header}\tsentence\n7\tfine\n")
    table, data = open_table(TASKS["SST-2"], path, "test"), Dataset.from_dict({})
    answers = Answers(np.array([[0.0, 1.0]]), data, table, BertConfig())
    kind_of(TASKS["SST-2"]).write(answers, tmp_path / "answers.tsv")
    assert read_tsv(tmp_path / "answers.tsv")[1:] == [["7", "1"]]


def test_a_pipeline_cuts_where_predict_does(data_dir: Path, finished: Path, tmp_path: Path) -> None:
    """The student's tokenizer cuts at the length of its training, and only when asked to."""
    student = finished / "prediction"
    tokenizer = AutoTokenizer.from_pretrained(student)
    assert tokenizer.model_max_length == 16
    assert len(tokenizer("the film is good " * 9)["input_ids"]) == 38
    texts = write_split(tmp_path / "data", TASKS["SST-2"], "test", rows=60)
    long = [f"{text} {text}" for (text,) in texts]
    rows = "".join(f"{i}\t{text}\n" for i, text in enumerate(long))
    (tmp_path / "data" / "SST-2" / "test.tsv").write_text(f"index\tsentence\n{rows}")
    predict(student, TASKS["SST-2"], tmp_path / "data", "--output", tmp_path / "t.tsv", "--precision", "float32")
    answers = [line.split("\t")[1] for line in (tmp_path / "t.tsv").read_text().splitlines()[1:]]
    there = [each["label"] for each in pipeline("text-classification", model=str(student))(long, truncation=True)]
    codes = dict(zip(TASKS["SST-2"].labels, TASKS["SST-2"].label_codes, strict=True))
    assert answers == [codes[label] for label in there]
    assert len(set(answers)) == 2


def test_each_file_has_its_digest_whatever_its_name(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """A training file that is called as dev's is."""
    train = tmp_path / "dev.tsv"
    train.write_bytes((data_dir / "SST-2" / "train.tsv").read_bytes())
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "2", "--train-file", str(train)]
    run("baseline", data_dir, tmp_path / "out", *args)
    settings = record(tmp_path / "out" / "baseline")["settings"]
    for split in ("train", "dev"):
        digest = hashlib.sha256((data_dir / "SST-2" / f"{split}.tsv").read_bytes()).hexdigest()
        assert settings[f"{split}_data"] == digest
