"""The columns of a published table, with what the readers do not need: ids, parses, single annotators."""

from collections.abc import Iterator

from glue_tasks.task import Task

_MNLI = (
    "index,promptID,pairID,genre,sentence1_binary_parse,sentence2_binary_parse,sentence1_parse,sentence2_parse,"
    "sentence1,sentence2"
)
_STSB = "index,genre,filename,year,old_index,source1,source2,sentence1,sentence2"
_MRPC = "#1 ID,#2 ID,#1 String,#2 String"
# By kind of split. Where there are none here, they are the texts and, if the split has labels, the label.
_COLUMNS = {
    "CoLA": {"test": "index,sentence"},
    "SST-2": {"test": "index,sentence"},
    "MRPC": {"train": f"Quality,{_MRPC}", "dev": f"Quality,{_MRPC}", "test": f"index,{_MRPC}"},
    "STS-B": {"train": f"{_STSB},score", "dev": f"{_STSB},score", "test": _STSB},
    "QQP": {
        "train": "id,qid1,qid2,question1,question2,is_duplicate",
        "dev": "id,qid1,qid2,question1,question2,is_duplicate",
        "test": "id,question1,question2",
    },
    "MNLI": {
        "train": f"{_MNLI},label1,gold_label",
        "dev": f"{_MNLI},label1,label2,label3,label4,label5,gold_label",
        "test": _MNLI,
    },
    "QNLI": dict.fromkeys(("train", "dev"), "index,question,sentence,label") | {"test": "index,question,sentence"},
    "RTE": dict.fromkeys(("train", "dev"), "index,sentence1,sentence2,label") | {"test": "index,sentence1,sentence2"},
    "WNLI": dict.fromkeys(("train", "dev"), "index,sentence1,sentence2,label") | {"test": "index,sentence1,sentence2"},
    "AX": {"test": "index,sentence1,sentence2"},
    "ChnSentiCorp": {"train": "label,text_a", "dev": "label,text_a"},
}


def official_columns(task: Task, split: str, labelled: bool) -> tuple[str, ...]:
    """The columns of the task's split as published with a header; of a test split that has labels those of dev."""
    kind = split.partition("_")[0]  # dev_mismatched is a dev split
    official = _COLUMNS.get(task.name, {}).get("dev" if kind == "test" and labelled else kind)
    if official:
        return tuple(official.split(","))
    return task.text_columns + ((task.label_column,) if labelled else ())


def known_columns(task: Task, labelled: bool) -> Iterator[tuple[str, ...]]:
    """The columns of a table of a published task without a header: of a split's part, or a copy of fewer columns.

    None for a task whose records are mapped: its text in a table would be without that.
    """
    if task.hub is None or task.from_record is not None:
        return
    if not labelled:
        yield official_columns(task, "test", labelled=False)
        return
    number = (task.id_column or "id",)
    for split in ("train", "dev"):
        yield official_columns(task, split, labelled=True)
    yield (*task.text_columns, task.label_column)
    yield (task.label_column, *task.text_columns)
    yield (*number, *task.text_columns, task.label_column)
    yield (task.label_column, *task.text_columns, *number)  # QQP as Wang et al. (2017, arXiv 1702.03814) parted it
