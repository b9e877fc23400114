"""Tasks whose rows have any number of labels, from the files to the predictions."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from glue_tasks.metrics import METRICS
from glue_tasks.task import Task
from tinydistill.kinds import kind_of
from tinydistill.kinds.multi_label import THRESHOLD, best_threshold
from tinydistill.losses import gold_binary_cross_entropy, soft_binary_cross_entropy

from .of_tasks import of_labels
from .runs import record

LABELS = ("mood", "praise", "plot")
MOODS, PRAISES = ("very", "not"), ("good", "great", "fine")
TASK = """
name = "Aspects"
kind = "multi-label"
text_columns = ["text"]
label_column = "aspects"
labels = ["mood", "praise", "plot"]
label_separator = "|"
"""


def rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts in which a word of each of three groups says whether a label applies."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words = ["the", draw.choice(("film", "cast")), "is"]
        chosen = [label for label in LABELS if draw.random() < 0.4]
        words += [draw.choice(MOODS)] if "mood" in chosen else []
        words += [draw.choice(PRAISES) if "praise" in chosen else "bad"]
        words += ["plot"] if "plot" in chosen else []
        made.append((" ".join([*words, "."]), "|".join(chosen)))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aspects")
    (folder / "Aspects").mkdir()
    (folder / "aspects.toml").write_text(TASK)
    for split, made in (("train", rows(96, 1)), ("dev", rows(64, 2))):
        lines = ["text\taspects", *("\t".join(row) for row in made)]
        (folder / "Aspects" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "Aspects" / "test.tsv").write_text("\n".join(["text", *(text for text, _ in rows(40, 3))]) + "\n")
    return folder


def test_from_files_to_predictions(
    folder: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import run_tinybert
    from tinydistill.__main__ import main

    run_tinybert.main(
        [
            *("--phase", "all", "--task-file", str(folder / "aspects.toml"), "--data-dir", str(folder)),
            *("--output-dir", str(tmp_path), "--pretrained", str(masked_lm_dir)),
            *("--student", "shape:layers=2,hidden=16,heads=2,ffn=24", "--max-length", "16", "--precision", "float32"),
            *("--batch-size", "8", "--teacher-epochs", "15", "--teacher-lr", "5e-3"),
            *("--intermediate-epochs", "6", "--intermediate-lr", "5e-3"),
            *("--prediction-epochs", "25", "--prediction-lr", "5e-3"),
        ]
    )
    report = json.loads((tmp_path / "report.json").read_text())
    teacher, student = report["teacher"]["dev"]["dev"], report["students"]["prediction"]["dev"]["dev"]
    assert teacher.keys() == {"micro_f1", "macro_f1", "threshold"}
    gold = np.array([[label in labels.split("|") for label in LABELS] for _, labels in rows(64, 2)])
    constant = kind_of(task()).chance(of_labels(gold.astype(int).tolist(), tmp_path))
    assert min(teacher["micro_f1"], student["micro_f1"]) > constant + 0.1
    config = json.loads((tmp_path / "prediction" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config[THRESHOLD] == record(tmp_path / "prediction")["dev"]["threshold"] == student["threshold"]
    assert [entry for entry in record(tmp_path / "prediction")["losses"] if "loss_logits" in entry]

    capsys.readouterr()
    given = ["predict", "--model", str(tmp_path / "prediction"), "--task-file", str(folder / "aspects.toml")]
    given += ["--data-dir", str(folder)]
    for more in (["--output", str(tmp_path / "test.tsv")], ["--split", "dev", "--output", str(tmp_path / "dev.tsv")]):
        with pytest.raises(SystemExit) as stop:
            main([*given, *more])
        assert stop.value.code == 0
    assert f"micro_f1 {student['micro_f1']!r}" in capsys.readouterr().out
    header, *lines = [line.split("\t") for line in (tmp_path / "dev.tsv").read_text().splitlines()]
    assert header == ["index", "prediction", *(f"probability of {label}" for label in LABELS)]
    own = np.array([[label in line[1].split("|") for label in LABELS] for line in lines])
    assert f1_score(gold, own, average="micro") == pytest.approx(student["micro_f1"])
    chances = np.array([[float(cell) for cell in line[2:]] for line in lines])
    sure = np.abs(chances - config[THRESHOLD]) > 1e-6
    assert ((chances >= config[THRESHOLD]) == own)[sure].all()
    assert len((tmp_path / "test.tsv").read_text().splitlines()) == 41


def task(metric: str = "micro_f1") -> Task:
    return Task("A", "", ("text",), "aspects", LABELS, (metric,), kind="multi-label")


def test_soft_binary_cross_entropy_in_float64() -> None:
    torch.manual_seed(0)
    own, other = torch.randn(5, 3) * 3, torch.randn(5, 3) * 3
    for temperature in (0.5, 1.0, 4.0):
        p, q = (1 / (1 + np.exp(-x.double().numpy() / temperature)) for x in (other, own))
        expected = -(p * np.log(q) + (1 - p) * np.log(1 - q)).sum(1)
        assert soft_binary_cross_entropy(own, other, temperature).double().numpy() == pytest.approx(expected, rel=1e-5)
    far = soft_binary_cross_entropy(torch.tensor([[200.0, -200.0]]), torch.tensor([[-200.0, 200.0]]))
    assert far.tolist() == [400.0]  # no overflow
    labels = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 1], [0, 0, 1]])
    q = 1 / (1 + np.exp(-own.double().numpy()))
    y = labels.double().numpy()
    expected = -(y * np.log(q) + (1 - y) * np.log(1 - q)).mean(1)
    assert gold_binary_cross_entropy(own, labels).double().numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    """Against trying each probability; with ties, and labels that no example has."""
    draw = np.random.default_rng(seed)
    chances = draw.integers(0, 12, size=(9, 4)) / 12 if seed % 2 else draw.random((9, 4))
    gold = (draw.random((9, 4)) < chances * draw.random()).astype(np.int64)
    metric = METRICS["micro_f1"]
    best = max(metric((chances >= at).astype(int), gold) for at in [*np.unique(chances), 2.0])
    found = best_threshold(chances, gold)
    assert metric((chances >= found).astype(int), gold) == pytest.approx(best)
    assert 0 <= found <= 1


def test_of_no_labels_at_all_no_threshold_is_better() -> None:
    assert best_threshold(np.full((3, 2), 0.4), np.zeros((3, 2), dtype=int)) == 0.5


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
def test_chance_is_the_best_constant_answer(metric: str, tmp_path: Path) -> None:
    import itertools

    gold = (np.random.default_rng(1).random((30, 3)) < [0.2, 0.5, 0.9]).astype(np.int64)
    answers = (np.broadcast_to(answer, gold.shape) for answer in itertools.product((0, 1), repeat=3))
    best = max(METRICS[metric](each, gold) for each in answers)
    assert kind_of(task(metric)).chance(of_labels(gold.tolist(), tmp_path)) == pytest.approx(best)


def test_a_threshold_that_the_model_states(tmp_path: Path) -> None:
    from transformers import BertConfig

    kind, dev = kind_of(task()), of_labels([[1, 0, 0], [0, 1, 1]], tmp_path)
    outputs = np.array([[3.0, -1.0, -3.0], [-2.0, 2.0, 0.5]])
    config = BertConfig()
    assert kind.answers(outputs, config, LABELS) == ["mood", "praise,plot"]
    kind.keep(config, {"threshold": 0.9})
    assert kind.answers(outputs, config, LABELS) == ["mood", ""]
    assert kind.score(outputs, dev, config)["threshold"] == 0.9
    assert kind.score(outputs, dev)["micro_f1"] == 1.0


def test_a_teacher_that_does_not_name_its_labels(tmp_path: Path) -> None:
    dev = of_labels([[0, 0, 0]] * 2, tmp_path)
    doubts = kind_of(task()).doubts("t", np.zeros((2, 3)), dev, unnamed=True)
    assert "does not name its labels; they are taken in the order mood, praise, plot" in doubts.serious[0]


def test_what_a_model_says_and_how_sure_it_is(tmp_path: Path) -> None:
    kind = kind_of(task())
    logits = np.log(np.array([[0.9, 0.8, 0.3], [0.1, 0.2, 0.05], [0.45, 0.6, 0.7]]))
    logits -= np.log(1 - np.exp(logits))
    said = kind.said(logits, of_labels([[1, 1, 0], [0, 0, 1], [0, 0, 0]], tmp_path), {"threshold": 0.4})
    assert said is not None
    assert list(said.answers) == ["mood,praise", "(none)", "mood,praise,plot"]
    assert list(said.gold) == ["mood,praise", "plot", "(none)"]
    assert said.sure.tolist() == pytest.approx([0.7, 0.8, 0.45])
