"""DistillationTrainer: transformers' Trainer with a teacher beside the student, of models and datasets in memory."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast, TrainingArguments

from glue_tasks.errors import UserError
from tinydistill import DistillationTrainer, Objective

from .conftest import tiny_bert_config
from .sentiment import ROWS, dataset


def test_gradient_checkpointing_of_the_loop(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """transformers' argument means the student, whose dropout is drawn as without it."""
    weights, blocks = [], []
    for asked in (False, True):
        torch.manual_seed(0)
        small = BertForSequenceClassification(tiny_bert_config(layers=2))
        args = TrainingArguments(str(tmp_path), max_steps=3, use_cpu=True, report_to="none", disable_tqdm=True)
        args.gradient_checkpointing = args.activation_checkpointing = asked  # one name or the other warns
        trainer = DistillationTrainer(small, trained, args=args, train_dataset=dataset(), processing_class=tokenizer)
        trainer.train()
        weights.append(small.state_dict())
        blocks.append([block.gradient_checkpointing for block in trainer.model.student.bert.encoder.layer])
        assert args.gradient_checkpointing == asked
    assert blocks == [[False, False], [True, True]]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


@pytest.mark.parametrize("form", ["names", "reordered", "numbers"])
def test_labels_of_a_dataset_by_name(
    form: str, trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """The trainer learns what the names say, in whatever order a dataset numbers them."""
    data = dataset()
    if form == "names":
        names = ["positive" if label else "negative" for label in data["label"]]
        data = data.remove_columns("label").add_column("label", names)
    if form == "reordered":
        other = dataset(("positive", "negative"))
        data = other.map(lambda row: {"label": 1 - row["label"]}, features=other.features)
    if form == "numbers":
        data = Dataset.from_dict({"text": data["text"][:], "label": data["label"][:]})
    trainer = DistillationTrainer(
        copy.deepcopy(trained),
        objectives=[Objective(feature="labels")],
        args=TrainingArguments(str(tmp_path), report_to="none"),
        train_dataset=data,
        eval_dataset=data,
        processing_class=tokenizer,
        compute_metrics=lambda given: {"accuracy": (given.predictions.argmax(-1) == given.label_ids).mean()},
    )
    assert trainer.train_dataset["labels"][:] == [label for _, label in ROWS]
    assert trainer.evaluate()["eval_accuracy"] == 1.0
    some = data.select([i for i, (_, label) in enumerate(ROWS) if label])
    assert trainer.evaluate(some)["eval_accuracy"] == 1.0
    found = trainer.predict(data.select([2, 0]))
    assert (found.predictions.argmax(-1) == [ROWS[2][1], ROWS[0][1]]).all()
    assert found.metrics == {"test_accuracy": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": "all"}, "heads is 'all'; it can be match, mean"),
        ({"layer_map": [1, 3]}, "sets layer_map to .*, which is not of type str"),
        ({"max_length": 0}, "max_length is 0; it must be more than 0"),
        ({"seed": 3}, "has no option 'seed'; there are layer_map"),
        ({"objectives": [Objective(feature="logits", teacher="large")]}, "names the teacher 'large'; there is one"),
        ({"objectives": [Objective(feature="hidden", layers=((0, 9),))]}, "compares hidden 9 of the teacher"),
        ({"teacher": None}, "and there is none; give one as teacher="),
    ],
)
def test_mistakes_with_the_trainer(
    options: dict[str, Any], message: str, trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast
) -> None:
    given = {"teacher": trained, "train_dataset": dataset(), "processing_class": tokenizer, **options}
    with pytest.raises(UserError, match=message):
        DistillationTrainer(BertForSequenceClassification(tiny_bert_config(layers=2)), **given)


def test_labels_that_the_student_does_not_have(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(UserError, match="the dataset has the label 'bad', the student negative, positive"):
        DistillationTrainer(
            copy.deepcopy(trained),
            objectives=[Objective(feature="labels")],
            train_dataset=dataset(("bad", "good")).select([0]),
            processing_class=tokenizer,
        )
