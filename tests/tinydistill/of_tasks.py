"""What a task's kind gives: encoded tables, and the objectives of TinyBERT's phases, resolved."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from glue_tasks import TASKS
from glue_tasks.files import Table
from glue_tasks.task import Task
from tinydistill.kinds import kind_of
from tinydistill.layer_map import LayerMap
from tinydistill.objectives import Objective, resolve
from tinydistill.phases import PHASES


def intermediate(layer_map: LayerMap, **options: Any) -> tuple[Objective, ...]:
    return resolve(PHASES["intermediate"].objectives, {}, layer_map, **options)


def prediction(task: Task = TASKS["SST-2"], **options: Any) -> tuple[Objective, ...]:
    return resolve(PHASES["prediction"].objectives, kind_of(task).losses, **options)


def encode_table(table: Table, tokenizer: PreTrainedTokenizerBase, max_length: int, cache_dir: Path) -> Dataset:
    return kind_of(table.task).encode(table, tokenizer, max_length, cache_dir)
