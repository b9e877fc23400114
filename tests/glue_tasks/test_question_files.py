"""Files of questions: SQuAD's nested JSON, records, Parquet; answers found, moved, kept to score by, and refused."""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from glue_tasks import TASKS, Task, UserError
from glue_tasks.files import open_table
from glue_tasks.question_files import QuestionSplit, is_nested
from glue_tasks.rows import Answer, Question

SQUAD, SQUAD2, CMRC, DRCD = (TASKS[name] for name in ("SQuAD1.1", "SQuAD2.0", "CMRC2018", "DRCD"))
CONTEXT = "The Normans gave their name to Normandy. The Normans were from Denmark."


def answer(text: str, start: int) -> dict[str, Any]:
    return {"text": text, "answer_start": start}


def asked(id: Any, question: str, *answers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": id, "question": question, "answers": list(answers), **more}


def squad(*questions: Mapping[str, Any], context: str = CONTEXT) -> dict[str, Any]:
    paragraph = {"context": context, "qas": list(questions)}
    return {"version": "1.1", "data": [{"title": "Normandy", "paragraphs": [paragraph]}]}


WHO = asked("q1", "Who gave a name?", answer("The Normans", 0))
WHERE = asked("q2", "Where were they from?", answer("Denmark", 63), answer("from Denmark", 58))
EXPECTED = [
    ("q1", "Who gave a name?", CONTEXT, (Answer("The Normans", 0),)),
    ("q2", "Where were they from?", CONTEXT, (Answer("Denmark", 63), Answer("from Denmark", 58))),
]


def write(folder: Path, content: Any, name: str = "train.json", **how: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, **how), encoding="utf-8", newline="")
    return path


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def opened(path: Path, task: Task = SQUAD, split: str = "train", **options: Any) -> QuestionSplit:
    table = open_table(task, path, split, **options)
    assert isinstance(table, QuestionSplit)
    return table


def read(path: Path, task: Task = SQUAD, split: str = "train", **options: Any) -> list[Any]:
    rows = list(opened(path, task, split, **options))
    assert all(isinstance(row, Question) and row.cells == () and row.label is None for row in rows)
    return [(row.id, *row.texts, row.answers) for row in rows if isinstance(row, Question)]


def refused(path: Path, task: Task = SQUAD, split: str = "train", **options: Any) -> str:
    with pytest.raises(UserError) as error:
        list(opened(path, task, split, **options))
    return str(error.value).replace(str(path), "FILE")


# Layouts.


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_squads_layout(tmp_path: Path, indent: int | None) -> None:
    path = write(tmp_path, squad(WHO, WHERE), indent=indent)
    assert read(path) == EXPECTED
    assert is_nested(path)
    assert [row.line for row in opened(path)] == [1, 2]  # the questions' numbers


def test_a_byte_order_mark_and_other_line_ends(tmp_path: Path) -> None:
    text = json.dumps(squad(WHO, WHERE), indent=1)
    for changed in ("\ufeff" + text, text.replace("\n", "\r\n"), text.replace("\n", "\r"), "\n\n" + text + "\n\n"):
        assert read(write(tmp_path, changed)) == EXPECTED


HUB = [
    {
        "id": each["id"],
        "title": "Normandy",
        "context": CONTEXT,
        "question": each["question"],
        "answers": {
            "text": [known["text"] for known in each["answers"]],
            "answer_start": [known["answer_start"] for known in each["answers"]],
        },
    }
    for each in (WHO, WHERE)
]


def test_the_hubs_rows(tmp_path: Path) -> None:
    Dataset.from_list(HUB).to_parquet(tmp_path / "train.parquet")
    for path in (
        write(tmp_path, lines(*HUB), "train.jsonl"),
        write(tmp_path, HUB, "array.json", indent=1),
        write(tmp_path, HUB, "array.jsonl"),
        tmp_path / "train.parquet",
    ):
        assert read(path) == EXPECTED
        assert not is_nested(path)
        if path.suffix == ".parquet" or path.name == "train.jsonl":
            assert [row.line for row in opened(path)] == [1, 2]


def test_a_list_of_articles_or_of_paragraphs(tmp_path: Path) -> None:
    articles = squad(WHO, WHERE)["data"]
    assert read(write(tmp_path, articles)) == EXPECTED
    assert read(write(tmp_path, {"data": articles[0]["paragraphs"]})) == EXPECTED
    assert read(write(tmp_path, articles[0], indent=1)) == EXPECTED
    assert read(write(tmp_path, lines(*articles))) == EXPECTED


