"""The door from Python: models and datasets in memory in, a student out."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback, TrainingArguments

from glue_tasks.errors import UserError
from tinydistill import PHASES, Objective, Phase, Training, distill

from .conftest import tiny_bert_config
from .runs import record
from .sentiment import ROWS, dataset
from .test_python_tokens import entities, tagger

ROOT = Path(__file__).parents[2]


def snapshot(model: torch.nn.Module) -> tuple[str, str, dict[str, Any]]:
    return repr(model), model.config.to_json_string(), copy.deepcopy(model.state_dict())


def is_as_before(model: torch.nn.Module, before: tuple[str, str, dict[str, Any]], weights: bool = True) -> bool:
    same = all(torch.equal(tensor, before[2][name]) for name, tensor in model.state_dict().items())
    flags = all(parameter.requires_grad for parameter in model.parameters())
    return repr(model) == before[0] and model.config.to_json_string() == before[1] and flags and same == weights


def test_the_examples_of_the_docs(
    trained: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    small = BertForSequenceClassification(tiny_bert_config(layers=2))
    scope = {"teacher": trained, "tokenizer": tokenizer, "train_dataset": dataset(), "eval_dataset": dataset()}
    scope |= {"small": small, "tagger_teacher": tagger(), "entities": entities()}
    before, started = snapshot(trained), copy.deepcopy(small.state_dict())
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), scope)
    assert is_as_before(trained, before)
    assert not torch.equal(
        small.bert.embeddings.word_embeddings.weight, started["bert.embeddings.word_embeddings.weight"]
    )
    assert json.loads((tmp_path / "student" / "report.json").read_text())["students"]["prediction"]
    assert record(tmp_path / "narrow" / "prediction")["settings"]["temperature"] == 2.0
    assert [o["feature"] for o in record(tmp_path / "own" / "warm-up")["settings"]["objectives"]] == [
        "hidden",
        "logits",
        "labels",
    ]
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "loop" / "student")
    assert loaded.config.num_hidden_layers == 2
    saved = load_file(tmp_path / "any-module" / "student" / "model.safetensors")
    assert torch.equal(saved["head.weight"], scope["bigru"].head.weight)


def test_several_tasks(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """One body, a head for each; the same call again returns what is finished."""

    def call() -> Any:
        both = {"SST-2": dataset(), "own": dataset()}
        teachers = {"SST-2": trained, "own": trained}
        return distill(teachers, "init:layers=2", both, both, tmp_path / "a", tokenizer, max_steps=4, max_length=32)

    students = call()
    assert list(students) == ["SST-2", "own"]
    assert students["own"].config.id2label == students["SST-2"].config.id2label
    bodies = [student.bert.state_dict() for student in students.values()]
    assert all(torch.equal(tensor, bodies[1][name]) for name, tensor in bodies[0].items())
    assert not torch.equal(students["own"].classifier.weight, students["SST-2"].classifier.weight)
    assert set(json.loads((tmp_path / "a" / "report.json").read_text())["tasks"]) == {"SST-2", "own"}
    written = (tmp_path / "a" / "prediction" / "run.json").stat().st_mtime_ns
    again = call()
    assert (tmp_path / "a" / "prediction" / "run.json").stat().st_mtime_ns == written
    assert all(torch.equal(a, b) for a, b in zip(students["own"].parameters(), again["own"].parameters(), strict=True))

    (alone,) = distill(
        {"own": trained},
        "init:layers=2",
        {"own": dataset()},
        {"own": dataset()},
        tmp_path / "b",
        tokenizer,
        max_steps=4,
    )
    assert alone == "own"


def test_no_teacher_is_called_as_the_student(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """It would be taken for it."""
    with pytest.raises(UserError, match="is called 'student'"):
        distill({"a": trained, "student": trained}, "init:layers=2", dataset(), dataset(), tmp_path / "new", tokenizer)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"teacher": None}, "teacher has none"),
        ({"eval_dataset": {"a": dataset()}}, "eval_dataset has a;"),
        ({"eval_dataset": dataset()}, "eval_dataset has none"),
        ({name: {"a/b": dataset(), "c": dataset()} for name in ("train_dataset", "eval_dataset")}, "teacher has a, b"),
    ],
)
def test_several_tasks_that_do_not_fit(
    given: dict[str, Any],
    told: str,
    trained: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    both = {"a": dataset(), "b": dataset()}
    usual = {"teacher": {"a": trained, "b": trained}, "train_dataset": both, "eval_dataset": both}
    usual |= {name: trained if value is None else value for name, value in given.items()}
    with pytest.raises(UserError, match=re.escape(told)):
        distill(student="init:layers=2", output_dir=tmp_path / "new", tokenizer=tokenizer, **usual)
    assert not (tmp_path / "new").exists()


def test_the_same_call_again_returns_what_is_finished(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def call(**options: Any) -> Any:
        return distill(trained, "init:layers=2", dataset(), dataset(), tmp_path, tokenizer, max_steps=4, **options)

    first, written = call(), (tmp_path / "prediction" / "run.json").stat().st_mtime_ns
    second = call()
    assert (tmp_path / "prediction" / "run.json").stat().st_mtime_ns == written
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with pytest.raises(UserError, match="seed was 42 and is now 7"):
        call(seed=7)
    call(seed=7, overwrite=True)


def test_it_is_what_the_command_line_gives(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """From memory and from files, with the labels in another order too: the same student."""
    import run_tinybert

    trained.save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    data = tmp_path / "data" / "SST-2"
    data.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (data / name).write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS))
    run_tinybert.main(
        [
            *(
                "--phase",
                "all",
                "--task",
                "SST-2",
                "--student",
                "init:layers=2",
                "--max-steps",
                "4",
                "--max-length",
                "32",
            ),
            *("--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "a")),
            *("--teacher", str(tmp_path / "teacher")),
        ]
    )
    other = dataset(("positive", "negative"))
    flipped = other.map(lambda row: {"label": 1 - row["label"]}, features=other.features)
    for out, rows in (("b", dataset()), ("c", flipped)):
        distill(trained, "init:layers=2", rows, rows, tmp_path / out, tokenizer, max_steps=4)
    weights = [(tmp_path / out / "prediction" / "model.safetensors").read_bytes() for out in ("a", "b")]
    assert weights[0] == weights[1]
    scores = [json.loads((tmp_path / out / "report.json").read_text())["teacher"]["dev"] for out in ("b", "c")]
    assert scores[0] == scores[1]


def test_training_rows_need_no_labels(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """TinyBERT's phases learn from the teacher alone; a phase that learns from labels says what it misses."""
    rows = dataset().remove_columns("label")
    distill(trained, "init:layers=2", rows, dataset(), tmp_path / "a", tokenizer, max_steps=2)
    labelled = Phase("own", (Objective(feature="labels"),))
    with pytest.raises(UserError, match="label"):
        distill(trained, "init:layers=2", rows, dataset(), tmp_path / "b", tokenizer, phases=[labelled], max_steps=2)


