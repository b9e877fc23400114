"""Several runs at once: each is the run that a person would start by hand, and the table is of what they reached."""

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import run_tinybert
from glue_tasks.errors import UserError
from tests.tinydistill.runs import NARROW, record, refused, run
from tests.tinydistill.test_general import QUICK, corpus, still_teacher  # noqa: F401 - fixtures
from tinydistill import distill
from tinydistill.options import Options
from tinydistill.phases import PHASES
from tinydistill.sweep import Cell, _keys, cells, laid_over, summarise

STUDENTS = [PHASES["intermediate"], PHASES["prediction"]]


def test_the_runs_of_a_sweep() -> None:
    options = Options(seeds="3, 1", sweep=("batch-size=16,32", "prediction.learning_rate=1e-5,2e-5"))
    found = cells(options, STUDENTS)
    assert len(found) == 8
    assert [cell.folder for cell in found[:3]] == [
        "batch_size=16,prediction.learning_rate=1e-05/seed=3",
        "batch_size=16,prediction.learning_rate=1e-05/seed=1",
        "batch_size=16,prediction.learning_rate=2e-05/seed=3",
    ]
    assert found[-1] == Cell({"batch_size": 32, "prediction.learning_rate": 2e-5}, 1)
    assert [cell.folder for cell in cells(Options(seeds="7"), STUDENTS)] == ["seed=7"]
    one = cells(Options(sweep=("student=tinybert-4l-312d,some/folder",)), STUDENTS)
    assert [cell.folder for cell in one] == ["student=tinybert-4l-312d", "student=some-folder"]


def test_settings_of_a_run() -> None:
    given = {"seed": 9, "batch_size": 4, "prediction": {"epochs": 2.0}, "sweep": ["x"], "seeds": "1"}
    cell = Cell({"learning_rate": 1e-3, "prediction.warmup": 0.2, "temperature": 2.0}, 1)
    assert laid_over(given, cell, STUDENTS) == {
        "seed": 1, "batch_size": 4, "temperature": 2.0, "sweep": None, "seeds": None,
        "intermediate": {"learning_rate": 1e-3},
        "prediction": {"epochs": 2.0, "learning_rate": 1e-3, "warmup": 0.2},
    }  # fmt: skip
    assert given["prediction"] == {"epochs": 2.0}
    assert laid_over({"seed": 9}, Cell({"heads": "mean"}), STUDENTS)["seed"] == 9


MISTAKES = [
    (["--seeds", "1,1"], "different whole numbers"),
    (["--seeds", "1;2"], "different whole numbers"),
    (["--sweep", "batch_size"], "has the value ''"),
    (["--sweep", "batch_size=8,"], "has the value ''"),
    (["--sweep", "batch_size=8,x"], "has the value 'x', which is not of type int"),
    (["--sweep", "batch_size=8,8"], "has a value twice"),
    (["--sweep", "batch_size=8", "--sweep", "batch-size=16"], "varies batch_size twice"),
    (["--sweep", "seed=1,2"], "give --seeds for that"),
    (["--sweep", "output_dir=a,b"], "varies no setting"),
    (["--sweep", "corpus=a,b"], "varies no setting"),
    (["--sweep", "teacher_phase.learning_rate=1,2"], "varies no setting"),
    (["--sweep", "batch_size=8,0"], "batch_size is 0; it must be more than 0"),
    (["--sweep", "student=init:layers=2,nothing-like-it"], "nothing-like-it"),
    (["--seeds", "1,2", "--push-to-hub", "me/tiny"], "--push-to-hub takes one student"),
    (["--sweep", "temperature=1,2", "--resume", "--overwrite"], "exclude each other"),
]


