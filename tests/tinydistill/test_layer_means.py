"""The losses of single layers in the log."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast, TrainingArguments

from tinydistill import DistillationTrainer, Objective
from tinydistill.layer_means import compared

from .conftest import tiny_bert_config
from .sentiment import dataset


def entries(
    teacher: Any, tokenizer: Any, folder: Any, goals: list[Objective], student: Any = None, **arguments: Any
) -> list[dict[str, float]]:
    torch.manual_seed(1)
    student = student or BertForSequenceClassification(tiny_bert_config(layers=2))
    settings: dict[str, Any] = {"max_steps": 6, "logging_steps": 2, "per_device_train_batch_size": 4} | arguments
    args = TrainingArguments(str(folder), use_cpu=True, report_to="none", disable_tqdm=True, **settings)
    trainer = DistillationTrainer(student, teacher, goals, args, train_dataset=dataset(), processing_class=tokenizer)
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("accumulation", [1, 3])
def test_they_add_up_to_the_objective(
    accumulation: int, trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Any
) -> None:
    goals = [Objective(feature="hidden"), Objective(feature="attention"), Objective(feature="logits")]
    found = entries(trained, tokenizer, tmp_path, goals, gradient_accumulation_steps=accumulation)
    assert len(found) == 3
    for entry in found:
        layers = {name: value for name, value in entry.items() if name.startswith("layer_")}
        assert list(layers) == [*(f"layer_hidden_{i}" for i in range(3)), *(f"layer_attention_{i}" for i in range(2))]
        for feature in ("hidden", "attention"):
            own = [value for name, value in layers.items() if feature in name]
            assert sum(own) == pytest.approx(entry[f"loss_{feature}"], rel=1e-5)


def test_each_is_that_layers_own(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Any
) -> None:
    """A student that is its teacher but for the second block: the layers below do not differ, those above do."""
    student = copy.deepcopy(trained)
    torch.nn.init.normal_(student.bert.encoder.layer[1].output.dense.weight, std=0.5)
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    last = trained.config.num_hidden_layers
    goals = [Objective(feature="hidden", layers=tuple((i, i) for i in range(last + 1)), projection="none")]
    rates = {"learning_rate": 0.0, "max_steps": 1, "logging_steps": 1, "per_device_train_batch_size": len(dataset())}
    (entry,) = entries(trained, tokenizer, tmp_path, goals, student, **rates)
    assert [entry[f"layer_hidden_{i}"] for i in (0, 1)] == pytest.approx([0, 0], abs=1e-12)
    expected = np.zeros(last + 1)
    for text in dataset()["text"][:]:  # one by one, in float64
        rows = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            ours, theirs = (
                copy.deepcopy(each).double().eval()(**rows, output_hidden_states=True).hidden_states
                for each in (student, trained)
            )
        expected += [((a - b) ** 2).mean().item() / len(dataset()) for a, b in zip(ours, theirs, strict=True)]
    assert [entry[f"layer_hidden_{i}"] for i in range(last + 1)] == pytest.approx(list(expected), rel=1e-4, abs=1e-9)
    assert expected[2] > 0.01


def test_layers_one_after_another(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Any
) -> None:
    """The mean is over the steps in which the layer was compared: here one of two, or both of them."""
    goals = [Objective(feature="hidden", layers="blocks", one_by_one=(0.5, 1.0)), Objective(feature="logits")]
    found = entries(trained, tokenizer, tmp_path, goals, logging_steps=4, max_steps=8)
    assert [[name for name in entry if name.startswith("layer_")] for entry in found] == [
        [],
        ["layer_hidden_1", "layer_hidden_2"],
    ]
    layers = [found[1][f"layer_hidden_{i}"] for i in (1, 2)]
    assert sum(layers) / 2 == pytest.approx(found[1]["loss_hidden"], rel=1e-5)


def test_names() -> None:
    several = Objective(feature="hidden", layers=((1, 1), (1, 2), (2, 4)))
    assert compared(several, several.pairs) == ("hidden", ("1-1", "1-2", "2-4"))
    of_two = Objective(loss="fsp", name="flow", layers=(((0, 1), (0, 2)), ((1, 2), (2, 4))))
    assert compared(of_two, of_two.pairs) == ("flow", ("0-1", "1-2"))
    assert compared(of_two, of_two.pairs[1:]) == ("flow", ("1-2",))
