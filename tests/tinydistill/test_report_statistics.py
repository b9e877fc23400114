"""What a bootstrap draws and what it says, against plain loops in float64."""

import itertools
import math
import random

import numpy as np
import pytest

from glue_tasks import get_task
from glue_tasks.metrics import METRICS, OF_KIND
from tests.tinydistill.spans_and_tokens import one_hot, tagged, tiny_model, write_questions, write_sentences
from tinydistill.kinds import kind_of, units
from tinydistill.kinds.kind import Classes, Lengths, said_of
from tinydistill.report import analysis, statistics

DRAWS = 7


def drawn(count: int) -> np.ndarray:
    return np.concatenate(list(statistics.weights(count, DRAWS, seed=3)))


def rows_of(weights: np.ndarray) -> list[int]:
    return [row for row, count in enumerate(weights) for _ in range(int(count))]


def test_draws_are_of_as_many_units_and_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(13)
    assert whole.shape == (DRAWS, 13)
    assert (whole.sum(1) == 13).all()
    assert len({tuple(row) for row in whole.tolist()}) == DRAWS
    monkeypatch.setattr(statistics, "_AT_ONCE", 30)
    assert (drawn(13) == whole).all()
    assert not (np.concatenate(list(statistics.weights(13, DRAWS, seed=4))) == whole).all()


@pytest.mark.parametrize("labels", [2, 5])
def test_metrics_of_labels_are_those_of_the_kind(labels: int) -> None:
    draw = np.random.default_rng(labels)
    gold, predicted = draw.integers(0, labels, 40), draw.integers(0, labels, 40)
    names = OF_KIND["classification"] if labels == 2 else ("accuracy", "matthews")
    weights = drawn(40)
    found = units.of_labels(predicted, gold, labels, names)(weights)
    for at, each in enumerate(weights):
        rows = rows_of(each)
        for name in names:
            assert found[name][at] == pytest.approx(METRICS[name](predicted[rows], gold[rows]), abs=1e-12), name


def test_metrics_of_one_answer_for_all_rows_are_0_as_in_the_kind() -> None:
    found = units.of_labels(np.zeros(9, dtype=int), np.zeros(9, dtype=int), 2, OF_KIND["classification"])(drawn(9))
    assert found["accuracy"].tolist() == [1.0] * DRAWS
    assert found["matthews"].tolist() == found["f1"].tolist() == [0.0] * DRAWS


@pytest.mark.parametrize("with_ties", [False, True])
def test_correlations_are_those_of_the_kind(with_ties: bool) -> None:
    draw = np.random.default_rng(0)
    gold = draw.integers(0, 6, 30).astype(np.float64) if with_ties else draw.normal(size=30)
    predicted = np.round(gold + draw.normal(size=30), 0 if with_ties else 9).astype(np.float32)
    weights = drawn(30)
    found = units.of_values(predicted, gold, OF_KIND["regression"])(weights)
    for at, each in enumerate(weights):
        rows = rows_of(each)
        for name in OF_KIND["regression"]:
            assert found[name][at] == pytest.approx(METRICS[name](predicted[rows], gold[rows]), abs=1e-9), name
    assert units.of_values(np.full(30, 0.1), gold, ["pearson", "spearman"])(weights) == {
        "pearson": pytest.approx([0.0] * DRAWS),
        "spearman": pytest.approx([0.0] * DRAWS),
    }


def test_scores_of_sets_of_labels_are_those_of_the_kind() -> None:
    draw = np.random.default_rng(0)
    gold, predicted = (draw.integers(0, 2, (25, 4)) * [1, 1, 1, 0] for _ in range(2))
    weights = drawn(25)
    found = units.of_label_sets(predicted, gold, OF_KIND["multi-label"])(weights)
    for at, each in enumerate(weights):
        rows = rows_of(each)
        for name in OF_KIND["multi-label"]:
            assert found[name][at] == pytest.approx(METRICS[name](predicted[rows], gold[rows]), abs=1e-12), name


def test_a_metric_without_a_formula_is_computed_draw_by_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "odd", lambda predicted, gold: float(predicted.sum() - 2 * gold.sum()))
    predicted, gold = np.arange(6), np.arange(6)[::-1]
    found = units.of_labels(predicted, gold, 6, ["odd"])(drawn(6))["odd"]
    assert found.tolist() == [sum(predicted[row] - 2 * gold[row] for row in rows_of(each)) for each in drawn(6)]


def test_entities_are_drawn_by_sentence(tokenizer, tmp_path) -> None:
    """Windows of one sentence are drawn together; each draw is scored as a file of the drawn sentences would be."""
    task, sentences = get_task("CoNLL2003"), tagged(12, seed=1)
    write_sentences(tmp_path / "CoNLL2003" / "dev.txt", sentences)
    kind, data = encoded(task, tmp_path / "CoNLL2003" / "dev.txt", tokenizer, tmp_path, Lengths(12))
    assert len(data) > len(sentences)
    gold = np.array([label for row in data["labels"] for label in row])
    random = np.random.default_rng(0)
    outputs = one_hot(np.where(random.random(len(gold)) < 0.7, gold, random.integers(0, task.num_labels, len(gold))), 9)
    scores = kind.score(outputs, data)
    of = kind.units(outputs, data, scores)
    assert len(of) == len(sentences)
    assert of.sizes.tolist() == [len(sentence) for sentence in sentences]
    whole = of.scores(np.ones((1, len(of))))
    assert {name: value.tolist() for name, value in whole.items()} == {n: [pytest.approx(v)] for n, v in scores.items()}
    tags = kind.sentences(outputs.argmax(-1), data), kind.sentences(gold, data)
    from glue_tasks.entities import entity_scores

    for each in drawn(len(of)):
        found, known = ([side[row] for row in rows_of(each)] for side in tags)
        expected = entity_scores(found, known).micro
        assert of.scores(each[None])["entity_f1"].tolist() == [pytest.approx(expected.f1)]
        assert of.scores(each[None])["entity_recall"].tolist() == [pytest.approx(expected.recall)]


@pytest.mark.parametrize("name", ["SQuAD1.1", "SQuAD2.0"])
def test_spans_are_drawn_by_question(name: str, tokenizer, tmp_path) -> None:
    task = get_task(name)
    path = tmp_path / name / task.files["dev"]
    write_questions(path, 9, seed=2, unanswerable=0.4 if task.may_lack_answer else 0.0, words=40)
    kind, data = encoded(task, path, tokenizer, tmp_path, Lengths(20, 8))
    count = sum(map(len, data["places"]))
    outputs = np.random.default_rng(1).normal(size=(count, 2)).astype(np.float32)
    scores = kind.score(outputs, data)
    of = kind.units(outputs, data, scores)
    assert (len(of), of.name) == (9, "questions")
    whole = of.scores(np.ones((1, 9)))
    for metric in task.metrics:
        assert whole[metric].tolist() == [pytest.approx(scores[metric])]
        alone = of.scores(np.eye(9))[metric]  # each question by itself
        assert of.scores(drawn(9))[metric] == pytest.approx([np.mean(alone[rows_of(each)]) for each in drawn(9)])


def encoded(task, path, tokenizer, folder, lengths) -> tuple:
    from glue_tasks.files import open_table

    kind = kind_of(task)
    return kind, kind.encode(open_table(task, path, "dev"), tokenizer, lengths, folder / "cache")


def test_an_interval_is_of_the_sorted_draws() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    ordered = sorted(values.tolist())

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = math.floor(place)
        return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])

    assert statistics.interval(values) == pytest.approx([quantile(0.025), quantile(0.975)])


