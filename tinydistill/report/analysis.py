"""Where a model is right, where it is sure, and where a student leaves its teacher.

P rows of outputs, each of which has one of C labels: examples, or tokens with a tag each. N units (rows, sentences,
questions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinydistill.kinds.kind import Classes, Said
from tinydistill.kinds.units import Units

BINS = 10
SHOWN = 20  # rows on which a student and its teacher disagree
_WHOLE_MATRIX = 30  # labels, up to which a confusion matrix is kept whole
_CONFUSIONS = 50  # of more labels, the most frequent ones
_CHARACTERS = 600  # of a text that is shown


def of_classes(classes: Classes, labels: Sequence[str]) -> dict[str, Any]:
    """The confusion matrix, the scores of each label and the calibration."""
    answers = classes.probabilities.argmax(-1)
    matrix = confusion(answers, classes.gold, len(labels))
    return {
        "confusion": _kept(matrix, labels),
        "by_class": by_class(matrix, labels),
        "calibration": calibration(classes.probabilities, classes.gold),
    }


def confusion(answers: np.ndarray, gold: np.ndarray, labels: int) -> np.ndarray:
    """(C, C), how many rows of each gold label (down) have each answer (across)."""
    return np.bincount(gold * labels + answers, minlength=labels * labels).reshape(labels, labels)


def _kept(matrix: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    if len(labels) <= _WHOLE_MATRIX:
        return {"labels": list(labels), "matrix": matrix.tolist()}
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    pairs = [(int(place) // len(matrix), int(place) % len(matrix)) for place in order]
    return {
        "most": [
            {"gold": labels[gold], "answer": labels[answer], "rows": int(wrong[gold, answer])}
            for gold, answer in pairs
            if wrong[gold, answer]
        ]
    }


def by_class(matrix: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each label of a confusion matrix, 0 where there is nothing to divide by."""
    right, known, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return {label: _scores(int(right[i]), int(known[i]), int(said[i])) for i, label in enumerate(labels)}


def by_label(chosen: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """The same of rows with any number of labels. chosen, gold: (P, C) of 0 and 1."""
    right, known, said = (chosen * gold).sum(0), gold.sum(0), chosen.sum(0)
    return {label: _scores(int(right[i]), int(known[i]), int(said[i])) for i, label in enumerate(labels)}


def _scores(right: int, known: int, said: int) -> dict[str, float]:
    return {
        "rows": known,
        "precision": right / said if said else 0.0,
        "recall": right / known if known else 0.0,
        "f1": 2 * right / (known + said) if known + said else 0.0,
    }


def calibration(probabilities: np.ndarray, gold: np.ndarray) -> dict[str, Any]:
    """How often answers of a given probability are right, in bins of equal width, and the expected calibration error.

    A bin holds what is above its lower end, up to its upper one. Source: Guo et al. 2017 (arXiv 1706.04599), eq. 3.
    probabilities: (P, C), gold: (P,).
    """
    sure, right = probabilities.max(-1), probabilities.argmax(-1) == gold
    numbers = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(numbers, minlength=BINS)
    sums = [np.bincount(numbers, weights=values, minlength=BINS) for values in (sure, right.astype(np.float64))]
    bins = [
        {"from": i / BINS, "to": (i + 1) / BINS, "rows": int(count)}
        | ({"confidence": sums[0][i] / count, "accuracy": sums[1][i] / count} if count else {})
        for i, count in enumerate(counts.tolist())
    ]
    error = float(np.abs(sums[0] - sums[1]).sum()) / len(gold) if len(gold) else 0.0
    return {"bins": bins, "expected_calibration_error": error}


def by_length(units: Units, metric: str) -> list[dict[str, Any]]:
    """The score of the units in each quarter of the lengths, shortest first; of equal lengths none is parted."""
    if not len(units):
        return []
    ends = np.unique(np.percentile(units.sizes, [25, 50, 75, 100], method="inverted_cdf"))
    quarter = np.searchsorted(ends, units.sizes)
    masks = (quarter == np.arange(len(ends))[:, None]).astype(np.float64)
    scores = units.scores(masks)[metric]
    return [
        {
            "from": int(units.sizes[mask > 0].min()),
            "to": int(units.sizes[mask > 0].max()),
            "rows": int(mask.sum()),
            metric: float(score),
        }
        for mask, score in zip(masks, scores, strict=True)
    ]


def agreement(own: Said, teacher: Said) -> float:
    """The share of rows with the same answer."""
    same = _are_same(own, teacher)
    return float(same.mean()) if len(same) else 0.0


def most_confident(own: Said, teacher: Said, count: int = SHOWN) -> np.ndarray:
    """The numbers of the rows with other answers, those first where both are surest: by the lesser of the two
    probabilities of what each answers."""
    rows = np.flatnonzero(~_are_same(own, teacher))
    return rows[np.argsort(-np.minimum(own.sure, teacher.sure)[rows], kind="stable")][:count]


def _are_same(own: Said, teacher: Said) -> np.ndarray:
    return np.array([a == b for a, b in zip(own.answers, teacher.answers, strict=True)], dtype=bool)


@dataclass(frozen=True)
class Shown:
    """What is shown of an answer: which row of the file it is to, from 0, and its texts; of a token which one."""

    row: int
    texts: Sequence[str]
    token: str = ""


def of_texts(row: int, texts: Sequence[str]) -> Shown:
    """A row of a file, its texts cut where they are long."""
    return Shown(row, [text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + "…" for text in texts])


def of_token(row: int, tokens: Sequence[str], place: int, joint: str) -> Shown:
    """A token of a sentence, with as much text on both sides."""
    before, after = joint.join(tokens[:place]), joint.join(tokens[place + 1 :])
    most = _CHARACTERS // 2
    left = before if len(before) <= most else "…" + before[-most:]
    right = after if len(after) <= most else after[:most] + "…"
    return Shown(row, [joint.join(part for part in (left, tokens[place], right) if part)], tokens[place])


def disagreements(own: Said, teacher: Said, shown: Mapping[int, Shown]) -> list[dict[str, Any]]:
    """What student and teacher say of the rows in `shown`."""

    def said(of: Said, row: int) -> dict[str, Any]:
        return {"answer": of.answers[row], "probability": float(of.sure[row])}

    return [
        {
            "row": shown[row].row + 1,
            "texts": list(shown[row].texts),
            **({"token": shown[row].token} if shown[row].token else {}),
            "gold": own.gold[row],
            "student": said(own, row),
            "teacher": said(teacher, row),
        }
        for row in most_confident(own, teacher).tolist()
        if row in shown
    ]
