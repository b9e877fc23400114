"""Layers that are trained one after another: which one when, what it costs the others, and what the log says."""

import json
from typing import Any

import pytest
import torch
from transformers import BertForSequenceClassification, TrainingArguments

from glue_tasks.errors import UserError
from tinydistill import DistillationTrainer, losses
from tinydistill.distiller import Distiller
from tinydistill.objective_list import in_words
from tinydistill.objectives import Objective
from tinydistill.resolving import Sizes, resolve

from .conftest import tiny_bert_config
from .test_adaptors import arguments, dataset, read_small, small
from .test_distiller import batch, features_of


def goals_of(*objectives: Objective, **student: Any) -> tuple[Objective, ...]:
    sizes = (Sizes(4, student.get("width", 24), 2), {"teacher": Sizes(4, 24, 2)})
    return resolve(objectives, {"logits": "soft_cross_entropy"}, *sizes)


HIDDEN = Objective(loss="hidden_mse", layers="blocks", one_by_one=(0.2, 0.6))


def test_the_pair_at_each_step() -> None:
    """Of 20 steps the third to the sixth part are the window's: two of them for each of four pairs."""
    (goal, _) = goals_of(HIDDEN, Objective(feature="logits"))
    expected = [()] * 4 + [((i, i),) for i in (1, 2, 3, 4) for _ in range(2)] + [()] * 8
    assert [goal.pairs_at(step / 20) for step in range(20)] == expected
    assert goal.pairs_at(1.0) == ()


@pytest.mark.parametrize("tenths", [1, 2, 3, 6, 7, 9, 10])
@pytest.mark.parametrize("pairs", [1, 3, 6, 7, 12, 24])
def test_all_pairs_have_as_many_steps(tenths: int, pairs: int) -> None:
    """Also where neither the share of the steps nor a pair's part is exact in binary."""
    goal = Objective(loss="hidden_mse", layers=tuple((i, i) for i in range(pairs)), one_by_one=(0.0, tenths / 10))
    for turns in (1, 7):
        steps = 10 * pairs * turns
        places = [goal.place_at(step / steps) for step in range(steps)]
        rest = steps - tenths * pairs * turns
        assert places == [i for i in range(pairs) for _ in range(tenths * turns)] + [-1] * rest


def test_only_the_pair_is_computed(teacher: BertForSequenceClassification) -> None:
    """Its loss alone, and a gradient for what lies below it; on dev the sum over all."""
    calls: list[Any] = []

    def counted(student: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        calls.append(student)
        return losses.hidden_mse(student, theirs, mask)

    torch.manual_seed(1)
    own = BertForSequenceClassification(tiny_bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    goals = goals_of(
        Objective(feature="hidden", loss=counted, layers="blocks", one_by_one=(0.0, 0.5), projection="tanh"),
        Objective(loss="attention_kl", one_by_one=(0.5, 1.0)),
        Objective(loss="value_relations", one_by_one=(0.9, 1.0)),
    )
    distiller = Distiller(own, goals, {"teacher": 24}).train()
    everything = {name for name, each in distiller.named_parameters() if each.requires_grad}
    assert {
        f"student.bert.encoder.layer.3.{part}.weight" for part in ("output.dense", "attention.self.key")
    } < everything
    inputs = batch()
    theirs = features_of(teacher, goals, inputs)
    each_alone = []
    for step in range(16):
        calls.clear()
        distiller.zero_grad()
        found = distiller(inputs, theirs, step / 16)
        assert all(values.shape == (2,) for values in found.values())
        assert (found["hidden"] == 0).tolist() == [step >= 8] * 2
        assert (found["attention"] == 0).tolist() == [step < 8] * 2
        each_alone.append(found["hidden"].detach())
        torch.stack(list(found.values())).sum().backward()
        reached = {name for name, each in distiller.named_parameters() if each.grad is not None}
        block = step // 2 % 4 if step < 15 else 3
        assert {int(name.split(".")[4]) for name in reached if ".layer." in name} == set(range(block + 1)), step
        assert {name for name in reached if name.startswith("projections")} == (
            {f"projections.{block}.weight", f"projections.{block}.bias"} if step < 8 else set()
        )
        assert len(calls) == (step < 8)
        scheduled = distiller.scheduled(step / 16)
        assert scheduled["pair_hidden"] == (block + 1 if step < 8 else 0)
        assert scheduled["pair_attention"] == (0 if step < 8 else block + 1)
    for done in (0.0, 0.7, 1.0):
        whole = distiller.eval()(inputs, theirs, done)["hidden"]
        torch.testing.assert_close(whole, torch.stack(each_alone[:8:2]).sum(0))


@pytest.mark.parametrize("value", [0.2, [0.2], [0.2, 0.1], [0.1, 0.1], [-0.1, 0.5], [0, 1.1], [0, True], "first", []])
def test_what_is_no_window(value: Any) -> None:
    with pytest.raises(UserError, match="in the recipe sets one_by_one to .*two shares of the training.*such as"):
        Objective.from_table({"loss": "hidden_mse", "one_by_one": value}, "in the recipe")


def test_as_a_recipe_and_a_report_have_it() -> None:
    goal = Objective.from_table({"loss": "hidden_mse", "layers": "blocks", "one_by_one": [0, 1]}, "here")
    assert goal.one_by_one == (0.0, 1.0)
    described = json.loads(json.dumps(goal.describe()))
    assert described["one_by_one"] == [0.0, 1.0]
    assert Objective.from_table(described, "here") == goal
    assert "one_by_one" not in Objective(loss="hidden_mse").describe()
    assert in_words(goal).endswith("layers blocks, one pair of layers after another from 0 to 1 of the training")


def test_several_processes_look_for_what_a_step_does_not_reach(teacher: Any, tokenizer: Any, tmp_path: Any) -> None:
    """Also of a module with an adaptor, and whatever the arguments say, which stay as they were."""

    def trainer(args: TrainingArguments, **window: Any) -> DistillationTrainer:
        goal = Objective(feature="hidden", layers=((0, 1), (1, 4)), **window)
        return DistillationTrainer(
            small(), teacher, [goal], args, None, dataset(), processing_class=tokenizer, student_adaptor=read_small
        )

    args = arguments(tmp_path, ddp_find_unused_parameters=False)
    assert trainer(args).args.ddp_find_unused_parameters is False
    gated = trainer(args, one_by_one=(0.0, 1.0))
    assert gated.args.ddp_find_unused_parameters is True
    assert args.ddp_find_unused_parameters is False
    gated.train()
