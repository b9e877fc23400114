"""Benchmarks: `make bench` runs each, and without real data one says so in a sentence."""

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import augmentation, distillation

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_runs_each_as_a_module() -> None:
    done = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "for name in attention_loss augmentation distillation training_data;" in done.stdout
    assert "python -m benchmarks.$name" in done.stdout


@pytest.mark.parametrize("benchmark", [augmentation, distillation])
def test_without_real_data(
    benchmark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        benchmark.main()
    assert stop.value.code == 2
    told = "error: there is no ../shared/data/glue, on which this is measured; name another with --data-dir\n"
    assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == []
