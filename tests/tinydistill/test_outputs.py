"""Losses of the outputs that count, through the distiller, against plain loops in float64; padding changes none."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tinydistill.distiller import Distiller
from tinydistill.ensemble import Ensemble
from tinydistill.features import Features
from tinydistill.losses import FEATURES, gold_cross_entropy
from tinydistill.objectives import Objective
from tinydistill.outputs import COUNTED, OfExamples, OfSpans, OfTokens, Outputs
from tinydistill.schedules import LOWEST_TEMPERATURE, Schedule

OF_LOGITS = (
    "soft_cross_entropy",
    "soft_cross_entropy_in_original_code",
    "kl_divergence",
    "reverse_kl",
    "jensen_shannon",
    "logits_mse",
)
LOSSES = (*OF_LOGITS, "gold_cross_entropy")
KINDS: Mapping[str, Outputs] = {"tokens": OfTokens(), "spans": OfSpans(), "examples": OfExamples()}
CLASSES = {"tokens": 5, "spans": 2, "examples": 3}

Batch = dict[str, Tensor]


def made(kind: str, lengths: Sequence[int], seed: int = 0) -> tuple[Batch, Tensor, list[Tensor]]:
    """A batch, and the logits of a student and of two teachers. Some pieces of each example count, of the first one
    alone, and of tokens none of the last."""
    draw = np.random.default_rng(seed)
    size, width, classes = len(lengths), max(lengths), CLASSES[kind]
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    counted = torch.from_numpy(draw.random((size, width)) < 0.6) & mask
    for row, length in enumerate(lengths):
        if row == 0 or not counted[row].any():
            counted[row] = torch.arange(width) == int(draw.integers(length))
    if kind == "tokens":
        counted[-1] = False
    shape = (size, classes) if kind == "examples" else (size, width, classes)
    logits = [torch.from_numpy(3 * draw.normal(size=shape)).float() for _ in range(3)]
    if kind == "examples":
        labels = torch.from_numpy(draw.integers(0, classes, size))
    elif kind == "tokens":
        labels = torch.where(counted, torch.from_numpy(draw.integers(0, classes, (size, width))), -100)
    else:
        places = [np.flatnonzero(row) for row in counted.numpy()]
        labels = torch.tensor([draw.choice(each, 2).tolist() for each in places])
    batch = {"input_ids": mask.long(), "attention_mask": mask.long(), COUNTED: counted, "labels": labels}
    return batch, logits[0], logits[1:]


def padded(batch: Batch, before: int, after: int) -> Batch:
    """The same batch with padding on both sides; places among its pieces move along."""
    wider = {}
    for name, values in batch.items():
        fill = -100 if name == "labels" else 0
        is_of_pieces = values.shape[1:2] == batch["input_ids"].shape[1:2]
        wider[name] = nn.functional.pad(values, (before, after), value=fill) if is_of_pieces else values
    return wider


def padded_logits(logits: Tensor, before: int, after: int, seed: int) -> Tensor:
    """(B, L, C) with what a model happens to give for padding."""
    noise = torch.from_numpy(9 * np.random.default_rng(seed).normal(size=(len(logits), before + after, logits.size(2))))
    return torch.cat([noise[:, :before].float(), logits, noise[:, before:].float()], 1)


class Given(nn.Module):
    """A student that gives what it is told to."""

    logits: Tensor


def distiller_of(kind: str, objective: Objective, ensemble: Ensemble | None = None) -> Distiller:
    return Distiller(
        Given(),
        [objective],
        outputs=KINDS[kind],
        ensemble=ensemble,
        read=lambda model, _: Features(logits=model.logits),
    )


def found(distiller: Distiller, batch: Batch, student: Tensor, teachers: Sequence[Tensor]) -> list[float]:
    distiller.student.logits = student
    given = {f"t{number}": Features(logits=logits) for number, logits in enumerate(teachers)}
    (values,) = distiller(batch, given).values()
    return values.tolist()


def objective_of(loss: str, temperature: float | Schedule = 1.0, **more: Any) -> Objective:
    return Objective(feature=FEATURES[loss], loss=loss, temperature=temperature, **more)  # type: ignore[arg-type]


# ---- plain twins, in float64


def rows_of(kind: str, batch: Batch, logits: Tensor) -> list[list[list[float]]]:
    """For each example its rows, each the logits of the classes that count."""
    values, counted = logits.double(), batch[COUNTED]
    found = []
    for example in range(len(values)):
        if kind == "examples":
            found.append([values[example].tolist()])
            continue
        places = [place for place in range(counted.shape[1]) if counted[example, place]]
        if kind == "tokens":
            found.append([values[example, place].tolist() for place in places])
        else:
            found.append([[values[example, place, side].item() for place in places] for side in (0, 1)])
    return found


def gold_of(kind: str, batch: Batch) -> list[list[int]]:
    """For each example the gold class of each of its rows, among those that count."""
    labels, counted = batch["labels"], batch[COUNTED]
    if kind == "examples":
        return [[int(label)] for label in labels]
    places = [[place for place in range(counted.shape[1]) if row[place]] for row in counted]
    if kind == "tokens":
        return [[int(labels[row, place]) for place in own] for row, own in enumerate(places)]
    return [[own.index(int(place)) for place in labels[row]] for row, own in enumerate(places)]


def log_softmax(z: Sequence[float], temperature: float) -> list[float]:
    scaled = [x / temperature for x in z]
    top = max(scaled)
    norm = top + math.log(sum(math.exp(x - top) for x in scaled))
    return [x - norm for x in scaled]


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    """Of log probabilities."""
    return sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))


def plain_loss(loss: str, own: Sequence[float], theirs: Sequence[float], gold: int, temperature: float) -> float:
    if loss == "logits_mse":
        return sum(((a - b) / temperature) ** 2 for a, b in zip(own, theirs, strict=True)) / len(own)
    if loss == "gold_cross_entropy":
        return -log_softmax(own, 1.0)[gold]
    s, t = log_softmax(own, temperature), log_softmax(theirs, temperature)
    cross = -sum(math.exp(b) * a for a, b in zip(s, t, strict=True))
    middle = [math.log((math.exp(a) + math.exp(b)) / 2) for a, b in zip(s, t, strict=True)]
    return {
        "soft_cross_entropy": cross,
        "soft_cross_entropy_in_original_code": cross / len(own),
        "kl_divergence": kl(t, s),
        "reverse_kl": kl(s, t),
        "jensen_shannon": (kl(s, middle) + kl(t, middle)) / 2,
    }[loss]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def plain(kind: str, loss: str, batch: Batch, student: Tensor, teacher: Tensor, temperature: float) -> list[float]:
    """The loss of each example: the mean of its rows."""
    found = []
    for own, theirs, gold in zip(
        rows_of(kind, batch, student), rows_of(kind, batch, teacher), gold_of(kind, batch), strict=True
    ):
        rows = zip(own, theirs, gold, strict=True)
        found.append(mean([plain_loss(loss, a, b, label, temperature) for a, b, label in rows]))
    return found


# ---- tests


@pytest.mark.parametrize("temperature", [1.0, 0.5, 8.0])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_in_float64(kind: str, loss: str, temperature: float) -> None:
    for seed, lengths in enumerate([(5, 1, 9), (1,), (4, 4), (17, 2, 3, 11)]):
        batch, student, teachers = made(kind, lengths, seed)
        got = found(distiller_of(kind, objective_of(loss, temperature)), batch, student, teachers[:1])
        expected = plain(kind, loss, batch, student, teachers[0], temperature)
        assert got == pytest.approx(expected, rel=1e-5, abs=2e-6)
        assert len(lengths) == 1 or max(got) > 5e-4  # else it tells nothing


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["tokens", "spans"])
def test_padding_changes_no_loss_and_no_gradient(kind: str, loss: str) -> None:
    batch, student, teachers = made(kind, (7, 3, 12))
    student.requires_grad_()
    distiller = distiller_of(kind, objective_of(loss, 2.0))
    alone = found(distiller, batch, student, teachers[:1])
    values = distiller(batch, {"t": Features(logits=teachers[0])})
    (expected,) = torch.autograd.grad(sum(each.sum() for each in values.values()), student)
    for before, after in ((0, 1), (0, 30), (9, 4)):
        wide = padded_logits(student.detach(), before, after, seed=1).requires_grad_()
        other = padded_logits(teachers[0], before, after, seed=2)
        given = padded(batch, before, after)
        if kind == "spans":
            given["labels"] = given["labels"] + before
        assert found(distiller, given, wide, [other]) == pytest.approx(alone, rel=1e-6)
        values = distiller(given, {"t": Features(logits=other)})
        (gradient,) = torch.autograd.grad(sum(each.sum() for each in values.values()), wide)
        inside = gradient[:, before : before + 12]
        assert torch.allclose(inside, expected, atol=1e-6)
        assert expected.abs().max() > 0.01
        assert not gradient[:, :before].any()
        assert not gradient[:, before + 12 :].any()


@pytest.mark.parametrize("kind", ["tokens", "spans"])
def test_each_example_has_the_loss_it_has_alone(kind: str) -> None:
    batch, student, teachers = made(kind, (7, 3, 12))
    distiller = distiller_of(kind, objective_of("kl_divergence"))
    together = found(distiller, batch, student, teachers[:1])
    for row in range(3):
        own = {name: values[row : row + 1] for name, values in batch.items()}
        one = slice(row, row + 1)
        assert found(distiller, own, student[one], [teachers[0][one]]) == pytest.approx(together[one], rel=1e-6)


@pytest.mark.parametrize("of", ["logits", "probabilities"])
@pytest.mark.parametrize("loss", OF_LOGITS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_several_teachers(kind: str, loss: str, of: str) -> None:
    """Of logits, or of probabilities at the temperature: then what is compared is t log of their mean."""
    shares, temperature = {"t0": 0.75, "t1": 0.25}, 3.0
    batch, student, teachers = made(kind, (6, 2, 10), seed=4)
    got = found(distiller_of(kind, objective_of(loss, temperature), Ensemble(shares, of)), batch, student, teachers)
    expected = []
    first, second = (rows_of(kind, batch, logits) for logits in teachers)
    for own, one, other, gold in zip(rows_of(kind, batch, student), first, second, gold_of(kind, batch), strict=True):
        losses = []
        for z, a, b, label in zip(own, one, other, gold, strict=True):
            if of == "logits":
                both = [0.75 * x + 0.25 * y for x, y in zip(a, b, strict=True)]
            else:
                parts = (log_softmax(each, temperature) for each in (a, b))
                both = [
                    temperature * math.log(0.75 * math.exp(x) + 0.25 * math.exp(y)) for x, y in zip(*parts, strict=True)
                ]
            losses.append(plain_loss(loss, z, both, label, temperature))
        expected.append(mean(losses))
    assert got == pytest.approx(expected, rel=1e-5, abs=2e-6)


def importance(schedule: Schedule, own: Sequence[float], theirs: Sequence[float]) -> float:
    """TextBrewer's weights of an example, of the classes that count."""
    if schedule.schedule == "cwsm":
        return 1 / (math.exp(max(log_softmax(own, 1.0))) + 1e-3)
    product = sum(a * b for a, b in zip(own, theirs, strict=True))
    lengths = math.prod(math.sqrt(sum(x * x for x in z)) for z in (own, theirs))
    return max(1 - product / lengths, 0) ** schedule.gamma


