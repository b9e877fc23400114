"""Settings that must not change the result: losses, weights and answers agree to rounding."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

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


def test_stored_logits_are_those_of_the_teacher(plain: Result, data_dir: Path) -> None:
    """Of each row alone, in double precision, without padding."""
    (path,) = (plain.folder / "cache").glob("teacher-logits-*.arrow")
    stored = Dataset.from_file(str(path)).with_format("numpy")["teacher_logits"][:]
    settings = json.loads((plain.folder / "prediction" / "run.json").read_text(encoding="utf-8"))["settings"]
    teacher = AutoModelForSequenceClassification.from_pretrained(settings["teacher"]).double().eval()
    with open(data_dir / "SST-2" / "train.tsv", encoding="utf-8") as file:
        texts = [row["sentence"] for row in csv.DictReader(file, delimiter="\t")]
    with torch.no_grad():
        live = [teacher(**make_tokenizer()(text, return_tensors="pt")).logits[0].numpy() for text in texts]
    assert stored.shape == (108, 2)
    np.testing.assert_allclose(stored, np.stack(live), rtol=1e-4, atol=1e-5)
