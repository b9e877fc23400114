"""The command line with a teacher whose outputs are in another order: the same students, or a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import run_tinybert
from tests.tinydistill import runs
from tests.tinydistill.runs import NARROW, QUICK
from tinydistill import checks


def run(phase: str, data: Path, out: Path | None, *args: str) -> None:
    runs.run(phase, data, out, "--max-steps", "8", *args)


def refused(capsys: pytest.CaptureFixture, *args: object) -> str:
    return runs.refused(capsys, *args, "--max-steps", "8")


def copy_of(teacher: Path, folder: Path, names: list[str], turned: bool) -> Path:
    """The teacher under other names for its outputs, its head turned round or not."""
    shutil.copytree(teacher, folder, ignore=shutil.ignore_patterns("run.json"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["id2label"] = dict(enumerate(names))
    config["label2id"] = {name: i for i, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if turned:
        weights = load_file(folder / "model.safetensors")
        for name in ("classifier.weight", "classifier.bias"):
            weights[name] = weights[name].flip(0).contiguous()
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("student", [NARROW, "init:layers=2"])
def test_a_teacher_in_another_order_makes_the_same_student(
    student: str, data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    turned = copy_of(teacher_dir, tmp_path / "turned", ["POSITIVE", "NEGATIVE"], turned=True)
    for name, teacher in (("plain", teacher_dir), ("other", turned)):
        run("all", data_dir, tmp_path / name, "--teacher", str(teacher), "--student", student)
        run("baseline", data_dir, tmp_path / name, "--teacher", str(teacher), "--student", student)
    for phase in ("intermediate", "prediction", "baseline"):
        plain, other = (load_file(tmp_path / name / phase / "model.safetensors") for name in ("plain", "other"))
        assert plain.keys() == other.keys()
        assert all(torch.equal(plain[key], other[key]) for key in plain), phase
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("plain", "other")]
    assert reports[0]["teacher"]["dev"] == reports[1]["teacher"]["dev"]
    assert reports[0]["students"]["prediction"]["dev"] == reports[1]["students"]["prediction"]["dev"]
    told = f"the model {turned} has its labels in the order POSITIVE, NEGATIVE; its outputs were put into the order of"
    assert f"note: {told}" in capsys.readouterr().out
    page = (tmp_path / "other" / "report.md").read_text(encoding="utf-8")
    assert page.count(told) == 3
    # A second start finds its own folder again, and the reordered teacher in it.
    run("all", data_dir, tmp_path / "other", "--teacher", str(turned), "--student", student)
    assert capsys.readouterr().out.count("already finished") == 2


def test_a_fine_tuning_that_starts_from_another_order(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """As --pretrained and as --student: the same model comes out, and it is said."""
    turned = copy_of(teacher_dir, tmp_path / "turned", ["positive", "negative"], turned=True)
    for name, start in (("plain", teacher_dir), ("other", turned)):
        run("teacher", data_dir, tmp_path / name, "--pretrained", str(start))
        run("prediction", data_dir, tmp_path / name, "--teacher", str(teacher_dir), "--student", str(start))
    for phase in ("teacher", "prediction"):
        plain, other = (load_file(tmp_path / name / phase / "model.safetensors") for name in ("plain", "other"))
        assert all(torch.equal(plain[key], other[key]) for key in plain), phase
        notes = [json.loads((tmp_path / name / phase / "run.json").read_text())["notes"] for name in ("plain", "other")]
        told = f"the head of {turned} was put into the order of the task's labels"
        assert [told in each for each in notes] == [False, True]


def test_other_labels_are_told_before_an_augmentation(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = copy_of(teacher_dir, tmp_path / "other", ["cat", "dog"], turned=False)
    args = ["--teacher", str(other), "--student", NARROW, "--augment", "--mlm", "none", "--several-pieces", "mask"]
    error = refused(capsys, "all", data_dir, tmp_path / "out", *args)
    assert f"the model {other} has the labels cat, dog, SST-2 has negative, positive; choose a model of this" in error
    assert not (tmp_path / "out").exists()


def test_evaluate_puts_the_order_right_and_says_so(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    turned = copy_of(teacher_dir, tmp_path / "turned", ["1", "0"], turned=True)
    run("evaluate", data_dir, None, "--teacher", str(teacher_dir), "--student", str(turned))
    note, plain, other = capsys.readouterr().out.splitlines()
    assert note.startswith(f"note: the model {turned} has its labels in the order 1, 0")
    assert plain.removeprefix("teacher").split("(")[0] == other.removeprefix("student").split("(")[0]


def test_a_model_without_names_in_the_tasks_order(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    unnamed = copy_of(teacher_dir, tmp_path / "unnamed", ["LABEL_0", "LABEL_1"], turned=False)
    run("evaluate", data_dir, None, "--student", str(unnamed))
    run("prediction", data_dir, tmp_path / "out", "--teacher", str(unnamed), "--student", NARROW)
    assert "does not name its labels" not in capsys.readouterr().out
    config = json.loads((tmp_path / "out" / "prediction" / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}


@pytest.mark.parametrize("phase", ["intermediate", "evaluate"])
@pytest.mark.parametrize("names", [["LABEL_0", "LABEL_1"], ["negative", "positive"]])
def test_outputs_that_mean_other_labels(
    phase: str, names: list[str], data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    wrong = copy_of(teacher_dir, tmp_path / "wrong", names, turned=True)
    out = tmp_path / "out"
    students = ["--student", NARROW] if phase == "intermediate" else []
    if phase == "evaluate" and names[0] == "negative":
        run(phase, data_dir, None, "--teacher", str(wrong))  # a score is what was asked for, and it is low
        assert "accuracy 0.0" in capsys.readouterr().out
        return
    if names[0] == "negative":  # names are believed, and there is a way to go on with them
        with pytest.raises(SystemExit):
            runs.run(phase, data_dir, out, "--teacher", str(wrong), *students, "--max-steps", "8")
        said = capsys.readouterr()
        assert f"note: by 36 dev rows the labels of {wrong} are in the order positive, negative" in said.out
        assert "no better than chance" in said.err
        runs.run(phase, data_dir, out, "--teacher", str(wrong), *students, "--max-steps", "8", "--allow-weak-teacher")
        assert any("are in the order positive, negative" in note for note in runs.record(out / phase)["notes"])
        return
    error = refused(capsys, phase, data_dir, out, "--teacher", str(wrong), *students)
    assert f"the labels of {wrong} are in the order positive, negative, not in that of SST-2" in error
    assert not (out / "intermediate").exists()


def test_a_model_without_names_that_dev_cannot_tell(
    data_dir: Path,
    teacher_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rows of dev, both right."""
    unnamed = copy_of(teacher_dir, tmp_path / "unnamed", ["LABEL_0", "LABEL_1"], turned=False)
    shutil.copytree(data_dir, tmp_path / "data")
    rows = (data_dir / "SST-2" / "dev.tsv").read_text().splitlines()
    one_of_each = [next(row for row in rows if row.endswith(label)) for label in "01"]
    (tmp_path / "data" / "SST-2" / "dev.tsv").write_text("\n".join([rows[0], *one_of_each]) + "\n")
    args = ["--teacher", str(unnamed), "--student", NARROW]
    with monkeypatch.context() as patch:  # which finds fault with so few rows before
        patch.setattr(checks, "check_score", lambda *args: "")
        error = refused(capsys, "intermediate", tmp_path / "data", tmp_path / "out", *args)
    assert "does not name its labels, and 2 dev rows cannot tell" in error
    assert not (tmp_path / "out" / "intermediate").exists()
    run("intermediate", tmp_path / "data", tmp_path / "out", *args, "--allow-weak-teacher")
    assert "note: the model" in capsys.readouterr().out
    run("evaluate", tmp_path / "data", None, "--teacher", str(unnamed))
    assert "cannot tell whether they are in the order negative, positive or positive, negative" in (
        capsys.readouterr().out
    )


