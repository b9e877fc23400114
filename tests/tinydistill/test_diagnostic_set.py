"""The diagnostic set has no train split: a model of MNLI is evaluated on it, and nothing is trained."""

from pathlib import Path

import pytest
import torch
from sklearn.metrics import matthews_corrcoef
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

import run_tinybert
from glue_tasks import TASKS

from .conftest import tiny_bert_config

PAIRS = [
    ("the film is good .", "the film is bad .", "contradiction"),
    ("the plot is very poor .", "the plot is poor .", "entailment"),
    ("the cast is fine .", "the score is great .", "neutral"),
    ("a film is not awful .", "a film is fine .", "neutral"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "diagnostic"
    folder.mkdir(parents=True)
    rows = [f"\t\t\t\tReddit\t{premise}\t{hypothesis}\t{label}" for premise, hypothesis, label in PAIRS]
    header = "Lexical Semantics\tPredicate-Argument Structure\tLogic\tKnowledge\tDomain\tPremise\tHypothesis\tLabel"
    (folder / "diagnostic-full.tsv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path / "data"


@pytest.fixture
def model_of_mnli(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    torch.manual_seed(3)
    config = tiny_bert_config(num_labels=3, initializer_range=1.0)
    config.id2label = dict(enumerate(TASKS["MNLI"].labels))
    config.label2id = {name: label for label, name in config.id2label.items()}
    BertForSequenceClassification(config).save_pretrained(tmp_path / "mnli")
    tokenizer.save_pretrained(tmp_path / "mnli")
    return tmp_path / "mnli"


def test_a_model_of_mnli_is_evaluated(
    data: Path, model_of_mnli: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data-dir", str(data), "--teacher", str(model_of_mnli), "--max-length", "32", "--precision", "float32"]
    run_tinybert.main(["--phase", "evaluate", "--task", "diagnostic", *where])
    model = BertForSequenceClassification.from_pretrained(model_of_mnli).eval()
    premises, hypotheses, labels = map(list, zip(*PAIRS, strict=True))
    with torch.no_grad():
        outputs = model(**tokenizer(premises, hypotheses, padding=True, return_tensors="pt")).logits
    predicted = outputs.argmax(-1).tolist()
    references = [TASKS["MNLI"].labels.index(label) for label in labels]
    accuracy = sum(map(int.__eq__, predicted, references)) / len(PAIRS)
    printed = capsys.readouterr().out
    assert (
        f"teacher on dev: matthews {matthews_corrcoef(references, predicted):.4f}, accuracy {accuracy:.4f}" in printed
    )


@pytest.mark.parametrize("phase", ["teacher", "intermediate", "all"])
def test_training_on_it_is_one_sentence(
    phase: str, data: Path, model_of_mnli: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = "--pretrained" if phase == "teacher" else "--teacher"
    args = ["--phase", phase, "--task", "AX", "--data-dir", str(data), "--output-dir", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as end:
        run_tinybert.main([*args, model, str(model_of_mnli), "--student", "init:layers=2", "--max-length", "32"])
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "error: AX has no split 'train'; models are evaluated on it, not trained; its splits are dev, test\n"
    )
    assert not (tmp_path / "out" / phase).exists()
