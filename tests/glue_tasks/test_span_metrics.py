"""Reading comprehension's scores: values of the official scripts, and brute-force twins."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks.errors import UserError
from glue_tasks.span_metrics import (
    SpanScore,
    cmrc_score,
    longest_common_run,
    mean_score,
    no_answer_threshold,
    normalized,
    squad2_score,
    squad_score,
    units,
)
from glue_tasks.word_rules import words


@pytest.mark.realdata
@pytest.mark.parametrize("data", ["cmrc", "squad"])
def test_values_of_the_official_scripts(shared: Path, data: str) -> None:
    score = {"cmrc": cmrc_score, "squad": squad_score}[data]
    cases = json.loads((shared / "reference" / "mrc_cases.json").read_text(encoding="utf-8"))[data]
    assert len(cases) >= 12
    for case in cases:
        assert score(case["prediction"], case["answers"]) == pytest.approx((case["em"], case["f1"])), case
        if "units" in case:
            assert units(case["prediction"]) == case["units"]


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("the Eiffel Tower", ["Eiffel Tower"], (1, 1)),
        ("tower Eiffel", ["Eiffel Tower"], (0, 1)),
        ("", ["a"], (1, 0)),  # the official F1 of two empty bags
        ("?!", ["x"], (0, 0)),
        ("state-of-the-art", ["state of the art"], (0, 0)),
        ("b c c", ["c c d", "b"], (0, 2 / 3)),  # bags: c counts twice
        ("“quoted”", ["quoted"], (0, 0)),
    ],
)
def test_squad(prediction: str, answers: list[str], expected: tuple[float, float]) -> None:
    assert squad_score(prediction, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("", [], (1, 1)),
        ("the.", [], (1, 1)),  # empty when normalized
        ("x", [], (0, 0)),
        ("", ["an"], (1, 1)),  # no answer is left
        ("", ["x"], (0, 0)),
        ("x", ["the", "x y"], (0, 2 / 3)),
    ],
)
def test_squad2(prediction: str, answers: list[str], expected: tuple[float, float]) -> None:
    assert squad2_score(prediction, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("北京大学。", ["北京大学"], (1, 1)),
        ("在北京大学读书", ["北京大学"], (0, 8 / 11)),
        ("大学北京", ["北京大学"], (0, 1 / 2)),  # contiguous
        ("北京 大学", ["北京大学"], (0, 1)),  # a space counts in the exact match alone
        ("1999-2003年", ["19992003年"], (1, 1)),
        ("北京……", ["北京"], (0, 4 / 5)),
        ("新竹市東區", ["新竹市", "新竹市東區"], (1, 1)),
        ("", ["北京"], (0, 0)),
        ("，。", ["，"], (1, 0)),
        ("京", ["京"], (1, 1)),
    ],
)
def test_cmrc(prediction: str, answers: list[str], expected: tuple[float, float]) -> None:
    assert cmrc_score(prediction, answers) == pytest.approx(expected)


def test_units_keep_rare_characters_beyond_the_range_in_a_word() -> None:
    assert units("㐀a一龥\u9fa6b") == ["㐀a", "一", "龥", "\u9fa6b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("u.s. army", ["u.s.", "army"]),
        ("Stop here. Go on.", ["Stop", "here.", "Go", "on", "."]),  # no sentence splitting
        ("don't, can't we'll it's", ["do", "n't", ",", "ca", "n't", "we", "'ll", "it", "'s"]),
        ("100,000 at 10:30, or so", ["100,000", "at", "10:30", ",", "or", "so"]),
        ('"a" (b) [c]', ["``", "a", "''", "(", "b", ")", "[", "c", "]"]),
        ("cannot gonna gimme", ["can", "not", "gon", "na", "gim", "me"]),
        ("3.5% $5 a...b a--b", ["3.5", "%", "$", "5", "a", "...", "b", "a", "--", "b"]),
        ("the dogs' owner", ["the", "dogs", "'", "owner"]),
        ("'barracks'?", ["'", "barracks", "'", "?"]),
        ('"', ["``"]),
        ("can't\tdon't\n", ["ca", "n't", "do", "n't"]),
        ("a,,b ```", ["a", ",", ",b", "``", "`"]),  # as NLTK has it
        ("1899–1900", ["1899", "–", "1900"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_longest_common_run_against_all_runs(first: list[str], second: list[str]) -> None:
    runs = {tuple(second[i:j]) for i in range(len(second)) for j in range(i, len(second) + 1)}
    lengths = [j - i for i in range(len(first)) for j in range(i, len(first) + 1) if tuple(first[i:j]) in runs]
    assert longest_common_run(first, second) == max(lengths, default=0)


@given(st.text("aAnthe .,-“", max_size=12), st.lists(st.text("aAnthe .,-“", max_size=12), min_size=1, max_size=3))
def test_squad_f1_against_pairing_word_by_word(prediction: str, answers: list[str]) -> None:
    def plain(answer: str) -> float:
        ours, left = normalized(prediction).split(), normalized(answer).split()
        total, shared = len(ours) + len(left), 0
        for word in ours:
            if word in left:
                left.remove(word)
                shared += 1
        return 2 * shared / total if shared else 0.0

    assert squad_score(prediction, answers).f1 == pytest.approx(max(map(plain, answers)))


questions = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans(), st.integers(-3, 3).map(float)),
    min_size=1,
    max_size=12,
)


@given(questions)
def test_threshold_against_trying_all(rows: list[tuple[float, bool, float]]) -> None:
    rows = [(score if answerable else float(score > 0), answerable, null) for score, answerable, null in rows]
    scores, has_answer, nulls = zip(*rows, strict=True)

    def mean(threshold: float) -> float:
        each = (score if null <= threshold else float(not answerable) for score, answerable, null in rows)
        return sum(each) / len(rows)

    found = no_answer_threshold(scores, has_answer, nulls)
    assert found.score == pytest.approx(max(map(mean, (-9.0, *nulls))))
    assert mean(found.threshold) == pytest.approx(found.score)


def test_threshold_as_the_official_script_finds_it() -> None:
    # In order of null scores: right text (+1), wrong text for an unanswerable question (-1), right text (+0.8).
    found = no_answer_threshold([1.0, 0.0, 0.8, 0.0], [True, False, True, False], [-5.0, -1.0, 0.5, 2.0])
    assert found == (-5.0, pytest.approx(3 / 4))
    # Answering none is best: 0 for scores above it, as there; else below all.
    assert no_answer_threshold([0.0], [False], [0.5]) == (0.0, 1.0)
    assert no_answer_threshold([0.0], [False], [-4.0]).threshold < -4


def test_threshold_needs_numbers() -> None:
    with pytest.raises(UserError, match="no questions"):
        no_answer_threshold([], [], [])
    with pytest.raises(UserError, match="not a number"):
        no_answer_threshold([1.0], [True], [float("nan")])


def test_mean_counts_questions_without_a_prediction() -> None:
    answers = {"1": ["北京大学"], "2": ["北京"], "3": ["上海"]}
    mean = mean_score({"1": "北京大学", "2": "北京 市", "other": "x"}, answers, cmrc_score)
    assert mean == pytest.approx((1 / 3, (1 + 4 / 5) / 3))
    assert mean.average == pytest.approx((1 / 3 + 1.8 / 3) / 2)
    assert mean_score({}, {"1": []}, squad2_score) == SpanScore(0.0, 0.0)  # left out is not "none"


def test_mean_says_which_question_cannot_be_scored() -> None:
    with pytest.raises(UserError, match="question q7: there is no answer"):
        mean_score({"q7": "x"}, {"q7": []}, squad_score)
    with pytest.raises(UserError, match="no questions"):
        mean_score({}, {}, cmrc_score)