def test_a_paired_test_against_a_plain_loop() -> None:
    draw = random.Random(0)
    gold = [draw.random() < 0.5 for _ in range(60)]
    own, other = ([label if draw.random() < right else not label for label in gold] for right in (0.9, 0.7))
    of = [units.of_labels(np.array(each, int), np.array(gold, int), 2, ["accuracy"]) for each in (own, other)]
    every = list(statistics.weights(60, 300, seed=1))
    scores = [np.concatenate([each(weights)["accuracy"] for weights in every]) for each in of]
    measured = [sum(a == g for a, g in zip(each, gold, strict=True)) / 60 for each in (own, other)]
    found = statistics.paired(*measured, *scores)
    difference = measured[0] - measured[1]
    differences = []
    for weights in np.concatenate(every):
        rows = rows_of(weights)
        differences.append(sum((own[r] == gold[r]) - (other[r] == gold[r]) for r in rows) / 60)
    as_far = sum(abs(each - difference) >= abs(difference) - 1e-12 for each in differences)
    assert found["difference"] == pytest.approx(difference)
    assert found["p_value"] == pytest.approx((1 + as_far) / 301)
    assert found["interval"] == pytest.approx(statistics.interval(np.array(differences)))
    assert statistics.paired(0.5, 0.5, scores[0], scores[0])["p_value"] == 1.0
    assert statistics.paired(measured[1], measured[0], scores[1], scores[0])["p_value"] == found["p_value"]


def classes(seed: int, rows: int = 50, labels: int = 3) -> Classes:
    draw = np.random.default_rng(seed)
    powers = np.exp(draw.normal(size=(rows, labels)) * 2)
    return Classes(powers / powers.sum(1, keepdims=True), np.random.default_rng(0).integers(0, labels, rows))


