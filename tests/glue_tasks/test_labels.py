"""Names, codes and a model's outputs: what is the same label, and in which order."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks import TASKS, Task
from glue_tasks.errors import UserError
from glue_tasks.labels import are_numbers, label_id, output_names, output_order, plain, read_label, written_labels

MNLI, SST2, RTE, TNEWS, CLUEWSC, STSB = (
    TASKS[name] for name in ("MNLI", "SST-2", "RTE", "TNEWS", "CLUEWSC2020", "STS-B")
)


def named(*labels: str, codes: tuple[str, ...] = ()) -> Task:
    return replace(SST2, name="t", labels=labels, label_codes=codes, hub=None)


LANGUAGES = named("C", "C++", "f sharp", "Java")
STARS = named("1 star", "12 stars", "none at all")
DIGITS = named(*"0123456789")
CASED = named("Polish", "polish")
CROSSED = named("1", "0", codes=("0", "1"))
ONE_OF_THREE = named("true", "false", "unknown")
VOWELS = named("\u0915\u093e", "\u0915\u093f")  # which differ in a sign that is no letter


@pytest.mark.parametrize(
    ("task", "written", "label"),
    [
        (RTE, "not_entailment", 1),
        (RTE, "NOT ENTAILMENT", 1),
        (RTE, " Not-Entailment ", 1),
        (RTE, "notEntailment", 1),
        (RTE, "entailment.", None),
        (RTE, "true", None),
        (SST2, "0", 0),
        (SST2, " 1\u3000", 1),
        (SST2, "-1", None),  # what test splits carry: not 1
        (SST2, "1.0", 1),
        (SST2, "1.", 1),
        (SST2, "-1.0", None),
        (SST2, "1.5", None),
        (SST2, "1" * 5000 + ".0", None),  # more digits than Python makes a number of
        (SST2, "True", 1),
        (SST2, "false", 0),
        (SST2, "", None),
        (SST2, "yes", None),
        (SST2, "Positive", 1),
        (TNEWS, "100", 0),
        (TNEWS, "103.0", 3),
        (TNEWS, "news_game", 14),
        (TNEWS, "News Game", 14),
        (TNEWS, "true", None),
        (CLUEWSC, "True", 0),
        (named("true", "false"), "1", 0),
        (named("true", "false"), "0.0", 1),
        (LANGUAGES, "C++", 1),
        (LANGUAGES, "C", 0),
        (LANGUAGES, "c", 0),
        (LANGUAGES, "C#", None),
        (LANGUAGES, "Java?", None),
        (LANGUAGES, "F-sharp", 2),
        (STARS, "1_star", 0),
        (STARS, "1-2 stars", None),
        (STARS, "-1 star", None),
        (STARS, "None  at all", 2),
        (DIGITS, "1", 1),
        (DIGITS, "true", None),  # nobody writes the second of ten so
        (ONE_OF_THREE, "1", None),
        (CASED, "polish", 1),
        (CASED, "Polish", 0),
        (CASED, "POLISH", None),
        (CROSSED, "1", 1),  # codes before names
        (CROSSED, "1.0", None),
        (VOWELS, " \u0915\u093f", 1),
        (VOWELS, "\u0915", None),
    ],
)
def test_what_is_written_for_a_label(task: Task, written: str, label: int | None) -> None:
    assert label_id(task, written) == read_label(task, written) == label


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
def test_the_value_of_a_regression(written: str, value: float | None) -> None:
    assert read_label(STSB, written) == value


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.labels], ids=lambda task: task.name)
def test_every_task_reads_its_own_names_and_codes_in_any_case(task: Task) -> None:
    for known in (task.labels, task.label_codes):
        for label, name in enumerate(known):
            assert [label_id(task, form) for form in (name, name.upper(), f" {name} ")] == [label] * 3


@given(st.text(max_size=8))
def test_plain_is_plain_already(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@given(st.integers(-3, 120), st.integers(-3, 120))
def test_numbers_are_the_same_only_if_they_are_written_alike(one: int, other: int) -> None:
    assert (plain(str(one)) == plain(str(other))) == (one == other)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_a_models_outputs(order: tuple[int, ...]) -> None:
    names = [MNLI.labels[label].upper() for label in order]
    found = output_order(MNLI, names)
    assert found is not None
    assert [names[place].lower() for place in found] == list(MNLI.labels)


@pytest.mark.parametrize(
    ("task", "names", "order"),
    [
        (SST2, ("0", "1"), (0, 1)),
        (SST2, ("1", "0"), (1, 0)),
        (SST2, ("POSITIVE", "NEGATIVE"), (1, 0)),
        (SST2, ("positive", "0"), (1, 0)),
        (SST2, ("False", "True"), (0, 1)),
        # Positions, perhaps: the hub's CLUEWSC2020 has true as 0 and false as 1.
        (CLUEWSC, ("0", "1"), None),
        (TNEWS, TNEWS.label_codes[::-1], tuple(range(14, -1, -1))),
        (TNEWS, tuple(map(str, range(15))), None),
        (RTE, ("0", "1"), None),
        (MNLI, ("entailment", "neutral", "neutral"), None),
        (MNLI, ("entailment", "neutral", "other"), None),
        (MNLI, ("LABEL_0", "LABEL_1", "LABEL_2"), None),
        (replace(SST2, labels=("label_0", "label_1")), ("label_1", "label_0"), (1, 0)),  # the task's own names
    ],
)
def test_outputs_by_name_or_code(task: Task, names: tuple[str, ...], order: tuple[int, ...] | None) -> None:
    assert output_order(task, names) == order


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("LABEL_0", "LABEL_1"), True),
        (("label 0", "Label1"), True),
        (("0", "1"), True),
        (("LABEL_0", "good"), False),
        (("1 star", "2 stars"), False),
    ],
)
def test_names_that_say_nothing(names: tuple[str, ...], numbers: bool) -> None:
    assert are_numbers(names) == numbers


def test_id2label_and_label2id() -> None:
    unnamed, by_name = {0: "LABEL_0", 1: "LABEL_1"}, {"bad": 0, "good": 1}
    assert output_names(unnamed, by_name, "m") == ("bad", "good")
    assert output_names({1: "good", 0: "bad"}, {"LABEL_0": 0, "LABEL_1": 1}, "m") == ("bad", "good")
    assert output_names({0: "Bad", 1: "Good"}, by_name, "m") == ("Bad", "Good")
    assert output_names(unnamed, {"LABEL_0": 0, "LABEL_1": 1}, "m") == ("LABEL_0", "LABEL_1")
    assert output_names({0: "bad", 1: "good"}, None, "m") == ("bad", "good")
    # What a head of another size left over is no second opinion.
    assert output_names({0: "bad", 1: "good"}, {"a": 0, "b": 1, "c": 2}, "m") == ("bad", "good")
    with pytest.raises(UserError, match="the model m names its labels in two ways: id2label has good, bad, label2id"):
        output_names({0: "good", 1: "bad"}, by_name, "m")


def test_what_the_servers_expect() -> None:
    assert written_labels(SST2) == ("0", "1")
    assert written_labels(RTE) == ("entailment", "not_entailment")
    assert written_labels(TNEWS)[0] == "100"
    assert written_labels(TASKS["demo"]) == TASKS["demo"].labels
