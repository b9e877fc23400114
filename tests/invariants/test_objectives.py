"""Objectives of every kind at once, and noise: what must not change their result does not, nor does a resume."""

import json
from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification

from tests import forked
from tests.tinydistill.conftest import make_tokenizer, tiny_bert_config
from tests.tinydistill.runs import record
from tests.tinydistill.test_interrupted import Stop

from .conftest import Command, Result

RECIPE = """
[prediction]
starts_from = "student"
epochs = 3
learning_rate = 1e-3
objectives = [
  { loss = "ce", temperature = { schedule = "flsw", value = 4, beta = 2 }, probability_shift = true },
  { loss = "mse", temperature = "cwsm", weight = "cosine", teacher = "teacher-1", name = "one" },
  { loss = "reverse_kl", temperature_squared = true, temperature = { schedule = "linear", value = 4, to = 1 } },
  { feature = "labels", weight = "linear_growth" },
  { loss = "hidden_mse", assignment = "emd", update_every = 2, projection = "tanh", projection_learning_rate = 1e-2 },
  { loss = "hidden_cosine", layers = "last" },
  { loss = "fsp", layers = [[[0, 1], [0, 2]]] },
  { loss = "nst" },
  { loss = "pkd", layers = "blocks" },
  { loss = "attention_mse_sum" },
  { loss = "attention_kl", teacher = "wide", name = "probabilities" },
  { loss = "value_relations", layers = "last", relation_heads = 4 },
]
"""


@pytest.fixture(scope="session")
def args(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two teachers, of which one is wider and knows nothing."""
    folder = tmp_path_factory.mktemp("objectives")
    torch.manual_seed(5)
    BertForSequenceClassification(tiny_bert_config(hidden_size=32)).save_pretrained(folder / "wide")
    make_tokenizer().save_pretrained(folder / "wide")
    (folder / "own.toml").write_text(RECIPE)
    given = ["--phase", "prediction", "--recipe", str(folder / "own.toml"), "--teacher", f"wide={folder / 'wide'}"]
    given += ["--teacher-mean", "probabilities", "--teacher-weights", "0.8,0.2", "--allow-weak-teacher"]
    return [*given, "--noise", "ngrams,deleting=0.2,long-shuffle=0.2:4,short-shuffle=0.2,masking=0.2"]


@pytest.fixture(scope="session")
def usual(command: Command, args: list[str], data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("usual")
    command(out, *args)
    return Result.read(out, data_dir, ["prediction"])


@pytest.mark.parametrize("variant", [["--batch-size", "4", "--accumulate", "2"], ["--padding", "max_length"]])
def test_the_same_student(
    command: Command, args: list[str], usual: Result, data_dir: Path, tmp_path: Path, variant: list[str]
) -> None:
    command(tmp_path, *args, *variant)
    Result.read(tmp_path, data_dir, ["prediction"]).agrees_with(usual)


@pytest.mark.slow
def test_two_processes(command: Command, args: list[str], usual: Result, data_dir: Path, tmp_path: Path) -> None:
    given = command.of(tmp_path, *args, "--batch-size", "4")
    done = forked.run_together(2, ["run_tinybert.py", *given])
    assert [process.returncode for process in done] == [0, 0], done[0].stderr
    Result.read(tmp_path, data_dir, ["prediction"]).agrees_with(usual)


def test_a_resumed_run(
    command: Command, args: list[str], usual: Result, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second epoch: the assignment and the means of the step before come back with the weights."""
    monkeypatch.setattr(Stop, "at", 20)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            command(tmp_path, *args)
        assert stop.value.code == 130
    command(tmp_path, *args, "--resume")
    assert record(tmp_path / "prediction")["resumed"]
    Result.read(tmp_path, data_dir, ["prediction"]).equals(usual)


def test_what_is_reported(usual: Result) -> None:
    """Each component, schedules at each logged step, each teacher and their ensemble on dev."""
    entry = record(usual.folder / "prediction")["losses"][-1]
    names = {name.removeprefix("loss_") for name in entry if name.startswith("loss_")}
    both = {f"{name}-{who}" for name in ("hidden", "relations", "attention") for who in ("teacher-1", "wide")}
    assert names > both | {"logits", "logits-2", "one", "labels", "probabilities"}
    assert entry["weight_one"] == pytest.approx(0.0, abs=0.01)  # the cosine has come to its end
    assert entry["weight_labels"] == pytest.approx(1.0, abs=0.03)
    assert entry["temperature_logits-2"] == pytest.approx(1.0, abs=0.1)
    assert 0.1 <= entry["temperature_logits"] <= 8
    report = json.loads((usual.folder / "report.json").read_text())
    assert report["teachers"].keys() == {"teacher-1", "wide"}
    assert report["teacher"]["shares"] == {"teacher-1": 0.8, "wide": 0.2}
    assert report["teacher"]["title"] == "ensemble of 2 teachers"
    assert (
        report["teachers"]["teacher-1"]["dev"]["dev"]["accuracy"]
        >= report["teachers"]["wide"]["dev"]["dev"]["accuracy"]
    )
    total = sum(each["parameters"] for each in report["teachers"].values())
    assert report["teacher"]["parameters"] == total
    assert "ensemble of 2 teachers" in (usual.folder / "report.md").read_text()
