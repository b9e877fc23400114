"""The task that a dataset in memory is of, and the file that it becomes.

| columns                                              | task                                              |
|------------------------------------------------------|---------------------------------------------------|
| `text`, perhaps `text_pair`, and `label`             | sentences or pairs, as the model's head has it    |
| `tokens` and `tags`                                  | a tag for each token                              |
| `question`, `context`, `answers` and perhaps `id`    | answers in a text; SQuAD 2.0's if some have none  |
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, List, Value

from glue_tasks import TASKS, labels
from glue_tasks.errors import UserError
from glue_tasks.labels import output_names
from glue_tasks.metrics import OF_KIND
from glue_tasks.task import Task, bio_tags
from tinydistill.encoders.limits import position_limit
from tinydistill.in_memory import task_of

TEXT, PAIR, LABEL = "text", "text_pair", "label"
TOKENS, TAGS = "tokens", "tags"
QUESTION, CONTEXT, ANSWERS, ID = "question", "context", "answers", "id"
FILES = {"train": "train.parquet", "dev": "dev.parquet"}


def described(
    config: Any, dev: Dataset, columns: Mapping[str, str], metrics: Sequence[str], language: str = "en"
) -> Task:
    """The task that the teacher's configuration and the dataset's columns describe.

    columns: the dataset's names -> those above. Raises UserError.
    """
    dev = renamed(dev, columns)
    names = set(dev.column_names)
    if {TOKENS, TAGS} <= names:
        task = _of_tokens(config, dev, language)
    elif {QUESTION, CONTEXT, ANSWERS} <= names:
        task = _of_spans(dev, language)
    elif {TEXT, LABEL} <= names:
        task = _of_texts(config, dev)
    else:
        raise UserError(
            f"the eval_dataset has the columns {', '.join(dev.column_names)}, and needs {TEXT} and {LABEL}, or "
            f"{TOKENS} and {TAGS}, or {QUESTION}, {CONTEXT} and {ANSWERS}; map yours to these, such as "
            'columns={"sentence": "text"}'
        )
    limit = position_limit(config)
    return dataclasses.replace(
        task,
        max_length=task.max_length if limit is None else min(task.max_length, limit),
        files=FILES,
        metrics=tuple(metrics) or task.metrics,
    )


def _of_texts(config: Any, dev: Dataset) -> Task:
    task = task_of(config)
    own = dev.features[LABEL]
    if isinstance(own, ClassLabel) and not labels.are_numbers(own.names):
        task = dataclasses.replace(task, labels=tuple(own.names))
    codes = tuple(map(str, range(len(task.labels))))
    return dataclasses.replace(
        task,
        text_columns=(TEXT, PAIR) if PAIR in dev.column_names else (TEXT,),
        label_codes=() if task.labels == codes else codes,
    )


def _tag_names(config: Any, dev: Dataset) -> tuple[str, ...]:
    """What the numbers of the column of tags stand for: the dataset's own names, or those of the model's outputs."""
    of_dataset = getattr(dev.features[TAGS], "feature", None)
    if isinstance(of_dataset, ClassLabel) and not labels.are_numbers(of_dataset.names):
        return tuple(of_dataset.names)
    return output_names(config.id2label, config.label2id, "teacher")


def _of_tokens(config: Any, dev: Dataset, language: str) -> Task:
    names = _tag_names(config, dev)
    if labels.are_numbers(names):
        raise UserError(
            "neither the dataset nor the teacher names its tags; name them in the teacher's config.json (id2label), or "
            "make the column of tags one of ClassLabel"
        )
    types = sorted({name.partition("-")[2] for name in names if "-" in name})
    return Task(
        name="custom",
        summary="",
        text_columns=(TOKENS,),
        label_column=TAGS,
        labels=bio_tags(*types),
        metrics=OF_KIND["tokens"],
        kind="tokens",
        language=language,
    )


def _of_spans(dev: Dataset, language: str) -> Task:
    base = TASKS["CMRC2018" if language == "zh" else "SQuAD1.1"]
    may_lack = any(not (each.get("text") if isinstance(each, dict) else each) for each in dev[ANSWERS])
    return dataclasses.replace(
        base,
        name="custom",
        summary="",
        span_score="squad2" if may_lack else base.span_score,
        hub=None,
        folders=(),
        other_files={},
        homepage="",
        language=language,
    )


def renamed(data: Dataset, columns: Mapping[str, str]) -> Dataset:
    if missing := [name for name in columns if name not in data.column_names]:
        raise UserError(f"columns names {missing[0]!r}, which a dataset does not have; it has {data.column_names}")
    return data.rename_columns(dict(columns)) if columns else data


def write_split(task: Task, config: Any, data: Dataset, columns: Mapping[str, str], path: Path) -> None:
    """The task's columns as Parquet, labels by name where the dataset or, of tags, the teacher names them."""
    data = renamed(data, columns)
    if task.kind == "spans" and ID not in data.column_names:
        data = data.add_column(ID, [str(number) for number in range(len(data))])
    label = task.label_column
    wanted = [*task.text_columns, label, *([ID] if task.kind == "spans" else [])]
    data = data.select_columns([name for name in wanted if name in data.column_names])
    kind = data.features.get(label)
    if isinstance(kind, ClassLabel):
        named = [kind.int2str(number) if number >= 0 else "" for number in data[label]]
        data = data.remove_columns(label).add_column(label, named)
    elif task.kind == "tokens" and kind is not None and getattr(kind.feature, "dtype", "") != "string":
        names = _tag_names(config, data)
        numbers = {number for tags in data[label] for number in tags}
        if wrong := numbers - {*range(len(names))}:
            raise UserError(
                f"the dataset has the tag {min(wrong)}, and there are {len(names)} tags, from 0: {', '.join(names)}"
            )
        named = [[names[number] for number in tags] for tags in data[label]]
        tags = Dataset.from_dict({label: named}, features=Features({label: List(Value("string"))}))
        data = data.remove_columns(label).add_column(label, tags.data.column(label).combine_chunks())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    data.to_parquet(str(partial))
    partial.replace(path)
