"""A student's README.md: the hub's metadata, figures of report.json, code that runs; and what goes to the hub."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError
from transformers import BertForSequenceClassification, PreTrainedModel

from glue_tasks import TASKS, Task, get_task
from glue_tasks.errors import UserError
from glue_tasks.writers import write_json
from tests.tinydistill.conftest import make_tokenizer, tiny_bert_config
from tests.tinydistill.spans_and_tokens import tiny_model
from tinydistill import model_card
from tinydistill.kinds import kind_of
from tinydistill.options import Options


def report_of(task: Task, folder: Path, **settings: object) -> dict[str, Any]:
    def entry(path: str, parameters: int, score: float) -> dict[str, Any]:
        return {
            "path": path,
            "parameters": parameters,
            "bytes": 4 * parameters,
            "layers": 4,
            "hidden_size": 312,
            "dev": {split: dict.fromkeys(task.metrics, score) for split in task.dev_splits},
            "dev_rows": {split: {"rows": 872} for split in task.dev_splits},
        }

    own = {"max_length": 16, "epochs": 3.0, "learning_rate": 3e-05, "batch_size": 32, "seed": 42, "temperature": 2.0}
    own |= {"student": "huawei-noah/TinyBERT_General_4L_312D", "teacher": "/home/me/teacher", **settings}
    run = {"data": {"train": {"rows": 67_349}}, "steps": 6_315, "notes": ["the student starts from /home/me/x"]}
    return {
        "task": task.name,
        "settings": {"teacher": {"pretrained": "bert-base-uncased", **own}, "prediction": own},
        "versions": {"tinydistill": "0.2.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "teacher": entry("/home/me/teacher", 110_000_000, 0.93),
        "students": {
            "prediction": {
                **entry(str(folder), 14_350_000, 0.9123456789),
                "title": "distilled student",
            }
        },
        "phases": {"teacher": run, "prediction": run},
    }


def test_the_hub_reads_the_metadata() -> None:
    task = TASKS["SST-2"]
    report = report_of(task, Path("/home/me/run/prediction"))
    text = str(model_card.draw(task, report, "prediction", "apache-2.0", "me/tiny-sst2"))
    card = ModelCard(text)
    data = card.data
    assert (data.language, data.license, data.library_name) == ("en", "apache-2.0", "transformers")
    assert data.base_model == ["bert-base-uncased", "huawei-noah/TinyBERT_General_4L_312D"]
    assert data.datasets == ["nyu-mll/glue"]
    assert data.tags == ["tinydistill", "knowledge-distillation"]
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("nyu-mll/glue", "sst2", "validation")
    assert (result.task_type, result.metric_type, result.metric_value) == ("text-classification", "accuracy", 0.912346)
    assert "/home/me" not in text
    assert "| this student | 0.9123 | 14.35 M | 57.4 MB |" in text
    assert "**prediction** learns from logits: 67,349 rows, 6,315 steps; epochs 3.0" in text
    assert 'name = "me/tiny-sst2"' in text


def test_what_is_not_known_is_not_said() -> None:
    """No licence that nobody gave; no base model that is a folder, a shape or copies of a teacher's blocks."""
    task = TASKS["STS-B"]
    for student in ("init:layers=3", "tinybert-4l-312d", "./mine", "shape:layers=1"):
        report = report_of(task, Path("x"), student=student)
        report["settings"].pop("teacher")
        data = ModelCard(str(model_card.draw(task, report, "prediction"))).data
        assert data.license is None
        assert data.base_model is None
    assert [each.metric_type for each in data.eval_results] == ["pearsonr", "spearmanr"]


def test_a_student_without_a_teacher_says_so() -> None:
    """And names no phase that did not lead to it."""
    report = report_of(TASKS["SST-2"], Path("x"))
    own = {**report["settings"]["prediction"], "teacher": "someone/teacher"}
    report["settings"] |= {"intermediate": own, "baseline": own, "prediction": own}
    report["phases"] |= dict.fromkeys(("intermediate", "baseline"), report["phases"]["prediction"])
    report["students"]["baseline"] = {**report["students"]["prediction"], "title": "student without a teacher"}
    floor = ModelCard(str(model_card.draw(TASKS["SST-2"], report, "baseline")))
    assert "without a teacher, to compare distilled students with" in floor.text
    assert "learns from gold labels" in floor.text
    assert not any(
        word in floor.text for word in ("distilled with TinyDistill", "**intermediate**", "its teacher does")
    )
    assert floor.data.tags == ["tinydistill"]
    assert floor.data.base_model == ["huawei-noah/TinyBERT_General_4L_312D"]
    taught = ModelCard(str(model_card.draw(TASKS["SST-2"], report, "prediction")))
    assert [*re.findall(r"- \*\*(\w+)\*\*", taught.text)] == ["teacher", "intermediate", "prediction"]
    assert "someone/teacher" in taught.data.base_model


