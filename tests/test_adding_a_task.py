"""docs/adding_a_task.md, followed to the letter: its files written, its commands run, on a tiny model of that name."""

import csv
import json
import os
import re
import shlex
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM, BertTokenizer

from tests import forked

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "adding_a_task.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^    (python .*)$", PAGE, re.MULTILINE)
SCRIPTS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files, and a model of BERT-base's name and depth that is 24 wide."""
    folder = tmp_path_factory.mktemp("place")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    words = sorted(set(re.findall(r"\w+|[^\w\s]", " ".join(FILES.values()).lower())))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=24,
        num_hidden_layers=12,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder / "bert-base-uncased")
    tokenizer = BertTokenizer(vocab={piece: at for at, piece in enumerate(pieces)}, model_max_length=64)
    tokenizer.save_pretrained(folder / "bert-base-uncased")
    return folder


def run(command: str, place: Path) -> str:
    program, *words = shlex.split(command)
    assert program == "python"
    if words[0] == "run_tinybert.py":
        words[0] = str(ROOT / words[0])
    done = forked.run(words, place, {**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_csv_to_a_student(place: Path) -> None:
    show, augment, distil, predict, *_ = COMMANDS

    shown = run(show, place)
    assert "train: 12 rows in data/Tickets/train.csv" in shown
    assert "a comma between cells; the header is id, body, department" in shown
    assert "text     body is column 2" in shown
    assert "label    department is column 3" in shown
    assert "billing 4 (33.3%)   technical 4 (33.3%)   other 4 (33.3%)" in shown
    assert 'body: My invoice shows "0.00" twice.' in shown

    assert "data/Tickets/train_aug.tsv: " in run(augment, place)
    lines = (place / "data" / "Tickets" / "train_aug.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t") == ["id", "body", "department"]
    originals = list(csv.reader(FILES["data/Tickets/train.csv"].splitlines()))[1:]
    assert {tuple(row) for row in originals} < {tuple(line.split("\t")) for line in lines}

    assert "report: runs/tickets/report.md" in run(distil, place)
    student = AutoModelForSequenceClassification.from_pretrained(place / "runs" / "tickets" / "prediction")
    assert student.config.id2label == {0: "billing", 1: "technical", 2: "other"}
    assert student.config.num_hidden_layers == 6
    report = json.loads((place / "runs" / "tickets" / "report.json").read_text(encoding="utf-8"))
    assert report["task"] == "Tickets"
    assert report["phases"]["teacher"]["data"]["train"]["rows"] == 12
    assert report["phases"]["prediction"]["data"]["train"]["rows"] == len(lines) - 1
    assert report["settings"]["prediction"]["task_file"] == "tickets.toml"
    assert report["settings"]["prediction"]["task_labels"] == ["billing", "technical", "other"]

    run(predict, place)
    header, *answers = (place / "answers.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t")[:2] == ["index", "prediction"]
    assert len(answers) == 6
    right = sum(
        answer.split("\t")[1] == row["department"]
        for answer, row in zip(answers, csv.DictReader(FILES["data/Tickets/dev.csv"].splitlines()), strict=True)
    )
    assert report["students"]["prediction"]["dev"]["dev"]["accuracy"] == right / 6

    assert "already finished with these settings" in run(distil, place)
    other = (
        (place / "tickets.toml").read_text(encoding="utf-8").replace('"billing", "technical"', '"technical", "billing"')
    )
    (place / "tickets.toml").write_text(other, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"holds a run with other settings \(task_labels was \['billing', "):
        run(distil, place)


def test_several_labels_a_row(place: Path) -> None:
    shown = run(COMMANDS[4], place)
    assert "sentence, any of 3 labels; scored by micro_f1, macro_f1" in shown
    assert "balance  joy 1 (33.3%)   anger 1 (33.3%)   surprise 1 (33.3%)   none 1 (33.3%)" in shown
    assert "balance  joy 1 (50.0%)   anger 0 (0.0%)   surprise 2 (100.0%)   none 0 (0.0%)" in shown


def test_named_entities(place: Path) -> None:
    shown = run(COMMANDS[5], place)
    assert "tokens, 2 types; scored by entity_f1, entity_precision, entity_recall" in shown
    assert "train: 2 sentences in data/Parts/train.txt" in shown
    assert "entities 3 in all   PART 2   PLACE 1" in shown
    assert "brake pad (PART), Oslo (PLACE)" in shown


def test_answers_in_a_text(place: Path) -> None:
    shown = run(COMMANDS[6], place)
    assert "spans; scored by f1, exact_match" in shown
    assert "train: 1 questions in data/Manual/train.json" in shown
    assert "answer: every 5,000 km (at 34)" in shown
    assert "answer: The dealer (at 0)" in shown


def test_the_same_in_python(place: Path) -> None:
    (script,) = SCRIPTS
    (place / "tickets.py").write_text(script, encoding="utf-8")
    printed = run("python tickets.py", place).splitlines()
    assert len(printed) == 12
    assert printed[0] == """0 ('My invoice shows "0.00" twice.',)"""
    assert printed[1] == "0 ('The card was charged, but no receipt came.',)"
