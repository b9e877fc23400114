"""The student beside the teacher: which features are compared, what is trained, what each model is given."""

import pytest
import torch
from transformers import BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification

from glue_tasks import TASKS
from tests.tinydistill.of_tasks import intermediate, prediction
from tinydistill import losses
from tinydistill.distiller import Distiller
from tinydistill.features import FeatureReader, Features
from tinydistill.layer_map import uniform
from tinydistill.objectives import Objective
from tinydistill.resolving import Sizes, resolve

from .conftest import PIECES, tiny_bert_config

LAYERS = uniform(4, 2)
INTERMEDIATE = intermediate(LAYERS)


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    mask = torch.tensor([[1] * 6, [1] * 3 + [0] * 3])
    return {
        "input_ids": torch.randint(5, len(PIECES), mask.shape) * mask,
        "token_type_ids": torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 0, 0]]),
        "attention_mask": mask,
        "labels": torch.tensor([0, 1]),
    }


def student(**changes: object) -> BertForSequenceClassification:
    torch.manual_seed(1)
    return BertForSequenceClassification(tiny_bert_config(layers=2, **changes)).eval()


def features_of(teacher: torch.nn.Module, goals: tuple, inputs: dict[str, torch.Tensor]) -> dict[str, Features]:
    with torch.no_grad():
        return {"teacher": FeatureReader(teacher, goals, side=1)(teacher, inputs)}


@pytest.mark.parametrize("projection", ["per-layer", "shared", "none"])
def test_intermediate_losses_from_all_outputs(teacher: BertForSequenceClassification, projection: str) -> None:
    """The same losses from every hidden state and from transformers' own (eager) models."""
    own = student() if projection == "none" else student(hidden_size=16)
    distiller = Distiller(own, intermediate(LAYERS, projection=projection), {"teacher": 24})
    inputs = batch()
    got = distiller(inputs, features_of(teacher, INTERMEDIATE, inputs))

    given = {k: v for k, v in inputs.items() if k != "labels"}
    ours = own(**given, output_hidden_states=True).hidden_states
    theirs = teacher(**given, output_hidden_states=True).hidden_states
    expected = torch.zeros(2, dtype=torch.float64)
    for m, (hidden, target) in enumerate(zip(ours, theirs[::2], strict=True)):
        if projection != "none":
            layer = distiller.projections[m if projection == "per-layer" else 0]
            hidden = hidden @ layer.weight.T + layer.bias
        for b, n in enumerate((6, 3)):
            expected[b] += (hidden[b, :n].double() - target[b, :n].double()).square().mean()
    assert torch.allclose(got["hidden"].double(), expected, rtol=1e-5)
    assert got["attention"].shape == (2,)
    assert len(distiller.projections) == {"per-layer": 3, "shared": 1, "none": 0}[projection]


def test_a_student_like_its_teacher_has_no_loss(teacher: BertForSequenceClassification) -> None:
    same = uniform(4, 4)
    goals = intermediate(same)
    distiller = Distiller(teacher, goals)
    inputs = batch()
    got = distiller(inputs, features_of(teacher, goals, inputs))
    assert got["hidden"].tolist() == [0.0, 0.0]
    assert got["attention"].tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_each_model_gets_the_inputs_of_its_own_forward(teacher: BertForSequenceClassification) -> None:
    """A DistilBERT student knows no segment ids; its BERT teacher must still see them."""
    torch.manual_seed(1)
    own = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=len(PIECES), max_position_embeddings=32, dim=24, n_layers=2, n_heads=2, hidden_dim=32
        )
    ).eval()
    inputs = batch()
    seen = features_of(teacher, INTERMEDIATE, inputs)
    without = features_of(teacher, INTERMEDIATE, {k: v for k, v in inputs.items() if k != "token_type_ids"})["teacher"]
    assert not torch.allclose(seen["teacher"].hidden[4], without.hidden[4])  # the teacher's answer depends on them
    expected = teacher.bert(**{k: v for k, v in inputs.items() if k != "labels"}).last_hidden_state
    assert torch.allclose(seen["teacher"].hidden[4], expected, atol=1e-6)
    got = Distiller(own, INTERMEDIATE)(inputs, seen)
    assert got["hidden"].isfinite().all()
    assert got["attention"].isfinite().all()