def test_the_phases_of_a_chains_stage() -> None:
    report = report_of(TASKS["SST-2"], Path("x"))
    own = report["settings"]["prediction"]
    report["settings"] = {f"a/{name}": own for name in ("intermediate", "prediction")} | {"a/b/prediction": own}
    report["phases"] = dict.fromkeys(report["settings"], report["phases"]["prediction"])
    report["students"] = dict.fromkeys(("a/prediction", "a/b/prediction"), report["students"]["prediction"])
    for name, phases in (("a/prediction", ["a/intermediate", "a/prediction"]), ("a/b/prediction", ["a/b/prediction"])):
        card = ModelCard(str(model_card.draw(TASKS["SST-2"], report, name)))
        assert re.findall(r"- \*\*([\w/]+)\*\*", card.text) == phases


def sequences(task: Task) -> PreTrainedModel:
    torch.manual_seed(0)
    config = tiny_bert_config(layers=1)
    for name, value in kind_of(task).head().items():
        setattr(config, name, value)
    return BertForSequenceClassification(config)


MULTI = Task("topics", "", ("text",), "topics", ("a", "b", "c"), ("micro_f1",), kind="multi-label")


@pytest.mark.parametrize(
    "task", [TASKS["SST-2"], TASKS["MNLI"], TASKS["STS-B"], MULTI, get_task("CoNLL2003"), get_task("SQuAD1.1")],
    ids=lambda task: task.name,
)  # fmt: skip
def test_the_code_of_the_card_runs(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    model = tiny_model(task) if task.kind in ("tokens", "spans") else sequences(task)
    model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    (code,) = re.findall(
        r"```python\n(.*?)```", str(model_card.draw(task, report_of(task, tmp_path), "prediction")), re.S
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert told.strip()
    if task.labels and task.kind != "tokens":
        assert all(repr(label) in told for label in task.labels)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What would go to the hub."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self: HfApi, repo_id: str, **given: Any) -> Any:
        calls.append(("create_repo", {"repo_id": repo_id, **given}))

        class Url(str):
            pass

        made = Url(f"https://huggingface.co/{repo_id}")
        made.repo_id = repo_id  # type: ignore[attr-defined]
        return made

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **given: calls.append(("upload_folder", given)))
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    return calls


def options_of(output: Path, **changes: Any) -> Options:
    return Options(output_dir=str(output), **changes)


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    """A folder as a run leaves it."""
    folder = tmp_path / "prediction"
    folder.mkdir()
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "projections.safetensors")
    for name in (*names, "run.json"):
        (folder / name).write_text("{}")
    write_json(tmp_path / "report.json", report_of(TASKS["SST-2"], folder))
    return tmp_path


def test_nothing_goes_to_the_hub_unasked(finished_run: Path, hub: list) -> None:
    folder = finished_run / "prediction"
    model_card.publish(TASKS["SST-2"], options_of(finished_run), folder)
    assert hub == []
    assert ModelCard.load(folder / "README.md").data.library_name == "transformers"
    (folder / "README.md").write_text("mine")
    model_card.publish(TASKS["SST-2"], options_of(finished_run), folder)
    assert (folder / "README.md").read_text() == "mine"


def test_the_student_alone_is_pushed(finished_run: Path, hub: list, capsys: pytest.CaptureFixture) -> None:
    folder = finished_run / "prediction"
    model_card.publish(TASKS["SST-2"], options_of(finished_run, push_to_hub="me/tiny"), folder)
    (_, created), (_, uploaded) = hub
    assert created["repo_id"] == uploaded["repo_id"] == "me/tiny"
    from huggingface_hub.utils import filter_repo_objects

    names = [path.name for path in folder.iterdir()]
    patterns = {"allow_patterns": uploaded["allow_patterns"], "ignore_patterns": uploaded["ignore_patterns"]}
    sent = set(filter_repo_objects(names, **patterns))
    assert sent == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert capsys.readouterr().out == "pushed: https://huggingface.co/me/tiny\n"
    assert 'name = "me/tiny"' in (folder / "README.md").read_text()


def test_a_hub_that_refuses(finished_run: Path, hub: list, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: HfApi, repo_id: str, **given: Any) -> None:
        raise HfHubHTTPError("403 Forbidden", response=SimpleNamespace(headers={}, request=None, status_code=403))  # type: ignore[arg-type]

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(UserError, match=r"the hub did not take the student \(403 Forbidden"):
        model_card.push(finished_run / "prediction", "me/tiny")


def test_what_cannot_be_pushed_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is no id of a model on the hub; write it as NAME/MODEL"):
        model_card.check_push("me/tiny/student")
    monkeypatch.setattr(model_card, "get_token", lambda: None)
    with pytest.raises(UserError, match="needs an access token of the hub"):
        model_card.check_push("me/tiny")
