"""A model's outputs on a dataset, and its scores."""

from collections.abc import Callable

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill import processes
from tinydistill.data import column, counted_outputs
from tinydistill.encoders.attention import replace_attention
from tinydistill.encoders.cpu.products import packed_products
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.encoders.logits import logits_of
from tinydistill.encoders.masked_head import is_masked_lm, run_at
from tinydistill.encoders.precision import autocast
from tinydistill.features import Reader, in_evaluation
from tinydistill.kinds import TaskKind
from tinydistill.outputs import COUNTED, OfExamples, Outputs

_OF_EXAMPLES = OfExamples()
_MOST_GUESSES = 1 << 26  # logits of masked pieces at once, 256 MB of each copy


def longest_first(dataset: Dataset) -> np.ndarray:
    """The rows, longest first: memory is at its height at once, and batches of like length have padding near zero."""
    return np.argsort(-column(dataset, "length"), kind="stable")


@torch.inference_mode()
def outputs_of_rows(
    model: PreTrainedModel,
    dataset: Dataset,
    rows: np.ndarray,
    collate: Callable,
    precision: str,
    kept: Outputs = _OF_EXAMPLES,
) -> np.ndarray:
    """The model's outputs on one batch, those that count of each row, (P, C) in float32. The model is in eval mode.

    Raises UserError if one is NaN or infinite: no score, and no student, could be made of it.
    """
    batch = collate(dataset.__getitems__(rows.tolist()))
    given = {name: batch[name].to(model.device) for name in accepted_inputs(model) if name in batch}
    try:
        with autocast(precision, model.device):
            if COUNTED in batch and is_masked_lm(model):
                logits, _ = run_at(model, given, batch[COUNTED])
            else:
                logits = logits_of(model(**given))
    except RuntimeError as error:
        if "without overflow" not in str(error):  # of an architecture that fills up with the least of float32
            raise
        raise UserError(
            f"models of type {model.config.model_type!r} do not run in {precision}; use --precision float32"
        ) from None
    outputs = kept.kept(logits, batch).float().cpu().numpy()
    if not np.isfinite(outputs).all():
        row = _row_of_first_fault(outputs, dataset, rows)
        raise UserError(
            f"a model ({model.config.model_type}, {model.config.num_hidden_layers} layers) gives an output that is not "
            f"finite, first at row {row + 1:,}; try --precision float32, or train it again with a lower learning rate"
        )
    return outputs


def predict(
    model: PreTrainedModel,
    dataset: Dataset,
    collate: Callable,
    precision: str,
    batch_size: int = 64,
    title: str = "evaluate",
    shared: bool = False,
    kept: Outputs = _OF_EXAMPLES,
) -> np.ndarray:
    """The model's outputs, (P, C) in float32: those that count of each example, in the order of the dataset.

    kept: which they are; one row an example by default.
    With `shared`, the processes of a run divide the batches among themselves; all must call, and get all outputs.
    """
    was_training = model.training
    model.eval()
    replace_attention(model)

    def outputs(rows: np.ndarray) -> np.ndarray:
        return outputs_of_rows(model, dataset, rows, collate, precision, kept)

    if is_masked_lm(model) and len(dataset):
        most = int(counted_outputs(dataset).max()) * model.config.vocab_size  # of a row
        batch_size = max(min(batch_size, _MOST_GUESSES // max(most, 1)), 1)
    with packed_products(model, precision):
        found = _of_all(dataset, outputs, kept.columns or model.config.num_labels, batch_size, title, shared)
    model.train(was_training)
    return found


def predict_adapted(
    model: nn.Module,
    read: Reader,
    dataset: Dataset,
    collate: Callable,
    precision: str,
    device: torch.device,
    batch_size: int = 64,
    kept: Outputs = _OF_EXAMPLES,
) -> np.ndarray:
    """As `predict` of all processes, of any module by what reads it. Raises UserError without logits, or for others."""

    @torch.no_grad()  # and not in inference mode: what a module keeps for later may be trained on then
    def outputs(rows: np.ndarray) -> np.ndarray:
        batch = {name: values.to(device) for name, values in collate(dataset.__getitems__(rows.tolist())).items()}
        with autocast(precision, device):
            logits = read(model, batch).logits
        if logits is None:
            raise UserError("predictions are made of logits, and the student's adaptor gives none; let it give them")
        found = kept.kept(logits, batch).float().cpu().numpy()
        if not np.isfinite(found).all():
            row = _row_of_first_fault(found, dataset, rows)
            raise UserError(
                f"the student gives an output that is not finite, first at row {row + 1:,}; train it again with a "
                "lower learning rate"
            )
        return found

    with in_evaluation(model):
        order = longest_first(dataset)
        labels = outputs(order[-1:]).shape[1] if len(order) else 0  # all processes know it before they share the work
        return _of_all(dataset, outputs, labels, batch_size, "evaluate", shared=True)


def _of_all(
    dataset: Dataset,
    outputs: Callable[[np.ndarray], np.ndarray],
    labels: int,
    batch_size: int,
    title: str,
    shared: bool,
) -> np.ndarray:
    """(P, labels), what `outputs` gives for rows, in batches of like length."""
    order, counts = longest_first(dataset), counted_outputs(dataset)
    ends = np.cumsum(counts)
    found = np.zeros((counts.sum(), labels), dtype=np.float32)
    starts = range(0, len(order), batch_size)
    if shared:
        starts = starts[processes.index() :: processes.count()]
    for start in tqdm(starts, desc=title, leave=False, delay=2):
        rows = order[start : start + batch_size]
        found[places_of(rows, ends, counts)] = outputs(rows)
    return processes.total(torch.from_numpy(found)).numpy() if shared else found


def places_of(rows: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Where the outputs of rows lie among those of all, one row's after the other's.

    ends: where those of each row of the dataset end; counts: how many they are.
    """
    own = counts[rows]
    within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
    return np.repeat(ends[rows] - own, own) + within


def _row_of_first_fault(outputs: np.ndarray, dataset: Dataset, rows: np.ndarray) -> int:
    """The first of these rows some output of which, (P, ...), is not finite."""
    of_rows = np.repeat(rows, counted_outputs(dataset)[rows])
    return int(of_rows[~np.isfinite(outputs).reshape(len(outputs), -1).all(-1)].min())


def evaluate(
    kind: TaskKind, model: PreTrainedModel, dataset: Dataset, collate: Callable, precision: str
) -> dict[str, float]:
    """The task's metrics of the model on a labelled dataset; the processes of a run share the work."""
    return kind.score(predict(model, dataset, collate, precision, shared=True, kept=kind.outputs), dataset)
