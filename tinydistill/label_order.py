"""The outputs of a fine-tuned model in the order of the task's labels: by its names, or by how it answers on dev.

A model whose outputs carry the task's label names in another order is reordered when it is loaded, so that all that
follows (its scores, its stored logits, a student copied from it) is in the task's order. A model without names
(LABEL_0) is believed only if no other order fits dev as well.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import confusion_matrix
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from glue_tasks import labels
from glue_tasks.entities import Scheme, find_scheme
from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill.onnx_model import OnnxModel
from tinydistill.text_task import is_text

ROWS = 500  # of dev are enough to tell orders apart where a model is asked for nothing else
_ALL_ORDERS = 5  # labels: 120 orders; beyond, an order is the solution of an assignment
_CLEAR = 2.0  # standard errors
_MARGIN = 0.1  # of recall, by which another order must beat the one that a model's names state


def named_order(task: Task, config: PreTrainedConfig, name: str) -> tuple[int, ...] | None:
    """For each label of the task the position of the model's output of that name; None if the outputs have no names.

    Raises UserError if the model has other labels than the task, or names them in two ways.
    """
    if is_text(task):  # its outputs are pieces
        return ()
    _check_scheme(task, config, name)
    if config.num_labels != task.num_labels:
        wanted = f"{task.num_labels} labels ({_listed(task.labels)})"
        if not task.labels:
            wanted = "one value" if task.is_regression else "a start and an end"
        raise UserError(f"the model {name} has {config.num_labels} outputs, {task.name} has {wanted}; choose another")
    if not task.labels:  # a value, or start and end, whatever a configuration calls them
        return tuple(range(task.num_labels))
    names = _names(config, name)
    order = labels.output_order(task, names)
    if order is None and not labels.are_numbers(names):
        raise UserError(
            f"the model {name} has the labels {_listed(names)}, {task.name} has {_listed(task.labels)}; choose a model "
            "of this task, or name them alike in its config.json (id2label) if they mean the same"
        )
    return order


def _check_scheme(task: Task, config: PreTrainedConfig, name: str) -> None:
    """Raises UserError if a model of tokens has the tags of another scheme than the task's, which is BIO."""
    if task.kind != "tokens":
        return
    try:
        scheme = find_scheme([[tag] for tag in _names(config, name)])
    except UserError:  # no tags: told otherwise, by the names
        return
    if scheme in (Scheme.BMES, Scheme.BIOES):
        raise UserError(
            f"the model {name} has the tags of {scheme}, {task.name} those of {Scheme.BIO}, as which files in any "
            "scheme are read; fine-tune one with --phase teacher"
        )


def is_unnamed(task: Task, model: PreTrainedModel, name: str) -> bool:
    """Whether only its answers can tell the order of the model's labels."""
    return named_order(task, model.config, name) is None


def align(task: Task, model: PreTrainedModel, name: str, head: Mapping[str, object]) -> list[str]:
    """Put the model's outputs into the order of the task's labels; returns notes about what was done.

    head: the configuration entries of a head for the task.
    A model without names stays as it is. Raises UserError if the model has other labels than the task.
    """
    order = named_order(task, model.config, name)
    if order is None or order == tuple(range(len(order))):
        return []
    names = _listed(_names(model.config, name))
    if not permute_outputs(model, order):
        raise UserError(
            f"the model {name} has its labels in the order {names}, {task.name} in the order {_listed(task.labels)}, "
            f"and its head ({type(model).__name__}) is not one that can be reordered; fine-tune it with --phase teacher"
        )
    model.config.update(dict(head))
    return [
        f"the model {name} has its labels in the order {names}; its outputs were put into the order of {task.name}: "
        f"{_listed(task.labels)}"
    ]


def start_order(task: Task, config: PreTrainedConfig, name: str) -> tuple[int, ...] | None:
    """The order of a head that a fine-tuning starts from, if it is of the task's labels and not in their order.

    Other labels, or names in two ways, are no fault here: such a head is as good as a fresh one.
    """
    try:
        order = named_order(task, config, name)
    except UserError:
        return None
    return None if order is None or order == tuple(range(len(order))) else order


def _names(config: PreTrainedConfig, name: str) -> tuple[str, ...]:
    return labels.output_names(config.id2label, config.label2id, name)


def permute_outputs(model: PreTrainedModel, order: Sequence[int]) -> bool:
    """Output i becomes what output order[i] was, in the weights of the head themselves, so that a copy has it too.

    Changes nothing and returns False unless exactly one linear layer outside the model's body gives the outputs. A
    model without weights of its own reorders what it gives.
    """
    if isinstance(model, OnnxModel):
        return model.permute_outputs(order)
    body = set(model.base_model.modules())
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m not in body and m.out_features == len(order)]
    if len(heads) != 1:
        return False
    places = torch.tensor(order, device=heads[0].weight.device)
    with torch.no_grad():
        for parameter in heads[0].parameters():  # weight (labels, hidden) and bias (labels,)
            parameter.copy_(parameter[places])
    return True


@dataclass(frozen=True)
class Order:
    """An order that outputs may be in, compared with the one they stand in.

    `places[l]` is the output that means label l. `recall` is the share of each label's rows that are right, averaged
    over the labels: no frequent label can lift it. `lead` is by how many standard errors the outputs as they stand do
    better; negative if they do worse.
    """

    places: tuple[int, ...]
    recall: float
    lead: float

    def meanings(self, task: Task) -> str:
        """The labels that the outputs mean, from the first output on: what id2label should say."""
        return _listed(task.labels[label] for label in np.argsort(self.places))


