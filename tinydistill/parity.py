"""Whether exported models answer as the model they were made from, measured on a task's dev set, and how fast."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from glue_tasks.task import Task
from tinydistill import latency
from tinydistill.checks import check_positions
from tinydistill.data import count_rows
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.evaluation import predict
from tinydistill.kinds import TaskKind, kind_of
from tinydistill.kinds.kind import Lengths
from tinydistill.kinds.sentences import Sentences
from tinydistill.kinds.spans import Spans
from tinydistill.models import load_fine_tuned
from tinydistill.options import Options
from tinydistill.predict import trained_with
from tinydistill.task_data import load_dev

TORCH = "torch"
POINTS = 0.5  # hundredths of the main metric that a format may lose before it is told


def compare(
    task: Task, name: str, folders: Mapping[str, Path], data_dir: Path, max_length: int = 0, batch_size: int = 64
) -> dict[str, dict[str, Any]]:
    """Format -> its `dev` by split, `warning` ("" if all is well) and `latency`, of models exported from `name`.

    A split has the `rows`, the metrics of `torch` and of the format, the `largest_logit_difference`, and the
    `equal_predictions`, a share; None for a regression. All in float32, on the CPU. Raises UserError.
    """
    kind, trained = kind_of(task), trained_with(name)
    length = max_length or trained.get("max_length", task.max_length)
    models = {TORCH: load_fine_tuned(name, task)[0]}
    models |= {each: load_fine_tuned(str(folder), task)[0] for each, folder in folders.items()}
    check_positions(models[TORCH], f"model {name}", length)
    tokenizer = load_tokenizer(name)
    found: dict[str, dict[str, Any]] = {each: {"dev": {}} for each in folders}
    with tempfile.TemporaryDirectory() as cache:
        stride = trained.get("doc_stride", Lengths.doc_stride)
        options = Options(data_dir=str(data_dir), cache_dir=cache, max_length=length, doc_stride=stride)
        for split, data in load_dev(kind, options, tokenizer).items():
            outputs = {
                each: predict(
                    model, data, kind.collate(tokenizer), "float32", batch_size, f"{each} on {split}", kept=kind.outputs
                )
                for each, model in models.items()
            }
            scores = {each: kind.score(own, data, models[each].config) for each, own in outputs.items()}
            answers = {each: _answers(kind, own, data, models[each].config) for each, own in outputs.items()}
            for each in folders:
                found[each]["dev"][split] = {
                    "rows": count_rows(data),
                    "metrics": {TORCH: scores[TORCH], each: scores[each]},
                    "largest_logit_difference": float(np.abs(outputs[each] - outputs[TORCH]).max(initial=0.0)),
                    "equal_predictions": _share_of_equal(answers[TORCH], answers[each]),
                }
    timings = [asdict(timing) for timing in latency.measure(models, length)]
    for each in folders:
        found[each]["warning"] = _warning(task, each, found[each]["dev"][task.dev_splits[0]]["metrics"])
        found[each]["latency"] = timings
    return found


def _answers(kind: TaskKind, outputs: np.ndarray, data: Dataset, config: Any) -> Sequence[Any] | None:
    """What a model of these outputs (P, C) says: labels, tags or places in a text; None of values."""
    if kind.task.is_regression:
        return None
    if isinstance(kind, Spans):
        return [each.spans[0][:2] if each.spans else None for each in kind.decoded(outputs, data, n_best=1)]
    if isinstance(kind, Sentences):
        return kind.answers(outputs, config, kind.task.labels)
    return outputs.argmax(-1).tolist()


def _share_of_equal(one: Sequence[Any] | None, other: Sequence[Any] | None) -> float | None:
    if one is None or other is None:
        return None
    return sum(a == b for a, b in zip(one, other, strict=True)) / max(len(one), 1)


def _warning(task: Task, name: str, metrics: Mapping[str, Mapping[str, float]]) -> str:
    """A sentence if the main metric of a format is too far below that of torch."""
    metric = task.main_metric
    before, after = metrics[TORCH][metric], metrics[name][metric]
    if before - after <= POINTS / 100:
        return ""
    return (
        f"{metric} on dev falls by {100 * (before - after):.2f} points in {name}, from {before:.4f} to {after:.4f}; "
        "serve another format if that is too much"
    )


def lines_of(found: Mapping[str, dict[str, Any]]) -> list[str]:
    """What is printed of `compare`."""
    lines = []
    for each, entry in found.items():
        for split, own in entry["dev"].items():
            same = own["equal_predictions"]
            equal = "" if same is None else f", {same:.2%} equal predictions"
            lines.append(
                f"{each} on {split} ({own['rows']:,} rows): largest logit difference "
                f"{own['largest_logit_difference']:.2g}{equal}"
            )
            for metric, before in own["metrics"][TORCH].items():
                lines.append(f"  {metric}: {TORCH} {before:.4f}, {each} {own['metrics'][each][metric]:.4f}")
    for timing in next(iter(found.values()))["latency"]:
        times = timing["ms_per_batch"]
        told = ", ".join(
            f"{each} {ms:.2f}" + ("" if each == TORCH else f" ({times[TORCH] / ms:.1f}x as fast)")
            for each, ms in times.items()
        )
        lines.append(
            f"ms a batch of {timing['batch_size']}, {timing['length']} pieces, {timing['threads']} threads: {told}"
        )
    return lines
