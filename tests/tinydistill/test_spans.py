"""Questions about contexts, from a file to scores, thresholds and predictions."""

import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, PreTrainedTokenizerFast

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from glue_tasks.task import Task
from tests.tinydistill.conftest import make_tokenizer
from tests.tinydistill.spans_and_tokens import contexts, tiny_model, write_questions
from tinydistill.data import column, count_cut, count_rows, counted_outputs, rows_beside
from tinydistill.evaluation import predict
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Answers, Lengths
from tinydistill.kinds.spans import THRESHOLD
from tinydistill.label_order import align, is_unnamed

SQUAD, SQUAD2, CMRC = TASKS["SQuAD1.1"], TASKS["SQuAD2.0"], TASKS["CMRC2018"]
SHORT, LONG = Lengths(16, 3), Lengths(40, 128)


def encoded(
    task: Task, tokenizer: PreTrainedTokenizerFast, folder: Path, lengths: Lengths, training: bool = False
) -> Dataset:
    write_questions(folder / "dev.json", 40, seed=1, unanswerable=0.4 if task is SQUAD2 else 0.0)
    table = open_table(task, folder / "dev.json", "dev")
    return kind_of(task).encode(table, tokenizer, lengths, folder / "cache", training)


def perfect(data: Dataset, height: float = 9.0, null: float = 0.0) -> np.ndarray:
    """Outputs (P, 2): the first and last piece of the answer above all others, and [CLS] in windows without."""
    found = []
    for row in data:
        own = np.zeros((len(row["places"]), 2), dtype=np.float32)
        for side, label in enumerate(row["labels"]):
            if label >= 0:
                own[row["places"].index(label), side] = height if label else null
        found.append(own)
    return np.concatenate(found)


def gold(folder: Path) -> dict[str, list[str]]:
    articles = json.loads((folder / "dev.json").read_text())["data"]
    questions = [asked for article in articles for each in article["paragraphs"] for asked in each["qas"]]
    return {asked["id"]: [answer["text"] for answer in asked["answers"]] for asked in questions}


