"""A student's README.md: the hub's metadata, figures of report.json, code that runs; and what goes to the hub."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError
from transformers import BertForMaskedLM, BertForSequenceClassification, BertModel, PreTrainedModel

from glue_tasks import TASKS, Task, get_task
from glue_tasks.errors import UserError
from glue_tasks.writers import write_json
from tests.tinydistill.conftest import make_tokenizer, tiny_bert_config
from tests.tinydistill.spans_and_tokens import tiny_model
from tinydistill.cards import of_task, of_text, publishing
from tinydistill.kinds import kind_of


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
    text = str(of_task.draw(task, report, "prediction", "apache-2.0", "me/tiny-sst2"))
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
        data = ModelCard(str(of_task.draw(task, report, "prediction"))).data
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
    floor = ModelCard(str(of_task.draw(TASKS["SST-2"], report, "baseline")))
    assert "without a teacher, to compare distilled students with" in floor.text
    assert "learns from gold labels" in floor.text
    assert not any(
        word in floor.text for word in ("distilled with TinyDistill", "**intermediate**", "its teacher does")
    )
    assert floor.data.tags == ["tinydistill"]
    assert floor.data.base_model == ["huawei-noah/TinyBERT_General_4L_312D"]
    taught = ModelCard(str(of_task.draw(TASKS["SST-2"], report, "prediction")))
    assert [*re.findall(r"- \*\*(\w+)\*\*", taught.text)] == ["teacher", "intermediate", "prediction"]
    assert "someone/teacher" in taught.data.base_model


def test_the_phases_of_a_chains_stage() -> None:
    report = report_of(TASKS["SST-2"], Path("x"))
    own = report["settings"]["prediction"]
    report["settings"] = {f"a/{name}": own for name in ("intermediate", "prediction")} | {"a/b/prediction": own}
    report["phases"] = dict.fromkeys(report["settings"], report["phases"]["prediction"])
    report["students"] = dict.fromkeys(("a/prediction", "a/b/prediction"), report["students"]["prediction"])
    for name, phases in (("a/prediction", ["a/intermediate", "a/prediction"]), ("a/b/prediction", ["a/b/prediction"])):
        card = ModelCard(str(of_task.draw(TASKS["SST-2"], report, name)))
        assert re.findall(r"- \*\*([\w/]+)\*\*", card.text) == phases


def test_students_of_several_tasks(tmp_path: Path) -> None:
    """Each its own scores, rows and length, and the names of the others."""
    tasks = {name: TASKS[name] for name in ("SST-2", "RTE")}
    own = {name: report_of(task, tmp_path / name) for name, task in tasks.items()}
    settings = {**own["RTE"]["settings"]["prediction"], "SST-2_max_length": 64, "RTE_max_length": 128}
    settings |= {"teacher": "someone/teacher-of-sst2, /home/me/teacher", "max_length": 0}
    own["SST-2"]["teacher"]["path"] = "someone/teacher-of-sst2"
    rows = {name: {"train": {"rows": count}} for name, count in (("SST-2", 67_349), ("RTE", 2_490))}
    report = {
        **{key: own["RTE"][key] for key in ("versions",)},
        "settings": {"prediction": settings},
        "phases": {"prediction": {"data": {"train": {"rows": 69_839}, **rows}, "steps": 100}},
        "tasks": {name: {key: each[key] for key in ("teacher", "students")} for name, each in own.items()},
    }
    for name in tasks:
        (tmp_path / name).mkdir()
    publishing.publish(of_task.cards_of_tasks(tasks, report, "mit"), tmp_path)
    sst2, rte = (ModelCard.load(tmp_path / name / "README.md") for name in tasks)
    assert (sst2.data.license, sst2.data.datasets) == ("mit", ["nyu-mll/glue"])
    assert sst2.data.base_model == ["huawei-noah/TinyBERT_General_4L_312D", "someone/teacher-of-sst2"]
    assert "Its body is also that of students for RTE." in sst2.text
    assert rte.data.base_model == ["huawei-noah/TinyBERT_General_4L_312D"]
    assert "67,349 rows, 100 steps of all tasks; " in sst2.text
    assert "at most 64 word pieces" in sst2.text
    assert ("2,490 rows" in rte.text, "at most 128" in rte.text, "/home/me" in rte.text) == (True, True, False)


@pytest.mark.parametrize("has_head", [True, False])
def test_a_student_of_plain_text(
    has_head: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "x").mkdir()
    model = (BertForMaskedLM if has_head else BertModel)(tiny_bert_config(layers=1))
    model.save_pretrained(tmp_path / "x")
    make_tokenizer().save_pretrained(tmp_path / "x")
    settings = {"teacher": "bert-base-uncased", "student": "/home/me/x", "max_length": 128}
    settings |= {"masking": "word" if has_head else "none", "mask_share": 0.15, "segmenter": "ltp:/home/me/ltp"}
    student = {
        "title": "/home/me/x",
        "path": str(tmp_path / "x"),
        "parameters": 10_400_000,
        "bytes": 41_600_000,
        "held_out": {"masked_accuracy": 0.25, "masked_loss": 3.5} if has_head else {"loss_hidden": 0.5},
        "steps": 1_000,
        "settings": settings,
    }
    report = {"students": {"general": student}, "versions": report_of(TASKS["SST-2"], tmp_path)["versions"]}
    publishing.publish(of_text.cards(report, "mit"), tmp_path / "other")
    card = ModelCard.load(tmp_path / "x" / "README.md")
    assert card.data.pipeline_tag == ("fill-mask" if has_head else "feature-extraction")
    assert (card.data.base_model, card.data.license) == (["bert-base-uncased"], "mit")
    assert "/home/me" not in card.content
    masked = "masking word, mask_share 0.15" if has_head else "masking none"
    assert f"1,000 steps; max_length 128, {masked}\n" in card.text
    assert ("| masked_accuracy | 0.2500 |" in card.text) is has_head
    (code,) = re.findall(r"```python\n(.*?)```", card.text, re.S)
    monkeypatch.chdir(tmp_path / "x")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


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
    (code,) = re.findall(r"```python\n(.*?)```", str(of_task.draw(task, report_of(task, tmp_path), "prediction")), re.S)
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


def cards_of(output: Path) -> Any:
    return of_task.cards(TASKS["SST-2"], json.loads((output / "report.json").read_text()))


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
    publishing.publish(cards_of(finished_run), folder)
    assert hub == []
    assert ModelCard.load(folder / "README.md").data.library_name == "transformers"
    (folder / "README.md").write_text("mine")
    publishing.publish(cards_of(finished_run), folder)
    assert (folder / "README.md").read_text() == "mine"


def test_the_student_alone_is_pushed(finished_run: Path, hub: list, capsys: pytest.CaptureFixture) -> None:
    folder = finished_run / "prediction"
    publishing.publish(cards_of(finished_run), folder, "me/tiny")
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
        publishing.push(finished_run / "prediction", "me/tiny")


def test_what_cannot_be_pushed_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is no id of a model on the hub; write it as NAME/MODEL"):
        publishing.check_push("me/tiny/student")
    monkeypatch.setattr(publishing, "get_token", lambda: None)
    with pytest.raises(UserError, match="needs an access token of the hub"):
        publishing.check_push("me/tiny")
