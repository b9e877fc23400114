"""What a run says: to a person, to a program, to nobody, to a tracker."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from tests.tinydistill.runs import NARROW, record, refused, run


def given(teacher: Path, *args: str) -> list[str]:
    return ["--teacher", str(teacher), "--student", NARROW, "--max-steps", "4", "--eval-steps", "2", *args]


def test_lines_of_json(data_dir: Path, teacher_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing else is on standard output."""
    run("prediction", data_dir, tmp_path, *given(teacher_dir, "--log-format", "json"))
    said = capfd.readouterr()
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert {entry["phase"] for entry in entries} == {"prediction"}
    losses = [entry for entry in entries if "loss" in entry]
    assert [entry["step"] for entry in losses] == [2, 4]
    assert losses[0]["loss"] == pytest.approx(record(tmp_path / "prediction")["losses"][0]["loss"])
    assert "learning_rate" in losses[0]
    assert [entry["step"] for entry in entries if "eval_accuracy" in entry] == [2, 4]
    assert "report.json" in said.err


def test_a_quiet_run(data_dir: Path, teacher_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("prediction", data_dir, tmp_path, *given(teacher_dir, "--quiet"))
    assert capfd.readouterr() == ("", "")
    assert record(tmp_path / "prediction")["state"] == "finished"


def test_a_quiet_run_tells_what_is_wrong(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no student is named" in refused(
        capsys, "prediction", data_dir, tmp_path, "--teacher", str(teacher_dir), "--quiet"
    )


class Noted(TrainerCallback):
    """A tracker that keeps what it is sent."""

    entries: ClassVar[list[dict[str, Any]]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.entries.append(dict(logs or {}))


def test_a_tracker_is_sent_the_components(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "noted", Noted)
    monkeypatch.setattr("tinydistill.trackers.get_available_reporting_integrations", lambda: ["noted"])
    run("intermediate", data_dir, tmp_path, *given(teacher_dir, "--report-to", "noted"))
    assert any({"loss_attention", "loss_hidden", "learning_rate"} <= entry.keys() for entry in Noted.entries)
    assert any("eval_loss_hidden" in entry for entry in Noted.entries)


@pytest.mark.parametrize(
    ("names", "message"), [("tensorbored", "it is of"), ("wandb", "pip install wandb"), ("wandb,x", "it is of")]
)
def test_a_tracker_that_is_not_there(
    names: str,
    message: str,
    data_dir: Path,
    teacher_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tinydistill.trackers.get_available_reporting_integrations", lambda: [])
    if names == "wandb,x":
        monkeypatch.setattr("tinydistill.trackers.get_available_reporting_integrations", lambda: ["wandb"])
    assert message in refused(capsys, "prediction", data_dir, tmp_path, *given(teacher_dir, "--report-to", names))
    assert not (tmp_path / "prediction").exists()
