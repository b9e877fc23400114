"""Learning rates over a run: transformers' schedules by name, each after the warm-up."""

import contextlib
import math
from pathlib import Path

import pytest
import torch
from transformers import SchedulerType, get_scheduler

from tests.tinydistill.runs import NARROW, record, refused, run
from tinydistill.options import SCHEDULES

WARM, REST = [0, 0.25, 0.5, 0.75], range(4)  # of 8 steps
SHAPES = {
    "linear": [*WARM, *(1 - k / 4 for k in REST)],
    "constant": [*WARM, 1, 1, 1, 1],
    "constant_with_warmup": [*WARM, 1, 1, 1, 1],
    "cosine": [*WARM, *((1 + math.cos(math.pi * k / 4)) / 2 for k in REST)],
    "inverse_sqrt": [*WARM, *(1 / math.sqrt(1 + k / 4) for k in REST)],
}


def test_the_names_are_those_of_transformers() -> None:
    """All whose rate depends on the number of steps alone, and that need no numbers of their own."""
    found = []
    for kind in SchedulerType:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        with contextlib.suppress(ValueError, TypeError):
            made = get_scheduler(kind.value, optimizer, num_warmup_steps=1, num_training_steps=4)
            found += [kind.value] * isinstance(made, torch.optim.lr_scheduler.LambdaLR)
    assert set(found) == set(SCHEDULES)


@pytest.mark.parametrize("schedule", SHAPES)
def test_rates(schedule: str, data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    given = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "8", "--learning-rate", "1e-3"]
    given += ["--schedule", schedule, "--warmup", "0.5", "--logging-steps", "1"]
    run("intermediate", data_dir, tmp_path, *given)
    left = record(tmp_path / "intermediate")
    assert [entry["learning_rate"] / 1e-3 for entry in left["losses"]] == pytest.approx(SHAPES[schedule])
    assert (left["settings"]["schedule"], left["settings"]["warmup"]) == (schedule, 0.5)


def test_without_a_warm_up_constant_is_constant(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """As the intermediate phase is by default."""
    given = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "3", "--logging-steps", "1"]
    run("intermediate", data_dir, tmp_path, *given)
    assert [entry["learning_rate"] for entry in record(tmp_path / "intermediate")["losses"]] == [5e-5] * 3


def test_flags_of_one_phase_and_of_each(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run("all", tmp_path, tmp_path / "out", "--dry-run", "--prediction-schedule", "cosine", "--teacher-warmup", "0.2")
    printed = capsys.readouterr().out
    assert '"schedule": "cosine"' in printed
    assert '"warmup": 0.2' in printed
    error = refused(capsys, "all", tmp_path, tmp_path / "out", "--schedule", "cosine")
    assert "--schedule is for a single phase" in error
    error = refused(capsys, "baseline", tmp_path, tmp_path / "out", "--schedule", "cosin")
    assert "schedule is 'cosin'; it can be linear, cosine" in error
