"""Checkpoints that TensorFlow itself trained and saved, converted, compute what TensorFlow computed of them."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoTokenizer

from tests.conftest import ROOT
from tinydistill.__main__ import main
from tinydistill.convert.variables import open_checkpoint

PYTHON = os.environ.get("TENSORFLOW_PYTHON")
pytestmark = pytest.mark.skipif(
    not PYTHON,
    reason="TENSORFLOW_PYTHON names no Python that has TensorFlow: python3.11 -m venv /tmp/tensorflow && "
    "/tmp/tensorflow/bin/pip install tensorflow-cpu && export TENSORFLOW_PYTHON=/tmp/tensorflow/bin/python",
)
ARCHITECTURES = {
    "bert": "BertForPreTraining",
    "bert-sharded": "BertForPreTraining",
    "mobilebert-f2": "MobileBertForMaskedLM",
    "mobilebert-f4": "MobileBertForPreTraining",
}


@pytest.fixture(scope="module")
def checkpoints(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The folders that the script writes, once for all tests: importing TensorFlow takes longer than they do."""

    def write(folder: Path) -> None:
        script = ROOT / "examples" / "tensorflow_checkpoint.py"
        ran = subprocess.run([str(PYTHON), str(script), str(folder)], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-4000:]

    return made_once("tensorflow", write)


def convert(source: Path, output: Path, *more: str) -> int:
    """The product's own command; its exit status."""
    given = ["convert", str(source), "--config", str(source / "config.json"), "--output", str(output), *more]
    with pytest.raises(SystemExit) as ended:
        main(given)
    return int(ended.value.code or 0)


def largest_differences(
    folder: Path, of_tensorflow: dict[str, np.ndarray], pieces: slice = slice(None)
) -> dict[str, float]:
    """Of the states of embeddings and blocks, (N + 1, B, L, D), and of each head's logits, at the pieces of texts.

    pieces: of the vocabulary, those whose logits are compared.
    """
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, info = getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    inputs = {name: torch.from_numpy(of_tensorflow[name]) for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        out = model.eval()(**inputs, output_hidden_states=True)
    masked = out.prediction_logits if "prediction_logits" in out else out.logits
    ours = {"states": torch.stack(out.hidden_states), "logits": masked}
    if "seq_relationship_logits" in out:
        ours["next_sentence"] = out.seq_relationship_logits
    assert ours.keys() == of_tensorflow.keys() - inputs.keys()
    real = of_tensorflow["attention_mask"] > 0
    found = {}
    for name, values in ours.items():
        theirs = of_tensorflow[name]
        assert values.shape == theirs.shape
        assert np.abs(theirs).max() > 0.5  # nor is it near zero
        differences = np.abs(values.numpy() - theirs)
        if name != "next_sentence":
            differences = differences[..., real, :]
        found[name] = float((differences[..., pieces] if name == "logits" else differences).max())
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_are_those_of_tensorflow(checkpoints: Path, tmp_path: Path, name: str) -> None:
    source = checkpoints / name
    mobile = name.startswith("mobilebert")
    assert not convert(source, tmp_path / "made", *(["--keep-padding-row"] if mobile else []))
    assert json.loads((tmp_path / "made" / "config.json").read_text())["architectures"] == [ARCHITECTURES[name]]
    with np.load(source / "outputs.npz") as saved:
        of_tensorflow = dict(saved)
    assert of_tensorflow["attention_mask"].min() == 0
    assert of_tensorflow["token_type_ids"].max() == 1
    found = largest_differences(tmp_path / "made", of_tensorflow)
    print(name, found)
    assert max(found.values()) < 1e-4, found  # 6e-6 with TensorFlow 2.21


@pytest.mark.parametrize("name", ["mobilebert-f2", "mobilebert-f4"])
def test_texts_without_padding_need_no_row_of_it(checkpoints: Path, tmp_path: Path, name: str) -> None:
    """By default that row is zero: texts as long as the batch read it nowhere, and only its own logit changes."""
    assert not convert(checkpoints / name, tmp_path / "made")
    with np.load(checkpoints / name / "outputs.npz") as saved:
        of_tensorflow = dict(saved)
    assert largest_differences(tmp_path / "made", of_tensorflow)["states"] > 1e-3
    whole = of_tensorflow["attention_mask"].all(1)
    rows = {key: each[:, whole] if key == "states" else each[whole] for key, each in of_tensorflow.items()}
    assert len(rows["input_ids"])
    found = largest_differences(tmp_path / "made", rows, pieces=slice(1, None))
    assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize("name", [*ARCHITECTURES, "bert-partitioned"])
def test_names_and_shapes_are_those_that_tensorflow_lists(checkpoints: Path, name: str) -> None:
    listed = json.loads((checkpoints / name / "variables.json").read_text())
    found = open_checkpoint(checkpoints / name)
    assert {key: list(variable.shape or ()) for key, variable in found.variables.items()} == listed
    assert found.shards == len(list((checkpoints / name).glob("*.data-*")))
    assert found.shards == (2 if name in ("bert-sharded", "mobilebert-f4") else 1)
    assert len({variable.shard for variable in found.variables.values()}) == found.shards  # none is empty


def test_what_is_not_used_is_told(checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not convert(checkpoints / "mobilebert-f2", tmp_path / "made")
    told = capsys.readouterr().out
    assert "not used: 55 of a teacher (teacher/)\n" in told
    assert "slots of the optimiser (adam_m, adam_v and such)\n" in told
    assert "not used: 1 of the training's state (global_step and such)\n" in told
    assert told.count("not used: ") == 3
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "made")
    assert tokenizer.convert_ids_to_tokens(tokenizer("A b中.")["input_ids"]) == ["[CLS]", "a", "b", "中", ".", "[SEP]"]


def test_a_partitioned_variable_is_told(checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(checkpoints / "bert-partitioned", tmp_path / "made") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: bert/embeddings/word_embeddings in ")
    assert "is cut into pieces (a partitioned variable)" in told
    assert not (tmp_path / "made").exists()
