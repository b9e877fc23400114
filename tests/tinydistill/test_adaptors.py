"""Students and teachers that are no transformers models, read by an adaptor."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Value
from datasets import Features as Columns
from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import AutoTokenizer, BertForSequenceClassification, PreTrainedTokenizerFast, TrainingArguments

from glue_tasks.errors import UserError
from tinydistill import DistillationTrainer, Features, Objective
from tinydistill.encoders.attention import QueriesAndKeys, replace_attention

from .conftest import PIECES, tiny_bert_config
from .test_interrupted import Stop

TEXTS = [
    f"the {noun} {verb} {word}{end}"
    for noun in ("film", "plot", "cast", "score")
    for verb, end in (("is", " ."), ("was very", ""))
    for word in ("good", "bad", "fine", "awful")
]
LABELS = [int("good" in text or "fine" in text) for text in TEXTS]
NAMED = (Objective(feature="logits"), Objective(feature="hidden", layers=((0, 1), (1, 4))))


def dataset(labels: bool = True) -> Dataset:
    columns = {"text": Value("string")} | ({"label": ClassLabel(names=["negative", "positive"])} if labels else {})
    return Dataset.from_dict({"text": TEXTS} | ({"label": LABELS} if labels else {}), Columns(columns))


class Small(nn.Module):
    """Embeddings 10 wide, a bidirectional GRU 16 wide, the mean over pieces, a head."""

    def __init__(self, labels: int = 2):
        super().__init__()
        self.embeddings = nn.Embedding(len(PIECES), 10)
        self.dropout = nn.Dropout(0.1)
        self.gru = nn.GRU(10, 8, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, labels)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        embedded = self.dropout(self.embeddings(batch["input_ids"]))
        states = self.gru(embedded)[0]
        mask = batch["attention_mask"][..., None]
        return embedded, states, self.head((states * mask).sum(1) / mask.sum(1))


def read_small(batch: Any, outputs: Any) -> Features:
    return Features(hidden={0: outputs[0], 1: outputs[1]}, logits=outputs[2])


class Wrapped(nn.Module):
    """A transformers model as a module that transformers' own ways do not reach."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, batch: dict[str, Tensor]) -> Any:
        names = ("input_ids", "attention_mask", "token_type_ids")
        return self.inner(**{name: batch[name] for name in names}, output_hidden_states=True)


def read_wrapped(batch: Any, outputs: Any) -> Features:
    return Features(hidden=dict(enumerate(outputs.hidden_states)), logits=outputs.logits)


def bert(layers: int = 2, seed: int = 1, **changes: object) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    return BertForSequenceClassification(tiny_bert_config(layers=layers, **changes))


def small(seed: int = 1, labels: int = 2) -> Small:
    torch.manual_seed(seed)
    return Small(labels)


def arguments(out: Path, **changes: Any) -> TrainingArguments:
    given: dict[str, Any] = {"max_steps": 6, "per_device_train_batch_size": 8, "learning_rate": 1e-3, "use_cpu": True}
    return TrainingArguments(str(out), report_to="none", disable_tqdm=True, **{**given, **changes})