@pytest.mark.parametrize(("args", "message"), MISTAKES)
def test_mistakes_are_told_before_the_first_run(
    args: list[str], message: str, data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = ["--teacher", str(teacher_dir), "--student", NARROW, *args]
    assert message in refused(capsys, "all", data_dir, tmp_path / "out", *given)
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("varied", ["mask_share=0.15,0.2", "masking=none,word", "segmenter=jieba,foo"])
def test_mistakes_on_text_are_told_before_the_first_run(
    varied: str,
    corpus: Path,  # noqa: F811
    still_teacher: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    objectives = ["--objectives", "general-minirbt"] if varied.startswith("masking") else []
    masking = ["--masking", "word"] if varied.startswith("segmenter") else []
    with pytest.raises(SystemExit) as stop:
        run_tinybert.main([
            "--phase", "general", "--corpus", str(corpus), "--teacher", str(still_teacher), "--student", NARROW,
            "--output-dir", str(tmp_path), *QUICK, *objectives, *masking, "--sweep", varied,
        ])  # fmt: skip
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("error: ") == 1
    assert not list(tmp_path.rglob("run.json"))


def keys(phases: Sequence[str], **changes: Any) -> dict[str, str]:
    return _keys([PHASES[name] for name in phases], Options(**{"student": "init:layers=1", **changes}))


def test_phases_that_runs_have_alike() -> None:
    both = ["intermediate", "prediction"]
    plain, warm = keys(both), keys(both, temperature=2.0)
    assert plain["intermediate"] == warm["intermediate"]
    assert plain["prediction"] != warm["prediction"]
    wide = keys(both, projection="shared")
    assert not set(wide.values()) & set(plain.values())
    for change in ({"layer_map": (0, 5)}, {"student": "init:layers=2"}, {"seed": 2}, {"max_length": 8}):
        assert keys(["baseline"], **change) != keys(["baseline"])
    assert keys(["prediction", "baseline"]) == {}  # the first starts from what is no phase of these runs


def same_weights(one: Path, other: Path) -> bool:
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return all(torch.equal(a[name], b[name]) for name in a | b)


def test_runs_are_those_by_hand_and_share_what_is_made_once(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    how = ["--student", NARROW, "--teacher-epochs", "1", "--allow-weak-teacher", "--max-steps", "2"]
    rates = ["--seeds", "1,2", "--sweep", "prediction.learning_rate=1e-3,1e-2"]
    given = ["--pretrained", str(masked_lm_dir), *how, *rates]
    run("all", data_dir, out, *given)
    said = capsys.readouterr().out
    assert "run 4 of 4: prediction.learning_rate=0.01/seed=2" in said
    assert "is optimistic" in said
    assert len(list(out.rglob("teacher-logits-*.arrow"))) == 1
    assert [path.parent for path in out.rglob("teacher")] == [out]
    copied = re.findall(r"intermediate: copied from \S*/(\S+)/seed=(\d)/intermediate", said)
    assert copied == [("prediction.learning_rate=0.001", "1"), ("prediction.learning_rate=0.001", "2")]

    by_hand = ["--teacher", str(out / "teacher"), *how, "--seed", "2"]
    run("intermediate", data_dir, tmp_path / "hand", *by_hand)
    run("prediction", data_dir, tmp_path / "hand", *by_hand, "--learning-rate", "1e-2")
    last = out / "prediction.learning_rate=0.01" / "seed=2" / "prediction"
    assert same_weights(last, tmp_path / "hand" / "prediction")

    summary = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert summary["by"] == "accuracy"
    for row in summary["settings"]:
        of_runs = [record(Path(each["path"]))["dev"]["accuracy"] for each in row["runs"]]
        assert row["dev"]["accuracy"]["mean"] == pytest.approx(sum(of_runs) / 2)
        assert row["dev"]["accuracy"]["spread"] == pytest.approx(statistics.stdev(of_runs))
    means = [row["dev"]["accuracy"]["mean"] for row in summary["settings"]]
    assert means == sorted(means, reverse=True)
    best = record(Path(summary["best"]["path"]))
    assert best["dev"]["accuracy"] == max(record(path.parent)["dev"].get("accuracy", 0) for path in out.rglob(
        "seed=*/prediction/run.json"))  # fmt: skip
    page = (out / "sweep.md").read_text(encoding="utf-8")
    assert "| prediction.learning_rate | runs | dev accuracy |" in page

    report = json.loads((last.parent / "report.json").read_text(encoding="utf-8"))
    assert list(report["phases"]) == ["intermediate", "prediction"]
    assert not list(out.rglob("*.partial"))

    (last.parent / "intermediate" / "run.json").write_text("{")
    run("all", data_dir, out, *given, "--overwrite")
    assert capsys.readouterr().out.count("intermediate: copied from") == 2
    assert same_weights(last, tmp_path / "hand" / "prediction")

    run("all", data_dir, out, *given[:-4], "--seeds", "1,2,3", "--sweep", "prediction.learning_rate=1e-2")
    assert capsys.readouterr().out.count("already finished with these settings") == 5  # the teacher's, two runs' phases


def test_the_best_by_losses_is_the_smallest(tmp_path: Path) -> None:
    for seed, loss in ((1, 2.0), (2, 0.5)):
        folder = tmp_path / f"seed={seed}" / "intermediate"
        folder.mkdir(parents=True)
        text = {"state": "finished", "settings": {"seed": seed}, "dev": {"loss_hidden": loss}}
        (folder / "run.json").write_text(json.dumps(text), encoding="utf-8")
    found = summarise(
        [Cell({}, 1), Cell({}, 2)], [tmp_path / f"seed={seed}" / "intermediate" for seed in (1, 2)], "accuracy"
    )
    assert found["best"]["seed"] == 2
    assert found["settings"][0]["dev"]["loss_hidden"] == {"mean": 1.25, "spread": pytest.approx(1.5 / 2**0.5)}


def test_on_text(corpus: Path, still_teacher: Path, tmp_path: Path) -> None:  # noqa: F811
    where = ["--corpus", str(corpus), "--teacher", str(still_teacher), "--output-dir", str(tmp_path)]
    how = ["--objectives", "general-minirbt", "--allow-weak-teacher", "--sweep", "mask_share=0.15,0.3"]
    run_tinybert.main(["--phase", "general", *where, *QUICK, *how, "--student", NARROW, "--max-steps", "2"])
    summary = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert summary["by"] == "masked_accuracy"
    assert {row["settings"]["mask_share"] for row in summary["settings"]} == {0.15, 0.3}
    assert len(list(tmp_path.rglob("corpus-*"))) == 1


def test_python_says_that_it_is_the_command_lines(teacher_dir: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    data = Dataset.from_dict({"text": ["good", "bad"], "label": [1, 0]})
    with pytest.raises(UserError, match="start a run for each"):
        distill(str(teacher_dir), NARROW, data, data, tmp_path, seeds="1,2")