def test_mnli_selects_by_the_matched_set_and_reports_both(masked_lm_dir: Path, tmp_path: Path) -> None:
    """The mismatched set has the labels turned round: what is best on one is worst on the other."""
    folder = tmp_path / "data" / "MNLI"
    folder.mkdir(parents=True)
    labels = ("entailment", "neutral", "contradiction")
    words = ("good", "not", "bad")
    rows = [f"the film is {a}\t{words[i]} {a}\t{labels[i]}" for a in ("fine", "poor", "great") for i in (0, 1, 2)] * 3
    turned = [row.rpartition("\t")[0] + f"\t{labels[labels.index(row.rpartition(chr(9))[2]) - 1]}" for row in rows]
    files = {"train": rows * 3, "dev_matched": rows, "dev_mismatched": turned}
    for name, lines in files.items():
        text = "\n".join(["sentence1\tsentence2\tgold_label", *lines]) + "\n"
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    args = ["--task", "MNLI", "--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "out"), *QUICK]
    args += ["--pretrained", str(masked_lm_dir), "--student", "init:layers=2", "--teacher-lr", "2e-3"]
    run_tinybert.main(["--phase", "all", *args, "--max-steps", "200", "--eval-steps", "40"])
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    for phase, entry in (("teacher", report["teacher"]), ("prediction", report["students"]["prediction"])):
        assert entry["dev"].keys() == {"dev", "dev_mismatched"}
        assert report["phases"][phase]["dev"]["accuracy"] == entry["dev"]["dev"]["accuracy"]
    assert report["teacher"]["dev"]["dev"]["accuracy"] > 0.9
    assert report["teacher"]["dev"]["dev_mismatched"]["accuracy"] < 0.1
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| dev accuracy | dev_mismatched accuracy |" in page