def test_only_what_the_objectives_reach_is_trained(teacher: BertForSequenceClassification) -> None:
    """The head and pooler keep their values; every other parameter has a gradient, as distributed training demands."""
    distiller = Distiller(
        student(hidden_size=16), intermediate(LAYERS, projection="per-layer"), {"teacher": 24}
    ).train()
    inputs = batch()
    sum(v.sum() for v in distiller(inputs, features_of(teacher, INTERMEDIATE, inputs)).values()).backward()
    frozen = {n for n, p in distiller.named_parameters() if not p.requires_grad}
    assert frozen == {
        f"student.{n}"
        for n in ("classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias")
    }
    # Of the last block's output nothing but the hidden state is compared, and its scores: all of it is reached.
    assert {n for n, p in distiller.named_parameters() if p.requires_grad and p.grad is None} == set()


@pytest.mark.parametrize("loss", ["query_relations", "key_relations", "value_relations", "attention_kl", "hidden_mse"])
def test_every_trained_parameter_has_a_gradient(teacher: BertForSequenceClassification, loss: str) -> None:
    """Of a single loss and layer too: of the last block's queries, keys and values the loss may read but one."""
    sizes = (Sizes.of(student().config), {"teacher": Sizes.of(teacher.config)})
    goals = resolve([Objective(loss=loss, layers="last")], {}, *sizes)
    distiller = Distiller(student(), goals).train()
    inputs = batch()
    sum(v.sum() for v in distiller(inputs, features_of(teacher, goals, inputs)).values()).backward()
    assert {n for n, p in distiller.named_parameters() if p.requires_grad == (p.grad is None)} == set()


def test_heads_can_be_compared_by_their_mean(teacher: BertForSequenceClassification) -> None:
    own = student(heads=4)
    distiller = Distiller(own, intermediate(LAYERS, heads="mean"))
    inputs = batch()
    theirs = features_of(teacher, INTERMEDIATE, inputs)
    got = distiller(inputs, theirs)["attention"]
    ours = distiller.read(own, inputs)
    mask = inputs["attention_mask"].double()
    expected = torch.zeros(len(mask), dtype=torch.float64)
    for i, j in LAYERS.attention:
        means = [
            (of.query.double() @ of.key.double().transpose(-1, -2)).mean(1) * of.scale
            for of in (ours.attention[i], theirs["teacher"].attention[j])
        ]  # (B, L, L)
        squares = (means[0] - means[1]).square() * mask[:, :, None] * mask[:, None, :]
        expected += squares.sum((1, 2)) / mask.sum(1).square()
    assert torch.allclose(got.double(), expected)


def test_prediction_takes_stored_logits() -> None:
    own = student()
    distiller = Distiller(own, prediction(TASKS["SST-2"], temperature=2.0))
    inputs = batch()
    logits = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    got = distiller(inputs, {"teacher": Features({}, {}, logits)})["logits"]
    given = {k: v for k, v in inputs.items() if k != "labels"}
    assert torch.allclose(got, losses.soft_cross_entropy(own(**given).logits, logits, 2.0))
    assert all(p.requires_grad for p in distiller.parameters())


def test_a_regression_learns_the_teachers_value() -> None:
    own = student(num_labels=1)
    distiller = Distiller(own, prediction(TASKS["STS-B"]))
    inputs = batch()
    got = distiller(inputs, {"teacher": Features({}, {}, torch.tensor([[1.0], [4.0]]))})["logits"]
    given = {k: v for k, v in inputs.items() if k != "labels"}
    assert torch.allclose(got, (own(**given).logits[:, 0] - torch.tensor([1.0, 4.0])).square())
