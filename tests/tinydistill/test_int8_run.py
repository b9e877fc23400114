"""--teacher-precision int8 through the command line, on the tiny task."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from tests.tinydistill.runs import NARROW, record, refused, run
from tests.tinydistill.test_interrupted import Stop
from tinydistill.encoders.cpu import int8

PHASES = ("intermediate", "prediction")
IN_8_BITS = ["--teacher-precision", "int8"]
pytestmark = pytest.mark.skipif(not int8.steps(), reason="8-bit products need an x86 processor and oneDNN")


@pytest.fixture(scope="module")
def given(teacher_dir: Path) -> list[str]:
    return ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "8"]


@pytest.fixture(scope="module")
def in_float32(data_dir: Path, given: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("float32")
    run("all", data_dir, out, *given)
    return out


@pytest.fixture(scope="module")
def in_8_bits(data_dir: Path, given: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8")
    run("all", data_dir, out, *given, *IN_8_BITS)
    return out


def losses(out: Path, phase: str) -> list[float]:
    return [entry["loss"] for entry in record(out / phase)["losses"]]


def logits(out: Path) -> list[np.ndarray]:
    return [
        Dataset.from_file(str(path)).with_format("numpy")["teacher_logits"][:]
        for path in sorted((out / "cache").glob("teacher-logits-*.arrow"), key=lambda path: path.stat().st_mtime_ns)
    ]


def test_the_losses_are_those_of_float32(in_float32: Path, in_8_bits: Path) -> None:
    """To two percent, and yet not the same: the teacher is another one."""
    for phase in PHASES:
        plain, found = losses(in_float32, phase), losses(in_8_bits, phase)
        assert len(found) == 5  # each two steps, and at the checkpoint of the epoch's end
        assert found == pytest.approx(plain, rel=0.02), phase
        assert found != plain
    (plain_logits,), (found_logits,) = logits(in_float32), logits(in_8_bits)
    assert not np.array_equal(plain_logits, found_logits)
    np.testing.assert_allclose(found_logits, plain_logits, atol=0.05 * np.abs(plain_logits).max())


def test_what_is_said_of_it(
    in_float32: Path, in_8_bits: Path, data_dir: Path, given: list[str], capsys: pytest.CaptureFixture
) -> None:
    note = "the teacher's blocks multiply in 8 bits, scaled by their largest inputs on 108 training rows"
    report = json.loads((in_8_bits / "report.json").read_text(encoding="utf-8"))
    for phase in PHASES:
        assert record(in_float32 / phase)["settings"]["teacher_precision"] == "auto"
        assert report["settings"][phase]["teacher_precision"] == "int8"
        assert any(line.startswith(note) for line in report["phases"][phase]["notes"])
        assert not any("8 bits" in line for line in record(in_float32 / phase)["notes"])
    assert note in (in_8_bits / "report.md").read_text(encoding="utf-8")
    for phase in PHASES:
        weights = load_file(in_8_bits / phase / "model.safetensors")  # of the student
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    capsys.readouterr()
    run("all", data_dir, in_8_bits, *given, *IN_8_BITS)
    assert capsys.readouterr().out.count("already finished") == 2
    run("baseline", data_dir, in_8_bits, *given)  # which learns nothing from the teacher
    assert "teacher_precision" not in record(in_8_bits / "baseline")["settings"]


def test_another_precision_is_another_run(
    data_dir: Path, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Told by its name; and the teacher's outputs that are kept are not taken for the other one's."""
    run("prediction", data_dir, tmp_path, *given, *IN_8_BITS)
    kept = losses(tmp_path, "prediction")
    told = refused(capsys, "prediction", data_dir, tmp_path, *given)
    assert "other settings (teacher_precision was 'int8' and is now 'auto')" in told
    run("prediction", data_dir, tmp_path, *given, "--overwrite")
    first, second = logits(tmp_path)
    assert not np.array_equal(first, second)
    run("prediction", data_dir, tmp_path, *given, *IN_8_BITS, "--overwrite")
    assert len(logits(tmp_path)) == 2
    assert losses(tmp_path, "prediction") == kept
    run("prediction", data_dir, tmp_path, *given, *IN_8_BITS, "--no-cache-teacher", "--overwrite")
    assert losses(tmp_path, "prediction") == pytest.approx(kept, rel=1e-3)


def test_interrupted_and_resumed(
    data_dir: Path, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    phase, args = "intermediate", [*given, "--eval-steps", "2"]
    run(phase, data_dir, tmp_path / "whole", *args, *IN_8_BITS)
    monkeypatch.setattr(Stop, "at", 5)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit):
            run(phase, data_dir, tmp_path / "cut", *args, *IN_8_BITS)
    capsys.readouterr()
    told = refused(capsys, phase, data_dir, tmp_path / "cut", *args, "--resume")
    assert "teacher_precision was 'int8' and is now 'auto'" in told
    run(phase, data_dir, tmp_path / "cut", *args, *IN_8_BITS, "--resume")
    assert record(tmp_path / "cut" / phase)["resumed"]
    assert losses(tmp_path / "cut", phase) == losses(tmp_path / "whole", phase)
    whole, cut = (load_file(tmp_path / name / phase / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(value, cut[key]) for key, value in whole.items())


def test_the_dev_score_is_that_of_the_teacher_in_8_bits(
    data_dir: Path, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One whose products come out as nothing is found out before anything is learned from it."""
    add = int8._dequantise
    monkeypatch.setattr(int8, "_compiled", lambda function: function)
    monkeypatch.setattr(int8, "_dequantise", lambda *of: 0 * add(*of))
    told = refused(capsys, "intermediate", data_dir, tmp_path, *given, *IN_8_BITS)
    assert "no better than chance" in told
    assert not (tmp_path / "intermediate").exists()


def test_where_it_cannot_be_had_it_is_said_at_once(
    data_dir: Path,
    masked_lm_dir: Path,
    given: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr("tinydistill.preparation.device", lambda: torch.device("mps"))
    args: list[Any] = ["--pretrained", str(masked_lm_dir), "--student", NARROW, *IN_8_BITS]
    assert "models run on mps here" in refused(capsys, "all", data_dir, tmp_path, *args)
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_nothing_is_begun(
    data_dir: Path, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("Failed to compile: no working C++ compiler found\nmore lines")

    monkeypatch.setattr(int8, "_compiled", lambda function: refuse)
    told = refused(capsys, "intermediate", data_dir, tmp_path, *given, *IN_8_BITS)
    assert told.startswith("error: 8-bit products could not be compiled; install a C++ compiler such as g++")
    assert not (tmp_path / "intermediate").exists()