def test_cmrcs_first_layout(tmp_path: Path) -> None:
    questions = [
        {"query_id": "TRAIN_186_QUERY_0", "query_text": "谁？", "answers": ["范廷颂", "范廷颂"]},
        {"query_id": "TRAIN_186_QUERY_1", "query_text": "在哪里？", "answers": ["河内"]},
    ]
    paragraph = {"context_id": "TRAIN_186", "context_text": "范廷颂在河内。河内。", "qas": questions, "title": "范廷颂"}
    table = opened(write(tmp_path, [paragraph]), CMRC)
    assert [row.answers for row in table if isinstance(row, Question)] == [
        (Answer("范廷颂", 0), Answer("范廷颂", 0)),
        (Answer("河内", 4),),  # the first place, where no offset is stated
    ]
    assert table.tally.moved == 0
    questions[1]["answers"] = ["北京"]
    said = refused(write(tmp_path, [paragraph]), CMRC)
    assert said.startswith(
        "FILE, article 范廷颂, question TRAIN_186_QUERY_1: the answer '北京' is not in its context of"
    )


def test_one_answer_without_a_list(tmp_path: Path) -> None:
    row = {**HUB[0], "answers": answer("The Normans", 0)}
    assert read(write(tmp_path, lines(row), "train.jsonl")) == EXPECTED[:1]
    row = {**HUB[0], "answers": "The Normans"}
    assert read(write(tmp_path, lines(row), "train.jsonl")) == EXPECTED[:1]


def test_columns_by_other_names(tmp_path: Path) -> None:
    own = replace(SQUAD, name="own", hub=None, text_columns=("q", "passage"), label_column="spans", id_column="key")
    row = {"key": 7, "q": "Who?", "passage": CONTEXT, "spans": [answer("The Normans", 0)]}
    assert read(write(tmp_path, lines(row), "a.jsonl"), own) == [("7", "Who?", CONTEXT, (Answer("The Normans", 0),))]


# Answers.


def test_answers_not_at_their_offset_are_found_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = "ab cd ab ef ab"
    found = [
        asked("there", "?", answer("ab", 6)),
        asked("only once", "?", answer("cd", 0)),
        asked("nearest before", "?", answer("ab", 8)),
        asked("nearest after", "?", answer("ab", 11)),
        asked("first of two as near", "?", answer("ab", 3)),
        asked("past the end", "?", answer("ab", 99)),
        asked("negative", "?", answer("ab", -1)),
        asked("far below", "?", answer("ab", -50)),
    ]
    table = opened(write(tmp_path, squad(*found, context=context)))
    starts = [row.answers[0].start for row in table if isinstance(row, Question) and row.answers]
    assert starts == [6, 3, 6, 12, 0, 12, 0, 0]
    assert (table.tally.moved, table.tally.first_moved) == (7, "article Normandy, question only once")
    assert "7 answers are not at their offset, article Normandy, question only once the first" in caplog.text


def nearest(text: str, start: int, context: str) -> int | None:
    """By trying each place."""
    places = [at for at in range(len(context)) if context[at : at + len(text)] == text]
    return min(places, key=lambda at: (abs(at - start), at)) if places else None


