"""Outputs mean what a configuration states, and a student's are the same in transformers' own pipeline."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification, pipeline

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from tinydistill.activations import doubt_of_values
from tinydistill.models import load_fine_tuned, weights_digest

from .conftest import make_tokenizer, tiny_bert_config
from .runs import NARROW, QUICK
from .test_model_mistakes import fails

STS_B = TASKS["STS-B"]
SIGMOID = "torch.nn.modules.activation.Sigmoid"


def one_output(folder: Path, **config: object) -> Path:
    torch.manual_seed(0)
    model = BertForSequenceClassification(tiny_bert_config(num_labels=1, **config))
    model.classifier.weight.data.mul_(20)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


INPUTS = {"input_ids": torch.tensor([[2, 5, 6, 3], [2, 9, 7, 3]]), "attention_mask": torch.ones(2, 4).long()}


@pytest.mark.parametrize(
    ("stated", "function"),
    [
        ({"sentence_transformers": {"activation_fn": SIGMOID, "version": "5.0.0"}}, torch.sigmoid),
        ({"sbert_ce_default_activation_function": SIGMOID}, torch.sigmoid),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}, torch.tanh),
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, lambda logits: logits),
        ({}, lambda logits: logits),
    ],
)
def test_a_stated_activation_is_applied(tmp_path: Path, stated: dict, function: torch.nn.Module) -> None:
    folder = one_output(tmp_path, **stated)
    raw = AutoModelForSequenceClassification.from_pretrained(folder)(**INPUTS).logits
    model, notes = load_fine_tuned(str(folder), STS_B)
    assert torch.equal(model.eval()(**INPUTS).logits, function(raw))
    assert bool(notes) == (function in (torch.sigmoid, torch.tanh))


def test_an_activation_that_is_not_known(tmp_path: Path) -> None:
    folder = one_output(tmp_path, sentence_transformers={"activation_fn": "mine.Softplus"})
    with pytest.raises(UserError, match=r"pass through mine\.Softplus by its config\.json; known are Identity"):
        load_fine_tuned(str(folder), STS_B)


def test_teachers_that_differ_in_the_activation_alone_are_two(tmp_path: Path) -> None:
    plain, other = one_output(tmp_path / "a"), one_output(tmp_path / "b", sbert_ce_default_activation_function=SIGMOID)
    assert len({weights_digest(load_fine_tuned(str(folder), STS_B)[0]) for folder in (plain, other)}) == 2


def doubt(outputs: np.ndarray, references: np.ndarray) -> str:
    return doubt_of_values("m", outputs[:, None].astype(np.float32), references)


def test_values_that_are_off_though_they_correlate() -> None:
    wanted = np.linspace(0.05, 0.95, 50)
    logits = np.log(wanted / (1 - wanted))
    assert np.corrcoef(logits, wanted)[0, 1] > 0.95
    assert "they fit through a sigmoid" in doubt(logits, wanted)
    assert "activation_fn" in doubt(logits, wanted)
    assert doubt(wanted, wanted) == ""
    assert doubt(wanted + np.random.default_rng(0).normal(0, 0.2, 50), wanted) == ""
    told = doubt(wanted, 5 * wanted)  # a scale of 0 to 1 for one of 0 to 5
    assert "run from 0.05 to 0.95, those of dev from 0.25 to 4.75" in told
    assert "write the labels in the scale that it was trained on" in told


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """STS-B's layout with labels from 0 to 1: how many words two sentences share."""
    rows = [
        (f"the {one} is {word}", f"the {other} is {word}", 0.9 if one == other else 0.1)
        for one in ("film", "plot", "cast", "score")
        for other in ("film", "plot", "cast", "score")
        for word in ("good", "bad", "fine")
    ]
    lines = ["sentence1\tsentence2\tscore", *(f"{a}\t{b}\t{score}" for a, b, score in rows)]
    (tmp_path / "data" / "STS-B").mkdir(parents=True)
    for split in ("train", "dev"):
        (tmp_path / "data" / "STS-B" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


def test_a_student_of_such_a_teacher_gives_its_values_in_a_pipeline(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The teacher's values lie between 0 and 1; so do the student's, with no activation of its own."""
    import run_tinybert

    teacher = one_output(tmp_path / "t", sentence_transformers={"activation_fn": SIGMOID})
    args = ["--task", "STS-B", "--data-dir", str(pairs), "--output-dir", str(tmp_path / "out"), *QUICK]
    args += ["--teacher", str(teacher), "--allow-weak-teacher"]
    run_tinybert.main(["--phase", "prediction", *args, "--student", "init:layers=2", "--max-steps", "2"])
    assert "pass through the sigmoid that its config.json states" in capsys.readouterr().out
    student, notes = load_fine_tuned(str(tmp_path / "out" / "prediction"), STS_B)
    assert notes == []
    assert not hasattr(student.config, "sentence_transformers")
    text = {"text": "the film is good", "text_pair": "the plot is good"}
    there = pipeline("text-classification", model=str(tmp_path / "out" / "prediction"))(text)
    tokens = make_tokenizer()(text["text"], text["text_pair"], return_tensors="pt")
    with torch.no_grad():
        own = student.eval()(**tokens).logits.item()
    assert (there[0] if isinstance(there, list) else there)["score"] == pytest.approx(own, abs=1e-6)
    shutil.rmtree(tmp_path / "out")
    raw = one_output(tmp_path / "raw")  # the same weights, and nothing stated
    model = BertForSequenceClassification.from_pretrained(raw)
    model.classifier.bias.data.fill_(9.0)
    model.save_pretrained(raw)
    args[args.index(str(teacher))] = str(raw)
    args.remove("--allow-weak-teacher")
    error = fails(capsys, "--phase", "prediction", *args, "--student", NARROW, "--max-steps", "2")
    assert "the teacher" in error
