"""Both phases through the command line, on tiny models and a task that one word decides."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

import run_tinybert
import tinydistill.__main__ as tinydistill
from tests.tinydistill.conftest import (  # noqa: F401 - fixtures
    data_dir,
    make_tokenizer,
    masked_lm_dir,
    tiny_bert_config,
    tokenizer,
)

PHASES = ("intermediate", "prediction")


@dataclass(frozen=True)
class Command:
    """The arguments that every run has in common."""

    args: tuple[str, ...]

    def of(self, out: Path, *args: str) -> list[str]:
        """Arguments of run_tinybert.py; those given last win."""
        return [*self.args, "--output-dir", str(out), *args]

    def __call__(self, out: Path, *args: str) -> None:
        run_tinybert.main(self.of(out, *args))


@dataclass(frozen=True)
class Result:
    """What both phases left: the losses as they were logged, the student, and its answers on dev."""

    folder: Path
    losses: dict[str, list[float]]  # of each phase
    weights: dict[str, torch.Tensor]
    predictions: str

    @classmethod
    def read(cls, out: Path, data: Path) -> "Result":
        records = {phase: json.loads((out / phase / "run.json").read_text(encoding="utf-8")) for phase in PHASES}
        student = out / "prediction"
        answers = out / "dev.tsv"
        tinydistill.app(
            ["predict", "--model", str(student), "--task", "SST-2", "--data-dir", str(data), "--split", "dev",
             "--output", str(answers), "--precision", "float32"], standalone_mode=False,
        )  # fmt: skip
        return cls(
            out,
            {phase: [entry["loss"] for entry in record["losses"]] for phase, record in records.items()},
            load_file(student / "model.safetensors"),
            answers.read_text(encoding="utf-8"),
        )

    def agrees_with(self, other: "Result") -> None:
        """To rounding: AdamW's first steps go by the sign of a gradient, and a tiny one may turn."""
        for phase, curve in self.losses.items():
            assert len(curve) == len(other.losses[phase]) > 1
            assert curve == pytest.approx(other.losses[phase], rel=1e-4), phase
        for key, value in self.weights.items():
            assert torch.allclose(value, other.weights[key], atol=2e-4), key
        assert self.predictions == other.predictions


@pytest.fixture(scope="session")
def command(data_dir: Path, masked_lm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:  # noqa: F811
    """Both phases from a teacher that knows the task, to a student without dropout: its draws follow the shapes.

    108 rows leave a last, smaller step.
    """
    out = tmp_path_factory.mktemp("models")
    data = ["--task", "SST-2", "--data-dir", str(data_dir), "--max-length", "16", "--precision", "float32"]
    run_tinybert.main(
        ["--phase", "teacher", *data, "--output-dir", str(out), "--pretrained", str(masked_lm_dir), "--batch-size",
         "16", "--epochs", "15", "--learning-rate", "5e-3"]
    )  # fmt: skip
    still = out / "student"
    torch.manual_seed(3)
    config = tiny_bert_config(layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertForSequenceClassification(config).save_pretrained(still)
    make_tokenizer().save_pretrained(still)
    rates = [x for phase in PHASES for x in (f"--{phase}-epochs", "2", f"--{phase}-lr", "1e-3")]
    models = ["--teacher", str(out / "teacher"), "--student", str(still)]
    return Command(("--phase", "all", *data, *models, *rates, "--batch-size", "8", "--logging-steps", "2"))


@pytest.fixture(scope="session")
def plain(command: Command, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:  # noqa: F811
    out = tmp_path_factory.mktemp("plain")
    command(out)
    return Result.read(out, data_dir)
