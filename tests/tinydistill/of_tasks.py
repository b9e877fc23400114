"""What a task's kind gives: encoded tables, and the objectives of TinyBERT's phases, resolved."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from transformers import PreTrainedTokenizerBase

from glue_tasks import TASKS
from glue_tasks.files import Table
from glue_tasks.seals import seal
from glue_tasks.task import Task
from tinydistill.kinds import kind_of
from tinydistill.kinds.kind import Lengths
from tinydistill.layer_map import LayerMap
from tinydistill.objectives import Objective
from tinydistill.options import Options
from tinydistill.phases import PHASES
from tinydistill.resolving import resolve


def intermediate(layer_map: LayerMap, projection: str = "none", **options: Any) -> tuple[Objective, ...]:
    """The objectives of the first phase by a layer map, of models of any width and heads."""
    layers = {"attention": layer_map.attention, "hidden": layer_map.hidden}
    goals = [dataclasses.replace(each, layers=layers[each.feature]) for each in PHASES["intermediate"].objectives]
    return resolve(goals, {}, options=Options(projection=projection, **options))


def prediction(task: Task = TASKS["SST-2"], **options: Any) -> tuple[Objective, ...]:
    return resolve(PHASES["prediction"].objectives, kind_of(task).losses, options=Options(**options))


def encode_table(table: Table, tokenizer: PreTrainedTokenizerBase, max_length: int, cache_dir: Path) -> Dataset:
    return kind_of(table.task).encode(table, tokenizer, Lengths(max_length), cache_dir)


def of_labels(labels: Sequence[Any], folder: Path) -> Dataset:
    """A dataset as `encode` would make it of rows with these labels, without their texts."""
    path = folder / "labels.arrow"
    with ArrowWriter(path=str(path)) as writer:
        writer.write_batch({"labels": list(labels)})
        writer.finalize()
    seal(path.with_suffix(".json"), path, left_out={}, rows=len(labels))
    return Dataset.from_file(str(path))
