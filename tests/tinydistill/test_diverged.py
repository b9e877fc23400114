"""What cannot end well is not begun, and a run that diverges ends in a sentence: no student of NaN, no success."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from glue_tasks.errors import UserError
from glue_tasks.writers import write_json
from tinydistill.distiller import Distiller
from tinydistill.encoders import precision
from tinydistill.settings import resolve
from tinydistill.trainer import DistillationTrainer, not_finite

from .runs import NARROW, record, refused, run


def student(teacher: Path, *args: str) -> list[str]:
    return ["--teacher", str(teacher), "--student", NARROW, "--max-steps", "8", "--eval-steps", "2", *args]


class Poisoned:
    """From a step on, a value of one kind is not finite."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, what: str, step: int):
        original = DistillationTrainer.training_step

        def training_step(trainer: DistillationTrainer, model: Distiller, inputs: Any, *args: Any) -> torch.Tensor:
            loss = original(trainer, model, inputs, *args)
            if trainer.state.global_step == step - 1:
                if what == "loss":
                    name = model.objectives[-1].name
                    trainer._sums[name] = trainer._sums[name] * float("nan")
                weight = model.student.classifier.weight
                if what == "gradient":
                    weight.grad = torch.full_like(weight, float("inf"))
                if what == "weight":
                    weight.data[0, 0] = float("nan")
                    trainer._sums = {name: torch.zeros(()) for name in trainer._sums}  # and it is not seen in the loss
                    model.zero_grad()
            return loss

        monkeypatch.setattr(DistillationTrainer, "training_step", training_step)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("loss", "the loss of logits is not finite"),
        ("gradient", "the gradient is not finite"),
        ("weight", "the weights student.classifier.weight are not finite"),
    ],
)
def test_a_step_that_is_not_finite(
    data_dir: Path,
    teacher_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    what: str,
    told: str,
) -> None:
    with monkeypatch.context() as patch:
        Poisoned(patch, what, step=4)
        args = student(teacher_dir, "--learning-rate", "0.5")
        with pytest.raises(SystemExit) as stop:
            run("prediction", data_dir, tmp_path, *args)
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: training diverged: {told} at step 4 (learning rate 0.")
    assert "the last good checkpoint is that of step 2; start over with a lower --learning-rate" in error
    assert record(tmp_path / "prediction")["state"] == "running"
    assert not (tmp_path / "prediction" / "model.safetensors").exists()


def test_the_highest_rate_never_ends_with_weights_that_are_not_finite(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Without accident: whatever comes of it, success has finite weights and figures."""
    try:
        run("prediction", data_dir, tmp_path, *student(teacher_dir, "--learning-rate", "1"))
    except SystemExit:
        assert "training diverged" in capsys.readouterr().err
        return
    finite = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert finite["students"]["prediction"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--learning-rate", "1e3"], "learning_rate is 1000.0; it must be 1 or less"),
        (["--learning-rate", "nan"], "learning_rate is nan; it must be more than 0"),
        (["--weight-decay", "1e10"], "weight_decay is 10000000000.0; it must be 1 or less"),
        (["--temperature", "1e-30"], "temperature is 1e-30; it must be 0.01 or more"),
        (["--temperature", "inf"], "temperature is inf; it must be 1000 or less"),
        (["--epochs", "inf"], "epochs is inf; it must be 10000 or less"),
    ],
)
def test_what_cannot_work_is_refused(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture, args: list[str], told: str
) -> None:
    assert told in refused(capsys, "prediction", data_dir, tmp_path, *student(teacher_dir, *args))
    assert not (tmp_path / "prediction").exists()


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ({"max_grad_norm": float("inf")}, "max_grad_norm is inf; it must be 1000000 or less"),
        ({"prediction": {"warmup": 1.5}}, "warmup is 1.5; it must be 1 or less"),
        ({"seed": 2**32}, "seed is 4294967296; it must be 4294967295 or less"),
    ],
)
def test_what_a_recipe_cannot_say(recipe: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        resolve("SST-2", recipe, {})


def test_warm_up_of_all_steps(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.0 is a share: the rate rises to the end."""
    seen = []
    log = DistillationTrainer.log
    monkeypatch.setattr(
        DistillationTrainer, "log", lambda trainer, logs, *args: seen.append(logs) or log(trainer, logs, *args)
    )
    (tmp_path / "recipe.toml").write_text("[prediction]\nwarmup = 1.0\n")
    args = student(teacher_dir, "--logging-steps", "1", "--recipe", str(tmp_path / "recipe.toml"))
    args += ["--learning-rate", "1e-3"]
    run("prediction", data_dir, tmp_path, *args)
    rates = [logs["learning_rate"] for logs in seen if "learning_rate" in logs]
    assert rates == pytest.approx([1e-3 * step / 8 for step in range(8)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_no_json(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "report.json", {"score": value})
    assert list(tmp_path.iterdir()) == []


def test_the_first_weights_that_are_not_finite() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    assert not_finite(model) == ""
    model[1].bias.data[1] = float("inf")
    assert not_finite(model) == "1.bias"


def test_precision_of_each_kind_of_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs older than Ampere have no bf16, and multiply fp16; a processor takes neither for granted."""
    cuda, cpu, mps = (torch.device(kind) for kind in ("cuda", "cpu", "mps"))
    for has_bf16, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has_bf16: has)
        assert precision.resolve("auto", cuda) == expected
    for able, expected in (({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert precision.resolve("auto", cpu) == expected
    assert precision.resolve("auto", mps) == "float32"
    assert precision.resolve("fp16", cuda) == "fp16"
    with pytest.raises(Exception, match="precision fp16 is for GPUs; take bf16 or float32 on this processor"):
        precision.resolve("fp16", cpu)
