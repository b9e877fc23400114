"""Splits of any format, encoded; and how many rows of their files they are without."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

import run_tinybert
from glue_tasks import TASKS, UserError
from tinydistill.kinds import kind_of
from tinydistill.report.markdown import to_markdown
from tinydistill.settings import resolve
from tinydistill.task_data import load_data

NOTHING = {"skipped": 0, "unscored": 0, "torn": 0}


@pytest.fixture
def csv_dir(tmp_path: Path) -> Path:
    """SST-2 in CSV and a folder in lower case; of train two rows are bad and one is labelled "-"."""
    folder = tmp_path / "data" / "sst-2"
    folder.mkdir(parents=True)
    rows = {
        "train": [("good film", "1"), ("bad film",), ('a, "b"\nc', "0"), ("who knows", "2"), ("it is", "-")],
        "dev": [("fine", "positive")],
    }
    for split, of_split in rows.items():
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("sentence", "label"), *of_split])
    return tmp_path / "data"


def test_what_is_left_out_is_told_also_when_read_from_the_cache(
    tokenizer: PreTrainedTokenizerFast, csv_dir: Path, tmp_path: Path
) -> None:
    task = replace(TASKS["SST-2"], unscored_labels=("-",))
    flags = {"data_dir": str(csv_dir), "output_dir": str(tmp_path / "out"), "max_length": 4}
    settings = resolve("SST-2", {}, flags).options
    with pytest.raises(
        UserError, match=r"train.csv: 2 rows cannot be read: line 3 \(1 column.*, line 6 \(unknown label"
    ):
        load_data(kind_of(task), settings, tokenizer)
    settings = replace(settings, skip_bad_rows=True)
    for _ in range(2):
        data = load_data(kind_of(task), settings, tokenizer)
        assert data.train["labels"][:] == [1, 0]
        assert data.describe() == {
            "train": {"rows": 2, "cut": 1, "skipped": 2, "unscored": 1, "torn": 0},
            "dev": {"rows": 1, "cut": 0, **NOTHING},
        }
    with pytest.raises(UserError, match="2 rows cannot be read"):  # the cache is of the other setting
        load_data(kind_of(task), replace(settings, skip_bad_rows=False), tokenizer)


def test_the_command_line_skips_when_asked(
    masked_lm_dir: Path, csv_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = ["--phase", "teacher", "--task", "SST-2", "--data-dir", str(csv_dir), "--output-dir", str(tmp_path / "out")]
    given += ["--pretrained", str(masked_lm_dir), "--epochs", "1", "--max-length", "8", "--precision", "float32"]
    with pytest.raises(SystemExit) as stop:
        run_tinybert.main(given)
    assert stop.value.code == 2
    assert "3 rows cannot be read" in capsys.readouterr().err
    run_tinybert.main([*given, "--skip-bad-rows"])
    assert "(1 rows; " in capsys.readouterr().out


def test_the_page_tells_what_was_left_out() -> None:
    run = {"data": {"train": {"rows": 1234, "cut": 0, **NOTHING}}, "losses": [], "dev": {}, "steps": 1, "seconds": 1.0}
    left = {**run, "data": {"train": {"rows": 7, "cut": 0, "skipped": 2, "unscored": 1, "torn": 0}}}
    timing = {"batch_size": 1, "ms_per_batch": {"teacher": 1.0}, "ms_per_sentence": {"teacher": 1.0}, "precision": ""}
    timing |= {"length": 8, "threads": 1, "device": "cpu"}
    report = {"task": "SST-2", "latency": [timing], "students": {}, "settings": {}, "versions": {}}
    report |= {"teacher": {"dev": {"dev": {"accuracy": 0.5}}, "parameters": 1, "bytes": 1}}
    report |= {"phases": {"teacher": {**run, "notes": []}, "prediction": {**left, "notes": []}}}
    page = to_markdown(report)
    assert "| teacher | 1,234 |" in page
    assert "| prediction | 7, 2 skipped, 1 unscored |" in page


def test_a_train_split_without_labels_is_encoded_where_none_are_needed(
    tokenizer: PreTrainedTokenizerFast, csv_dir: Path, tmp_path: Path
) -> None:
    (csv_dir / "sst-2" / "train.csv").write_text("sentence,label\ngood film,\nbad film,-1\n")
    flags = {"data_dir": str(csv_dir), "output_dir": str(tmp_path / "out")}
    plan = resolve("SST-2", {}, flags)
    task, settings = plan.task, plan.options
    with pytest.raises(UserError, match="train.csv has no labels: label is empty or -1 in every row"):
        load_data(kind_of(task), settings, tokenizer)
    data = load_data(kind_of(task), settings, tokenizer, needs_labels=False)
    assert len(data.train) == 2
    assert "labels" not in data.train.column_names
    assert data.main_dev["labels"][:] == [1]
    assert data.collate([data.train[0], data.train[1]]).keys() >= {"input_ids", "attention_mask"}
