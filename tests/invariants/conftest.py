"""Both phases through the command line, on tiny models and a task that one word decides."""

import csv
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

import run_tinybert
import tinydistill.__main__ as tinydistill
from glue_tasks import TASKS
from tests.tinydistill.conftest import (  # noqa: F401 - fixtures
    data_dir,
    make_tokenizer,
    masked_lm_dir,
    short_measurements,
    teacher_dir,
    tiny_bert_config,
    tokenizer,
)
from tinydistill.kinds import kind_of

ROOT = Path(__file__).resolve().parents[2]
PHASES = ("intermediate", "prediction")


@dataclass(frozen=True)
class Command:
    """The arguments that every run has in common."""

    args: tuple[str, ...]
    train_file: Path

    def of(self, out: Path, *args: str) -> list[str]:
        """Arguments of run_tinybert.py; those given last win."""
        return ["--phase", "all", *self.args, "--train-file", str(self.train_file), "--output-dir", str(out), *args]

    def texts(self) -> list[str]:
        """The sentences that are trained on."""
        with open(self.train_file, encoding="utf-8") as file:
            return [row["sentence"] for row in csv.DictReader(file, delimiter="\t")]

    def __call__(self, out: Path, *args: str) -> None:
        run_tinybert.main(self.of(out, *args))


@dataclass(frozen=True)
class Result:
    """What the phases left: the losses as they were logged, the last student, and its answers on dev."""

    folder: Path
    losses: dict[str, list[float]]  # of each phase
    weights: dict[str, torch.Tensor]
    predictions: str

    @classmethod
    def read(cls, out: Path, data: Path, phases: Sequence[str] = PHASES, task: str = "SST-2") -> "Result":
        records = {phase: json.loads((out / phase / "run.json").read_text(encoding="utf-8")) for phase in phases}
        student = out / phases[-1]
        answers = out / f"dev.{kind_of(TASKS[task]).ending}"
        tinydistill.app(
            ["predict", "--model", str(student), "--task", task, "--data-dir", str(data), "--split", "dev",
             "--output", str(answers), "--precision", "float32"], standalone_mode=False,
        )  # fmt: skip
        return cls(
            out,
            {phase: [entry["loss"] for entry in record["losses"]] for phase, record in records.items()},
            load_file(student / "model.safetensors"),
            answers.read_text(encoding="utf-8"),
        )

    def agrees_with(self, other: "Result", but: Collection[str] = ()) -> None:
        """To rounding: AdamW's first steps go by the sign of a gradient, and a tiny one may turn.

        but: weights that change no output that is compared, and whose gradient is rounding alone.
        """
        for phase, curve in self.losses.items():
            assert len(curve) == len(other.losses[phase]) > 1
            assert curve == pytest.approx(other.losses[phase], rel=1e-4), phase
        assert self.weights.keys() >= set(but)
        for key, value in self.weights.items():
            assert key in but or torch.allclose(value, other.weights[key], atol=2e-4), key
        assert self.predictions == other.predictions

    def equals(self, other: "Result") -> None:
        """To the last bit."""
        assert self.losses == other.losses
        assert all(torch.equal(value, other.weights[key]) for key, value in self.weights.items())
        assert self.predictions == other.predictions


@pytest.fixture(scope="session")
def command(data_dir: Path, teacher_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:  # noqa: F811
    """Both phases from a teacher that knows the task, to a student without dropout: its draws follow the shapes.

    105 rows leave a last step of one row.
    """
    out = tmp_path_factory.mktemp("models")
    data = ["--task", "SST-2", "--data-dir", str(data_dir), "--max-length", "16", "--precision", "float32"]
    still = out / "student"
    torch.manual_seed(3)
    config = tiny_bert_config(layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertForSequenceClassification(config).save_pretrained(still)
    make_tokenizer().save_pretrained(still)
    train_file = out / "train.tsv"
    rows = (data_dir / "SST-2" / "train.tsv").read_text(encoding="utf-8").splitlines()
    train_file.write_text("\n".join(rows[:106]) + "\n", encoding="utf-8")
    lengths = ["--intermediate-epochs", "2", "--prediction-epochs", "6"]
    rates = ["--intermediate-lr", "1e-3", "--prediction-lr", "3e-3"]
    models = ["--teacher", str(teacher_dir), "--student", str(still)]
    return Command((*data, *models, *lengths, *rates, "--batch-size", "8", "--logging-steps", "2"), train_file)


@pytest.fixture(scope="session")
def plain(command: Command, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:  # noqa: F811
    out = tmp_path_factory.mktemp("plain")
    command(out)
    result = Result.read(out, data_dir)
    accuracy = json.loads((out / "prediction" / "run.json").read_text(encoding="utf-8"))["dev"]["accuracy"]
    assert accuracy >= 0.9  # or its answers would tell little
    return result
