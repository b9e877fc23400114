"""Of several tasks too: how a run is done does not change what it leaves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

import run_tinybert
from tests import forked
from tests.tinydistill import several_tasks
from tests.tinydistill.conftest import tiny_bert_config
from tests.tinydistill.runs import NARROW, record
from tests.tinydistill.test_interrupted import Stop

from .conftest import PHASES

TASKS = ("SST-2", "RTE", "STS-B")
LENGTHS = ["--intermediate-epochs", "2", "--prediction-epochs", "2", "--logging-steps", "2", "--batch-size", "8"]
LENGTHS += ["--intermediate-lr", "1e-3", "--prediction-lr", "1e-3", "--task-sampling", "0.5"]


@pytest.fixture(scope="module")
def command(
    data_dir: Path, teacher_dir: Path, tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> list[str]:
    """Both phases, to a student without dropout. Steps of 4, 5 and 1 examples end the passes over the tasks."""
    folder = tmp_path_factory.mktemp("several")
    several_tasks.make_files(folder / "data", data_dir / "SST-2")
    sts_b = folder / "data" / "STS-B" / "train.tsv"
    sts_b.write_text("".join(sts_b.read_text().splitlines(keepends=True)[:10]))  # 9 rows
    torch.manual_seed(3)
    still = tiny_bert_config(layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertForSequenceClassification(still).save_pretrained(folder / "student")
    tokenizer.save_pretrained(folder / "student")
    teachers = several_tasks.teachers_for(folder / "teachers", teacher_dir, tokenizer)
    args = several_tasks.args_of(folder / "data", teachers)
    return ["--phase", "all", *args, "--student", str(folder / "student"), *LENGTHS]


def run(command: Sequence[str], out: Path, *more: str) -> None:
    run_tinybert.main([*command, "--output-dir", str(out), *more])


def curves(out: Path, phases: Sequence[str] = PHASES) -> dict[str, list[dict[str, float]]]:
    """The losses of each phase as they were logged."""
    return {
        phase: [
            {name: value for name, value in entry.items() if name.startswith(("loss", "layer_"))}
            for entry in record(out / phase)["losses"]
        ]
        for phase in phases
    }


def weights(out: Path, phase: str = "prediction") -> dict[str, Any]:
    return {f"{task} {k}": v for task in TASKS for k, v in load_file(out / phase / task / "model.safetensors").items()}


def agree(out: Path, other: Path) -> None:
    """To rounding."""
    for phase, curve in curves(out).items():
        expected = curves(other)[phase]
        assert len(curve) == len(expected) > 1
        for own, entry in zip(curve, expected, strict=True):
            assert own == pytest.approx(entry, rel=2e-4), phase
    own, others = weights(out), weights(other)
    assert own.keys() == others.keys()
    for key, value in own.items():
        assert torch.allclose(value, others[key], atol=2e-4), key


@pytest.fixture(scope="module")
def plain(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain-several")
    run(command, out)
    return out


VARIANTS = {
    "accumulated": ["--batch-size", "2", "--accumulate", "4"],
    "padded": ["--padding", "max_length"],
    "live teacher": ["--no-cache-teacher"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_students(command: list[str], plain: Path, tmp_path: Path, variant: str) -> None:
    run(command, tmp_path, *VARIANTS[variant])
    agree(tmp_path, plain)


def test_gradient_checkpointing(command: list[str], plain: Path, tmp_path: Path) -> None:
    """To the last bit."""
    run(command, tmp_path, "--gradient-checkpointing")
    assert curves(tmp_path) == curves(plain)
    own, others = weights(tmp_path), weights(plain)
    assert all(torch.equal(value, others[key]) for key, value in own.items())


@pytest.mark.slow
def test_two_processes(command: list[str], plain: Path, tmp_path: Path) -> None:
    """Of half the batch each; in a short step one of them has nothing."""
    args = [*command, "--output-dir", str(tmp_path / "out"), "--batch-size", "4"]
    done = forked.run_together(2, ["run_tinybert.py", *args])
    assert [process.returncode for process in done] == [0, 0], done[0].stderr
    agree(tmp_path / "out", plain)
    assert [process.stdout.count("report.json") for process in done] == [1, 0]


@pytest.mark.parametrize(("phase", "at"), [("intermediate", 29), ("prediction", 5)])  # of two epochs of 21 steps
def test_interrupted(
    command: list[str], plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, at: int
) -> None:
    """To the last bit of a run that was not."""
    start = ["--student", str(plain / "intermediate" / "RTE")] if phase == "prediction" else []
    single = ["--phase", phase, *start, "--eval-steps", "3"]
    run(command, tmp_path / "whole", *single)
    monkeypatch.setattr(Stop, "at", at)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            run(command, tmp_path / "cut", *single)
        assert stop.value.code == 130
    run(command, tmp_path / "cut", *single, "--resume")
    assert record(tmp_path / "cut" / phase)["resumed"]
    assert curves(tmp_path / "cut", [phase]) == curves(tmp_path / "whole", [phase])
    assert record(tmp_path / "cut" / phase)["dev"] == record(tmp_path / "whole" / phase)["dev"]
    own, others = weights(tmp_path / "cut", phase), weights(tmp_path / "whole", phase)
    assert all(torch.equal(value, others[key]) for key, value in own.items())


@pytest.mark.slow
def test_killed_at_file_operations(command: list[str], tmp_path: Path) -> None:
    """Of a student with dropout, as `test_kill_points.py` does it for one task."""
    args = command[: command.index("--student")]
    kills = ["-m", "tests.invariants.kill_points", tmp_path / "runs", 105, 33]
    quick = ["--student", NARROW, "--batch-size", "8", "--logging-steps", "2", "--max-steps", "7", "--eval-steps", "3"]
    done = forked.run([*kills, "--", *args, *quick])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": equal") >= 2