@settings(max_examples=300)
@given(
    context=st.text("ab", min_size=1, max_size=12),
    text=st.text("ab", min_size=1, max_size=3),
    start=st.integers(-3, 15),
)
def test_the_place_of_an_answer_is_the_nearest(
    tmp_path_factory: pytest.TempPathFactory, context: str, text: str, start: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "train.json"
    path.write_text(json.dumps(squad(asked("q", "?", answer(text, start)), context=context)))
    place = nearest(text, start, context)
    if place is None:
        assert "context" in refused(path)
    else:
        ((_, _, _, answers),) = read(path)
        assert answers == (Answer(text, place),)
        assert context[place:].startswith(text)


def test_answers_in_other_words_are_kept_to_score_by(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As 193 of CMRC 2018's dev set; those in the context come first."""
    path = write(tmp_path, squad(asked("q", "?", answer("in Denmark", -1), answer("Denmark", 63))))
    table = opened(path, CMRC)
    (row,) = table
    assert isinstance(row, Question)
    assert row.answers == (Answer("Denmark", 63), Answer("in Denmark", -1))
    assert (table.tally.unplaced, table.tally.moved) == (1, 0)
    assert "1 answers are not in their context, as their offset -1 says" in caplog.text
    said = refused(write(tmp_path, squad(asked("q", "?", answer("in Denmark", -1)))), CMRC)
    assert said == (
        "FILE, article Normandy, question q: a question none of whose answers is in its context; copy one from there"
    )


def test_squad_2(tmp_path: Path) -> None:
    questions = [
        {**WHO, "is_impossible": False},
        asked("none", "Why?", is_impossible=True, plausible_answers=[answer("The Normans", 0)]),
    ]
    expected = [EXPECTED[0], ("none", "Why?", CONTEXT, ())]
    assert read(write(tmp_path, squad(*questions)), SQUAD2) == expected
    hub = {**HUB[0], "id": "none", "question": "Why?", "answers": {"text": [], "answer_start": []}}
    assert read(write(tmp_path, lines(HUB[0], hub), "train.jsonl"), SQUAD2) == expected
    del questions[1]["answers"]
    assert "a question without an answer" in refused(write(tmp_path, squad(*questions)), SQUAD2)
    said = refused(write(tmp_path, lines(HUB[0], hub), "train.jsonl"))
    assert said.startswith(
        "FILE, question none: a question without an answer; SQuAD1.1 has an answer for each; or set "
    )


def test_a_test_split_is_read_without_its_answers_whatever_they_are(tmp_path: Path) -> None:
    bare = {key: value for key, value in WHO.items() if key != "answers"}
    for question in (WHO, bare, {**bare, "answers": []}, {**bare, "answers": [answer("", -1)]}, {**bare, "answers": 3}):
        table = opened(write(tmp_path, squad(question)), split="test")
        assert not table.is_labelled
        (row,) = table
        assert isinstance(row, Question)
        assert (row.id, row.texts, row.answers) == ("q1", ("Who gave a name?", CONTEXT), None)


def test_a_file_without_answers_is_read_where_none_are_needed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bare = {key: value for key, value in WHO.items() if key != "answers"}
    path = write(tmp_path, squad(bare))
    assert "FILE has no answers, as in a test file" in refused(path)
    assert read(path, needs_labels=False) == [("q1", "Who gave a name?", CONTEXT, None)]
    assert "has no answers, and is read without" in caplog.text


# What is refused.


def changed(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(WHO), **fields}


BAD = "FILE, article Normandy, question q1: "
QUESTIONS_REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        changed(answers=[answer("Vikings", 4)]),
        BAD + "the answer 'Vikings' is not in its context of 71 characters; copy",
    ),
    (changed(answers=[answer("the normans", 0)]), BAD + "the answer 'the normans' is not in its context"),
    (changed(answers=[answer("", 4)]), BAD + "an answer without a text"),
    (changed(answers=[answer(" ", 3)]), BAD + "an answer without a text"),
    (changed(answers=[{"text": 3, "answer_start": 4}]), BAD + "an answer without a text"),
    (changed(answers=[answer("Normans", 4.5)]), BAD + "the answer 'Normans' has the offset 4.5"),
    (changed(answers=[answer("Normans", True)]), BAD + "the answer 'Normans' has the offset True"),
    (changed(answers=[answer("Normans", "4")]), BAD + "the answer 'Normans' has the offset 4; write an answer as"),
    (changed(answers=[{"text": "Normans", "answer_start": None}]), BAD + "the answer 'Normans' has the offset None"),
    (changed(answers=3), BAD + "an answer without a text"),
    (changed(answers=[[]]), BAD + "an answer without a text"),
    (changed(answers={"text": ["a"], "answer_start": []}), BAD + "answers has no text and answer_start of one length"),
    (changed(answers={"text": None}), BAD + "answers has no text and answer_start of one length"),
    (changed(id=None), "FILE, article Normandy: a question without an id; write it as 'id'"),
    (changed(id=""), "FILE, article Normandy: a question without an id"),
    (changed(id=True), "FILE, article Normandy: a question without an id"),
    (changed(id=["q1"]), "FILE, article Normandy: a question without an id"),
    (changed(question=None), BAD + "question holds nothing, not text"),
    (changed(question=["Who?"]), BAD + "question holds a list, not text"),
    (changed(question="\ud800?"), BAD + "question holds half a character"),
    (changed(is_impossible=True), BAD + "is_impossible is true, and there is an answer"),
    (changed(is_impossible=False, answers=[]), BAD + "is_impossible is false, and there is no answer"),
]


@pytest.mark.parametrize(("question", "sentence"), QUESTIONS_REFUSED)
def test_a_question_that_cannot_be_read_is_named(tmp_path: Path, question: dict[str, Any], sentence: str) -> None:
    assert refused(write(tmp_path, squad(question))).startswith(sentence)
    both = write(tmp_path, squad(WHERE, question))
    assert refused(both).startswith(sentence)
    assert read(both, skip_bad_rows=True) == EXPECTED[1:]


