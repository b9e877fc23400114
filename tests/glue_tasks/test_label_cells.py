"""What a label written in a file means."""

import pytest

from glue_tasks import Task
from glue_tasks.label_cells import read_label, read_value


def task(labels: tuple[str, ...], codes: tuple[str, ...] = ()) -> Task:
    return Task("t", "", ("text",), "label", labels, ("accuracy",), label_codes=codes)


BINARY = task(("negative", "positive"), ("0", "1"))
NAMES = task(("entailment", "not_entailment"))
TRUTH = task(("true", "false"))
NEWS = task(("story", "culture", "sports"), ("100", "101", "103"))
MANY = task(tuple("0123456789"))
CASED = task(("Polish", "polish"))
CROSSED = task(("1", "0"), ("0", "1"))
ONE_OF_THREE = task(("true", "false", "unknown"))


@pytest.mark.parametrize(
    ("of", "written", "label"),
    [
        (BINARY, "0", 0),
        (BINARY, "positive", 1),
        (BINARY, " 1\u3000", 1),
        (BINARY, "POSITIVE", 1),
        (BINARY, "1.0", 1),
        (BINARY, "1.", 1),
        (BINARY, "True", 1),
        (BINARY, "false", 0),
        (BINARY, "0.5", None),
        (BINARY, "-1", None),
        (BINARY, "", None),
        (BINARY, "yes", None),
        (NAMES, "0", None),  # which is which nobody says
        (NAMES, "true", None),
        (TRUTH, "true", 0),
        (TRUTH, "False", 1),
        (TRUTH, "1", 0),
        (TRUTH, "0.0", 1),
        (NEWS, "103", 2),
        (NEWS, "103.0", 2),
        (NEWS, "Culture", 1),
        (NEWS, "1", None),
        (MANY, "1", 1),
        (MANY, "true", None),  # nobody writes the second of ten so
        (ONE_OF_THREE, "1", None),
        (CASED, "polish", 1),
        (CASED, "Polish", 0),
        (CASED, "POLISH", None),
        (CROSSED, "1", 1),  # codes before names
        (CROSSED, "1.0", None),
    ],
)
def test_a_label(of: Task, written: str, label: int | None) -> None:
    assert read_label(of, written) == label


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3.80", 3.8),
        (" 5 ", 5.0),
        ("1e-1", 0.1),
        ("3,8", None),
        ("", None),
        ("nan", None),
        ("-inf", None),
        ("1_0", None),
    ],
)
def test_a_value(written: str, value: float | None) -> None:
    assert read_value(written) == value
