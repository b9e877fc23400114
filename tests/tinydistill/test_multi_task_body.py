"""Several tasks: one body, a head for each."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from glue_tasks.errors import UserError
from tinydistill.distiller import Distiller
from tinydistill.features import Features
from tinydistill.multi_task.distiller import MultiTask
from tinydistill.objectives import Objective
from tinydistill.resolving import Sizes, resolve
from tinydistill.schedules import Schedule

from .conftest import tiny_bert_config
from .test_architectures import config_of


def student(labels: int = 2, seed: int = 0, **changes: float) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    config = tiny_bert_config(layers=2, hidden_size=16, num_labels=labels, **changes)
    return BertForSequenceClassification(config)


def distiller(own: BertForSequenceClassification, *objectives: Objective) -> Distiller:
    losses = {"logits": "soft_cross_entropy", "labels": "gold_cross_entropy"}
    sizes = {"teacher": Sizes(2, 16, 2)}
    return Distiller(own, resolve(objectives, losses, Sizes.of(own.config), sizes), {"teacher": 16})


HEAD = Objective(feature="labels")


def batch_of(task: str, labels: list[int]) -> dict:
    ids = torch.randint(5, 20, (len(labels), 6), generator=torch.Generator().manual_seed(3))
    return {"task": task, "input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor(labels)}


def test_one_body_and_a_head_for_each_task() -> None:
    a, b = student(2, seed=1), student(3, seed=2)
    both = MultiTask({"A": distiller(a, HEAD), "B": distiller(b, HEAD)})
    assert b.bert is a.bert
    assert a.classifier is not b.classifier
    names = [name for name, _ in both.named_parameters()]
    assert len(names) == len({id(each) for each in both.parameters()})
    assert sum(each.numel() for each in both.parameters()) == a.num_parameters() + b.classifier.weight.numel() + 3
    both.eval()
    for task, own, labels in (("A", a, [0, 1, 1]), ("B", b, [2, 0, 1])):
        batch = batch_of(task, labels)
        found = both(batch, {})
        logits = own(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        expected = torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="none")
        assert found.keys() == {f"{task}_labels"}
        torch.testing.assert_close(found[f"{task}_labels"], expected)
    assert both.weights(0.0) == {"A_labels": 1.0, "B_labels": 1.0}
    both.train()
    both(batch_of("B", [2, 0]), {})["B_labels"].sum().backward()
    assert a.classifier.weight.grad is None
    assert b.classifier.weight.grad is not None
    assert a.bert.embeddings.word_embeddings.weight.grad is not None


def test_the_state_has_the_body_once(tmp_path: Path) -> None:
    def made(seed: int) -> MultiTask:
        hidden = Objective(feature="hidden", layers=((1, 1),), projection="linear")
        return MultiTask({"A": distiller(student(2, seed), HEAD), "B": distiller(student(3, seed + 1), HEAD, hidden)})

    one, other = made(1), made(5)
    own = one.state_dict()
    assert own.keys() == {name for name, _ in [*one.named_parameters(), *one.named_buffers()] if name in own}
    assert not [key for key in own if key.startswith("distillers.1.student.bert.")]
    safetensors.torch.save_model(one, str(tmp_path / "model.safetensors"))
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == own.keys()
    assert sum(tensor.numel() for tensor in saved.values()) == sum(each.numel() for each in one.parameters())
    other.load_state_dict(saved)  # strict: each key is needed, and known
    for key, value in other.state_dict().items():
        assert torch.equal(value, own[key]), key
    assert other.of("B").student.bert is other.of("A").student.bert
    with pytest.raises(RuntimeError, match="classifier"):
        other.load_state_dict({key: value for key, value in saved.items() if "classifier" not in key})


@pytest.mark.parametrize("second", [HEAD, Objective(feature="hidden", layers=((1, 1),))])
def test_what_no_task_reaches_is_frozen(second: Objective) -> None:
    first = Objective(feature="hidden", layers=((1, 1),))  # after the first block of two
    both = MultiTask({"A": distiller(student(), first), "B": distiller(student(), second)})
    blocks = both.student.bert.encoder.layer
    reaches_all = second is HEAD
    assert {each.requires_grad for each in blocks[0].parameters()} == {True}
    assert {each.requires_grad for each in blocks[1].parameters()} == {reaches_all}
    assert not both.of("A").student.classifier.weight.requires_grad
    assert both.of("B").student.classifier.weight.requires_grad == reaches_all


def test_tasks_that_compare_other_blocks() -> None:
    """Each block returns the scores that any task asks for, and each task compares its own."""

    def attention(block: int) -> Objective:
        return Objective(feature="attention", layers=((block, block),))

    alone = {name: distiller(student(seed=4), attention(i)).eval() for i, name in enumerate("AB")}
    theirs = distiller(student(seed=9), attention(0), attention(1)).eval()
    batch = batch_of("A", [0, 1])
    teacher = {"teacher": theirs.read(theirs.student, batch)}
    both = MultiTask({name: distiller(student(seed=4), attention(i)) for i, name in enumerate("AB")}).eval()
    for name, own in alone.items():
        found = both({**batch, "task": name}, teacher)
        torch.testing.assert_close(found[f"{name}_attention"], own(batch, teacher)["attention"])
    assert isinstance(teacher["teacher"], Features)


@pytest.mark.parametrize("model_type", ["albert", "deberta-v2", "distilbert", "electra", "modernbert", "roberta"])
def test_bodies_of_other_architectures(model_type: str, tmp_path: Path) -> None:
    """Two heads over one body, which is saved with each of them."""
    torch.manual_seed(0)
    students = [AutoModelForSequenceClassification.from_config(config_of(model_type)) for _ in "AB"]
    both = MultiTask({name: distiller(each, HEAD) for name, each in zip("AB", students, strict=True)})
    assert students[1].base_model is students[0].base_model
    own = both.state_dict()
    assert sum(value.numel() for value in own.values()) < 2 * sum(v.numel() for v in students[0].state_dict().values())
    both.load_state_dict(own)
    both.train()
    for name in "AB":
        both(batch_of(name, [0, 1]), {})[f"{name}_labels"].sum().backward()
    assert all(parameter.grad is not None for parameter in both.parameters() if parameter.requires_grad)
    both.eval()
    batch = {key: value for key, value in batch_of("A", [0, 1]).items() if key in ("input_ids", "attention_mask")}
    for name, each in zip("AB", students, strict=True):
        each.save_pretrained(tmp_path / name)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path / name).eval()
        with torch.no_grad():
            torch.testing.assert_close(again(**batch).logits, each(**batch).logits, rtol=1e-4, atol=1e-5)
    prefix = students[0].base_model_prefix
    files = [load_file(tmp_path / name / "model.safetensors") for name in "AB"]
    bodies = [{key for key in file if key.startswith(prefix)} for file in files]
    assert bodies[0] == bodies[1]
    assert all(torch.equal(files[0][key], files[1][key]) for key in bodies[0])


def test_a_step_is_of_one_task_also_for_what_follows_from_it() -> None:
    """A temperature by example and an assignment of layers go by the last step of their own task, without the rows
    that only keep a process busy."""
    by_example = Objective(feature="logits", temperature=Schedule(schedule="flsw", value=2.0))
    goals = (by_example, Objective(feature="hidden", assignment="emd"))
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    theirs = distiller(student(seed=9, initializer_range=0.5), *goals).eval()

    def after_a_step(*batches: dict) -> MultiTask:
        both = MultiTask({name: distiller(student(seed=4, **still), *goals) for name in "AB"}).train()
        for batch in batches:
            both(batch, {"teacher": theirs.read(theirs.student, batch)})
        if batches:
            both.end_step()
        return both

    def equal(one: MultiTask, other: MultiTask, task: str) -> bool:
        states = [each.of(task).of_last_step.state_dict() for each in (one, other)]
        assert len(states[0]) == 6
        return all(torch.equal(value, states[1][key]) for key, value in states[0].items())

    untouched, after = after_a_step(), after_a_step(batch_of("A", [0, 1]))
    assert equal(untouched, after, "B")
    assert not equal(untouched, after, "A")
    assert after.steps == {"A": 1}
    with_idle = after_a_step(batch_of("A", [0, 1]), {**batch_of("A", [1, 0, 1, 1]), "idle": torch.ones(1)})
    assert equal(with_idle, after, "A")


def test_bodies_of_other_shapes() -> None:
    with pytest.raises(UserError, match="student of B would have another shape than that of A"):
        MultiTask({"A": distiller(student(), HEAD), "B": distiller(student(intermediate_size=40), HEAD)})
