"""A repository laid out as those on the hub: README.md with configurations and features, parquet by configuration."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf

from glue_tasks import TASKS, Task

Rows = Sequence[Mapping[str, Any]]


def features_of(config: str) -> Features:
    """The features of a configuration, as its repository on the hub declares them."""
    text, number, label = Value("string"), Value("int32"), ClassLabel
    pair = {"sentence1": text, "sentence2": text}
    nli = {"premise": text, "hypothesis": text, "label": label(names=["entailment", "neutral", "contradiction"])}
    chinese_nli = label(names=["neutral", "entailment", "contradiction"])
    span = {"span1_text": text, "span2_text": text, "span1_index": number, "span2_index": number}
    kinds = ["entailment", "not_entailment"]
    tnews = [str(code) for code in range(100, 117) if code not in (105, 111)]
    columns = {
        "cola": {"sentence": text, "label": label(names=["unacceptable", "acceptable"])},
        "sst2": {"sentence": text, "label": label(names=["negative", "positive"])},
        "mrpc": {**pair, "label": label(names=["not_equivalent", "equivalent"])},
        "stsb": {**pair, "label": Value("float32")},
        "qqp": {"question1": text, "question2": text, "label": label(names=["not_duplicate", "duplicate"])},
        "mnli": nli,
        "qnli": {"question": text, "sentence": text, "label": label(names=kinds)},
        "rte": {**pair, "label": label(names=kinds)},
        "wnli": {**pair, "label": label(names=["not_entailment", "entailment"])},
        "ax": nli,
        "afqmc": {**pair, "label": label(names=["0", "1"])},
        "tnews": {"sentence": text, "label": label(names=tnews)},
        "iflytek": {"sentence": text, "label": label(names=[str(code) for code in range(119)])},
        "ocnli": {**pair, "label": chinese_nli},
        "cmnli": {**pair, "label": chinese_nli},
        "cluewsc2020": {"text": text, "label": label(names=["true", "false"]), "target": span},
        "csl": {"corpus_id": number, "abst": text, "label": label(names=["0", "1"]), "keyword": ListOf(text)},
    }
    if config in columns:
        return Features({**columns[config], "idx": number})
    return Features(
        {
            "lansinuote/ChnSentiCorp": {"text": text, "label": label(names=["negative", "positive"])},
            "C-MTEB/LCQMC": {**pair, "score": number},
            "C-MTEB/BQ": {**pair, "score": number},
            "facebook/xnli": nli,
        }[config]
    )


def write_repository(
    folder: Path, configs: Mapping[str, Mapping[str, Rows]], features: Mapping[str, Features] | None = None
) -> Path:
    """Write configurations, each with its splits and their rows; `features` where they are not those by name."""
    card: dict[str, list[Any]] = {"dataset_info": [], "configs": []}
    for config, splits in configs.items():
        declared = (features or {}).get(config) or features_of(config)
        for split, rows in splits.items():
            path = folder / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            columns = {name: [row[name] for row in rows] for name in declared}
            Dataset.from_dict(columns, features=declared).to_parquet(path)
        info = {
            "config_name": config,
            "features": declared._to_yaml_list(),
            "splits": [{"name": split, "num_bytes": 1, "num_examples": len(rows)} for split, rows in splits.items()],
            "download_size": 1,
            "dataset_size": 1,
        }
        files = [{"split": split, "path": f"{config}/{split}-*"} for split in splits]
        card["dataset_info"].append(info)
        card["configs"].append({"config_name": config, "data_files": files})
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True)
    (folder / "README.md").write_text(f"---\n{text}---\n\n# A copy\n", encoding="utf-8")
    return folder


def with_rows(name: str, **rows: int) -> Task:
    """The task as if so many rows had been published of its splits, and none of the others."""
    task = TASKS[name]
    assert task.hub
    splits = {split: task.hub.splits[split] for split in rows}
    return dataclasses.replace(task, hub=dataclasses.replace(task.hub, rows=rows, splits=splits))


def configuration(task: Task) -> str:
    """The name under which `features_of` knows it: the repository's where the configuration is called "default"."""
    assert task.hub
    return task.hub.config if task.hub.repository.endswith(("/glue", "/clue")) else task.hub.repository


def publish(folder: Path, task: Task, splits: dict[str, Rows], features: Features | None = None) -> Path:
    """A repository that has the task alone, with rows by the task's names of the splits."""
    assert task.hub
    features = features or features_of(configuration(task))
    named = {task.hub.splits[split]: rows for split, rows in splits.items()}
    return write_repository(folder, {task.hub.config: named}, {task.hub.config: features})