@pytest.fixture
def make(teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Callable:
    """A trainer of the small student, but for what is given."""

    def trainer(model: nn.Module | None = None, out: str = "out", **given: Any) -> DistillationTrainer:
        steps = given.pop("args", {})
        if model is None:
            model, given = small(), {"student_adaptor": read_small, **given}
        defaults = {"teacher": teacher, "objectives": NAMED, "train_dataset": dataset(), "processing_class": tokenizer}
        return DistillationTrainer(model, args=arguments(tmp_path / out, **steps), **{**defaults, **given})

    return trainer


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# Values


def test_losses_against_plain_formulas(make: Callable, teacher: BertForSequenceClassification) -> None:
    """Soft cross-entropy of logits, and mean squared errors of named layers of different widths over pieces alone."""
    trainer = make()
    own = trainer.model.student.eval()
    assert [tuple(each.weight.shape) for each in trainer.model.projections] == [(24, 10), (24, 16)]
    whole, cut = trainer.train_dataset.select([0, 4]).to_list()
    cut |= {name: cut[name][:4] for name in ("input_ids", "token_type_ids")}
    batch = trainer.data_collator([whole, cut])
    got = trainer.model(batch, trainer.teacher(batch))
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        theirs = teacher(**{name: batch[name] for name in names}, output_hidden_states=True)
        embedded, states, logits = own(batch)
    expected = np.zeros(2)
    for b, n in enumerate((7, 4)):
        for at, (hidden, layer) in enumerate(((embedded, 1), (states, 4))):
            projection = trainer.model.projections[at]
            w, bias = projection.weight.detach().double().numpy(), projection.bias.detach().double().numpy()
            for i in range(n):
                off = w @ hidden[b, i].double().numpy() + bias - theirs.hidden_states[layer][b, i].double().numpy()
                expected[b] += (off**2).mean() / n
    assert got["hidden"].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    p = np.exp(theirs.logits.double().numpy())
    q = np.exp(logits.double().numpy())
    soft = -(p / p.sum(1, keepdims=True) * np.log(q / q.sum(1, keepdims=True))).sum(1)
    assert got["logits"].tolist() == pytest.approx(soft.tolist(), rel=1e-5)


def test_the_same_as_the_transformers_route(make: Callable, teacher: BertForSequenceClassification) -> None:
    """To the bit, dropout and projections too, with an evaluation and a log in between."""
    goals = [Objective(feature="logits", temperature=2.0), Objective(feature="hidden"), Objective(feature="labels")]
    steps = {"eval_strategy": "steps", "eval_steps": 2, "logging_steps": 1}
    given = {"objectives": goals, "eval_dataset": dataset(), "args": steps}
    plain = bert(hidden_size=16)
    inner = copy.deepcopy(plain)
    replace_attention(inner)  # a module attends as it is told; transformers models are told so by the trainer
    routes = []
    for model, adaptor in ((plain, None), (Wrapped(inner), read_wrapped)):
        routes.append(make(model, student_adaptor=adaptor, **given))  # which sets the seed
        routes[-1].train()
    assert are_equal(weights(plain), weights(inner))
    assert not are_equal(weights(plain), weights(bert(hidden_size=16)))
    assert routes[0].state.log_history[0]["loss_hidden"] == routes[1].state.log_history[0]["loss_hidden"]
    outputs = [trainer.predict(dataset()).predictions for trainer in routes]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


def test_a_module_as_a_teacher(make: Callable, teacher: BertForSequenceClassification) -> None:
    """It gives what the transformers model inside of it gives, is left as it was, and gets no gradient."""
    module = Wrapped(copy.deepcopy(teacher)).train()
    module.inner.bert.encoder.eval()
    before, modes = weights(module), [part.training for part in module.modules()]
    given = {"objectives": [Objective(feature="logits"), Objective(feature="hidden")]}
    adapted = make(bert(), teacher=module, teacher_adaptor=read_wrapped, **given)
    plain = make(bert(), **given)
    batch = plain.data_collator(plain.train_dataset.select(range(3)).to_list())
    ours, theirs = adapted.teacher(batch)["teacher"], plain.teacher(batch)["teacher"]
    assert not ours.logits.requires_grad
    torch.testing.assert_close(ours.logits, theirs.logits)
    torch.manual_seed(0)
    loss = adapted.train().training_loss
    torch.manual_seed(0)
    assert loss == pytest.approx(plain.train().training_loss, rel=1e-4)
    assert are_equal(before, weights(module))
    assert modes == [part.training for part in module.modules()]
    assert all(each.grad is None and each.requires_grad for each in module.parameters())


def test_several_teachers(make: Callable, teacher: BertForSequenceClassification) -> None:
    teachers = {"large": teacher, "small": small(seed=5)}
    goals = [Objective(feature="logits"), Objective(feature="hidden", layers=((1, 1),))]
    trainer = make(teacher=teachers, teacher_adaptor={"small": read_small}, objectives=goals)
    assert [each.label for each in trainer.model.objectives] == ["logits", "hidden-large", "hidden-small"]
    assert [each.projection for each in trainer.model.objectives] == ["none", "linear", "none"]
    trainer.train()
    batch = trainer.data_collator(trainer.train_dataset.select(range(3)).to_list())
    given = trainer.teacher(batch)
    got = trainer.model.eval()(batch, given)["logits"]
    mean = (given["large"].logits + given["small"].logits) / 2
    own = trainer.model.student(batch)[2]
    torch.testing.assert_close(got, -(mean.softmax(-1) * own.log_softmax(-1)).sum(-1))


def test_named_layers_from_the_end(make: Callable) -> None:
    trainer = make(objectives=[Objective(feature="hidden", layers=((-1, -1),))])
    assert trainer.model.objectives[0].layers == ((1, 4),)
    last = make(objectives=[Objective(feature="hidden", layers="last")])
    assert last.model.objectives[0].layers == ((1, 4),)


def test_attention_of_a_module(make: Callable, teacher: BertForSequenceClassification) -> None:
    """An adaptor may give queries and keys; relations need values too."""

    def read(batch: Any, outputs: Any) -> Features:
        return Features(attention={0: QueriesAndKeys(*outputs)})

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.Embedding(len(PIECES), 24)

        def forward(self, batch: Any) -> tuple[Tensor, Tensor, float]:
            parts = self.embeddings(batch["input_ids"]).unflatten(-1, (2, 12)).transpose(1, 2)
            return parts, parts, 12**-0.5

    trainer = make(Scores(), student_adaptor=read, objectives=[Objective(feature="attention", layers=((0, 3),))])
    trainer.train()
    with pytest.raises(UserError, match="compares attention 0 of the student, which its adaptor gives without values"):
        make(Scores(), student_adaptor=read, objectives=[Objective(loss="value_relations", layers=((0, 3),))])


# Evaluation, saving, interruption


def test_evaluate_and_save(make: Callable, tmp_path: Path) -> None:
    own = small()

    def accuracy(given: Any) -> dict[str, float]:
        return {"accuracy": float((given.predictions.argmax(-1) == given.label_ids).mean())}

    trainer = make(
        own,
        student_adaptor=read_small,
        objectives=[Objective(feature="labels")],
        teacher=None,
        eval_dataset=dataset(),
        compute_metrics=accuracy,
        args={"max_steps": 60, "learning_rate": 2e-2},
    )
    own.head.eval()
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] == 1.0
    found = trainer.predict(dataset().select([1, 0, 4]))
    batch = trainer.data_collator(trainer.eval_dataset.select([1, 0, 4]).to_list())
    with torch.no_grad():
        np.testing.assert_allclose(found.predictions, copy.deepcopy(own).eval()(batch)[2], rtol=1e-4, atol=1e-5)
    assert trainer.predict(dataset(labels=False)).label_ids is None
    trainer.save_model(str(tmp_path / "saved"))
    loaded = small(seed=9)
    load_model(loaded, tmp_path / "saved" / "model.safetensors")
    assert are_equal(weights(loaded), weights(own))
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").get_vocab() == trainer.processing_class.get_vocab()
    scored = make(eval_dataset=dataset(), score=lambda model: {"size": float(model.head.weight.numel())})
    assert scored.evaluate() == {"eval_size": 32.0}
    assert set(make(eval_dataset=dataset()).evaluate()) == {"eval_loss_logits", "eval_loss_hidden"}