def words(text: str) -> list[str]:
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def plain_scores(predictions: Mapping[str, str], answers: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """As SQuAD's scripts have them, of one answer or none."""
    exact, overlap = [], []
    for id, known in answers.items():
        ours, theirs = words(predictions[id]), words(known[0] if known else "")
        exact.append(ours == theirs)
        shared = sum((Counter(ours) & Counter(theirs)).values())
        if not ours or not theirs:
            overlap.append(float(ours == theirs))
        else:
            overlap.append(2 * shared / (len(ours) + len(theirs)))
    return {"exact_match": sum(exact) / len(exact), "f1": sum(overlap) / len(overlap)}


@pytest.mark.parametrize("lengths", [SHORT, Lengths(11, 1), Lengths(12, 50), LONG])
@pytest.mark.parametrize("task", [SQUAD, SQUAD2], ids=lambda task: task.name)
def test_windows_hold_the_question_and_all_of_the_context(
    task: Task, lengths: Lengths, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    data = encoded(task, tokenizer, tmp_path, lengths)
    questions, known = rows_beside(data), gold(tmp_path)
    assert questions["id"] == list(known)
    seen: dict[int, set[int]] = {}
    answered = set()
    for row in data:
        asked = questions[row["row"]]
        ids, places = row["input_ids"], row["places"]
        assert len(ids) == row["length"] <= lengths.max_length
        if task is SQUAD2:
            assert places[0] == 0
            places = places[1:]
        assert ids[0] == 2
        assert (
            [place for place, id in enumerate(ids) if id == 3]
            == [places[0] - 1, places[-1] + 1]
            == [
                len(ids) - len(places) - 2,
                len(ids) - 1,
            ]
        )
        assert row["token_type_ids"] == [0] * places[0] + [1] * (len(ids) - places[0])
        offsets = np.frombuffer(row["offsets"], dtype=np.int32).reshape(-1, 2)
        texts = [asked["context"][start:end] for start, end in offsets]
        assert texts == tokenizer.convert_ids_to_tokens([ids[place] for place in places])  # words of one piece each
        assert row["first"] == len(asked["context"][: offsets[0, 0]].split())
        seen.setdefault(row["row"], set()).update(range(row["first"], row["first"] + len(places)))
        first, last = row["labels"]
        if first > 0:
            start, end = offsets[first - places[0], 0], offsets[last - places[0], 1]
            assert [asked["context"][start:end]] == asked["answers"]
            answered.add(row["row"])
        else:
            assert first == last == (0 if task is SQUAD2 else -100)
    assert [len(seen[number]) for number in range(40)] == [len(each["context"].split()) for each in questions]
    # Of questions with an answer, all but those of which two windows share the answer's two words.
    answerable = {number for number, answers in enumerate(known.values()) if answers}
    assert answered <= answerable
    assert len(answerable - answered) <= (0 if lengths.doc_stride < 4 or lengths is LONG else 3)
    assert (count_rows(data), len(data) > 40) == (40, lengths is not LONG)


def test_training_leaves_out_windows_without_the_answer(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    all_windows, training = (encoded(SQUAD, tokenizer, tmp_path, SHORT, each) for each in (False, True))
    expected = [row for row in all_windows if row["labels"] != [-100, -100]]
    assert 0 < len(expected) < len(all_windows)
    assert list(training) == expected
    all_windows, training = (encoded(SQUAD2, tokenizer, tmp_path, SHORT, each) for each in (False, True))
    assert list(training) == list(all_windows)  # no answer is one


@pytest.mark.parametrize("lengths", [SHORT, LONG])
def test_perfect_outputs_are_perfect(lengths: Lengths, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    data, kind = encoded(SQUAD, tokenizer, tmp_path, lengths), kind_of(SQUAD)
    assert kind.score(perfect(data), data) == {"f1": 1.0, "exact_match": 1.0}
    known = list(gold(tmp_path).values())
    contexts_ = rows_beside(data)["context"]
    for found, context, answers in zip(kind.decoded(perfect(data), data), contexts_, known, strict=True):
        assert context[found.spans[0].start : found.spans[0].end] == answers[0]


@pytest.mark.parametrize("lengths", [SHORT, LONG])
def test_the_threshold_is_searched_noted_and_used(
    lengths: Lengths, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    data, kind = encoded(SQUAD2, tokenizer, tmp_path, lengths), kind_of(SQUAD2)
    outputs = perfect(data, height=3.0, null=2.0)  # a text scores 6 against a null of 0, else 0 against 4
    scores = kind.score(outputs, data)
    assert (scores["f1"], scores["exact_match"]) == (1.0, 1.0)
    assert -6 <= scores["threshold"] < 4
    config = BertConfig()
    kind.keep(config, scores)
    assert getattr(config, THRESHOLD) == scores["threshold"]
    assert kind.score(outputs, data, config) == scores
    known, questions = gold(tmp_path), rows_beside(data)
    share = sum(not answers for answers in known.values()) / 40
    setattr(config, THRESHOLD, -100.0)  # none for each
    assert kind.score(outputs, data, config) == {"f1": share, "exact_match": share, "threshold": -100.0}
    setattr(config, THRESHOLD, 100.0)  # a text for each
    firsts = [found.spans[0] for found in kind.decoded(outputs, data)]
    texts = [context[span.start : span.end] for context, span in zip(questions["context"], firsts, strict=True)]
    expected = plain_scores(dict(zip(known, texts, strict=True)), known)
    assert kind.score(outputs, data, config) == pytest.approx({**expected, "threshold": 100.0})
    assert 1 - share <= expected["f1"] < 1
    kind.keep(config, {"f1": 1.0})  # of a task that has none
    assert getattr(config, THRESHOLD) == 100.0


def test_the_threshold_is_the_best_of_all(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    data, kind, draw = encoded(SQUAD2, tokenizer, tmp_path, SHORT), kind_of(SQUAD2), np.random.default_rng(0)
    outputs = perfect(data, 4.0, 3.0) + 2 * draw.normal(size=(int(counted_outputs(data).sum()), 2))
    known, found, tried = gold(tmp_path), kind.decoded(outputs, data), []
    nulls = [each.null - each.spans[0].score for each in found]
    for at in [-np.inf, *nulls]:
        texts = {
            id: "" if null > at else context[each.spans[0].start : each.spans[0].end]
            for id, null, each, context in zip(known, nulls, found, rows_beside(data)["context"], strict=True)
        }
        tried.append(plain_scores(texts, known)["f1"])
    best = kind.score(outputs, data)
    assert best["f1"] == pytest.approx(max(tried))
    assert min(tried) < best["f1"] - 0.1


@pytest.mark.parametrize("task", [SQUAD, SQUAD2], ids=lambda task: task.name)
def test_predictions_are_written_and_have_the_score_that_is_printed(
    task: Task, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    data, kind, draw = encoded(task, tokenizer, tmp_path, SHORT), kind_of(task), np.random.default_rng(1)
    outputs = perfect(data, 4.0, 3.0) + 2 * draw.normal(size=(int(counted_outputs(data).sum()), 2))
    scores, config = kind.score(outputs, data), BertConfig()
    kind.keep(config, scores)
    path, table = tmp_path / "out.json", open_table(task, tmp_path / "dev.json", "dev")
    assert kind.files(path) == (path,)
    assert kind.files(path, 3) == (path, tmp_path / "out.nbest.json")
    kind.write(Answers(outputs, data, table, config), path)
    assert not (tmp_path / "out.nbest.json").exists()
    predictions, known = json.loads(path.read_text(encoding="utf-8")), gold(tmp_path)
    assert list(predictions) == list(known)
    expected = plain_scores(predictions, known)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert 0.2 < expected["f1"] < 0.95
    assert ("" in predictions.values()) == (task is SQUAD2)
    said = kind.said(outputs, data, scores)
    assert said is not None
    assert list(said.answers) == [text or "(no answer)" for text in predictions.values()]
    assert list(said.gold) == [answers[0] if answers else "(no answer)" for answers in known.values()]

    kind.write(Answers(outputs, data, table, config, n_best=3), path)
    assert json.loads(path.read_text(encoding="utf-8")) == predictions
    found = json.loads((tmp_path / "out.nbest.json").read_text(encoding="utf-8"))
    contexts_ = dict(zip(rows_beside(data)["id"], rows_beside(data)["context"], strict=True))
    for id, ranked in found.items():
        assert len(ranked) == 3
        values = [each["score"] for each in ranked]
        assert values == sorted(values, reverse=True)
        powers = np.exp(np.array(values) - max(values))
        assert [each["probability"] for each in ranked] == pytest.approx((powers / powers.sum()).tolist())
        texts = [each for each in ranked if each["text"]]
        assert len(texts) >= (2 if task is SQUAD2 else 3)
        assert all(contexts_[id][each["start"] : each["end"]] == each["text"] for each in texts)
        assert predictions[id] in ("", texts[0]["text"])
        assert ranked[0]["text"] == predictions[id]
        of_three = said.sure[list(found).index(id)] / ranked[0]["probability"]  # a share of more answers is less
        assert 0 < of_three <= 1


def test_outputs_are_those_of_each_window_alone(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    for task in (SQUAD, SQUAD2):
        data, kind = encoded(task, tokenizer, tmp_path, Lengths(20, 6)), kind_of(task)
        model = tiny_model(task)
        found = predict(model, data, kind.collate(tokenizer), "float32", batch_size=7, kept=kind.outputs)
        expected = []
        for row in data:
            given = {name: torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids")}
            with torch.no_grad():
                output = model(**given)
            both = torch.stack([output.start_logits[0], output.end_logits[0]], -1)
            expected.append(both[row["places"]].numpy())
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-5)


def test_the_names_of_a_head_of_spans_mean_nothing() -> None:
    """Published ones have LABEL_0 and LABEL_1, or what the model was trained for before."""
    model = tiny_model(SQUAD)
    for names in (("LABEL_0", "LABEL_1"), ("negative", "positive")):
        model.config.id2label, model.config.label2id = dict(enumerate(names)), dict(zip(names, (0, 1), strict=True))
        assert not is_unnamed(SQUAD, model, "t")
        assert align(SQUAD, model, "t", {}) == []
    model.config.id2label = {0: "a", 1: "b", 2: "c"}
    with pytest.raises(UserError, match="t has 3 outputs, SQuAD1.1 has a start and an end"):
        align(SQUAD, model, "t", {})


@pytest.mark.parametrize("task", [SQUAD, SQUAD2], ids=lambda task: task.name)
def test_a_teacher_is_told_from_luck(task: Task, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    data, kind, draw = encoded(task, tokenizer, tmp_path, SHORT), kind_of(task), np.random.default_rng(2)
    size = (int(counted_outputs(data).sum()), 2)
    assert kind.beats_chance(perfect(data, 4.0, 3.0) + draw.normal(size=size), data)
    assert sum(kind.beats_chance(3 * draw.normal(size=size), data) for _ in range(10)) <= 1
    assert not kind.beats_chance(np.zeros(size), data)
    share = sum(not answers for answers in gold(tmp_path).values()) / 40
    assert share <= kind.chance(data) < max(share, 0.2) + 1e-9


def test_chance_is_that_of_random_spans(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """The mean over all places of as many words as the answer has, to the error of one draw a question."""
    data, kind = encoded(SQUAD, tokenizer, tmp_path, SHORT), kind_of(SQUAD)
    scores = []
    for context, (answer,) in zip(rows_beside(data)["context"], gold(tmp_path).values(), strict=True):
        parts, size = context.split(), len(answer.split())
        texts = [" ".join(parts[at : at + size]) for at in range(len(parts) - size + 1)]
        scores.append([plain_scores({"q": text}, {"q": [answer]})["f1"] for text in texts])
    spread = np.sqrt(sum(np.var(each) for each in scores)) / len(scores)
    assert abs(kind.chance(data) - np.mean([np.mean(each) for each in scores])) < 3 * spread


def test_a_long_question_loses_its_end_and_is_counted(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """It has at most half of a window, and 64 pieces; the windows of one question are one row that was cut."""
    asked = {"id": "q", "question": "good bad " * 50, "answers": [{"text": "film", "answer_start": 4}]}
    paragraph = {"context": "the film " * 30, "qas": [asked]}
    (tmp_path / "dev.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": [paragraph]}]}))
    for length, question in ((33, 15), (300, 64)):
        data = kind_of(SQUAD).encode(
            open_table(SQUAD, tmp_path / "dev.json", "dev"), tokenizer, Lengths(length, 8), tmp_path / "cache"
        )
        assert {row["places"][0] for row in data} == {question + 2}
        assert column(data, "cut").all()
        assert count_cut(data) == count_rows(data) == 1
        assert (len(data) > 1) == (length == 33)


def chinese(answers: Sequence[dict[str, Any]]) -> str:
    paragraph = {"context": "北京是中国的首都。", "qas": [{"id": "q", "question": "首都？", "answers": answers}]}
    return json.dumps({"data": [{"title": "t", "paragraphs": [paragraph]}]}, ensure_ascii=False)


def test_chinese_answers_are_runs_of_characters(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"北京是中国的首都"]
    (tmp_path / "dev.json").write_text(chinese([{"text": "北京", "answer_start": 0}]), encoding="utf-8")
    kind = kind_of(CMRC)
    table = open_table(CMRC, tmp_path / "dev.json", "dev")
    data = kind.encode(table, make_tokenizer(pieces), Lengths(32), tmp_path / "cache")
    assert kind.score(perfect(data), data) == {"f1": 1.0, "exact_match": 1.0}
    kind.write(Answers(perfect(data), data, table, BertConfig()), tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == {"q": "北京"}


def test_an_answer_in_other_words_is_scored_by_and_not_learnt(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"北京是中国的首都"]
    known = [{"text": "中国首都", "answer_start": -1}, {"text": "中国的首都", "answer_start": 3}]
    (tmp_path / "dev.json").write_text(chinese(known), encoding="utf-8")
    table = open_table(CMRC, tmp_path / "dev.json", "dev")
    data = kind_of(CMRC).encode(table, make_tokenizer(pieces), Lengths(32), tmp_path / "cache", for_training=True)
    (row,) = data
    offsets = np.frombuffer(row["offsets"], dtype=np.int32).reshape(-1, 2)
    first, last = (row["places"].index(label) for label in row["labels"])
    assert (offsets[first, 0], offsets[last, 1]) == (3, 8)
    assert rows_beside(data)["answers"] == [["中国的首都", "中国首都"]]


def test_a_context_without_text_is_answered_and_not_learnt(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    asked = {"id": "q", "question": "how", "answers": [], "is_impossible": True}
    other = {"id": "r", "question": "how", "answers": [{"text": "film", "answer_start": 0}], "is_impossible": False}
    paragraphs = [{"context": " \n", "qas": [asked]}, {"context": "film", "qas": [other]}]
    (tmp_path / "dev.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}))
    kind = kind_of(SQUAD2)
    data, training = (
        kind.encode(open_table(SQUAD2, tmp_path / "dev.json", "dev"), tokenizer, Lengths(32), tmp_path / "cache", each)
        for each in (False, True)
    )
    assert [row["row"] for row in data] == [0, 1]
    assert [row["row"] for row in training] == [1]
    assert data[0]["places"] == [0]
    outputs = np.array([[0, 0], [0, 0], [5, 5]], dtype=np.float32)
    assert kind.score(outputs, data)["f1"] == 1.0
    kind.write(
        Answers(outputs, data, open_table(SQUAD2, tmp_path / "dev.json", "dev"), BertConfig(), n_best=2),
        tmp_path / "out.json",
    )
    assert json.loads((tmp_path / "out.json").read_text()) == {"q": "", "r": "film"}


def test_a_test_split_has_no_answers(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    (context, answer, _) = contexts(1, seed=5)[0]
    asked = {"id": "q", "question": "how is the film"}
    (tmp_path / "test.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": [asked]}]}]}))
    kind, table = kind_of(SQUAD), open_table(SQUAD, tmp_path / "test.json", "test")
    data = kind.encode(table, tokenizer, Lengths(40), tmp_path / "cache")
    assert "labels" not in data.column_names
    assert "answers" not in rows_beside(data).column_names
    outputs = np.zeros((int(counted_outputs(data).sum()), 2), dtype=np.float32)
    words = context.split()
    at = next(i for i in range(len(words)) if " ".join(words[i:]).startswith(answer))
    outputs[at, 0] = outputs[at + len(answer.split()) - 1, 1] = 5
    kind.write(Answers(outputs, data, table, BertConfig()), tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"q": answer}
