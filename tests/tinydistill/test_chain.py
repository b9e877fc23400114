"""Chains of students: each stage equals the run that a person would make by hand, and what cannot be is told."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

import run_tinybert
from tests.tinydistill.runs import NARROW, both_phases, record, refused, run
from tests.tinydistill.test_general import QUICK, corpus, still_teacher  # noqa: F401 - fixtures
from tests.tinydistill.test_interrupted import Stop
from tinydistill import distill
from tinydistill.chain import parse, stage_options, stage_routes
from tinydistill.options import Options

SMALL = f"small={NARROW}"
LONG = f"teacher>half=init:layers=2>{SMALL}"


def test_how_a_chain_is_read() -> None:
    stages = parse("teacher > RBT6 > last=init:layers=0,2 > minirbt-h256")
    assert [stage.route for stage in stages] == [
        ("rbt6",),
        ("rbt6", "last"),
        ("rbt6", "last", "minirbt-h256"),
    ]
    assert [stage.student for stage in stages] == ["RBT6", "init:layers=0,2", "minirbt-h256"]
    assert [stage.title for stage in stages] == [
        "rbt6", "last by way of rbt6", "minirbt-h256 by way of rbt6, last"]  # fmt: skip
    assert [stage.route[-1] for stage in parse("teacher>init:layers=0,2,4>some/folder>someone/model")] == [
        "init-layers-0-2-4", "folder", "model"]  # fmt: skip


def test_the_settings_of_each_stage() -> None:
    options = Options(chain=LONG, teacher=("a=x", "b=y"), teacher_weights="1,2", output_dir="out", seed=3)
    first, second = stage_options(options, "prediction")
    assert first.teachers == {"a": "x", "b": "y"}
    assert (first.student, first.output_dir, first.teacher_weights) == ("init:layers=2", "out/half", "1,2")
    assert second.teachers == {"teacher": "out/half/prediction"}
    assert (second.student, second.output_dir, second.teacher_weights) == (NARROW, "out/half/small", "")
    assert first.cache == second.cache == Path("out/cache")
    assert {first.seed, second.seed} == {3}
    assert list(stage_options(plain := Options(student="x"), "prediction")) == [plain]


def same_weights(one: Path, other: Path) -> bool:
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return all(torch.equal(a[name], b[name]) for name in a | b)


def test_a_chain_is_the_runs_one_by_one(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """And stands in a report beside the same student without the assistant."""
    how = ["--teacher", str(teacher_dir), *both_phases("2", "1e-2")]
    out = tmp_path / "chain"
    run("all", data_dir, out, *how, "--chain", LONG)
    for phase in ("intermediate", "prediction"):
        by_hand = ["--teacher", str(teacher_dir), "--student", "init:layers=2", "--epochs", "2", "--learning-rate"]
        run(phase, data_dir, tmp_path / "one", *by_hand, "1e-2")
    for phase in ("intermediate", "prediction"):
        by_hand = ["--teacher", str(tmp_path / "one" / "prediction"), "--student", NARROW, "--epochs", "2"]
        run(phase, data_dir, tmp_path / "two", *by_hand, "--learning-rate", "1e-2")
    assert same_weights(out / "half" / "prediction", tmp_path / "one" / "prediction")
    assert same_weights(out / "half" / "small" / "prediction", tmp_path / "two" / "prediction")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert list(report["students"]) == ["half/prediction", "half/small/prediction"]
    assert not (out / "half" / "cache" / "train.arrow").exists()

    capsys.readouterr()
    run("all", data_dir, out, *how, "--chain", f"teacher>{SMALL}", "--resume")
    assert "small by way of half, distilled student" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    students = report["students"]
    assert list(students) == ["half/prediction", "half/small/prediction", "small/prediction"]
    assert students["small/prediction"]["parameters"] == students["half/small/prediction"]["parameters"]
    for student in students.values():  # all beside the chain's teacher
        assert student["ratios"]["times_smaller"] == pytest.approx(
            report["teacher"]["parameters"] / student["parameters"]
        )
    page = (out / "report.md").read_text(encoding="utf-8")
    assert "| small by way of half, distilled student |" in page
    assert "| small, distilled student |" in page
    run("all", data_dir, out, *how, "--chain", LONG, "--resume")
    said = capsys.readouterr().out
    assert said.count("already finished with these settings") == 4
    # A stage of an assistant that has since become another one.
    path = out / "half" / "small" / "prediction" / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"teacher_weights": "', '"teacher_weights": "0'))
    run("all", data_dir, out, *how, "--chain", f"teacher>{SMALL}", "--resume")
    assert f"{path.parent} is left out of the report" in capsys.readouterr().out


def test_a_chain_that_makes_its_teacher_is_resumed(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the middle of its second stage, into the same student."""
    how = ["--pretrained", str(masked_lm_dir), "--teacher-epochs", "1", "--allow-weak-teacher", "--chain", LONG,
           "--eval-steps", "1", *both_phases("1", "1e-2")]  # fmt: skip
    run("all", data_dir, tmp_path / "usual", *how)
    steps = record(tmp_path / "usual" / "half" / "small" / "prediction")["steps"]
    assert record(tmp_path / "usual" / "half" / "prediction")["steps"] == steps

    class InTheSecondStage(Stop):
        def on_step_end(self, args: Any, *rest: Any, **kwargs: Any) -> None:
            if "small/prediction" in args.output_dir:
                super().on_step_end(args, *rest, **kwargs)

    monkeypatch.setattr(InTheSecondStage, "at", steps - 1)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", InTheSecondStage)
        with pytest.raises(SystemExit):
            run("all", data_dir, tmp_path / "again", *how)
    assert not (tmp_path / "again" / "half" / "small" / "prediction" / "model.safetensors").exists()
    run("all", data_dir, tmp_path / "again", *how, "--resume")
    last = Path("half", "small", "prediction")
    assert record(tmp_path / "again" / last)["resumed"]
    assert same_weights(tmp_path / "again" / last, tmp_path / "usual" / last)


