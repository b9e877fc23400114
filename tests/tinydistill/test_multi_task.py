"""Several tasks and one student: whole runs, and every mistake."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

import tinydistill.__main__ as tinydistill
from glue_tasks import TASKS
from glue_tasks.errors import UserError
from glue_tasks.task import Task
from tinydistill.multi_task.phase_run import MultiTaskRun
from tinydistill.multi_task.run import run as run_together
from tinydistill.phase_run import PhaseRun
from tinydistill.settings import Plan
from tinydistill.settings import resolve as resolve_plan

from . import several_tasks, test_multi_label
from .conftest import fails, make_tokenizer
from .runs import NARROW, record


@pytest.fixture(scope="module")
def args(
    data_dir: Path, teacher_dir: Path, tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> list[str]:
    folder = tmp_path_factory.mktemp("several")
    several_tasks.make_files(folder / "data", data_dir / "SST-2")
    teachers = several_tasks.teachers_for(folder / "teachers", teacher_dir, tokenizer)
    return several_tasks.args_of(folder / "data", teachers)


TASK_NAMES = ("SST-2", "RTE", "STS-B")
LENGTHS = ["--intermediate-epochs", "6", "--prediction-epochs", "12", "--prediction-lr", "5e-3"]
LENGTHS += ["--intermediate-lr", "5e-3"]


@pytest.fixture(scope="module")
def finished(args: list[str], made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return made_once("several-tasks", lambda out: several_tasks.run("all", args, out, *LENGTHS))


def body(folder: Path) -> dict[str, torch.Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {key: value for key, value in weights.items() if not key.startswith("classifier")}


def test_a_folder_for_each_task_with_the_same_body(finished: Path) -> None:
    for phase in ("intermediate", "prediction"):
        of_phase = record(finished / phase)
        assert of_phase["state"] == "finished"
        assert of_phase["settings"]["task"] == "SST-2, RTE, STS-B"
        assert sorted(path.name for path in (finished / phase).iterdir()) == ["RTE", "SST-2", "STS-B", "run.json"]
        bodies = [body(finished / phase / task) for task in TASK_NAMES]
        assert len(bodies[0]) > 20
        for other in bodies[1:]:
            assert other.keys() == bodies[0].keys()
            assert all(other[key].numpy().tobytes() == value.numpy().tobytes() for key, value in bodies[0].items())
        assert of_phase["files"].keys() >= {f"{task}/model.safetensors" for task in TASK_NAMES}
    assert (finished / "intermediate" / "RTE" / "projections.safetensors").is_file()
    assert not (finished / "prediction" / "RTE" / "projections.safetensors").exists()
    models = {
        task: AutoModelForSequenceClassification.from_pretrained(finished / "prediction" / task) for task in TASK_NAMES
    }
    assert models["RTE"].config.id2label == {0: "entailment", 1: "not_entailment"}
    assert models["STS-B"].config.problem_type == "regression"
    head = models["SST-2"].classifier.weight
    assert not torch.equal(head, models["RTE"].classifier.weight)


def test_the_record_and_the_best_checkpoint(finished: Path) -> None:
    first, second = record(finished / "intermediate"), record(finished / "prediction")
    assert first["settings"]["student"] == second["settings"]["student"] == NARROW
    assert second["settings"]["task_sampling"] == 1.0
    assert second["data"]["train"]["rows"] == 108 + 37 + 16
    dev = second["dev"]
    assert dev["SST-2_accuracy"] >= 0.9
    assert dev["mean"] == pytest.approx((dev["SST-2_accuracy"] + dev["RTE_accuracy"] + dev["STS-B_pearson"]) / 3)
    assert {"loss_SST-2_attention", "loss_RTE_hidden", "loss_STS-B_hidden"} <= first["dev"].keys()
    assert any("student starts from" in note and "intermediate/RTE" in note for note in second["notes"])
    assert len(list((finished / "cache").glob("teacher-logits-*.arrow"))) == 3
    seen = {name for entry in second["losses"] for name in entry if name.startswith("loss_")}
    assert seen == {f"loss_{task}_logits" for task in TASK_NAMES}


def test_a_card_for_each_task(finished: Path) -> None:
    names = [path.name for path in sorted((finished / "prediction").iterdir()) if (path / "config.json").exists()]
    assert len(names) > 1
    for name in names:
        card = (finished / "prediction" / name / "README.md").read_text(encoding="utf-8")
        (others,) = re.findall(r"Its body is also that of students for (.*)\.\n", card)
        assert sorted(others.split(" and ")) == [other for other in names if other != name]


def test_losses_in_the_log(finished: Path) -> None:
    """`loss` is the mean of the one or two steps of an interval, an objective's that over the steps of its task."""
    of_two = 0
    for entry in record(finished / "intermediate")["losses"]:
        own = [sum(value for name, value in entry.items() if name.startswith(f"loss_{task}_")) for task in TASK_NAMES]
        own = [each for each in own if each]
        assert entry["loss"] == pytest.approx(sum(own) / len(own), rel=1e-4)
        for name in [name for name in entry if name.startswith("loss_")]:
            layers = [of for layer, of in entry.items() if layer.startswith(f"layer_{name.removeprefix('loss_')}_")]
            assert sum(layers) == pytest.approx(entry[name], rel=1e-4)
        of_two += len(own) == 2
    assert of_two > 5