def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"args": {"save_steps": 2, "max_steps": 6}}
    whole = small()
    make(whole, student_adaptor=read_small, **steps).train()
    cut = small()
    monkeypatch.setattr(Stop, "at", 5)
    stopped = make(cut, "cut", student_adaptor=read_small, callbacks=[Stop("")], **steps)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert are_equal(weights(cut), weights(stopped.model.student))  # it has what was trained
    assert not are_equal(weights(cut), weights(small()))
    resumed = small(seed=8)
    trainer = make(resumed, "cut", student_adaptor=read_small, **steps)
    trainer.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-4"))
    assert are_equal(weights(resumed), weights(whole))


def test_the_trial_changes_nothing(make: Callable) -> None:
    own = small()
    own.gru.eval()
    before, state = weights(own), torch.get_rng_state()
    trainer = make(own, student_adaptor=read_small)
    assert are_equal(before, weights(own))
    assert (own.gru.training, own.head.training, own.head.weight.grad) == (False, True, None)
    seeded = torch.get_rng_state()
    make(own, student_adaptor=read_small, args={})
    assert torch.equal(seeded, torch.get_rng_state())  # as the seed and the projections leave it
    assert not torch.equal(state, seeded)
    assert trainer.model.student is not own


# Labels


@pytest.mark.parametrize("who", ["student", "both"])
def test_what_kind_of_labels(make: Callable, tokenizer: PreTrainedTokenizerFast, who: str) -> None:
    """The teacher's configuration says it: a regression of one value; without one, classification."""
    values = Dataset.from_dict({"text": TEXTS, "label": [float(label) for label in LABELS]})
    goals = [Objective(feature="logits"), Objective(feature="labels")]
    if who == "student":
        teacher = bert(num_labels=1, problem_type="regression")
        given = {"teacher": teacher, "train_dataset": values}
    else:
        given = {"teacher": small(seed=2), "teacher_adaptor": read_small, "train_dataset": dataset()}
    trainer = make(small(labels=1 if who == "student" else 2), student_adaptor=read_small, objectives=goals, **given)
    losses = [each.loss for each in trainer.model.objectives]
    expected = {"student": ["logits_mse", "gold_mse"], "both": ["soft_cross_entropy", "gold_cross_entropy"]}
    assert losses == expected[who]
    trainer.train()


def test_labels_by_name_without_a_configuration(make: Callable) -> None:
    named = dataset().remove_columns("label").add_column("label", ["yes" if label else "no" for label in LABELS])
    given = {"teacher": None, "objectives": [Objective(feature="labels")], "train_dataset": named}
    with pytest.raises(UserError, match="no model's configuration names its labels; give their numbers"):
        make(**given)


