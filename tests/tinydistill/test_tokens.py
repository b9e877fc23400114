"""Tagged tokens, from a file to scores and predictions."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, PreTrainedTokenizerFast

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from tests.tinydistill.conftest import make_tokenizer
from tests.tinydistill.spans_and_tokens import one_hot, tagged, tiny_model, write_sentences
from tinydistill.data import counted_outputs, flat_column
from tinydistill.evaluation import predict
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Answers, Lengths
from tinydistill.kinds.tokens import Tokens

CONLL, MSRA = TASKS["CoNLL2003"], TASKS["MSRA"]
KIND = kind_of(CONLL)
SENTENCES = tagged(40, seed=0)


def encoded(
    sentences: Sequence[Sequence[tuple[str, str]]], tokenizer: PreTrainedTokenizerFast, folder: Path, length: int
) -> Dataset:
    write_sentences(folder / "dev.txt", sentences)
    return KIND.encode(open_table(CONLL, folder / "dev.txt", "dev"), tokenizer, Lengths(length), folder / "cache")


def plain_entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Of proper BIO."""
    found = set()
    for first, tag in enumerate(tags):
        if tag.startswith("B-"):
            last = first
            while last + 1 < len(tags) and tags[last + 1] == f"I-{tag[2:]}":
                last += 1
            found.add((tag[2:], first, last))
    return found


