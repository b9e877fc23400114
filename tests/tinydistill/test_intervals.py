"""When a run is evaluated and when it ends: --max-steps, shares of an epoch, early stopping; and resuming of each."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerState

from tests.tinydistill.runs import NARROW, record, refused, run
from tinydistill.intervals import EarlyStopping, ShareOfEpoch
from tinydistill.phase_run import PhaseRun
from tinydistill.runs import PhaseFolder

from .test_interrupted import Stop

PER_EPOCH = 7  # steps of 16 of 108 rows


def evaluated(folder: Path) -> list[int]:
    """The steps that were evaluated, as the last checkpoint's log has them; it is kept for this."""
    last = max((folder / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    history = json.loads((last / "trainer_state.json").read_text())["log_history"]
    return [entry["step"] for entry in history if any(name.startswith("eval_") for name in entry)]


@pytest.fixture
def checkpoints_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill between the last checkpoint and the end, but that the run says it is finished."""
    finish = PhaseFolder.finish

    def finish_and_keep(self: PhaseFolder, measured: dict[str, Any]) -> None:
        kept = self.path.parent / f"kept-{self.path.name}"
        shutil.copytree(self.checkpoints, kept)
        finish(self, measured)
        shutil.move(kept, self.checkpoints)

    monkeypatch.setattr(PhaseFolder, "finish", finish_and_keep)


def arguments(teacher_dir: Path, *args: str) -> list[str]:
    return ["--teacher", str(teacher_dir), "--student", NARROW, "--learning-rate", "1e-3", *args]


@pytest.mark.usefixtures("checkpoints_stay")
@pytest.mark.parametrize(
    ("args", "steps"),
    [
        (["--max-steps", "3"], [3]),  # less than an epoch
        (["--max-steps", "17"], [7, 14, 17]),  # more than one, once an epoch and at the end
        (["--max-steps", "17", "--eval-steps", "5"], [5, 10, 15, 17]),
        (["--max-steps", "17", "--eval-steps", "0.5"], [4, 7, 11, 14, 17]),
        (["--epochs", "2", "--eval-steps", "0.25"], [2, 4, 6, 7, 9, 11, 13, 14]),
        (["--epochs", "1.5", "--eval-steps", "0.9"], [7, 11]),
    ],
)
def test_steps_and_evaluations(
    args: list[str], steps: list[int], data_dir: Path, teacher_dir: Path, tmp_path: Path
) -> None:
    run("intermediate", data_dir, tmp_path, *arguments(teacher_dir, *args))
    left = record(tmp_path / "intermediate")
    assert (left["steps"], left["stopped_early"]) == (steps[-1], False)
    assert left["epochs"] == pytest.approx(steps[-1] / PER_EPOCH)
    assert evaluated(tmp_path / "intermediate") == steps
    assert left["losses"][-1]["step"] == steps[-1]  # also logged to the end


@pytest.mark.parametrize("share", [0.1, 0.125, 0.2, 0.25, 0.3, 1 / 3, 0.34, 0.5, 0.75, 0.999])
@pytest.mark.parametrize("per_epoch", [1, 2, 7, 10, 27, 1000])
def test_shares_of_an_epoch(share: float, per_epoch: int) -> None:
    """Evenly spaced to a step, and each epoch like the first one; the last at its end."""
    callback = ShareOfEpoch(share, per_epoch)
    first, second = (
        [step - start for step in range(start + 1, start + per_epoch + 1) if callback.is_due(step)]
        for start in (0, per_epoch)
    )
    times = min(round(1 / share), per_epoch)
    assert first == second
    assert len(first) == times
    assert first[-1] == per_epoch
    for k, step in enumerate(first, 1):
        assert 0 <= step - k * per_epoch / times < 1


@pytest.mark.parametrize(
    ("phase", "args"),
    [("intermediate", ["--max-steps", "10"]), ("baseline", ["--epochs", "0.5", "--eval-steps", "0.5"])],
)
def test_a_resume_after_the_last_checkpoint_takes_no_step(
    phase: str, args: list[str], data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step lies within an epoch."""
    given = arguments(teacher_dir, *args)
    run(phase, data_dir, tmp_path / "whole", *given)
    with monkeypatch.context() as patch:
        patch.setattr(PhaseRun, "_finish", _interrupted)
        with pytest.raises(SystemExit):
            run(phase, data_dir, tmp_path / "cut", *given)
    run(phase, data_dir, tmp_path / "cut", *given, "--resume")
    _is_like(tmp_path / "cut" / phase, tmp_path / "whole" / phase)


def _interrupted(*args: Any) -> None:
    raise KeyboardInterrupt


def _is_like(cut: Path, whole: Path) -> None:
    """Equal to the last bit, and resumed."""
    ours, theirs = record(cut), record(whole)
    assert ours["resumed"]
    for name in ("steps", "epochs", "stopped_early", "best_step", "dev", "losses", "notes"):
        assert ours[name] == theirs[name], name
    weights = load_file(whole / "model.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load_file(cut / "model.safetensors").items())


SCORES = {"eval_accuracy": [0.5, 0.7, 0.7, 0.6, 0.8, 0.8, 0.1, 0.9]}


@pytest.mark.parametrize(("patience", "stop"), [(1, 3), (2, 4), (3, None), (4, None)])
def test_patience_counts_evaluations_that_are_no_better(patience: int, stop: int | None) -> None:
    """A tie is no better, and a better score starts the count anew."""
    callback, state, found = EarlyStopping(patience, "accuracy"), TrainerState(), None
    for number, score in enumerate(SCORES["eval_accuracy"], 1):
        state.log_history += [{"loss": 1.0, "step": number}, {"eval_accuracy": score, "step": number}]
        if found is None and callback.is_over(state):
            found = number
    assert found == stop


def test_a_score_that_is_none_is_no_better() -> None:
    state = TrainerState(log_history=[{"eval_pearson": value} for value in (float("nan"), 0.1, float("nan"))])
    assert EarlyStopping(1, "pearson").is_over(state)
    assert not EarlyStopping(2, "pearson").is_over(state)


def stopping(teacher_dir: Path) -> list[str]:
    """A student that does not learn: its rate is too low for another score."""
    return [*arguments(teacher_dir), "--learning-rate", "1e-9", "--epochs", "5", "--eval-steps", "3", "--patience", "2"]


@pytest.fixture(scope="module")
def stopped(data_dir: Path, teacher_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stopped")
    run("baseline", data_dir, out, *stopping(teacher_dir))
    return out / "baseline"


def test_early_stopping_keeps_the_best(stopped: Path) -> None:
    left = record(stopped)
    assert (left["steps"], left["best_step"], left["stopped_early"]) == (9, 3, True)
    note = "stopped early, at step 9 of 35, after 2 evaluations without a better accuracy"
    assert note in left["notes"]
    assert note in (stopped.parent / "report.md").read_text()
    assert json.loads((stopped.parent / "report.json").read_text())["phases"]["baseline"]["stopped_early"]


def test_a_resumed_run_stops_where_another_does(
    stopped: Path, data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "at", 8)  # after two evaluations, the second no better
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit):
            run("baseline", data_dir, tmp_path, *stopping(teacher_dir))
    run("baseline", data_dir, tmp_path, *stopping(teacher_dir), "--resume")
    _is_like(tmp_path / "baseline", stopped)


def test_a_run_that_had_stopped_is_not_trained_on(
    stopped: Path, data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its last checkpoint and before its end."""
    with monkeypatch.context() as patch:
        patch.setattr(PhaseRun, "_finish", _interrupted)
        with pytest.raises(SystemExit):
            run("baseline", data_dir, tmp_path, *stopping(teacher_dir))
    run("baseline", data_dir, tmp_path, *stopping(teacher_dir), "--resume")
    _is_like(tmp_path / "baseline", stopped)


def test_patience_is_for_phases_that_keep_the_best(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    error = refused(capsys, "intermediate", data_dir, tmp_path, *arguments(teacher_dir), "--patience", "2")
    assert "--phase intermediate does not use --patience" in error
    run("all", data_dir, tmp_path, "--student", NARROW, "--patience", "2", "--dry-run")  # serves one of them
