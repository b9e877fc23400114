"""--phase evaluate: each model read and scored by itself."""

import re
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from tests.tinydistill.runs import run

from .conftest import PIECES, make_tokenizer, tiny_bert_config


def test_evaluate(data_dir: Path, teacher_dir: Path, finished: Path, capsys: pytest.CaptureFixture) -> None:
    run("evaluate", data_dir, None, "--teacher", str(teacher_dir), "--student", str(finished / "prediction"))
    out = capsys.readouterr().out
    assert re.search(r"teacher on dev: accuracy \d\.\d{4} \(36 rows; 0\.0\d M parameters", out)
    assert "student on dev: accuracy" in out


def test_each_model_is_scored_with_its_own_tokenizer(
    data_dir: Path, teacher_dir: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The student again, its pieces in another order: alone and beside the teacher it scores what it scored."""
    order = [0, 1, 2, 3, 4, *reversed(range(5, len(PIECES)))]
    model = AutoModelForSequenceClassification.from_pretrained(finished / "prediction")
    embeddings = model.get_input_embeddings().weight
    embeddings.data = embeddings.data[order]
    model.save_pretrained(tmp_path)
    make_tokenizer([PIECES[i] for i in order]).save_pretrained(tmp_path)
    found = []
    for args in (["--student", str(finished / "prediction")], ["--student", str(tmp_path)],
                 ["--student", str(tmp_path), "--teacher", str(teacher_dir)]):  # fmt: skip
        run("evaluate", data_dir, None, *args)
        found.append(re.search(r"student on dev: accuracy (\S+)", capsys.readouterr().out)[1])
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labels": 3}, "has 3 outputs, SST-2 has 2 labels"),
        ({"id2label": {0: "positive", 1: "negative"}}, "names its labels in two ways: id2label has positive, negative"),
        ({"id2label": {0: "cat", 1: "dog"}, "label2id": {}}, "has the labels cat, dog, SST-2 has negative, positive"),
        ({"max_position_embeddings": 12}, "12 positions; use a shorter one"),
    ],
)
def test_a_model_that_cannot_be_scored(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture, changes: dict, message: str
) -> None:
    config = tiny_bert_config(layers=1, **{k: v for k, v in changes.items() if not k.endswith(("2label", "2id"))})
    config.id2label = changes.get("id2label", config.id2label)
    config.label2id = changes.get("label2id", config.label2id)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run("evaluate", data_dir, None, "--student", str(tmp_path))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
