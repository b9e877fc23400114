"""A model's outputs on a dataset, and its scores."""

from collections.abc import Callable

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedModel

from glue_tasks.metrics import score
from glue_tasks.task import Task
from tinydistill import processes
from tinydistill.distiller import accepted_inputs
from tinydistill.precision import autocast


@torch.inference_mode()
def predict(
    model: PreTrainedModel,
    dataset: Dataset,
    collate: Callable,
    precision: str,
    batch_size: int = 64,
    title: str = "evaluate",
    shared: bool = False,
) -> np.ndarray:
    """The model's outputs, (examples, num_labels) in float32, in the order of the dataset.

    Examples run longest first, in batches of like length: memory is at its height at once, padding near zero.
    With `shared`, the processes of a run divide the batches among themselves; all must call, and get all outputs.
    """
    was_training = model.training
    model.eval()
    inputs = accepted_inputs(model)
    order = np.argsort(-np.array(dataset["length"]), kind="stable")
    outputs = np.zeros((len(dataset), model.config.num_labels), dtype=np.float32)
    starts = range(0, len(order), batch_size)
    if shared:
        starts = starts[processes.index() :: processes.count()]
    for start in tqdm(starts, desc=title, leave=False, delay=2):
        rows = order[start : start + batch_size]
        batch = collate(dataset.__getitems__(rows.tolist()))
        with autocast(precision, model.device):
            logits = model(**{name: batch[name].to(model.device) for name in inputs if name in batch}).logits
        outputs[rows] = logits.float().cpu().numpy()
    model.train(was_training)
    return processes.total(torch.from_numpy(outputs)).numpy() if shared else outputs


def evaluate(
    task: Task, model: PreTrainedModel, dataset: Dataset, collate: Callable, precision: str
) -> dict[str, float]:
    """The task's metrics of the model on a labelled dataset; the processes of a run share the work."""
    return score(task, predict(model, dataset, collate, precision, shared=True), np.array(dataset["labels"]))
