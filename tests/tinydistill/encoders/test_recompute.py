"""Gradient checkpointing: the same losses and gradients through all that is compared, and never in a teacher."""

import copy
import functools
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from glue_tasks.errors import UserError
from tests.tinydistill.conftest import PIECES, tiny_bert_config
from tinydistill.distiller import Distiller
from tinydistill.encoders.cpu import choice
from tinydistill.encoders.recompute import recompute_activations
from tinydistill.objectives import Objective
from tinydistill.options import Options
from tinydistill.resolving import resolve
from tinydistill.teachers import LiveTeacher

SIZES = {"vocab_size": len(PIECES), "max_position_embeddings": 32}


def bert(dropout: float, of_attention: float) -> PreTrainedModel:
    sizes = {"layers": 2, "hidden_size": 16, "intermediate_size": 24}
    config = tiny_bert_config(**sizes, hidden_dropout_prob=dropout, attention_probs_dropout_prob=of_attention)
    return BertForSequenceClassification(config)


def distilbert(dropout: float, of_attention: float) -> PreTrainedModel:
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
    config = DistilBertConfig(**SIZES, **sizes, dropout=dropout, attention_dropout=of_attention)
    return DistilBertForSequenceClassification(config)


def roberta(dropout: float, of_attention: float) -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": of_attention}
    return RobertaForSequenceClassification(RobertaConfig(**SIZES, **sizes, **rates))


OBJECTIVES = {
    "hidden": [Objective(feature="hidden", layers=((0, 0), (1, 2), (2, 4)))],
    "attention": [Objective(feature="attention", layers=((0, 1), (1, 3)))],
    "all": [
        Objective(feature="hidden", layers=((1, 2),)),
        Objective(feature="attention", layers=((1, 3),)),
        Objective(feature="logits"),
        Objective(feature="labels"),
    ],
}


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 2 + [0] * 5])
    ids = torch.randint(5, len(PIECES), mask.shape) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 1])}


def gradients(
    student: PreTrainedModel, teacher: PreTrainedModel, objectives: list[Objective], precision: str
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    kinds = {"labels": "gold_cross_entropy", "logits": "soft_cross_entropy"}
    resolved = resolve(objectives, kinds, options=Options(projection="per-layer"))
    torch.manual_seed(4)
    distiller = Distiller(student, resolved, {"teacher": teacher.config.hidden_size}).train()
    signal = LiveTeacher(teacher, resolved, precision, torch.device("cpu"))
    inputs = batch()
    torch.manual_seed(5)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        losses = distiller(inputs, signal(inputs))
    torch.stack([values.sum() for values in losses.values()]).sum().backward()
    grads = {name: p.grad for name, p in distiller.named_parameters() if p.grad is not None}
    return {name: values.sum().item() for name, values in losses.items()}, grads


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of blocks that are to be computed again."""
    calls: list[Any] = []

    @functools.wraps(checkpoint)
    def noted(function: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(function)
        return checkpoint(function, *args, **kwargs)

    monkeypatch.setattr("transformers.modeling_utils.checkpoint", noted)
    return calls


NONE, ALL, ATTENTION = (0.0, 0.0), (0.3, 0.3), (0.0, 0.3)  # of the latter the first draw lies in a block


@pytest.mark.parametrize(
    ("make", "objectives", "dropout", "precision"),
    [
        *((make, "all", dropout, "float32") for make in (bert, distilbert, roberta) for dropout in (NONE, ALL)),
        *((bert, name, ATTENTION, "float32") for name in OBJECTIVES),
        *((bert, name, ALL, "bf16") for name in OBJECTIVES),
    ],
)
def test_the_same_gradients(
    make: Any,
    objectives: str,
    dropout: tuple[float, float],
    precision: str,
    teacher: BertForSequenceClassification,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the last bit, in every parameter; also where a faster way is tried for the first time inside a block."""
    calls = counted(monkeypatch)
    torch.manual_seed(1)
    student = make(*dropout)
    plain = gradients(copy.deepcopy(student), teacher, OBJECTIVES[objectives], precision)
    assert not calls
    recompute_activations(student)
    choice.passes.cache_clear()
    again = gradients(student, teacher, OBJECTIVES[objectives], precision)
    assert len(calls) >= 2  # the blocks
    assert again[0] == plain[0]
    assert again[1].keys() == plain[1].keys()
    different = [name for name, grad in plain[1].items() if not torch.equal(grad, again[1][name])]
    assert not different
    assert any(grad.abs().sum() > 0 for grad in plain[1].values())


def test_a_teacher_never_computes_again(
    teacher: BertForSequenceClassification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that was handed in with gradient checkpointing, and in training mode."""
    calls = counted(monkeypatch)
    own = copy.deepcopy(teacher)
    recompute_activations(own)
    own.train()
    torch.manual_seed(1)
    student = bert(0.0, 0.0)
    plain = gradients(copy.deepcopy(student), teacher, OBJECTIVES["all"], "float32")
    given = gradients(student, own, OBJECTIVES["all"], "float32")
    assert not calls
    assert given[0] == plain[0]
    assert own.training
    own(**batch())
    assert calls  # it could


def test_an_architecture_that_cannot() -> None:
    sizes = {"embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = AlbertForSequenceClassification(AlbertConfig(**SIZES, **sizes, intermediate_size=24))
    with pytest.raises(UserError, match="'albert' cannot compute their activations again; leave out"):
        recompute_activations(model)