# Mistakes


def hidden_alone(batch: Any, outputs: Any) -> Features:
    return Features(hidden={1: outputs[1]})


def of_pooled(batch: Any, outputs: Any) -> Features:
    return Features(hidden={1: outputs[1].mean(1)}, logits=outputs[2])


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"student_adaptor": None}, "the student is a Small, which is no transformers model; say .* student_adaptor="),
    ({"teacher": Small()}, "the teacher is a Small, which is no transformers model; say .* teacher_adaptor="),
    ({"teacher": {"a": Small(), "b": Small()}, "teacher_adaptor": {"a": read_small}}, "the b is a Small"),
    ({"teacher": {"a": Small(), "b": Small()}, "teacher_adaptor": read_small}, "give teacher_adaptor by name"),
    ({"teacher_adaptor": {"techer": read_small}}, "of 'techer', which is no teacher; .* did you mean 'teacher'"),
    ({"teacher": None, "teacher_adaptor": read_small}, "there is a teacher_adaptor, and no model as teacher="),
    ({"teacher_adaptor": read_wrapped}, r"the teacher \(BertForSequenceClassification\) and its adaptor do not work"),
    ({"student_adaptor": hidden_alone}, "logits needs logits of the student, whose adaptor gives hidden 1;"),
    (
        {"student_adaptor": lambda batch, outputs: Features(logits=outputs[2])},
        "the objective hidden compares hidden of the student, whose adaptor gives logits;",
    ),
    (
        {"student_adaptor": lambda batch, outputs: Features(hidden={1: outputs[1]}, logits=outputs[2])},
        "compares hidden 0 of the student, whose adaptor gives hidden 1 and logits; name layers",
    ),
    ({"objectives": [Objective(feature="hidden", layers=((3, 1),))]}, "compares hidden 3 of the student"),
    ({"objectives": ()}, "attention compares attention of the student, whose adaptor gives hidden 0, 1 and logits"),
    ({"student_adaptor": lambda batch, outputs: outputs[2]}, "returns a Tensor; it must return tinydistill.Features"),
    (
        {"student_adaptor": lambda batch, outputs: outputs.logits},
        "AttributeError.* a dict of attention_mask, input_ids",
    ),
    ({"student_adaptor": of_pooled}, r"gives hidden 1 of shape \(2, 16\) .* makes? it \(2, 7, width\)"),
    ({"student_adaptor": "read"}, "the student_adaptor is a str; give a function"),
    ({"objectives": [Objective(feature="hidden", layers=((0, 1), (1, 4)), projection="shared")]}, "different widths"),
    ({"objectives": [Objective(feature="hidden", layers=((0, 1),), projection="none")]}, "10 wide, the teacher 24"),
    ({"args": {"gradient_checkpointing": True}}, "gradient_checkpointing is for transformers students"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes(changes: dict[str, Any], message: str, make: Callable) -> None:
    with pytest.raises(UserError, match=message) as told:
        make(**changes)
    assert "\n" not in str(told.value)


def test_mistakes_at_the_first_batch(make: Callable, tokenizer: PreTrainedTokenizerFast) -> None:
    """Without a dataset nothing can be tried before: layers must be named, and what lacks is told at that batch."""
    nothing = {"train_dataset": None}
    with pytest.raises(UserError, match="how many the student has is not known; name them with layers="):
        make(objectives=[Objective(feature="hidden")], **nothing)
    with pytest.raises(UserError, match="the width of hidden 0 of the student is not known before the first step"):
        make(objectives=[Objective(feature="hidden", layers=((0, 1),))], **nothing)
    trainer = make(objectives=[Objective(feature="hidden", layers=((7, 1),), projection="none")], **nothing)
    with pytest.raises(UserError, match="compares hidden 7 of the student, whose adaptor gives hidden 0, 1 and logits"):
        trainer.evaluate(dataset())
    lacking = make(objectives=[Objective(feature="logits")], teacher=small(), teacher_adaptor=hidden_alone, **nothing)
    with pytest.raises(UserError, match="needs logits of the teacher, whose adaptor gives hidden 1"):
        lacking.evaluate(dataset())
    three = make(small(labels=3), student_adaptor=read_small, eval_dataset=dataset())
    with pytest.raises(UserError, match="the objective logits compares 3 logits of the student with 2 of the teacher"):
        three.evaluate()
    outputs = make(student_adaptor=hidden_alone, objectives=[Objective(feature="hidden", layers=((1, 1),))])
    with pytest.raises(UserError, match="predictions are made of logits, and the student's adaptor gives none"):
        outputs.predict(dataset())
