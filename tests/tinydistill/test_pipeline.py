"""The command line from a pretrained model to a report, on a task that one word decides."""

import getpass
import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
)

import run_tinybert
from tests.tinydistill.runs import NARROW, QUICK, both_phases, record, refused, run

from .conftest import PIECES, make_tokenizer, tiny_bert_config

ROOT = Path(__file__).resolve().parents[2]


def test_the_teacher_learns_the_task(teacher_dir: Path) -> None:
    run_json = record(teacher_dir)
    assert run_json["dev"]["accuracy"] >= 0.95
    assert run_json["state"] == "finished"
    assert run_json["data"]["train"] == {"rows": 108, "cut": 0, "skipped": 0, "unscored": 0, "torn": 0}
    assert not (teacher_dir / "checkpoints").exists()
    model = AutoModelForSequenceClassification.from_pretrained(teacher_dir)
    assert model.config.id2label == {0: "negative", 1: "positive"}


def test_both_phases_and_the_report(finished: Path, teacher_dir: Path) -> None:
    report = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    student = report["students"]["prediction"]
    assert student["dev"]["dev"]["accuracy"] >= 0.9
    assert student["dev"]["dev"]["accuracy"] == record(finished / "prediction")["dev"]["accuracy"]
    model = AutoModelForSequenceClassification.from_pretrained(finished / "prediction")
    whole = AutoModelForSequenceClassification.from_pretrained(teacher_dir)
    assert student["parameters"] == sum(p.numel() for p in model.parameters())
    assert student["bytes"] == (finished / "prediction" / "model.safetensors").stat().st_size
    assert student["ratios"]["times_smaller"] == pytest.approx(whole.num_parameters() / model.num_parameters())
    assert [t["batch_size"] for t in report["latency"]] == [1, 32]
    assert all(t["ms_per_batch"]["prediction"] > 0 for t in report["latency"])
    losses = report["phases"]["intermediate"]["losses"]
    assert losses[-1]["loss"] < losses[0]["loss"] / 2
    for entry in losses:
        assert entry["loss"] == pytest.approx(entry["loss_attention"] + entry["loss_hidden"], rel=1e-4)
    page = (finished / "report.md").read_text(encoding="utf-8")
    assert "| distilled student |" in page
    assert f"{student['dev']['dev']['accuracy']:.4f}" in page
    card = ModelCard.load(finished / "prediction" / "README.md")
    assert card.data.eval_results[0].metric_value == round(student["dev"]["dev"]["accuracy"], 6)
    assert "**intermediate** learns from attention and hidden" in card.text
    assert str(finished) not in str(card)


def test_phase_one_leaves_head_and_pooler_alone(finished: Path) -> None:
    first, second = (load_file(finished / phase / "model.safetensors") for phase in ("intermediate", "prediction"))
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
    torch.manual_seed(0)
    run_json = record(finished / "intermediate")
    assert any("fresh weights" in note for note in run_json["notes"])
    assert (finished / "intermediate" / "projections.safetensors").is_file()
    assert not (finished / "prediction" / "projections.safetensors").exists()


