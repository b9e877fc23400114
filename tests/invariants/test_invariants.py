"""Settings that must not change the result: losses, weights and answers agree to rounding."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

from tests import forked
from tests.tinydistill.conftest import make_tokenizer

from .conftest import Command, Result

VARIANTS = {
    "accumulated": ["--batch-size", "4", "--accumulate", "2"],
    "padded": ["--padding", "max_length"],
    "live teacher": ["--no-cache-teacher"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_student(command: Command, plain: Result, data_dir: Path, tmp_path: Path, variant: str) -> None:
    command(tmp_path, *VARIANTS[variant])
    Result.read(tmp_path, data_dir).agrees_with(plain)
    cached = list((tmp_path / "cache").glob("teacher-logits-*.arrow"))
    assert len(cached) == (variant != "live teacher")


def test_gradient_checkpointing(command: Command, plain: Result, data_dir: Path, tmp_path: Path) -> None:
    """In both phases, to the last bit."""
    command(tmp_path, "--gradient-checkpointing")
    Result.read(tmp_path, data_dir).equals(plain)


@pytest.mark.parametrize("variant", ["accumulated", "padded"])
def test_the_same_baseline(command: Command, data_dir: Path, tmp_path: Path, variant: str) -> None:
    """As a teacher too is trained: on gold labels."""
    found = []
    for name, args in (("plain", []), (variant, VARIANTS[variant])):
        command(tmp_path / name, "--phase", "baseline", "--epochs", "2", "--learning-rate", "1e-3", *args)
        found.append(Result.read(tmp_path / name, data_dir, ["baseline"]))
    found[1].agrees_with(found[0])


@pytest.mark.slow
def test_two_processes(command: Command, plain: Result, data_dir: Path, tmp_path: Path) -> None:
    """Of half the batch each; in the last step of an epoch one of them has nothing."""
    done = forked.run_together(2, ["run_tinybert.py", *command.of(tmp_path, "--batch-size", "4")])
    assert [process.returncode for process in done] == [0, 0], done[0].stderr
    Result.read(tmp_path, data_dir).agrees_with(plain)
    assert [process.stdout.count("teacher on dev") for process in done] == [2, 0]  # once in each phase
    assert [process.stdout.count("report.json") for process in done] == [1, 0]


def test_stored_logits_are_those_of_the_teacher(command: Command, plain: Result) -> None:
    """Of each row alone, in double precision, without padding."""
    (path,) = (plain.folder / "cache").glob("teacher-logits-*.arrow")
    stored = Dataset.from_file(str(path)).with_format("numpy")["teacher_logits"][:]
    settings = json.loads((plain.folder / "prediction" / "run.json").read_text(encoding="utf-8"))["settings"]
    teacher = AutoModelForSequenceClassification.from_pretrained(settings["teacher"]).double().eval()
    with torch.no_grad():
        live = [teacher(**make_tokenizer()(text, return_tensors="pt")).logits[0].numpy() for text in command.texts()]
    assert stored.shape == (105, 2)
    np.testing.assert_allclose(stored, np.stack(live), rtol=1e-4, atol=1e-5)