FILES_REFUSED: list[tuple[Any, str]] = [
    ("", "FILE has no questions; it is empty, or its lists are"),
    ("{}", "FILE, line 1: no column named 'question'; SQuAD1.1 needs question, context, the file has"),
    ({"data": []}, "FILE has no questions"),
    ([], "FILE has no questions"),
    ({"data": {}}, "FILE, line 1: data is no list"),
    ({"data": [3]}, "FILE, line 1: '3' in data, which is a list of objects"),
    ({"data": [{"title": "A", "paragraphs": None}]}, "FILE, article A: paragraphs is no list; write it as SQuAD does"),
    ({"data": [{"title": "A", "paragraphs": ["x"]}]}, "FILE, article A: 'x' in paragraphs, which is a list of objects"),
    ({"data": [{"title": "A", "paragraphs": [{"context": "c"}]}]}, "FILE, article A: a paragraph without qas"),
    ({"data": [{"title": "A", "paragraphs": [{"context": "c", "qas": [1]}]}]}, "FILE, article A: '1' in qas"),
    ({"data": [{"title": "A", "paragraphs": [{"qas": [WHO]}]}]}, "FILE, article A, question q1: context holds nothing"),
    ('{"data": [', "FILE, line 1: no JSON (Expecting value); get or make the file anew"),
    ('{"data": [\n{"title": "A", "paragraphs": [}', "FILE, line 2: no JSON"),
    ('{"data":\n [' + "[" * 100_000, "FILE is no JSON that can be read"),
    ("3", "FILE, line 1: JSON, but no object; each line is an object {...}"),
    ("question\tcontext\nWho?\tThe Normans.\n", "FILE, line 1: no JSON object (Expecting value at character 1)"),
    (lines({"question": "Who?", "context": "c"}), "FILE, line 1: a question without an id; write it as 'id'"),
]


@pytest.mark.parametrize(("content", "sentence"), FILES_REFUSED)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: Any, sentence: str) -> None:
    assert refused(write(tmp_path, content)).startswith(sentence)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(json.dumps(squad(WHO), indent=1).encode().replace(b"Normandy", b"\xff", 1))
    assert refused(path) == "FILE is not UTF-8; save it as UTF-8"


def test_two_questions_of_one_id(tmp_path: Path) -> None:
    path = write(tmp_path, squad(WHO, {**WHERE, "id": "q1"}, WHERE))
    assert refused(path) == (
        "FILE, article Normandy, question q1: an id that an earlier question has; give each question its own"
    )
    assert read(path, skip_bad_rows=True) == EXPECTED


def test_a_question_without_text_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, squad(WHO, {**WHERE, "question": " "}))
    table = opened(path)
    assert len(list(table)) == 2
    assert (table.tally.empty, table.tally.first_empty) == (1, 2)
    assert read(path, skip_bad_rows=True) == EXPECTED[:1]


def test_a_context_of_100_000_characters_and_one_question(tmp_path: Path) -> None:
    context = "字" * 100_000 + "答"
    path = write(tmp_path, squad(asked(1, "?", answer("答", 100_000)), context=context))
    assert read(path) == [("1", "?", context, (Answer("答", 100_000),))]


# Real files.


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "file", "questions", "answers", "moved", "unplaced", "empty"),
    [
        (SQUAD, "squad1.1/train-v1.1-part.json", 11_877, 11_877, 0, 0, 0),
        (SQUAD, "squad1.1/dev-v1.1.json", 10_570, 34_726, 0, 0, 0),
        (CMRC, "cmrc2018/cmrc2018_dev.json", 3_219, 9_657, 7, 193, 0),
        (CMRC, "cmrc2018/cmrc2018_trial.json", 1_002, 1_002, 5, 0, 2),
        (DRCD, "drcd/DRCD_dev.json", 3_524, 7_048, 0, 0, 0),
        (DRCD, "drcd/DRCD_test.json", 3_493, 6_986, 0, 0, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_real_files_against_a_plain_reading(
    shared: Path, task: Task, file: str, questions: int, answers: int, moved: int, unplaced: int, empty: int
) -> None:
    path = shared / "data" / "mrc" / file
    table = opened(path, task, "dev")
    rows = [row for row in table if isinstance(row, Question)]
    tally = table.tally
    assert (len(rows), tally.moved, tally.unplaced, tally.empty) == (questions, moved, unplaced, empty)
    plain = {
        question["id"]: (
            question["question"],
            paragraph["context"],
            sorted(each["text"] for each in question["answers"]),
        )
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }
    assert {row.id: (*row.texts, sorted(each.text for each in row.answers or ())) for row in rows} == plain
    assert sum(len(row.answers or ()) for row in rows) == answers
    for row in rows:
        assert row.answers
        assert row.answers[0].start >= 0
        for text, start in row.answers:
            assert row.texts[1].startswith(text, start) if start >= 0 else text not in row.texts[1]