def test_what_is_finished_is_left_alone(
    finished: Path, data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = shutil.copytree(finished, tmp_path / "copy")
    before = {p: p.stat().st_mtime_ns for phase in ("intermediate", "prediction") for p in (out / phase).iterdir()}
    run("all", data_dir, out, "--teacher", str(teacher_dir), "--student", NARROW, *both_phases("12", "1e-2"))
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert capsys.readouterr().out.count("already finished") == 2


def test_nothing_saved_tells_of_this_machine(finished: Path, tmp_path: Path) -> None:
    """No path but those the user passed, no name of host or user."""
    names = [socket.gethostname(), str(ROOT), str(Path.home())]
    for path in (*finished.rglob("*.json"), *finished.rglob("*.md"), *finished.rglob("*.safetensors")):
        content = path.read_bytes()
        for name in names:
            assert f"{name}/".encode() not in content.replace(str(tmp_path.parents[1]).encode(), b""), (path, name)
        assert f'"{getpass.getuser()}"'.encode() not in content
    assert not list(finished.rglob("*.bin"))
    assert not list(finished.rglob("*.pt"))


def test_a_baseline_joins_the_report(finished: Path, data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    # As many epochs as both phases together, unless said otherwise.
    run("baseline", data_dir, out, "--teacher", str(teacher_dir), "--student", NARROW, *both_phases("2", "5e-3"))
    assert record(out / "baseline")["settings"]["epochs"] == 4
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["students"].keys() == {"prediction", "baseline"}


def test_a_distilbert_student_of_a_bert_teacher(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    folder = tmp_path / "student"
    sizes = {"vocab_size": len(PIECES), "max_position_embeddings": 32}
    DistilBertModel(DistilBertConfig(**sizes, dim=24, n_layers=2, n_heads=2, hidden_dim=32)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    run("all", data_dir, tmp_path / "out", "--teacher", str(teacher_dir), "--student", str(folder), "--max-steps", "5")
    config = json.loads((tmp_path / "out" / "prediction" / "config.json").read_text())
    assert config["model_type"] == "distilbert"


def test_a_regression_of_pairs(masked_lm_dir: Path, tmp_path: Path) -> None:
    columns = [
        "index",
        "genre",
        "filename",
        "year",
        "old_index",
        "source1",
        "source2",
        "sentence1",
        "sentence2",
        "score",
    ]
    words = ["good", "great", "bad", "awful"]
    rows = [
        "\t".join(["0"] * 7 + [f"the film is {a}", f"the plot was {b}", "5.0" if a in ("good", "great") else "0.5"])
        for a in words
        for b in words
    ]
    folder = tmp_path / "STS-B"
    folder.mkdir()
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("\n".join(["\t".join(columns), *rows, *rows]) + "\n")
    args = ["--task", "STS-B", "--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "out"), *QUICK]
    made = ["--pretrained", str(masked_lm_dir), "--student", "init:layers=2", "--teacher-epochs", "60"]
    run_tinybert.main(["--phase", "all", *args, *made, "--teacher-lr", "5e-3", *both_phases("20", "2e-3")])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["teacher"]["dev"]["dev"]["pearson"] > 0.5
    assert report["students"]["prediction"]["dev"]["dev"]["pearson"] > 0.5
    assert "spearman" in report["students"]["prediction"]["dev"]["dev"]


def test_a_folder_belongs_to_one_task_teacher_and_student(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    model = AutoModelForSequenceClassification.from_pretrained(teacher_dir)
    model.classifier.bias.data += 0.1
    other_teacher = tmp_path / "other"
    model.save_pretrained(other_teacher)
    make_tokenizer().save_pretrained(other_teacher)
    given = ["--teacher", str(teacher_dir)]
    run("intermediate", data_dir, out, *given, "--student", NARROW, "--max-steps", "3")
    assert record(out / "intermediate")["losses"]  # shorter than an interval of the log, and yet told

    cola = tmp_path / "glue" / "CoLA"
    cola.mkdir(parents=True)
    for split in ("train", "dev"):
        (cola / f"{split}.tsv").write_text("g\t1\t\tthe film is good\ng\t0\t*\tbad the is\n")
    with pytest.raises(SystemExit):
        run_tinybert.main(["--phase", "prediction", "--task", "CoLA", "--data-dir", str(cola.parent), "--output-dir",
                           str(out), *QUICK, *given])  # fmt: skip
    capsys.readouterr()
    error = refused(capsys, "prediction", data_dir, out, "--teacher", str(other_teacher))
    assert "holds a student of the teacher" in error
    error = refused(capsys, "prediction", data_dir, out, *given, "--student", "init:layers=2")
    assert "made from shape:layers=2,hidden=16,heads=2,ffn=24, not from init:layers=2" in error
    error = refused(capsys, "prediction", data_dir, out, "--teacher", str(out / "prediction"))
    assert "lies in the folder that this phase writes" in error or "there is no model folder" in error

    absolute = str((out / "intermediate").resolve())
    run("prediction", data_dir, out, *given, "--student", absolute, "--max-steps", "3")
    assert record(out / "prediction")["settings"]["student"] == NARROW
    run("baseline", data_dir, out, "--teacher", str(other_teacher), "--student", NARROW, "--max-steps", "3")
    assert "prediction is left out of the report" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert report["students"].keys() == {"baseline"}
    assert report["students"]["baseline"]["made_from"] == NARROW


def test_the_students_fit_is_looked_at_before_the_teacher_is_trained(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    odd = tmp_path / "odd"
    BertForSequenceClassification(tiny_bert_config(layers=2)).save_pretrained(odd)
    make_tokenizer([*PIECES[:5], PIECES[6], PIECES[5], *PIECES[7:]]).save_pretrained(odd)
    out = tmp_path / "out"
    for student, message in ((str(odd), "another vocabulary"), ("shape:layers=2,hidden=20,heads=5,ffn=8", "5 heads"),
                             ("shape:layers=2,hidden=20,heads=3,ffn=8", "does not divide")):  # fmt: skip
        error = refused(capsys, "all", data_dir, out, "--pretrained", str(masked_lm_dir), "--student", student)
        assert message in error
    assert not (out / "teacher").exists()


def test_the_teacher_learns_from_the_file_that_is_named_and_not_from_variants(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path
) -> None:
    rows = (data_dir / "SST-2" / "train.tsv").read_text().splitlines()
    few = tmp_path / "few.tsv"
    few.write_text("\n".join(rows[:41]) + "\n")
    args = [
        "--pretrained",
        str(masked_lm_dir),
        "--student",
        "init:layers=2",
        "--max-steps",
        "2",
        "--allow-weak-teacher",
    ]
    run("all", data_dir, tmp_path / "a", *args, "--train-file", str(few))
    counts = {phase: record(tmp_path / "a" / phase)["data"]["train"]["rows"] for phase in ("teacher", "prediction")}
    assert counts == {"teacher": 40, "prediction": 40}
    shutil.copytree(data_dir, tmp_path / "data")
    shutil.copy(few, tmp_path / "data" / "SST-2" / "train_aug.tsv")
    run("all", tmp_path / "data", tmp_path / "b", *args, "--augmented")
    counts = {phase: record(tmp_path / "b" / phase)["data"]["train"]["rows"] for phase in ("teacher", "prediction")}
    assert counts == {"teacher": 108, "prediction": 40}


def test_another_pretrained_model_in_the_same_place_is_another_run(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    place = tmp_path / "pretrained"
    shutil.copytree(masked_lm_dir, place)
    args = ["--pretrained", str(place), "--max-steps", "2"]
    run("teacher", data_dir, tmp_path / "out", *args)
    capsys.readouterr()
    run("teacher", data_dir, tmp_path / "out", *args)
    assert "already finished" in capsys.readouterr().out
    torch.manual_seed(5)
    BertForMaskedLM(tiny_bert_config()).save_pretrained(place)
    assert "other pretrained weights" in refused(capsys, "teacher", data_dir, tmp_path / "out", *args)


def test_dry_run_prints_what_would_be_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run("all", tmp_path, tmp_path / "out", "--dry-run", "--prediction-epochs", "7")
    settings = json.loads(capsys.readouterr().out)
    assert settings["prediction"]["epochs"] == 7
    assert settings["max_length"] == 16
    assert "runs" not in settings
    run("all", tmp_path, tmp_path / "out", "--dry-run", "--seeds", "1,2", "--sweep", "batch_size=4,8")
    assert json.loads(capsys.readouterr().out)["runs"] == [f"batch_size={b}/seed={s}" for b in (4, 8) for s in (1, 2)]
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_with_flags(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "r.toml").write_text('task = "SST-2"\nseed = 7\n[prediction]\nepochs = 9\n')
    run_tinybert.main(["--phase", "all", "--recipe", str(tmp_path / "r.toml"), "--seed", "8", "--dry-run"])
    settings = json.loads(capsys.readouterr().out)
    assert (settings["task"], settings["seed"], settings["prediction"]["epochs"]) == ("SST-2", 8, 9)