def compare_orders(task: Task, outputs: np.ndarray, references: np.ndarray) -> tuple[float, list[Order]]:
    """The recall of the outputs as they stand, and the orders that make sense besides, the best first.

    outputs: (examples, labels); references: (examples,) label ids. All orders up to five labels; beyond, the best
    order, and the best of those in which no label keeps its place. `lead` is McNemar's statistic, with each row
    counted by one over the rows of its label: of the rows that one of two orders gets right and the other wrong, as
    many would fall to each if the orders were equally good.
    """
    count = task.num_labels
    counts = confusion_matrix(references, outputs.argmax(-1), labels=range(count))  # (label, output)
    seen = counts.sum(1) > 0
    shares = counts * _weights(counts)[:, None]  # (label, output): the label's recall if that output meant it
    standing = tuple(range(count))

    def order(places: Sequence[int]) -> Order:
        recall = shares[standing, places].sum() / seen.sum()
        return Order(tuple(places), float(recall), _lead(counts, places))

    if count <= _ALL_ORDERS:
        others = {places for places in itertools.permutations(standing) if places != standing}
    else:
        # The least advantage of the order as it stands, for labels that have no rows.
        best = linear_sum_assignment(shares + 1e-9 * np.eye(count), maximize=True)[1]
        moving = linear_sum_assignment(shares - np.eye(count) * (count + 1), maximize=True)[1]
        others = {tuple(map(int, places)) for places in (best, moving)} - {standing}
    recall = float(shares[standing, standing].sum() / seen.sum())
    return recall, sorted(map(order, others), key=lambda each: (-each.recall, each.places))


def _weights(counts: np.ndarray) -> np.ndarray:
    """(label, output) rows -> for each label one over its rows, or 0."""
    rows = counts.sum(1)
    return np.where(rows > 0, 1 / np.maximum(rows, 1), 0.0)


def _lead(counts: np.ndarray, places: Sequence[int]) -> float:
    """McNemar's statistic of the outputs as they stand against another order. counts: (label, output)."""
    moved = np.flatnonzero(np.array(places) != np.arange(len(places)))
    weights = _weights(counts)[moved]
    here, there = (counts[moved, at] * weights for at in (moved, np.array(places)[moved]))
    spread = np.sqrt((weights * (here + there)).sum())
    return float((here - there).sum() / spread) if spread else 0.0


def _lead_over_choice(task: Task, outputs: np.ndarray, references: np.ndarray) -> float:
    """The lead over the order that half of the rows would choose, on the other half, both ways together.

    Of many orders the best is ahead by luck alone, above all where labels have few rows; rows that had no part in the
    choice know nothing of that luck.
    """
    every_other = np.zeros(len(references), dtype=bool)
    every_other[np.argsort(references, kind="stable")[::2]] = True  # of each label as many in either half
    leads = []
    for half in (every_other, ~every_other):
        _, (chosen, *_) = compare_orders(task, outputs[half], references[half])
        counts = confusion_matrix(references[~half], outputs[~half].argmax(-1), labels=range(task.num_labels))
        leads.append(_lead(counts, chosen.places))
    return sum(leads) / 2**0.5  # each of variance 1


def check_order(task: Task, name: str, outputs: np.ndarray, references: np.ndarray, unnamed: bool) -> str:
    """Compares the order of the model's outputs with the one that its answers on dev fit best.

    Another order that is better by two standard errors is a UserError for a model without names. Names are believed:
    a model that has them and is better by a tenth of recall besides, above chance too, gets a warning, which is
    returned; else "".
    """
    recall, (best, *_) = compare_orders(task, outputs, references)
    needed = 0.0 if unnamed else max(recall, 1 / task.num_labels) + _MARGIN
    ahead = best.lead < -_CLEAR and best.recall > needed
    if not (ahead and _lead_over_choice(task, outputs, references) < -_CLEAR):
        return ""
    sentence = (
        f"by {len(references):,} dev rows the labels of {name} are in the order {best.meanings(task)}, not in that "
        f"of {task.name}: of each label's rows {best.recall:.3f} are right in that order, {recall:.3f} as they stand"
    )
    if not unnamed:
        return f"{sentence}; its names are believed, and stay"
    raise UserError(
        f"{sentence}; name them so in its config.json (id2label and label2id), and its outputs are reordered"
    )


def doubt(task: Task, name: str, outputs: np.ndarray, references: np.ndarray) -> str:
    """A sentence if dev cannot tell whether a model without names is in the order of the task, else "".

    Up to five labels it must be clearly better (by two standard errors) as it stands than in any other order; beyond,
    where some labels are too rare for that, than in any that leaves no label in its place.
    """
    recall, others = compare_orders(task, outputs, references)
    if task.num_labels > _ALL_ORDERS:
        others = [each for each in others if all(label != place for label, place in enumerate(each.places))]
    closest = min(others, key=lambda each: each.lead)
    if closest.lead >= _CLEAR:
        return ""
    return (
        f"the model {name} does not name its labels, and {len(references):,} dev rows cannot tell whether they are in "
        f"the order {_listed(task.labels)} or {closest.meanings(task)} (of each label's rows {recall:.3f} and "
        f"{closest.recall:.3f} are right)"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
