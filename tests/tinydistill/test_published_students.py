"""Published students through the command lines: every phase takes them, and what it saves is plain."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

from augment.masked_lm import MaskedLM
from augment.models import load_masked_lm
from glue_tasks import TASKS
from tests.tinydistill.conftest import make_tokenizer
from tests.tinydistill.encoders.published import FIELDS, is_plain, publish
from tests.tinydistill.predictions import predict, write_split
from tests.tinydistill.runs import run
from tinydistill.__main__ import main
from tinydistill.models import size_on_disk
from tinydistill.parameters import trees


def config_of(published: Path) -> BertConfig:
    config = json.loads((published / "config.json").read_text())
    return BertConfig(**{name: config[name] for name in FIELDS})


def save_plainly(folder: Path, model_class: type, weights: dict, config: BertConfig) -> Path:
    """The same weights as transformers saves them."""
    model = model_class(config)
    model.load_state_dict({key: weights.get(key, tensor) for key, tensor in model.state_dict().items()})
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_as_student_and_as_teacher(data_dir: Path, tmp_path: Path) -> None:
    publish(tmp_path / "student")
    publish(tmp_path / "teacher", BertForSequenceClassification, layers=4, hidden_size=24, projections="")
    models = ["--teacher", str(tmp_path / "teacher"), "--student", str(tmp_path / "student")]
    short = ["--intermediate-epochs", "1", "--prediction-epochs", "1", "--allow-weak-teacher"]
    run("all", data_dir, tmp_path / "out", *models, *short)
    assert is_plain(tmp_path / "out" / "intermediate")
    assert is_plain(tmp_path / "out" / "prediction")
    told = f"the projections start from those saved with {tmp_path / 'student'}"
    assert told in (tmp_path / "out" / "report.md").read_text()


def test_as_pretrained(data_dir: Path, tmp_path: Path) -> None:
    weights = publish(tmp_path / "pretrained", zipped=True)
    given = ["--pretrained", str(tmp_path / "pretrained"), "--epochs", "1", "--learning-rate", "1e-12"]
    run("teacher", data_dir, tmp_path / "out", *given)
    assert is_plain(tmp_path / "out" / "teacher")
    saved = load_file(tmp_path / "out" / "teacher" / "model.safetensors")
    key = "bert.encoder.layer.1.output.LayerNorm.weight"
    assert (saved[key] - weights[key]).abs().max() < 1e-6


def test_as_classifier(tmp_path: Path) -> None:
    task = TASKS["SST-2"]
    weights = publish(tmp_path / "odd", BertForSequenceClassification)
    save_plainly(tmp_path / "plain", BertForSequenceClassification, weights, config_of(tmp_path / "odd"))
    for split in ("dev", "test"):
        write_split(tmp_path / "data", task, split, rows=40)
    for name in ("odd", "plain"):
        predict(tmp_path / name, task, tmp_path / "data", "--output", tmp_path / f"{name}.tsv", "--max-length", 16)
    assert (tmp_path / "odd.tsv").read_bytes() == (tmp_path / "plain.tsv").read_bytes()


def test_as_masked_lm_of_the_augmentation(tmp_path: Path) -> None:
    weights = publish(tmp_path / "odd")
    save_plainly(tmp_path / "plain", BertForMaskedLM, weights, config_of(tmp_path / "odd"))
    plain, _ = load_masked_lm(str(tmp_path / "plain"))
    model, tokenizer = load_masked_lm(str(tmp_path / "odd"))
    ids = tokenizer("a GOOD [MASK] .", return_tensors="pt")
    assert ids["input_ids"][0].tolist() == make_tokenizer()("a good [MASK] .")["input_ids"]
    assert (model(**ids).logits == plain(**ids).logits).all()
    MaskedLM.load(str(tmp_path / "odd"), device="cpu", precision="float32")


def test_its_parameters(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    publish(tmp_path)
    (told,) = trees(str(tmp_path))
    assert told.whole.parameters == BertModel(config_of(tmp_path)).num_parameters()
    with pytest.raises(SystemExit) as stop:
        main(["parameters", str(tmp_path)])
    assert stop.value.code == 0
    assert "on disk" in capsys.readouterr().out


def test_its_size_on_disk_is_that_of_its_weights(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"12345")
    assert size_on_disk(tmp_path) == (tmp_path / "pytorch_model.bin").stat().st_size