def test_the_report(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    dev = record(finished / "prediction")["dev"]
    kept = []
    for task, metric in (("SST-2", "accuracy"), ("RTE", "accuracy"), ("STS-B", "pearson")):
        own = report["tasks"][task]
        entry, teacher = own["students"]["prediction"], own["teacher"]
        assert entry["dev"]["dev"][metric] == pytest.approx(dev[f"{task}_{metric}"], abs=1e-6)
        if teacher["dev"]["dev"][metric] > 0:
            assert entry["ratios"]["score_kept"] == entry["dev"]["dev"][metric] / teacher["dev"]["dev"][metric]
        kept.append(entry["ratios"]["score_kept"])
        assert own["latency"][0]["ms_per_batch"].keys() == {task, "prediction", "teacher"}
    times = [report["tasks"][task]["latency"][0]["ms_per_batch"]["prediction"] for task in TASK_NAMES]
    assert len(set(times)) == 1  # of the one body
    mean = report["mean"]["prediction"]
    assert mean["score"] == pytest.approx(dev["mean"], abs=1e-6)
    assert mean["score_kept"] == (None if None in kept else pytest.approx(sum(kept) / 3))
    page = (finished / "report.md").read_text(encoding="utf-8")
    for task in TASK_NAMES:
        assert f"## {task}" in page
    assert page.count("| distilled student |") == 1 + 2 * 3  # the means; of each task scores, and a difference


def test_what_is_finished_is_left_alone(
    args: list[str], finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = shutil.copytree(finished, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in (out / "prediction").rglob("*")}
    several_tasks.run("all", args, out, *LENGTHS)
    assert capsys.readouterr().out.count("already finished") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = ["--output-dir", str(out), "--student", NARROW, "--batch-size", "8", *LENGTHS]
    error = fails(capsys, "--phase", "prediction", *args, *again, "--task-sampling", "0.5")
    assert "task_sampling was 1.0 and is now 0.5" in error


@pytest.mark.parametrize("task", TASK_NAMES)
def test_predictions_of_a_task(args: list[str], finished: Path, tmp_path: Path, task: str) -> None:
    """As of any folder; their scores are those of the report."""
    data = args[args.index("--data-dir") + 1]
    model = finished / "prediction" / task
    given = [
        "predict",
        "--model",
        str(model),
        "--task",
        task,
        "--data-dir",
        data,
        "--split",
        "dev",
        "--max-length",
        "16",
    ]
    tinydistill.app([*given, "--output", str(tmp_path / "dev.tsv"), "--precision", "float32"], standalone_mode=False)
    answers = [line.split("\t")[1] for line in (tmp_path / "dev.tsv").read_text().splitlines()[1:]]
    rows = [line.split("\t")[-1] for line in (Path(data) / task / "dev.tsv").read_text().splitlines()[1:]]
    dev = record(finished / "prediction")["dev"]
    if task == "STS-B":
        found = np.corrcoef([float(each) for each in answers], [float(each) for each in rows])[0, 1]
        assert found == pytest.approx(dev["STS-B_pearson"], abs=1e-4)
    else:
        names = {"0": "negative", "1": "positive"}
        right = np.mean([answer in (row, names.get(row)) for answer, row in zip(answers, rows, strict=True)])
        assert right == pytest.approx(dev[f"{task}_accuracy"])


def test_a_student_folder_gives_all_tasks_its_body(args: list[str], finished: Path, tmp_path: Path) -> None:
    start = finished / "intermediate" / "RTE"
    several_tasks.run(
        "baseline", args, tmp_path, "--student", str(start), "--max-steps", "1", "--learning-rate", "1e-9"
    )
    own, other = body(start), body(tmp_path / "baseline" / "SST-2")
    assert all(torch.allclose(value, other[key], atol=1e-6) for key, value in own.items())


def test_a_body_of_copied_blocks_is_the_first_teachers(args: list[str], teacher_dir: Path, tmp_path: Path) -> None:
    more = ["--student", "init:layers=2", "--max-steps", "1", "--learning-rate", "1e-9"]
    several_tasks.run("prediction", args, tmp_path, *more)
    teacher = load_file(teacher_dir / "model.safetensors")
    for task in TASK_NAMES:
        found = load_file(tmp_path / "prediction" / task / "model.safetensors")
        for block, of_teacher in ((0, 1), (1, 3)):
            key = "bert.encoder.layer.{}.output.dense.weight"
            torch.testing.assert_close(found[key.format(block)], teacher[key.format(of_teacher)], atol=1e-6, rtol=0)
        of_task = Path(next(each for each in args if each.startswith(f"{task}=")).removeprefix(f"{task}="))
        head = load_file(of_task / "model.safetensors")["classifier.weight"]
        torch.testing.assert_close(found["classifier.weight"], head, atol=1e-6, rtol=0)
    assert "all tasks share the body of the student of SST-2" in record(tmp_path / "prediction")["notes"]


def test_a_single_task_is_as_without_the_others(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    """A run of one task by way of several, to the last bit; 108 rows leave a last step of 12."""

    def given(out: str) -> dict:
        return {
            "data_dir": str(data_dir),
            "output_dir": str(tmp_path / out),
            "student": NARROW,
            "batch_size": 16,
            "max_length": 16,
            "precision": "float32",
            "prediction": {"epochs": 2.0, "learning_rate": 1e-3},
        }

    alone = resolve_plan("SST-2", {}, {**given("alone"), "teacher": str(teacher_dir)})
    PhaseRun(alone.phases["prediction"], alone.task, alone.options).run()
    single = resolve_plan("SST-2", {}, {**given("together"), "teacher": f"SST-2={teacher_dir}"})
    together = Plan(single.task, single.options, single.phases, single.all, {"SST-2": single})
    MultiTaskRun(together.phases["prediction"], together).run()
    found = [
        load_file(tmp_path / out / "model.safetensors") for out in ("alone/prediction", "together/prediction/SST-2")
    ]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())
    first, second = (record(tmp_path / out / "prediction") for out in ("alone", "together"))
    assert [entry["loss"] for entry in first["losses"]] == [entry["loss"] for entry in second["losses"]]
    assert first["dev"]["accuracy"] == second["dev"]["SST-2_accuracy"] == second["dev"]["mean"]


ASPECTS = Task(
    "Aspects", "", ("text",), "aspects", ("mood", "praise", "plot"), ("micro_f1",), "multi-label", label_separator="|"
)


def test_kinds_of_all_sorts(
    args: list[str], teacher_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Classification, regression and multi-label, from Python, with objectives of labels, outputs and layers."""
    data = Path(args[args.index("--data-dir") + 1])
    for name in ("SST-2", "STS-B"):
        (tmp_path / name).symlink_to(data / name)
    (tmp_path / "Aspects").mkdir()
    for split, made in (("train", test_multi_label.rows(30, 1)), ("dev", test_multi_label.rows(20, 2))):
        lines = ["text\taspects", *("\t".join(row) for row in made)]
        (tmp_path / "Aspects" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    tasks = [TASKS["SST-2"], TASKS["STS-B"], ASPECTS]
    teachers = [f"SST-2={teacher_dir}"]
    for task in tasks[1:]:
        made = several_tasks.make_teacher(tmp_path / "teachers" / task.name, task, tokenizer, hidden_size=16)
        teachers.append(f"{task.name}={made}")
    recipe = {
        "run": ["mixed"],
        "phases": {"mixed": {"objectives": ["logits", {"feature": "labels"}, {"feature": "hidden"}], "epochs": 3.0}},
    }
    options = {"data_dir": str(tmp_path), "output_dir": str(tmp_path / "out"), "student": NARROW, "teacher": teachers}
    options |= {"max_length": 16, "batch_size": 8, "precision": "float32", "allow_weak_teacher": True}
    options |= {"task_sampling": 0.5, "patience": 2, "eval_steps": 0.5, "noise": "deleting=0.1"}
    plan = resolve_plan(tasks, recipe, options)
    run_together([plan.phases["mixed"]], plan)
    found = record(tmp_path / "out" / "mixed")
    assert {"SST-2_accuracy", "STS-B_pearson", "Aspects_micro_f1", "Aspects_threshold", "mean"} <= found["dev"].keys()
    losses = {name for entry in found["losses"] for name in entry}
    names = [f"loss_{task.name}_{each}" for task in tasks for each in ("logits", "labels", "hidden")]
    assert losses >= set(names)
    out = tmp_path / "out" / "mixed"
    config = json.loads((out / "Aspects" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["multi_label_threshold"] == found["dev"]["Aspects_threshold"]
    assert "multi_label_threshold" not in json.loads((out / "SST-2" / "config.json").read_text())
    projections = load_file(out / "SST-2" / "projections.safetensors")
    assert projections["0.weight"].shape == (24, 16)
    assert not (out / "STS-B" / "projections.safetensors").exists()  # as wide as its teacher
    bodies = [body(out / task.name) for task in tasks]
    assert all(torch.equal(value, bodies[2][key]) for key, value in bodies[0].items())
    for task in tasks:
        assert (tmp_path / "out" / "mixed" / task.name / "tokenizer.json").is_file()


def test_it_stops_early_by_the_mean(args: list[str], tmp_path: Path) -> None:
    more = ["--patience", "2", "--eval-steps", "0.5", "--epochs", "40", "--learning-rate", "1e-9"]
    several_tasks.run("prediction", args, tmp_path, *more)
    found = record(tmp_path / "prediction")
    assert found["stopped_early"]
    assert any("after 2 evaluations without a better mean" in note for note in found["notes"])


# Settings and mistakes


def test_settings_of_several_tasks() -> None:
    plan = resolve_plan(None, {"task": ["mnli", "RTE"], "teacher": ["rte=a", "MNLI=b"], "seed": 3}, {})
    assert (plan.options.task, plan.options.tasks, plan.options.seed) == ("MNLI, RTE", ("MNLI", "RTE"), 3)
    assert {name: part.options.teacher for name, part in plan.parts.items()} == {
        "MNLI": ("MNLI=b",),
        "RTE": ("RTE=a",),
    }
    assert plan.options.teachers == {"MNLI": "b", "RTE": "a"}
    of = [TASKS["CoLA"], TASKS["MNLI"]]
    both = resolve_plan(["CoLA", "MNLI"], {}, {})
    assert {name: part.options.max_length for name, part in both.parts.items()} == {
        task.name: task.max_length for task in of
    }
    for part in both.parts.values():
        assert part.phases["intermediate"].training.epochs == max(task.intermediate_epochs for task in of)
        assert part.phases["prediction"].training.learning_rate == min(task.prediction_learning_rate for task in of)
    assert {
        part.options.max_length for part in resolve_plan(["CoLA", "MNLI"], {}, {"max_length": 20}).parts.values()
    } == {20}
    one = resolve_plan(["sst2"], {}, {})
    assert (one.parts, one.options.task) == ({}, "SST-2")
    for wrong, message in (
        ({"task": ["MRPC", "mrpc"]}, "the task MRPC is named twice; name each task once"),
        ({"task": ["MRPC", "RTEE"]}, "no task named 'RTEE'; did you mean RTE"),
        ({"task": ["MRPC", 3]}, r"sets task to \['MRPC', 3\]"),
        ({"task": "MRPC", "task_sampling": 0.5}, "task_sampling is for several tasks, and there is one"),
        ({"task": ["MRPC", "RTE"], "task_sampling": 1.5}, "task_sampling is 1.5; it must be 1 or less"),
        ({"task": ["MRPC", "RTE"], "teacher": "x"}, "--teacher x does not say of which task it is"),
        ({"task": ["MRPC", "RTE"], "teacher": ["RTE=x", "rte=y"]}, "the task RTE has two teachers, x and y; name one"),
        (
            {"task": ["MRPC", "RTE"], "teacher": ["RTR=x"]},
            "RTR=x is of none of the tasks MRPC, RTE.*did you mean 'RTE'",
        ),
        ({"task": ["MRPC", "RTE"], "teacher": ["SST-2=x"]}, "SST-2=x is of none of the tasks MRPC, RTE"),
        ({"task": ["MRPC", "RTE"], "task_file": "x.toml"}, "--task-file describes a single task"),
        ({"task": ["MRPC", "RTE"], "train_file": "x.tsv"}, "--train-file names the rows of one"),
        ({"task": ["MRPC", "RTE"], "augment": True}, "--augment writes the rows of one"),
        ({"task": ["MRPC", "RTE"], "pretrained": "x"}, "--pretrained makes the teacher of one"),
    ):
        with pytest.raises(UserError, match=message):
            resolve_plan(None, wrong, {})


def test_mistakes_before_training(
    args: list[str],
    finished: Path,
    teacher_dir: Path,
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / "out"
    data = ["--data-dir", args[args.index("--data-dir") + 1], "--output-dir", str(out), "--allow-weak-teacher"]
    both = [*data, "--task", "SST-2", "--task", "RTE", "--student", NARROW, "--max-length", "16"]
    sst2 = ["--teacher", f"SST-2={teacher_dir}"]
    rte = several_tasks.make_teacher(tmp_path / "rte", TASKS["RTE"], tokenizer)
    deep = several_tasks.make_teacher(tmp_path / "deep", TASKS["RTE"], tokenizer, max_position_embeddings=64)
    odd = several_tasks.make_teacher(tmp_path / "odd", TASKS["RTE"], make_tokenizer([*make_pieces()[::-1]]))
    for phase, more, message in (
        ("prediction", sst2, "the task RTE has no teacher; name one with --teacher RTE=MODEL"),
        ("baseline", [], "the task SST-2 has no teacher"),
        ("teacher", ["--pretrained", "x"], "--pretrained makes the teacher of one"),
        ("evaluate", [*sst2], "there are SST-2, RTE; name one with --task"),
        ("prediction", [*sst2, "--teacher", f"RTE={odd}"], "another vocabulary"),
        ("prediction", [*sst2, "--teacher", f"RTE={teacher_dir}"], "label"),
        ("all", [*sst2, "--teacher", f"RTE={deep}"], "another shape than that of SST-2"),
        ("prediction", [*sst2, "--teacher", f"RTE={rte}", "--student", "shape:layers=2,hidden=20,heads=3,ffn=8"],
         "does not divide"),
    ):  # fmt: skip
        given = both if "--student" not in more else [each for each in both if each not in ("--student", NARROW)]
        used = [*more] if phase != "evaluate" else [*more, "--student", NARROW]
        assert message in fails(capsys, "--phase", phase, *given, *used), phase
        assert not list(out.rglob("model.safetensors"))
    # A folder belongs to its tasks.
    several = [*args, "--output-dir", str(finished), "--student", NARROW]
    fewer = [x for x in several if "STS-B" not in x]
    fewer = [x for i, x in enumerate(fewer) if x not in ("--task", "--teacher") or fewer[i + 1][0] != "-"]
    error = fails(capsys, "--phase", "prediction", *fewer)
    assert "taught for SST-2, RTE, STS-B, not for SST-2, RTE" in error
    alone = ["--task", "SST-2", "--teacher", str(teacher_dir), "--output-dir", str(finished), *data[:2]]
    assert "taught for SST-2, RTE, STS-B, not for SST-2;" in fails(capsys, "--phase", "prediction", *alone)


def make_pieces() -> list[str]:
    from .conftest import PIECES

    return PIECES


def test_dry_run(args: list[str], capsys: pytest.CaptureFixture) -> None:
    several_tasks.run("all", args, Path("nowhere"), "--dry-run")
    found = json.loads(capsys.readouterr().out)
    assert found["task"] == "SST-2, RTE, STS-B"
    assert found["max_length"] == {"SST-2": 16, "RTE": 16, "STS-B": 16}
    objectives = found["resolved_objectives"]
    assert {task: [each["loss"] for each in own["prediction"]] for task, own in objectives.items()} == {
        "SST-2": ["soft_cross_entropy"],
        "RTE": ["soft_cross_entropy"],
        "STS-B": ["logits_mse"],
    }


def test_augmented_rows_of_each_task(tmp_path: Path) -> None:
    for name in ("MRPC", "RTE"):
        (tmp_path / name).mkdir()
    (tmp_path / "MRPC" / "train_aug.tsv").touch()
    given = {"data_dir": str(tmp_path), "augmented": True}
    with pytest.raises(UserError, match="train_aug.tsv; write it with `python -m augment --task RTE`"):
        resolve_plan(["MRPC", "RTE"], {}, given)
    (tmp_path / "RTE" / "train_aug.tsv").touch()
    plan = resolve_plan(["MRPC", "RTE"], {}, given)
    assert [Path(part.options.train_file).parent.name for part in plan.parts.values()] == ["MRPC", "RTE"]
