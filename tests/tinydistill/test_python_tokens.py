"""Tokens and questions from Python: datasets in memory in, a student out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from transformers import BertConfig, BertForQuestionAnswering, BertForTokenClassification, TrainingArguments

from glue_tasks import get_task
from glue_tasks.errors import UserError
from tests.tinydistill.spans_and_tokens import contexts, tagged
from tinydistill import DistillationTrainer, Objective, distill
from tinydistill.dataset_task import described, write_split
from tinydistill.label_order import named_order

from .conftest import tiny_bert_config

TAGS = ["I-PER", "B-LOC", "O", "B-PER", "I-LOC"]  # in an order of the teacher's own
SENTENCES = tagged(24, seed=3, words=8)


def named(names: list[str], layers: int = 4) -> BertConfig:
    config = tiny_bert_config(layers=layers, num_labels=len(names))
    config.update({"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}})
    return config


def tagger(layers: int = 4) -> BertForTokenClassification:
    torch.manual_seed(0)
    return BertForTokenClassification(named(TAGS, layers))


def entities(kind: str = "ClassLabel") -> Dataset:
    tags = [[tag for _, tag in sentence] for sentence in SENTENCES]
    tokens = [[token for token, _ in sentence] for sentence in SENTENCES]
    if kind == "names":
        return Dataset.from_dict({"tokens": tokens, "ner_tags": tags})
    feature = ClassLabel(names=TAGS) if kind == "ClassLabel" else Value("int64")
    features = Features({"tokens": List(Value("string")), "ner_tags": List(feature)})
    return Dataset.from_dict({"tokens": tokens, "ner_tags": [[TAGS.index(t) for t in of] for of in tags]}, features)


def questions(count: int = 16) -> Dataset:
    made = contexts(count, seed=2)
    return Dataset.from_dict(
        {
            "question": ["how is the film"] * count,
            "context": [context for context, _, _ in made],
            "answers": [{"text": [answer], "answer_start": [start]} for _, answer, start in made],
        }
    )


@pytest.mark.parametrize("kind", ["ClassLabel", "numbers", "names"])
def test_tags_however_they_are_written(kind: str, tmp_path: Path) -> None:
    """They mean the same: the same file comes of them."""
    data, columns = entities(kind), {"ner_tags": "tags"}
    task = described(tagger().config, data, columns, ())
    assert (task.kind, task.labels) == ("tokens", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))
    write_split(task, tagger().config, data, columns, tmp_path / "train.parquet")
    from glue_tasks.files import open_table

    rows = list(open_table(task, tmp_path / "train.parquet", "train"))
    expected = [tuple(task.labels.index(tag) for _, tag in sentence) for sentence in SENTENCES]
    assert [row.label for row in rows] == expected
    assert [row.texts for row in rows] == [tuple(token for token, _ in sentence) for sentence in SENTENCES]


def test_a_tagger_in_another_order(tokenizer, tmp_path: Path) -> None:
    """A student has the task's order, and the teacher's head in it; the report has each type."""
    student = distill(
        tagger(),
        "init:layers=2",
        entities(),
        entities(),
        tmp_path,
        tokenizer,
        columns={"ner_tags": "tags"},
        max_steps=2,
        allow_weak_teacher=True,
        phases=("prediction",),
    )
    assert isinstance(student, BertForTokenClassification)
    assert list(student.config.id2label.values()) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["teacher"]["dev_details"]["dev"].keys() == {"LOC", "PER"}
    page = (tmp_path / "report.md").read_text()
    count = sum(tag == "B-PER" for sentence in SENTENCES for _, tag in sentence)
    assert f"| PER | {count} | " in page


def test_questions(tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = BertForQuestionAnswering(tiny_bert_config(layers=4))
    student = distill(
        teacher,
        "init:layers=2",
        questions(),
        questions(),
        tmp_path,
        tokenizer,
        max_steps=2,
        max_length=32,
        allow_weak_teacher=True,
        phases=("prediction",),
    )
    assert isinstance(student, BertForQuestionAnswering)
    assert json.loads((tmp_path / "report.json").read_text())["teacher"]["dev"]["dev"].keys() == {"f1", "exact_match"}


def test_questions_without_an_answer_are_those_of_squad_2() -> None:
    data = questions(4)
    some = data.map(
        lambda row, i: {"answers": {"text": [], "answer_start": []} if i else row["answers"]}, with_indices=True
    )
    config = tiny_bert_config()
    assert described(config, data, {}, ()).span_score == "squad"
    assert described(config, some, {}, ()).span_score == "squad2"
    assert described(config, data, {}, (), language="zh").span_score == "cmrc"


def test_other_columns() -> None:
    with pytest.raises(UserError, match="needs text and label, or tokens and tags, or question, context and answers"):
        described(tiny_bert_config(), entities(), {}, ())


def pieces(tokenizer) -> Dataset:
    """As transformers' examples tokenise: -100 for later pieces and special ones."""

    def of_rows(rows: dict) -> dict:
        encoded = tokenizer(rows["tokens"], is_split_into_words=True)
        labels = []
        for i, tags in enumerate(rows["ner_tags"]):
            words = encoded.word_ids(i)
            firsts = [w is not None and (at == 0 or words[at - 1] != w) for at, w in enumerate(words)]
            labels.append([tags[w] if first else -100 for w, first in zip(words, firsts, strict=True)])
        return {"input_ids": encoded["input_ids"], "labels": labels}

    return entities().map(of_rows, batched=True, remove_columns=["tokens", "ner_tags"])


