"""Benchmarks: `make bench` runs each, and without real data one says so in a sentence."""

import mmap
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import augmentation, distillation, step_profile, teacher_precision, textbrewer, training_data
from benchmarks.machine import MemoryWatch

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_runs_each_as_a_module() -> None:
    done = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = (
        "attention_loss augmentation distillation frozen_products objectives step_parts step_profile step_shares "
        "teacher_precision textbrewer training_data"
    )
    assert f"for name in {names};" in done.stdout
    assert "python -m benchmarks.$name" in done.stdout


@pytest.mark.parametrize(
    "benchmark", [augmentation, distillation, step_profile, teacher_precision, textbrewer, training_data]
)
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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_memory_that_comes_and_goes_is_seen(tmp_path: Path) -> None:
    size = 100 << 20
    with MemoryWatch() as memory:
        # From the system itself: the heap may have as much left over from other tests.
        held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        held.write(bytes(size))
        time.sleep(0.2)
        held.close()
    assert memory.anonymous_mb >= 95
    with open(tmp_path / "file", "wb") as file:
        file.write(bytes(size))
    with MemoryWatch() as memory:
        mapped = np.memmap(tmp_path / "file", dtype=np.uint8)
        assert mapped.sum() == 0
        time.sleep(0.2)
        del mapped
    assert memory.mapped_mb >= 95
    assert memory.anonymous_mb < 50


def test_the_training_file_is_repeated(tmp_path: Path) -> None:
    own = tmp_path / "glue" / "SST-2"
    own.mkdir(parents=True)
    for split in ("train", "dev"):
        (own / f"{split}.tsv").write_text("sentence\tlabel\na\t0\nb\t1\n", encoding="utf-8")
    file = training_data._write_rows(tmp_path / "glue", tmp_path / "data", 5)
    assert file.read_text(encoding="utf-8") == "sentence\tlabel\na\t0\nb\t1\na\t0\nb\t1\na\t0\n"
