"""The card of a student of a task, or of one of several tasks that share a body."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from glue_tasks.task import Task
from tinydistill.cards.card import card, how, hub_ids, loading, made_with, objectives_of
from tinydistill.phases import PHASES
from tinydistill.report.markdown import table_lines

# The hub's names of metrics, by ours.
_METRICS = {
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "micro_f1": "f1",
    "macro_f1": "f1",
    "entity_f1": "f1",
    "entity_precision": "precision",
    "entity_recall": "recall",
}
_HUB_TASKS = {"tokens": "token-classification", "spans": "question-answering"}  # else of sentences


def cards(task: Task, report: Mapping[str, Any], license: str = "") -> Iterator[tuple[str, Callable[[str], ModelCard]]]:
    """For `publishing.publish`: of each student of a report."""
    for name, student in report["students"].items():
        yield student["path"], partial(draw, task, report, name, license)


def cards_of_tasks(
    tasks: Mapping[str, Task], report: Mapping[str, Any], license: str = ""
) -> Iterator[tuple[str, Callable[[str], ModelCard]]]:
    """The same of a report of several tasks, whose students share a body."""
    for name, own in report["tasks"].items():
        teachers = [each["path"] for each in (own.get("teachers") or {"": own["teacher"]}).values()]
        settings = {
            phase: {**of, "max_length": of.get(f"{name}_max_length"), "teacher": teachers}
            for phase, of in report["settings"].items()
        }
        phases = {phase: {**run, "data": run["data"][name]} for phase, run in report["phases"].items()}
        beside = [each for each in tasks if each != name]
        yield from cards(
            tasks[name], {**report, **own, "settings": settings, "phases": phases, "beside": beside}, license
        )


def draw(task: Task, report: Mapping[str, Any], name: str, license: str = "", repo_id: str = "") -> ModelCard:
    """The card of one student of a report. repo_id: what it is called on the hub, if it goes there."""
    student = report["students"][name]
    return card(
        _page(task, report, name, repo_id),
        language=task.language,
        license=license or None,
        pipeline_tag=_hub_task(task),
        base_model=hub_ids(_made_from(report, name)) or None,
        datasets=[task.hub.repository] if task.hub else None,
        metrics=list(dict.fromkeys(_METRICS.get(metric, metric) for metric in task.metrics)),
        tags=["tinydistill", *(["knowledge-distillation"] if _is_taught(report, name) else [])],
        model_name=repo_id or f"{student.get('title') or name} ({task.name})",
        eval_results=list(_results(task, student)),
    )


def _hub_task(task: Task) -> str:
    return _HUB_TASKS.get(task.kind, "text-classification")


def _results(task: Task, student: Mapping[str, Any]) -> Iterator[EvalResult]:
    hub = task.hub
    for split, scores in student["dev"].items():
        for metric in task.metrics:
            if metric in scores:
                yield EvalResult(
                    task_type=_hub_task(task),
                    dataset_type=hub.repository if hub else task.name.lower(),
                    dataset_name=task.name,
                    dataset_config=hub.config if hub else None,
                    dataset_split=hub.splits.get(split, split) if hub else split,
                    metric_type=_METRICS.get(metric, metric),
                    metric_name=metric,
                    metric_value=round(scores[metric], 6),
                )


def _made_from(report: Mapping[str, Any], name: str) -> Iterator[Any]:
    """What the student started from, and its teachers or what they were fine-tuned from."""
    of_student = ("student", "teacher") if _is_taught(report, name) else ("student",)
    for phase, settings in _phases(report, name).items():
        for key in ("pretrained",) if PHASES.get(phase) and PHASES[phase].makes_teacher else of_student:
            yield settings.get(key)


def _phases(report: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]]:
    """Settings of the phases that led to a student, by their names: those that it started from one after the other, and
    what made the teacher, if it had one."""
    route, _, last = name.rpartition("/")
    led = [name]
    while (before := _starts_from(report["settings"][led[0]], last)) and (
        place := f"{route}/{before}" if route else before
    ) in report["settings"]:
        led.insert(0, place)
        last = before
    makers = [phase for phase in report["settings"] if phase in PHASES and PHASES[phase].makes_teacher]
    if _is_taught(report, name):
        led = [*makers, *led]
    return {phase: report["settings"][phase] for phase in led}


def _starts_from(settings: Mapping[str, Any], phase: str) -> str:
    """What a phase's student is, `student` or the name of another phase; "" if that is not known."""
    return str(settings.get("starts_from") or (PHASES[phase].starts_from if phase in PHASES else ""))


