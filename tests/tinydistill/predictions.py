"""Small models, the rows they predict, and what `python -m tinydistill predict` wrote of them."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from glue_tasks import Task
from tests.tinydistill.conftest import WORDS, make_tokenizer, tiny_bert_config
from tinydistill.__main__ import main


def save_model(folder: Path, task: Task, names: tuple[str, ...] = ()) -> Path:
    torch.manual_seed(1)
    names = names or task.labels or ("LABEL_0",)
    config = tiny_bert_config(layers=1, num_labels=len(names), initializer_range=0.5)
    config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    BertForSequenceClassification(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def sentences(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS.split(), random.integers(1, 20))) for _ in range(count)]


def write_split(data: Path, task: Task, split: str, rows: int, numbered: bool = False) -> list[tuple[str, ...]]:
    """Rows as published: in a test split without labels; returns their texts."""
    columns = [[f"{text} " for text in sentences(rows, seed)] for seed in range(len(task.text_columns))]
    header, cells = list(task.text_columns), list(zip(*columns, strict=True))
    random = np.random.default_rng(5)
    if not split.startswith("test"):
        choices = task.label_codes or task.labels or ("0.5", "2.25", "3", "4.75")
        header.append(task.label_column)
        cells = [(*row, str(random.choice(choices))) for row in cells]
    if numbered:
        header = [task.id_column, *header]
        cells = [(str(7 + i), *row) for i, row in enumerate(cells)]
    (data / task.name).mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(row) for row in [header, *cells]]
    (data / task.name / task.files[split]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return list(zip(*columns, strict=True))


def one_at_a_time(folder: Path, texts: list[tuple[str, ...]], max_length: int) -> np.ndarray:
    """The model's outputs by plain transformers, sentence by sentence, without a batch or padding."""
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = make_tokenizer()
    with torch.no_grad():
        return np.stack(
            [
                model(**tokenizer(*row, return_tensors="pt", truncation="longest_first", max_length=max_length))
                .logits[0]
                .numpy()
                for row in texts
            ]
        )


def predict(model: Path, task: Task | str, data: Path, *args: object) -> None:
    name = task if isinstance(task, str) else task.name
    fixed = ["predict", "--model", str(model), "--task", name, "--data-dir", str(data), "--precision", "float32"]
    with pytest.raises(SystemExit) as stop:
        main([*fixed, *map(str, args)])
    if stop.value.code:
        raise RuntimeError(stop.value.code)


def read_tsv(path: Path) -> list[list[str]]:
    """As a server in plain Python reads it."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def scores(capsys: pytest.CaptureFixture) -> dict[str, float]:
    """What was printed, as `dev: metric value`."""
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("dev: ")]
    return {words[1]: float(words[2]) for words in lines if len(words) == 3}


def accuracy(predictions: list[str], gold: list[str]) -> float:
    return sum(a == b for a, b in zip(predictions, gold, strict=True)) / len(gold)