def test_calibration_against_a_plain_loop() -> None:
    of = classes(1, rows=200)
    found = analysis.calibration(of.probabilities, of.gold)
    error = 0.0
    for number, each in enumerate(found["bins"]):
        inside = []
        for chances, label in zip(of.probabilities.tolist(), of.gold.tolist(), strict=True):
            if number / 10 < max(chances) <= (number + 1) / 10:
                inside.append((max(chances), chances.index(max(chances)) == label))
        assert each["rows"] == len(inside)
        if inside:
            sure, right = (sum(values) / len(inside) for values in zip(*inside, strict=True))
            assert (each["confidence"], each["accuracy"]) == (pytest.approx(sure), pytest.approx(right))
            error += len(inside) / 200 * abs(sure - right)
    assert found["expected_calibration_error"] == pytest.approx(error)
    certain = analysis.calibration(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    assert certain["bins"][9] == {"from": 0.9, "to": 1.0, "rows": 2, "confidence": 1.0, "accuracy": 0.5}
    assert certain["expected_calibration_error"] == 0.5


def test_confusions_and_scores_of_labels() -> None:
    of, names = classes(2), ["a", "b", "c"]
    found = analysis.of_classes(of, names)
    answers = of.probabilities.argmax(1).tolist()
    pairs = list(zip(of.gold.tolist(), answers, strict=True))
    assert found["confusion"] == {
        "labels": names,
        "matrix": [[pairs.count((g, a)) for a in range(3)] for g in range(3)],
    }
    for label, name in enumerate(names):
        right = pairs.count((label, label))
        known, said = of.gold.tolist().count(label), answers.count(label)
        assert found["by_class"][name] == {
            "rows": known,
            "precision": pytest.approx(right / said),
            "recall": pytest.approx(right / known),
            "f1": pytest.approx(2 * right / (known + said)),
        }


def test_of_many_labels_the_most_frequent_confusions_are_kept() -> None:
    names = [f"label {i}" for i in range(40)]
    gold, answers = np.array([3, 3, 3, 5, 7]), np.array([4, 4, 3, 6, 7])
    found = analysis.of_classes(Classes(np.eye(40)[answers], gold), names)["confusion"]
    assert found == {
        "most": [
            {"gold": "label 3", "answer": "label 4", "rows": 2},
            {"gold": "label 5", "answer": "label 6", "rows": 1},
        ]
    }


def test_where_student_and_teacher_disagree_most_confidently() -> None:
    own, teacher = classes(1), classes(2)
    said = [said_of(each, ["a", "b", "c"]) for each in (own, teacher)]
    texts = {row: (f"text {row}", "x" * 700) for row in range(50)}
    shown = {row: analysis.of_texts(row, of) for row, of in texts.items()}
    found = analysis.disagreements(*said, shown)
    expected = []
    for row in range(50):
        mine, theirs = own.probabilities[row].tolist(), teacher.probabilities[row].tolist()
        if mine.index(max(mine)) != theirs.index(max(theirs)):
            expected.append((-min(max(mine), max(theirs)), row))
    assert [each["row"] for each in found] == [row + 1 for _, row in sorted(expected)[:20]]
    first = found[0]
    row = first["row"] - 1
    assert first["student"]["probability"] == own.probabilities[row].max()
    assert first["teacher"]["answer"] == "abc"[teacher.probabilities[row].argmax()]
    assert first["gold"] == "abc"[own.gold[row]]
    assert first["texts"] == [f"text {row}", "x" * 600 + "…"]
    assert "token" not in first
    assert analysis.agreement(*said) == pytest.approx(1 - len(expected) / 50)


def test_a_token_is_shown_in_its_sentence() -> None:
    words = ("in", "New", "York", ".")
    assert analysis.of_token(3, words, 1, " ") == analysis.Shown(3, ["in New York ."], "New")
    assert analysis.of_token(0, words, 0, " ").texts == ["in New York ."]
    assert analysis.of_token(0, tuple("我在北京"), 3, "").texts == ["我在北京"]
    (long,) = analysis.of_token(0, ["a"] * 1_000 + ["here"] + ["b"] * 1_000, 1_000, " ").texts
    assert long.count("a") == long.count("b") == 150
    assert (long[0], long[-1], "a here b" in long) == ("…", "…", True)


@pytest.mark.parametrize(
    "sizes", [[1, 2, 3, 4, 5, 6, 7, 8], [5] * 7, [1, 1, 1, 9], [4], [2, 2, 2, 3, 3, 8, 8, 8, 8, 9]]
)
def test_the_score_by_length_is_of_each_quarter(sizes: list[int]) -> None:
    order = np.random.default_rng(0).permutation(len(sizes))
    values = np.arange(len(sizes), dtype=np.float64)[order]
    of = units.Units("rows", np.array(sizes)[order], "pieces", units.of_means({"m": values}))
    found = analysis.by_length(of, "m")
    assert sum(part["rows"] for part in found) == len(sizes)
    assert len(found) <= 4
    assert all(one["to"] < other["from"] for one, other in itertools.pairwise(found))
    for part in found:
        inside = [
            v for v, size in zip(values.tolist(), of.sizes.tolist(), strict=True) if part["from"] <= size <= part["to"]
        ]
        assert (part["rows"], part["m"]) == (len(inside), pytest.approx(sum(inside) / len(inside)))
    if sizes == [1, 2, 3, 4, 5, 6, 7, 8]:
        assert [(part["from"], part["to"]) for part in found] == [(1, 2), (3, 4), (5, 6), (7, 8)]


def test_parameters_by_part() -> None:
    from tinydistill.report.parts import parameters_by_part

    model = tiny_model(get_task("CoNLL2003"), layers=2)
    found = parameters_by_part(model)
    bert = model.bert
    assert found == {
        "embeddings": sum(each.numel() for each in bert.embeddings.parameters()),
        "blocks": sum(each.numel() for each in bert.encoder.parameters()),
        "head": sum(each.numel() for each in model.classifier.parameters()),
    }


def test_no_units_have_no_draws() -> None:
    empty = units.Units("rows", np.zeros(0, dtype=int), "pieces", units.of_means({"m": np.zeros(0)}))
    assert statistics.drawn_scores(empty) == {}
    assert analysis.by_length(empty, "m") == []
