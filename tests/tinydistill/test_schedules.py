"""Weights and temperatures that change: each against its formula, and what is said of mistakes."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from glue_tasks.errors import UserError
from tinydistill.schedules import LOWEST_TEMPERATURE, Schedule, at_share, parse


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(schedule="constant", value=3.0), [3.0, 3.0, 3.0]),
        (Schedule(schedule="linear", value=8.0, to=2.0), [8.0, 6.5, 2.0]),
        (Schedule(schedule="linear_decay", value=2.0), [2.0, 1.5, 0.0]),
        (Schedule(schedule="linear_growth", value=2.0), [0.0, 0.5, 2.0]),
        (Schedule(schedule="cosine", value=2.0), [2.0, 1 + math.cos(math.pi / 4), 0.0]),
        (Schedule(schedule="steps", at=(0.25, 0.5), values=(1.0, 0.5, 0.1)), [1.0, 0.5, 0.1]),
    ],
)
def test_by_step(schedule: Schedule, expected: list[float]) -> None:
    assert [at_share(schedule, done) for done in (0.0, 0.25, 1.0)] == pytest.approx(expected, abs=1e-12)
    assert at_share(0.7, 0.5) == 0.7


def temperatures(schedule: Schedule, own: torch.Tensor, theirs: torch.Tensor) -> list[float]:
    importance = schedule.importance(own, theirs)
    return schedule.temperatures(importance, importance.mean())[:, 0].tolist()


def test_by_example() -> None:
    own, theirs = [[2.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [-1.0, 2.0]]
    cosines = [
        sum(s * t for s, t in zip(*rows, strict=True)) / (math.hypot(*rows[0]) * math.hypot(*rows[1]))
        for rows in zip(own, theirs, strict=True)
    ]
    importance = [(1 - cosine) ** 2 for cosine in cosines]
    expected = [4 + 3 * (sum(importance) / 2 - each) for each in importance]
    schedule = Schedule(schedule="flsw", value=4.0, beta=3.0, gamma=2.0)
    assert temperatures(schedule, torch.tensor(own), torch.tensor(theirs)) == pytest.approx(expected, rel=1e-5)

    chances = [math.exp(max(row)) / sum(map(math.exp, row)) for row in own]
    importance = [1 / (chance + 1e-3) for chance in chances]
    expected = [4 + 0.5 * (sum(importance) / 2 - each) for each in importance]
    schedule = Schedule(schedule="cwsm", value=4.0, beta=0.5)
    assert temperatures(schedule, torch.tensor(own), torch.tensor(theirs)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.realdata
def test_textbrewers_temperatures(shared: Path) -> None:
    """Over one batch, whose own mean is taken."""
    found = json.loads((shared / "reference" / "textbrewer_vectors.json").read_text())
    cases, inputs = found["temperature schedulers"], found["inputs"]
    for case in cases:
        name, beta, *gamma = case["scheduler"]
        own, theirs = (torch.tensor(inputs[case[side]], dtype=torch.float64) for side in ("S", "T"))
        if own.ndim > 2:
            continue
        schedule = Schedule(
            schedule=name, value=float(case["base_temperature"]), beta=beta, gamma=gamma[0] if gamma else 1.0
        )
        assert temperatures(schedule, own, theirs) == pytest.approx(case["temperature"], abs=2e-4)
    assert len(cases) >= 4


def test_no_temperature_falls_below_the_lowest() -> None:
    """TextBrewer's would be 1 + 4 (0.75 - 1.5) = -2 for the second row."""
    schedule = Schedule(schedule="cwsm", value=1.0, beta=4.0)
    found = schedule.temperatures(torch.tensor([0.0, 1.5]), torch.tensor(0.75))
    assert found[:, 0].tolist() == pytest.approx([4.0, LOWEST_TEMPERATURE])


def test_as_a_recipe_writes_them() -> None:
    assert parse(2, "weight", "") == 2.0
    assert parse("linear_decay", "weight", "") == Schedule(schedule="linear_decay")
    written = {"schedule": "steps", "at": [0.5], "values": [1, 0]}
    assert parse(written, "weight", "") == Schedule(schedule="steps", at=(0.5,), values=(1.0, 0.0))
    assert parse(written, "weight", "").describe() == {"schedule": "steps", "at": (0.5,), "values": (1.0, 0.0)}


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        (0, "weight", "sets weight to 0; it is a number above 0"),
        (-1.0, "temperature", "temperature to -1.0; it is a number above 0"),
        (True, "weight", "it is a number, or a table"),
        ("linear_decai", "weight", "'linear_decai' for weight.*did you mean 'linear_decay'"),
        ("flsw", "weight", "'flsw' for weight; it can be constant, linear"),
        ({"schedule": "cosine", "form": 1}, "weight", "'form' in weight, which is no field"),
        ({"schedule": "cosine", "value": "1"}, "weight", "sets value in weight to '1'; it is a number"),
        ({"schedule": "steps", "at": 0.5}, "weight", "sets at in weight to 0.5; it is a list of numbers"),
        ({"schedule": "steps", "at": [0.5, 0.2], "values": [1, 2, 3]}, "weight", "write rising shares"),
        ({"schedule": "steps", "at": [0.5], "values": [1]}, "weight", "one value more"),
        ({"schedule": "cosine", "at": [0.5]}, "weight", "belong to the schedule steps"),
        ({"schedule": "linear", "value": 0}, "weight", "from 0 to 0; it must be 0 or more, and not always 0"),
        ({"schedule": "linear", "value": 1, "to": -1}, "weight", "from -1 to 1"),
        ("linear_decay", "temperature", "falls to 0; the lowest that makes sense is 0.1"),
    ],
)
def test_mistakes(value: Any, key: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(value, key, "the recipe")