@pytest.mark.parametrize("name", ["flsw", "cwsm"])
@pytest.mark.parametrize("kind", KINDS)
def test_temperatures_by_example(kind: str, name: str) -> None:
    """In the first step all have the mean one, then that of their importance beside the mean of the step before."""
    schedule = Schedule(schedule=name, value=4.0, beta=2.0, gamma=1.5)
    batch, student, teachers = made(kind, (6, 2, 10), seed=5)
    later, student_then, teachers_then = made(kind, (3, 8, 5), seed=6)
    distiller = distiller_of(kind, objective_of("soft_cross_entropy", schedule))
    expected = plain(kind, "soft_cross_entropy", batch, student, teachers[0], 4.0)
    assert found(distiller, batch, student, teachers[:1]) == pytest.approx(expected, rel=1e-5)
    distiller.end_step()
    pairs = [
        pair
        for own, theirs in zip(rows_of(kind, batch, student), rows_of(kind, batch, teachers[0]), strict=True)
        for pair in zip(own, theirs, strict=True)
    ]
    before = mean([importance(schedule, *pair) for pair in pairs])
    expected, temperatures = [], []
    for own, theirs in zip(rows_of(kind, later, student_then), rows_of(kind, later, teachers_then[0]), strict=True):
        of_rows = [
            max(4 + 2 * (before - importance(schedule, *pair)), LOWEST_TEMPERATURE)
            for pair in zip(own, theirs, strict=True)
        ]
        temperatures += of_rows
        expected.append(
            mean([plain_loss("soft_cross_entropy", *pair, 0, t) for *pair, t in zip(own, theirs, of_rows, strict=True)])
        )
    assert max(temperatures) > min(temperatures) + 0.1
    if kind != "examples":
        for before_, after in ((0, 0), (0, 25)):
            wide, other = (padded_logits(each, before_, after, 3) for each in (student_then, teachers_then[0]))
            got = found(distiller, padded(later, before_, after), wide, [other])
            assert got == pytest.approx(expected, rel=1e-5)
    else:
        assert found(distiller, later, student_then, teachers_then[:1]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gold_class_and_the_largest_are_exchanged(kind: str) -> None:
    batch, student, teachers = made(kind, (6, 2, 10), seed=7)
    objective = objective_of("kl_divergence", 2.0, probability_shift=True, temperature_squared=True)
    got = found(distiller_of(kind, objective), batch, student, teachers[:1])
    expected = []
    for own, theirs, gold in zip(
        rows_of(kind, batch, student), rows_of(kind, batch, teachers[0]), gold_of(kind, batch), strict=True
    ):
        losses = []
        for z, known, label in zip(own, theirs, gold, strict=True):
            shifted = list(known)
            top = known.index(max(known))
            shifted[label], shifted[top] = known[top], known[label]
            losses.append(4 * plain_loss("kl_divergence", z, shifted, label, 2.0))
        expected.append(mean(losses))
    assert got == pytest.approx(expected, rel=1e-5, abs=2e-6)


def test_windows_without_an_answer_or_a_context_have_finite_losses() -> None:
    """On dev a window may not hold the answer, -100, and a context may be empty; neither adds to a loss of labels."""
    outputs, logits = OfSpans(), torch.randn(2, 5, 2)
    batch = {COUNTED: torch.tensor([[0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool(), "labels": torch.full((2, 2), -100)}
    rows = outputs.rows(logits, batch)
    assert gold_cross_entropy(rows, outputs.gold(batch)).tolist() == [0.0] * 4
    classes = outputs.classes(batch)
    assert classes is not None
    assert classes.tolist() == [2, 2, 1, 1]


def test_rows_of_spans_keep_double_precision() -> None:
    batch = {COUNTED: torch.ones(1, 3).bool()}
    assert OfSpans().rows(torch.rand(1, 3, 2, dtype=torch.float64), batch).dtype == torch.float64
