"""Tiny files and teachers of several tasks, for the command line."""

import shutil
from pathlib import Path

import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

import run_tinybert
from glue_tasks import TASKS
from glue_tasks.task import Task
from tests.tinydistill.conftest import tiny_bert_config
from tests.tinydistill.runs import NARROW
from tinydistill.kinds import kind_of

WORDS = ("good", "great", "fine", "bad", "awful", "poor")


def make_files(folder: Path, sst2: Path) -> None:
    """SST-2's from `sst2`, RTE's (pairs, 37 rows) and STS-B's (pairs with a value, 16 rows); dev is a part of train."""
    shutil.copytree(sst2, folder / "SST-2")
    rte = [
        f"{i}\tthe film is {a}\tthe film was {b}\t{'' if (a in WORDS[:3]) == (b in WORDS[:3]) else 'not_'}entailment"
        for i, (a, b) in enumerate((a, b) for a in WORDS for b in WORDS)
    ]
    rte.append(f"36\t{'very ' * 9}good\tthe plot is not bad\tentailment")
    columns = [
        "index",
        "genre",
        "filename",
        "year",
        "old_index",
        "source1",
        "source2",
        "sentence1",
        "sentence2",
        "score",
    ]
    sts_b = [
        "\t".join(["0"] * 7 + [f"the film is {a}", f"the plot was {b}", "5.0" if a in ("good", "great") else "0.5"])
        for a in ("good", "great", "bad", "awful")
        for b in ("good", "great", "bad", "awful")
    ]
    for task, header, rows in (
        ("RTE", "index\tsentence1\tsentence2\tlabel", rte),
        ("STS-B", "\t".join(columns), sts_b),
    ):
        (folder / task).mkdir()
        for split, own in (("train", rows), ("dev", rows[::2])):
            (folder / task / f"{split}.tsv").write_text("\n".join([header, *own]) + "\n", encoding="utf-8")


def make_teacher(folder: Path, task: Task, tokenizer: PreTrainedTokenizerFast, seed: int = 1, **changes: int) -> str:
    """One that was never trained, of the task's labels."""
    torch.manual_seed(seed)
    config = tiny_bert_config(initializer_range=0.3, **changes)
    config.update(kind_of(task).head())
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def args_of(data: Path, teachers: dict[str, str]) -> list[str]:
    """Tasks, teachers and data of a command; all teachers are allowed."""
    named = [x for task, path in teachers.items() for x in ("--task", task, "--teacher", f"{task}={path}")]
    return [*named, "--data-dir", str(data), "--allow-weak-teacher", "--precision", "float32", "--max-length", "16"]


def run(phase: str, args: list[str], out: Path, *more: str) -> None:
    student = [] if "--student" in more else ["--student", NARROW]
    quick = ["--batch-size", "8", "--logging-steps", "2"]
    run_tinybert.main(["--phase", phase, *args, *student, *quick, "--output-dir", str(out), *more])


def teachers_for(folder: Path, trained: Path, tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    """Of SST-2 the one that was trained."""
    own = {name: make_teacher(folder / name, TASKS[name], tokenizer) for name in ("RTE", "STS-B")}
    return {"SST-2": str(trained), **own}