def plain_f1(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> float:
    ours, theirs = (
        {(number, *entity) for number, tags in enumerate(each) for entity in plain_entities(tags)}
        for each in (predicted, gold)
    )
    return 2 * len(ours & theirs) / (len(ours) + len(theirs))


@pytest.mark.parametrize("length", [3, 4, 5, 7, 12, 32])
def test_each_token_has_its_label_at_its_first_piece(
    length: int, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    data = encoded(SENTENCES, tokenizer, tmp_path, length)
    seen: dict[int, list[tuple[str, str]]] = {}
    for row in data:
        ids = row["input_ids"]
        assert (ids[0], ids[-1]) == (2, 3)
        assert len(ids) == row["length"] <= length
        assert row["token_type_ids"] == [0] * len(ids)
        firsts = tokenizer.convert_ids_to_tokens([ids[place] for place in row["places"]])
        tags = [CONLL.labels[label] for label in row["labels"]]
        seen.setdefault(row["row"], []).extend(zip(firsts, tags, strict=True))
    expected = [[(token.removesuffix("s") if tag == "B-LOC" else token, tag) for token, tag in s] for s in SENTENCES]
    assert [seen[number] for number in range(len(SENTENCES))] == expected
    assert (len(data) > len(SENTENCES)) == (length < 32)


@pytest.mark.parametrize("length", [3, 6, 32])
def test_perfect_outputs_are_perfect(length: int, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Entities that lie across two windows too."""
    data = encoded(SENTENCES, tokenizer, tmp_path, length)
    gold = flat_column(data, "labels")
    assert KIND.score(one_hot(gold, 9), data) == dict.fromkeys(CONLL.metrics, 1.0)
    assert KIND.sentences(gold, data) == [[tag for _, tag in sentence] for sentence in SENTENCES]
    details = KIND.details(one_hot(gold, 9), data, BertConfig())
    assert details.keys() == {"PER", "LOC"}
    counts = {each: sum(tag == f"B-{each}" for s in SENTENCES for _, tag in s) for each in ("PER", "LOC")}
    assert {each: (details[each]["f1"], details[each]["entities"]) for each in details} == {
        each: (1.0, counts[each]) for each in counts
    }


@pytest.mark.parametrize("length", [3, 6, 32])
def test_where_each_row_of_outputs_is(length: int, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    assert isinstance(KIND, Tokens)
    data = encoded(SENTENCES, tokenizer, tmp_path, length)
    assert KIND.places(data).tolist() == [[s, t] for s, each in enumerate(SENTENCES) for t in range(len(each))]


@pytest.mark.parametrize("length", [5, 32])
def test_predictions_are_written_and_have_the_score_that_is_printed(
    length: int, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    data = encoded(SENTENCES, tokenizer, tmp_path, length)
    draw = np.random.default_rng(3)
    gold = flat_column(data, "labels")
    labels = np.where(draw.random(len(gold)) < 0.8, gold, draw.integers(0, 9, len(gold)))
    outputs = one_hot(labels, 9)
    table = open_table(CONLL, tmp_path / "dev.txt", "dev")
    path = tmp_path / "out.txt"
    assert KIND.files(path) == (path, tmp_path / "out.jsonl")
    KIND.write(Answers(outputs, data, table, BertConfig()), path)
    read = [
        [line.split("\t") for line in block.splitlines()]
        for block in path.read_text(encoding="utf-8").split("\n\n")
        if block.strip()
    ]
    assert [[token for token, _ in block] for block in read] == [[token for token, _ in s] for s in SENTENCES]
    predicted = [[tag for _, tag in block] for block in read]
    broken = [number for number, label in enumerate(labels) if CONLL.labels[label].startswith("I-")]
    assert broken  # tags that nothing begins: written as an entity's first
    for tags in predicted:
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert not tag.startswith("I-") or before[1:] == tag[1:]
    score = KIND.score(outputs, data)["entity_f1"]
    assert score == pytest.approx(plain_f1(predicted, [[tag for _, tag in s] for s in SENTENCES]))
    assert 0.2 < score < 0.9
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["tags"] for record in records] == predicted
    for record in records:
        assert record["text"] == " ".join(record["tokens"])
        entities = [(each["type"], each["start"], each["end"]) for each in record["entities"]]
        assert all(record["text"][each["start"] : each["end"]] == each["text"] for each in record["entities"])
        starts = [len(" ".join(record["tokens"][:at])) + bool(at) for at in range(len(record["tokens"]))]
        expected = [
            (of, starts[first], starts[last] + len(record["tokens"][last]))
            for of, first, last in sorted(plain_entities(record["tags"]), key=lambda entity: entity[1])
        ]
        assert entities == expected
    alone = tmp_path / "alone.jsonl"
    assert KIND.files(alone) == (alone,)
    KIND.write(Answers(outputs, data, table, BertConfig()), alone)
    assert alone.read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_outputs_are_those_of_each_window_alone(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    data = encoded(SENTENCES, tokenizer, tmp_path, 12)
    model = tiny_model(CONLL)
    found = predict(model, data, KIND.collate(tokenizer), "float32", batch_size=7, kept=KIND.outputs)
    expected = []
    for row in data:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        expected.append(logits[row["places"]].numpy())
    assert counted_outputs(data).tolist() == [len(each) for each in expected]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-5)


def test_a_batch_has_labels_where_they_count(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    data = encoded(SENTENCES[:6], tokenizer, tmp_path, 32)
    for collate in (KIND.collate(tokenizer), KIND.collate(tokenizer, pad_to=40)):
        batch = collate(data.__getitems__(list(range(6))))
        assert not batch.keys() & {"places", "row", "length", "cut"}
        for row, example in enumerate(data):
            assert batch["counted"][row].nonzero()[:, 0].tolist() == example["places"]
            assert batch["labels"][row][example["places"]].tolist() == example["labels"]
        assert (batch["labels"][~batch["counted"]] == -100).all()


def test_chinese_characters_and_tokens_of_which_no_piece_is_left(tmp_path: Path) -> None:
    """Two characters of one token, letters that are one word without a space, a token that the tokenizer drops."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "北", "京", "a", "##b", "b"]
    tokenizer, kind = make_tokenizer(pieces), kind_of(MSRA)
    sentence = [("北", "B-LOC"), ("京", "I-LOC"), ("\u200d", "O"), ("a", "B-PER"), ("b", "I-PER"), ("北京", "B-ORG")]
    write_sentences(tmp_path / "dev.txt", [sentence])
    data = kind.encode(open_table(MSRA, tmp_path / "dev.txt", "dev"), tokenizer, Lengths(32), tmp_path / "cache")
    (row,) = data
    ids = [row["input_ids"][place] for place in row["places"]]
    assert tokenizer.convert_ids_to_tokens(ids) == ["北", "京", "[UNK]", "a", "##b", "北"]
    assert [MSRA.labels[label] for label in row["labels"]] == [tag for _, tag in sentence]
    kind.write(
        Answers(one_hot(flat_column(data, "labels"), 7), data, open_table(MSRA, tmp_path / "dev.txt"), BertConfig()),
        tmp_path / "out.jsonl",
    )
    record = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert record["text"] == "北京\u200dab北京"
    assert [each["text"] for each in record["entities"]] == ["北京", "ab", "北京"]


def test_a_teacher_is_told_from_luck(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    data = encoded(SENTENCES, tokenizer, tmp_path, 12)
    gold, draw = flat_column(data, "labels"), np.random.default_rng(0)
    half = np.where(draw.random(len(gold)) < 0.5, gold, 0)
    assert KIND.beats_chance(one_hot(half, 9), data)
    assert not KIND.beats_chance(one_hot(np.zeros_like(gold), 9), data)  # O alone
    passed = [KIND.beats_chance(draw.normal(size=(len(gold), 9)), data) for _ in range(12)]
    assert sum(passed) <= 1
    assert KIND.chance(data) == 0.0


def test_labels_in_another_order(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    data = encoded(SENTENCES, tokenizer, tmp_path, 12)
    gold = flat_column(data, "labels")
    good = KIND.doubts("t", one_hot(gold, 9), data, unnamed=False)
    assert (good.notes, good.serious) == ([], [])
    swapped = np.array([0, 3, 4, 1, 2, 5, 6, 7, 8])[gold]
    with pytest.raises(UserError, match="order"):
        KIND.doubts("t", one_hot(swapped, 9), data, unnamed=True)


def test_a_test_split_has_no_labels(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("the\nfilm\n\ngood\n", encoding="utf-8")
    table = open_table(CONLL, tmp_path / "test.txt", "test")
    data = KIND.encode(table, tokenizer, Lengths(32), tmp_path / "cache")
    assert "labels" not in data.column_names
    KIND.write(Answers(one_hot(np.array([0, 1, 2]), 9), data, table, BertConfig()), tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "the\tO\nfilm\tB-PER\n\ngood\tB-PER\n\n"
