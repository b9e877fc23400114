"""A run that was out of disk goes on with --resume, and an unfinished phase is not passed over.

What an interrupted run leaves in the end: tests/invariants/test_interrupted.py.
"""

from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.tinydistill.runs import NARROW, QUICK, record, refused, run
from tinydistill.data import Collator
from tinydistill.progress import Progress
from tinydistill.trainer import DistillationTrainer


class Stop(Progress):
    """Ctrl-C after a number of steps."""

    at = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if state.global_step == self.at:
            raise KeyboardInterrupt


def test_a_full_disk_loses_nothing(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """Files of 40,000 bytes at most: the student fits, the optimizer's state beside it does not."""
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "4", "--eval-steps", "2"]
    command = ["--phase", "prediction", "--task", "SST-2", "--data-dir", str(data_dir), *QUICK, *args]
    limited = "import resource, sys, run_tinybert; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
    done = forked.run(["-c", f"{limited}run_tinybert.main(sys.argv[1:])", *command, "--output-dir", tmp_path])
    assert done.returncode == 2
    assert "error: the disk is full" in done.stderr.splitlines()[-1]
    assert "--resume" in done.stderr.splitlines()[-1]
    run("prediction", data_dir, tmp_path, *args, "--resume")
    assert record(tmp_path / "prediction")["steps"] == 4


def test_a_resumed_run_trains_on_the_rest_and_reads_nothing_else(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batches are those of a run that was not stopped; those before them are not even fetched."""
    trained: list[list] = []
    made: list[int] = []
    step, collate = DistillationTrainer.training_step, Collator.__call__

    def training_step(self: Any, model: Any, inputs: Any, *args: Any) -> Any:
        trained.append(inputs["input_ids"].tolist())
        return step(self, model, inputs, *args)

    def counted(self: Collator, examples: list) -> Any:
        made.append(len(examples))
        return collate(self, examples)

    monkeypatch.setattr(DistillationTrainer, "training_step", training_step)
    monkeypatch.setattr(Collator, "__call__", counted)
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--batch-size", "4", "--eval-steps", "10"]
    args += ["--epochs", "2", "--learning-rate", "1e-3"]
    run("baseline", data_dir, tmp_path / "whole", *args)
    whole = list(trained)
    assert (len(whole), made.count(4)) == (54, 54)  # 108 rows; dev's batches are larger
    for at in (15, 45):  # in the first and in the second of two epochs of 27 steps
        cut = tmp_path / f"cut-at-{at}"
        monkeypatch.setattr(Stop, "at", at)
        with monkeypatch.context() as patch:
            patch.setattr("tinydistill.phase_run.Progress", Stop)
            with pytest.raises(SystemExit):
                run("baseline", data_dir, cut, *args)
        trained.clear()
        made.clear()
        run("baseline", data_dir, cut, *args, "--resume")
        assert trained == whole[at // 10 * 10 :]
        assert made.count(4) == len(trained)


def test_prediction_does_not_pass_over_an_unfinished_intermediate_phase(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "20"]
    monkeypatch.setattr(Stop, "at", 9)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit):
            run("intermediate", data_dir, tmp_path, *args)
    capsys.readouterr()
    assert "holds an unfinished intermediate phase" in refused(capsys, "prediction", data_dir, tmp_path, *args)
