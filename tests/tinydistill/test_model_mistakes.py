"""A model that does not fit, or is damaged: one sentence, exit code 2, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from .conftest import PIECES, fails, make_tokenizer, tiny_bert_config, written


def teach(capsys: pytest.CaptureFixture, data_dir: Path, out: Path, teacher: Path, *args: str) -> str:
    where = ["--data-dir", str(data_dir), "--output-dir", str(out), "--teacher", str(teacher), "--max-length", "16"]
    return fails(capsys, "--phase", "intermediate", "--task", "SST-2", *where, *args)


def test_a_teacher_that_is_no_classifier(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    error = teach(capsys, data_dir, tmp_path / "out", masked_lm_dir, "--student", "init:layers=2")
    assert "is not a fine-tuned sequence classifier" in error
    assert "--phase teacher --task SST-2 --pretrained" in error


def test_a_teacher_of_another_task(
    data_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture
) -> None:
    BertForSequenceClassification(tiny_bert_config(num_labels=3)).save_pretrained(tmp_path / "t")
    tokenizer.save_pretrained(tmp_path / "t")
    error = teach(capsys, data_dir, tmp_path / "out", tmp_path / "t", "--student", "init:layers=2")
    assert "has 3 outputs, SST-2 has 2 labels (negative, positive)" in error


def test_a_student_of_another_vocabulary(
    data_dir: Path, chance_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    BertForSequenceClassification(tiny_bert_config(layers=2)).save_pretrained(tmp_path / "s")
    make_tokenizer([*PIECES[:5], *reversed(PIECES[5:])]).save_pretrained(tmp_path / "s")
    error = teach(capsys, data_dir, tmp_path / "out", chance_teacher, "--student", str(tmp_path / "s"))
    assert "has another vocabulary" in error


def cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def of_another_width(folder: Path) -> None:
    tiny_bert_config(intermediate_size=48).save_pretrained(folder)


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("token*"):
        path.unlink()


def of_fewer_blocks(folder: Path) -> None:
    tiny_bert_config(layers=2).save_pretrained(folder)


def with_a_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"][-1, -1] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (of_fewer_blocks, "the weights of {} do not fit its configuration: bert.encoder.layer.2.attention.output."),
        (with_a_nan, "the weights of {} are damaged: bert.embeddings.word_embeddings.weight holds a value that is not"),
        (without_tokenizer, "{} holds no tokenizer beside its model; copy there that of the model it was made from"),
        (cut_off, "the weights of {} are damaged or cut off; copy or make them again"),
        (
            of_another_width,
            "the weights of {} do not fit its configuration: bert.encoder.layer.0.intermediate.dense.bias ",
        ),
    ],
)
@pytest.mark.parametrize("who", ["teacher", "student", "pretrained"])
def test_damaged_models(
    who: str,
    harm: Callable[[Path], None],
    message: str,
    data_dir: Path,
    chance_teacher: Path,
    masked_lm_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(masked_lm_dir if who == "pretrained" else chance_teacher, model)
    harm(model)
    out = tmp_path / "out"
    if who == "pretrained":
        where = ["--data-dir", str(data_dir), "--output-dir", str(out), "--max-length", "16"]
        error = fails(capsys, "--phase", "teacher", "--task", "SST-2", *where, "--pretrained", str(model))
    elif who == "teacher":
        error = teach(capsys, data_dir, out, model, "--student", "init:layers=2")
    else:
        error = teach(capsys, data_dir, out, chance_teacher, "--student", str(model))
    assert message.format(model) in error
    assert written(out) == []


def test_a_damaged_pickle_is_no_full_disk(chance_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """torch.load tells a file that was cut off in the words of its writer."""
    shutil.copytree(chance_teacher, tmp_path / "t", ignore=shutil.ignore_patterns("model.safetensors"))
    weights = tmp_path / "t" / "pytorch_model.bin"
    torch.save(BertForSequenceClassification(tiny_bert_config()).state_dict(), weights)
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "are damaged or cut off" in teach(
        capsys, tmp_path, tmp_path / "out", tmp_path / "t", "--student", "init:layers=2"
    )


@pytest.mark.parametrize("who", ["teacher", "pretrained"])
def test_a_tokenizer_with_more_pieces_than_the_model(
    who: str, data_dir: Path, masked_lm_dir: Path, chance_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = tmp_path / "model"
    shutil.copytree(masked_lm_dir if who == "pretrained" else chance_teacher, model)
    make_tokenizer([*PIECES, "movie"]).save_pretrained(model)
    args = ["--task", "SST-2", "--data-dir", str(data_dir), f"--{who}", str(model), "--max-length", "16"]
    told = f"{model} has embeddings of {len(PIECES)} pieces, the tokenizer gives {len(PIECES) + 1}; take both from"
    if who == "teacher":
        assert told in fails(capsys, "--phase", "evaluate", *args)
    phase = ["--phase", "teacher" if who == "pretrained" else "baseline", "--output-dir", str(tmp_path / "out")]
    assert told in fails(capsys, *phase, *args, *(["--student", "init:layers=2"] if who == "teacher" else []))
    assert written(tmp_path / "out") == []