def test_the_trainer_takes_tagged_pieces(tokenizer, tmp_path: Path) -> None:
    """The loss is transformers' own, as a mean over each sentence's tokens and then the sentences."""
    data, model = pieces(tokenizer), tagger(2)
    trainer = DistillationTrainer(
        model,
        objectives=[Objective(feature="labels")],
        args=TrainingArguments(str(tmp_path), max_steps=1, use_cpu=True, report_to="none"),
        train_dataset=data,
        eval_dataset=data,
        processing_class=tokenizer,
    )
    expected = []
    model.eval()
    for row in data:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        with torch.no_grad():
            expected.append(model(input_ids=ids, labels=labels).loss.item())
    assert trainer.evaluate()["eval_loss_labels"] == pytest.approx(np.mean(expected), rel=1e-5)
    found = trainer.predict(data)
    flat = [label for row in data["labels"] for label in row if label >= 0]
    assert found.label_ids.tolist() == flat
    assert found.predictions.shape == (len(flat), len(TAGS))


def test_the_trainer_refuses_questions(tokenizer, tmp_path: Path) -> None:
    model = BertForQuestionAnswering(tiny_bert_config())
    with pytest.raises(UserError, match="use distill"):
        DistillationTrainer(model, teacher=model, processing_class=tokenizer, train_dataset=questions())


def test_a_model_of_another_scheme() -> None:
    names = ["O", *(f"{prefix}-{of}" for of in ("LOC", "ORG", "PER") for prefix in "BMES")]
    with pytest.raises(UserError, match="has the tags of BMES, MSRA those of BIO"):
        named_order(get_task("MSRA"), named(names), "m")
    order = named_order(get_task("MSRA"), named(list(get_task("MSRA").labels)[::-1]), "m")
    assert order == tuple(range(6, -1, -1))
    assert named_order(get_task("SQuAD1.1"), tiny_bert_config(num_labels=2), "m") == (0, 1)
    with pytest.raises(UserError, match="has 3 outputs, SQuAD1.1 has a start and an end"):
        named_order(get_task("SQuAD1.1"), tiny_bert_config(num_labels=3), "m")


@pytest.mark.parametrize("labels", ["none", "one"])
def test_the_trainer_without_tags(labels: str, tokenizer, tmp_path: Path) -> None:
    data = pieces(tokenizer).remove_columns("labels")
    data = data if labels == "none" else data.add_column("labels", [0] * len(data))
    with pytest.raises(UserError, match="with a list of labels for each row, -100"):
        DistillationTrainer(tagger(2), tagger(), train_dataset=data, processing_class=tokenizer)


@pytest.mark.parametrize("number", [-100, 5])
def test_a_number_that_is_no_tag(number: int, tmp_path: Path) -> None:
    data = Dataset.from_dict({"tokens": [["good"]], "tags": [[number]]})
    task = described(tagger().config, entities("numbers"), {"ner_tags": "tags"}, ())
    with pytest.raises(UserError, match=f"has the tag {number}, and there are 5 tags, from 0"):
        write_split(task, tagger().config, data, {}, tmp_path / "train.parquet")


def test_a_saved_tagger_states_no_problem_type(tokenizer, tmp_path: Path) -> None:
    """Which older transformers would refuse, of any but its own three."""
    from tinydistill.kinds import kind_of

    config = tiny_bert_config()
    config.update(kind_of(get_task("MSRA")).head())
    BertForTokenClassification(config).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()).get("problem_type") is None