def test_a_loaded_student(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    small = BertForSequenceClassification(tiny_bert_config(layers=2))
    before = snapshot(small)
    student = distill(trained, small, dataset(), dataset(), tmp_path, tokenizer, max_steps=2)
    assert is_as_before(small, before)
    assert student.config.num_hidden_layers == 2
    assert record(tmp_path / "intermediate")["settings"]["student"] == str(tmp_path / "inputs" / "student")


def test_training_arguments(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    args = TrainingArguments(
        str(tmp_path), max_steps=3, per_device_train_batch_size=4, learning_rate=1e-3, seed=3, report_to="none"
    )
    distill(trained, "init:layers=2", dataset(), dataset(), tokenizer=tokenizer, args=args)
    settings = record(tmp_path / "intermediate")["settings"]
    assert (settings["batch_size"], settings["learning_rate"], settings["seed"]) == (4, 1e-3, 3)


def test_callbacks_see_the_student_at_each_evaluation(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    seen: list[tuple[int, int, list[str]]] = []

    class Look(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            layers = kwargs["model"].student.config.num_hidden_layers
            seen.append((state.global_step, layers, sorted(kwargs["metrics"])))

    distill(trained, "init:layers=2", dataset(), dataset(), tmp_path, tokenizer,
            batch_size=8, max_steps=4, callbacks=[Look()])  # fmt: skip
    first = ["eval_loss_attention", "eval_loss_hidden"]
    assert seen == [(step, 2, names) for names in (first, ["eval_accuracy"]) for step in (2, 4)]


def test_a_callback_may_end_a_phase(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    class Enough(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = True

    distill(trained, "init:layers=2", dataset(), dataset(), tmp_path, tokenizer, phases=["prediction"],
            batch_size=8, callbacks=[Enough()])  # fmt: skip
    left = record(tmp_path / "prediction")
    assert (left["steps"], left["stopped_early"]) == (2, True)
    assert "stopped early, at step 2 of 6, after a callback asked for it" in left["notes"]


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"output_dir": ""}, "needs output_dir"),
    ({"tokenizer": None}, "give the tokenizer with a teacher that is a loaded model"),
    ({"eval_dataset": dataset().rename_column("text", "review")}, "has the columns review, label, and needs text"),
    ({"columns": {"review": "text"}}, "columns names 'review'"),
    ({"phases": ["warm-up"]}, "there is no phase 'warm-up'"),
    ({"args": TrainingArguments("x", eval_steps=0.5)}, "args.eval_steps is 0.5, for transformers a share of all steps"),
    ({"max_stepz": 3}, "'max_stepz', which is no setting; did you mean 'max_steps'"),
    ({"train_dataset": dataset(("good", "bad")), "eval_dataset": dataset(("good", "bad"))}, "has the labels negative"),
    ({"phases": [Phase("x", (Objective(feature="hidden", layers=((3, 1),)),))]}, "compares hidden 3 of the student"),
    ({"phases": [Phase("x", (Objective(feature="hidden", loss="gold_mse"),))]}, "the loss 'gold_mse' for hidden"),
    ({"phases": [Phase("x", (Objective(feature="logits"),), starts_from="y")]}, "starts from 'y', which is no phase"),
    ({"phases": [Phase("x", (Objective(feature="logits"),), training=Training(epochs=-1))]}, "epochs is -1"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes(
    changes: dict[str, Any],
    message: str,
    trained: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    given = {"train_dataset": dataset(), "eval_dataset": dataset(), "output_dir": tmp_path, "tokenizer": tokenizer}
    with pytest.raises(UserError, match=message):
        distill(trained, "init:layers=2", **{**given, **changes})


def test_a_callable_counts_in_the_identity(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    phase = Phase("own", (Objective(feature="logits", loss=_half),), training=Training(epochs=1, learning_rate=1e-3))
    distill(trained, "init:layers=2", dataset(), dataset(), tmp_path, tokenizer, phases=[phase], max_steps=2)
    assert record(tmp_path / "own")["settings"]["objectives"][0]["loss"].endswith("test_python._half")
    other = Phase("own", PHASES["prediction"].objectives, training=Training(epochs=1, learning_rate=1e-3))
    with pytest.raises(UserError, match="objectives was"):
        distill(trained, "init:layers=2", dataset(), dataset(), tmp_path, tokenizer, phases=[other], max_steps=2)


def test_a_mistake_writes_nothing(
    trained: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="max_stepz"):
        distill(trained, "init:layers=2", dataset(), dataset(), tmp_path / "run", tokenizer, max_stepz=3)
    assert not (tmp_path / "run").exists()


def _half(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return (student - teacher).square().mean(-1) / 2


def test_importing_changes_nothing() -> None:
    """Neither log levels, nor the environment, nor random states, nor how others' models attend."""
    code = """
import os, logging
import torch, transformers, datasets
from transformers.utils import logging as hf
def state():
    return (dict(os.environ), hf.get_verbosity(), hf.is_progress_bar_enabled(), datasets.utils.logging.get_verbosity(),
            logging.getLogger().level, torch.get_num_threads(), torch.initial_seed(), torch.get_default_dtype(),
            datasets.are_progress_bars_disabled(), torch.is_grad_enabled())
before = state()
import tinydistill
from tinydistill import DistillationTrainer, Objective, Phase, distill
import tinydistill.encoders.cpu.int8, tinydistill.predict, tinydistill.report.measure, augment.augmenter
after = state()
assert before == after, [pair for pair in zip(before, after) if pair[0] != pair[1]]
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