def _is_taught(report: Mapping[str, Any], name: str) -> bool:
    """Whether a student of a report learnt from a teacher, and not from gold labels alone."""
    return any(each.get("feature") != "labels" for each in objectives_of(name, report["settings"][name]))


def _page(task: Task, report: Mapping[str, Any], name: str, repo_id: str) -> Iterator[str]:
    student, teacher = report["students"][name], report["teacher"]
    is_taught = _is_taught(report, name)
    title = repo_id.rpartition("/")[2] or f"{student.get('title') or name} of {task.name}"
    yield from (f"# {title}", "")
    yield (
        f"A small encoder of {student['parameters'] / 1e6:.1f} million parameters ({student['layers']} layers, "
        f"{student['hidden_size']} wide) for {task.name}{f' ({task.summary})' if task.summary else ''}, "
        + (
            f"distilled with TinyDistill from a teacher of {teacher['parameters'] / 1e6:.1f} million."
            if is_taught
            else "trained with TinyDistill on gold labels, without a teacher, to compare distilled students with."
        )
        + (
            f" Its body is also that of students for {' and '.join(beside)}."
            if (beside := report.get("beside"))
            else ""
        )
    )
    yield from ("", "## Results", "", *table_lines(_table(task, teacher, student)), "")
    yield (
        "Measured on the labelled dev rows"
        + "".join(f" ({split}: {of['rows']:,})" for split, of in student["dev_rows"].items())
        + ", which also selected the checkpoint; expect a little less on other data. How much faster it is depends on "
        "the machine: `python -m tinydistill latency` measures it."
    )
    yield from ("", "## How it was made", "")
    for phase, settings in _phases(report, name).items():
        run = report["phases"][phase]
        steps = f"{run['steps']:,} steps{' of all tasks' if report.get('beside') else ''}"
        yield how(phase, settings, f"{run['data']['train']['rows']:,} rows, {steps}")
    yield from ("", made_with(report["versions"]), "", "## Use", "", "```python", *_code(task, repo_id), "```", "")
    length = report["settings"][name]["max_length"]
    yield from ("## Limits", "")
    yield f"- It read at most {length} word pieces in training; longer texts are cut, or read in windows."
    yield f"- It answers as {task.name} is labelled, in the language {task.language!r}; other texts were not measured."
    copied = "its teacher does, mistakes and biases included, and what " if is_taught else ""
    yield f"- It copies what {copied}the training data have of mistakes and biases."
    yield ""


def _table(task: Task, teacher: Mapping[str, Any], student: Mapping[str, Any]) -> list[list[str]]:
    columns = [(split, metric) for split, of in student["dev"].items() for metric in task.metrics if metric in of]
    rows = [["model", *(f"{split} {metric}" for split, metric in columns), "parameters", "size"]]
    for who, entry in (("teacher", teacher), ("this student", student)):
        scores = (f"{entry['dev'][split][metric]:.4f}" for split, metric in columns)
        rows.append([who, *scores, f"{entry['parameters'] / 1e6:.2f} M", f"{entry['bytes'] / 1e6:.1f} MB"])
    return rows


_CLASS = {"tokens": "AutoModelForTokenClassification", "spans": "AutoModelForQuestionAnswering"}


def _code(task: Task, repo_id: str) -> Iterator[str]:
    """Code that loads the student and asks it something."""
    loader = _CLASS.get(task.kind, "AutoModelForSequenceClassification")
    yield from loading(loader, repo_id)
    texts = ['"A sentence."'] if len(task.text_columns) == 1 else ['"The first text."', '"The second text."']
    yield f'inputs = tokenizer({", ".join(texts)}, truncation=True, return_tensors="pt")'
    yield "with torch.inference_mode():"
    yield "    outputs = model(**inputs)"
    if task.kind == "spans":
        yield "start, end = outputs.start_logits.argmax().item(), outputs.end_logits.argmax().item()"
        yield "print(tokenizer.decode(inputs.input_ids[0, start : end + 1]))"
    elif task.kind == "tokens":
        yield "pieces = tokenizer.convert_ids_to_tokens(inputs.input_ids[0].tolist())"
        yield "tags = [model.config.id2label[i] for i in outputs.logits[0].argmax(-1).tolist()]"
        yield "print(list(zip(pieces, tags)))"
    elif task.is_regression:
        yield "print(outputs.logits.item())"
    else:
        yield f"probabilities = outputs.logits[0].{'sigmoid()' if task.is_multi_label else 'softmax(-1)'}"
        yield "print({model.config.id2label[i]: p for i, p in enumerate(probabilities.tolist())})"
