"""With --noise too, how a run is done does not change what it leaves."""

import subprocess
from pathlib import Path

import pytest

from tests.tinydistill.runs import record
from tests.tinydistill.test_interrupted import Stop

from .conftest import ROOT, Command, Result, torchrun

NOISE = ["--noise", "ngrams,deleting=0.2,long-shuffle=0.2:4,short-shuffle=0.2,masking=0.2"]
LENGTHS = ["--intermediate-epochs", "2", "--prediction-epochs", "2", *NOISE]


@pytest.fixture(scope="module")
def noised(command: Command, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("noised")
    command(out, *LENGTHS)
    return Result.read(out, data_dir)


def test_noise_is_another_run(noised: Result, plain: Result) -> None:
    assert noised.losses["intermediate"] != plain.losses["intermediate"]
    assert not list((noised.folder / "cache").glob("teacher-logits-*"))


def test_accumulated(command: Command, noised: Result, data_dir: Path, tmp_path: Path) -> None:
    command(tmp_path, *LENGTHS, "--batch-size", "4", "--accumulate", "2")
    Result.read(tmp_path, data_dir).agrees_with(noised)


@pytest.mark.slow
def test_two_processes(command: Command, noised: Result, data_dir: Path, tmp_path: Path) -> None:
    args = command.of(tmp_path, *LENGTHS, "--batch-size", "4")
    done = subprocess.run([*torchrun(2), *args], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    Result.read(tmp_path, data_dir).agrees_with(noised)


def test_interrupted_in_the_second_epoch(
    command: Command, noised: Result, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ["--phase", "intermediate", "--epochs", "2", "--eval-steps", "4", *NOISE, "--learning-rate", "1e-3"]
    monkeypatch.setattr(Stop, "at", 19)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            command(tmp_path, *args)
        assert stop.value.code == 130
    command(tmp_path, *args, "--resume")
    assert record(tmp_path / "intermediate")["resumed"]
    curve = [entry["loss"] for entry in record(tmp_path / "intermediate")["losses"]]
    assert curve == noised.losses["intermediate"]