def on_text(text: Path, teacher: Path, out: Path, *args: str) -> None:
    where = ["--corpus", str(text), "--teacher", str(teacher), "--output-dir", str(out), "--batch-size", "8"]
    run_tinybert.main(["--phase", "general", *where, *QUICK, *args])


@pytest.mark.parametrize("objectives", ["general-minirbt", "general-tinybert"])
def test_a_chain_on_text(objectives: str, corpus: Path, still_teacher: Path, tmp_path: Path) -> None:  # noqa: F811
    how = ["--objectives", objectives, "--allow-weak-teacher"]
    on_text(corpus, still_teacher, tmp_path, *how, "--chain", LONG)
    on_text(corpus, still_teacher, tmp_path, *how, "--chain", f"teacher>{SMALL}")
    assert len(list(tmp_path.rglob("corpus-*"))) == 1  # tokenised once
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert list(report["students"]) == ["half/general", "half/small/general", "small/general"]
    long, short = report["students"]["half/small/general"], report["students"]["small/general"]
    assert long["parameters"] == short["parameters"]
    assert long["taught_by"] == str(tmp_path / "half" / "general")
    assert long["held_out"] == record(tmp_path / "half" / "small" / "general")["dev"]
    assert list(stage_routes(tmp_path, ["general"])) == [("half",), ("half", "small"), ("small",)]
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| small by way of half |" in page
    assert ("pseudo_perplexity" in page) == (objectives == "general-minirbt")
    assert ("loss_hidden |" in page) == (objectives == "general-tinybert")


def test_from_python(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    rows = (data_dir / "SST-2" / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    pairs = [row.split("\t") for row in rows]
    data = Dataset.from_dict({"text": [text for text, _ in pairs], "label": [int(label) for _, label in pairs]})
    model = distill(str(teacher_dir), LONG, data, data, tmp_path, max_steps=2, max_length=16, precision="float32")
    assert model.config.hidden_size == 16
    assert record(tmp_path / "half" / "small" / "prediction")["steps"] == 2


def test_a_dry_run_shows_each_stage(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run("all", data_dir, tmp_path, "--teacher", str(teacher_dir), "--chain", LONG, "--dry-run")
    found = json.loads(capsys.readouterr().out)["resolved_objectives"]
    assert list(found) == ["half", "small by way of half"]
    hidden = {stage: phases["intermediate"][1] for stage, phases in found.items()}
    assert hidden["half"]["projection"] == "none"
    assert hidden["small by way of half"]["projection"] != "none"


MISTAKES = [
    ("rbt6>minirbt-h256", "it begins with the teacher"),
    ("teacher", "goes on with students"),
    ("teacher>>rbt6", "has a stage without a student"),
    ("teacher>half=", "has a stage without a student"),
    (f"{LONG}>half=init:layers=1", "comes back to half"),
    (f"{LONG}>teacher", "comes back to teacher"),
    (f"teacher>cache={NARROW}", "has a stage 'cache', which is another folder or file of a run"),
    (f"teacher>Cache={NARROW}", "which is another folder or file of a run"),
    (f"teacher>report.md={NARROW}", "which is another folder or file of a run"),
    (f"teacher>..={NARROW}", "has a stage '..', which no folder can be called"),
    (f"teacher>a={NARROW}>.=init:layers=1", "has a stage '.', which no folder can be called"),
    (f"teacher>a={NARROW}>A=init:layers=1", "comes back to A"),
    ("teacher>init:layers=2>nothing-like-it", "nothing-like-it"),
    (f"teacher>{SMALL}>init:layers=3", "3 layers"),
    ("teacher>init:layers=x", "cannot be read"),
]


@pytest.mark.parametrize(("chain", "message"), MISTAKES)
def test_mistakes_are_told_before_the_first_stage(
    chain: str, message: str, data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert message in refused(capsys, "all", data_dir, out, "--teacher", str(teacher_dir), "--chain", chain)
    assert not list(out.rglob("run.json"))


def test_what_goes_with_no_chain(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    how = [data_dir, tmp_path / "out", "--teacher", str(teacher_dir), "--chain", LONG]
    assert "leave --student out" in refused(capsys, "all", *how, "--student", NARROW)
    assert "--phase baseline does not use --chain" in refused(capsys, "baseline", *how)
    assert not (tmp_path / "out").exists()
