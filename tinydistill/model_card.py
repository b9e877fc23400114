"""The README.md of a student, with the hub's metadata, drawn from report.json; and the student on the hub, if asked.

It is the same for the same student, to the byte: no times are in it, and no folders.

Source: https://huggingface.co/docs/hub/model-cards (metadata, and `model-index` of results).
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from glue_tasks.errors import UserError
from glue_tasks.task import Task
from glue_tasks.writers import whole_file
from tinydistill import processes
from tinydistill.options import Options
from tinydistill.phases import PHASES
from tinydistill.report.markdown import table_lines
from tinydistill.shapes import SHAPES

CARD = "README.md"
# Of a phase's folder: what serves the student. Not run.json, which has paths, and not the projections.
_SERVED = (
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", CARD),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
)
_NOT_SERVED = ("projections.safetensors", "checkpoints/**")
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
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
# Of a phase's settings: what a reader wants to know of it, as far as it is set.
_TOLD = (
    *("epochs", "max_steps", "learning_rate", "schedule", "batch_size", "max_length", "temperature", "seed"),
    *("precision", "projection", "layer_map", "heads", "noise"),
)


def check_push(repo_id: str) -> None:
    """Raises UserError, before hours of training, if nothing could be pushed to the hub at their end."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise UserError(f"--push-to-hub {repo_id!r} is no id of a model on the hub; write it as NAME/MODEL") from None
    if get_token() is None:
        raise UserError("--push-to-hub needs an access token of the hub; log in with `hf auth login`, or set HF_TOKEN")


def publish(task: Task, options: Options, folder: Path) -> None:
    """Write the card of each student of `report.json` that has none, and push the one in `folder` if that is asked.

    Of several processes the first does it. A card that is there stays: a person may have edited it.
    """
    if not processes.is_first():
        return
    report = json.loads((Path(options.output_dir) / "report.json").read_text(encoding="utf-8"))
    for name, entry in report["students"].items():
        place = Path(entry["path"])
        if not place.is_dir() or (place / CARD).exists():
            continue
        is_pushed = options.push_to_hub and place.resolve() == folder.resolve()
        card = draw(task, report, name, options.license, options.push_to_hub if is_pushed else "")
        with whole_file(place / CARD) as partial:
            partial.write_text(str(card), encoding="utf-8")
    if options.push_to_hub:
        print(f"pushed: {push(folder, options.push_to_hub)}")


def push(folder: Path, repo_id: str) -> str:
    """Upload what serves the student to the hub, making the repository if need be; returns its address.

    Raises UserError if the hub does not take it; the student stays where it is.
    """
    api = HfApi()
    try:
        made = api.create_repo(repo_id, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=list(_SERVED),
            ignore_patterns=list(_NOT_SERVED),
            commit_message="Upload the student",
        )
    except Exception as error:  # of the hub, of the way there, and of what is below huggingface_hub
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the hub did not take the student ({reason}); it is whole in {folder}, and the same command with --resume "
            "tries again"
        ) from None
    return str(made)


def draw(task: Task, report: Mapping[str, Any], name: str, license: str = "", repo_id: str = "") -> ModelCard:
    """The card of one student of a report. repo_id: what it is called on the hub, if it goes there."""
    student = report["students"][name]
    metadata = ModelCardData(
        language=task.language,
        license=license or None,
        library_name="transformers",
        pipeline_tag=_hub_task(task),
        base_model=_base_models(report, name) or None,
        datasets=[task.hub.repository] if task.hub else None,
        metrics=list(dict.fromkeys(_METRICS.get(metric, metric) for metric in task.metrics)),
        tags=["tinydistill", *(["knowledge-distillation"] if _is_taught(report, name) else [])],
        model_name=repo_id or f"{student.get('title') or name} ({task.name})",
        eval_results=list(_results(task, student)),
    )
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n" + "\n".join(_page(task, report, name, repo_id)))


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


def _base_models(report: Mapping[str, Any], name: str) -> list[str]:
    """Hub ids of what the student started from, and of its teachers or what they were fine-tuned from; no folders."""
    found: list[str] = []
    of_student = ("student", "teacher") if _is_taught(report, name) else ("student",)
    for phase, settings in _phases(report, name).items():
        keys = ("pretrained",) if PHASES.get(phase) and PHASES[phase].makes_teacher else of_student
        for key in keys:
            of = settings.get(key) or ()
            found += [of] if isinstance(of, str) else list(of.values() if isinstance(of, Mapping) else of)
    return list(dict.fromkeys(each for each in found if _is_hub_id(each)))


def _is_hub_id(name: str) -> bool:
    is_form = name.lower() in SHAPES or name.startswith(("init:", "shape:"))
    return bool(_HUB_ID.fullmatch(name)) and not is_form and not Path(name).exists()


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
    return any(each.get("feature") != "labels" for each in _of_phase(name, report["settings"][name]))


def _of_phase(phase: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objectives of a phase, as a record has them; [] if they are not known."""
    built_in = PHASES.get(phase.rpartition("/")[2])
    return settings.get("objectives") or ([each.describe() for each in built_in.objectives] if built_in else [])


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
        told = ", ".join(f"{key} {_written(settings[key])}" for key in _TOLD if settings.get(key) not in (None, "", 0))
        rows = run["data"]["train"]["rows"]
        yield f"- **{phase}** learns from {_objectives(phase, settings)}: {rows:,} rows, {run['steps']:,} steps; {told}"
    versions = report["versions"]
    told = ", ".join(f"{package} {versions[package]}" for package in ("tinydistill", "torch", "transformers"))
    yield from ("", f"Made with {told}.", "", "## Use", "", "```python", *_code(task, repo_id), "```", "")
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


def _objectives(phase: str, settings: Mapping[str, Any]) -> str:
    given = _of_phase(phase, settings)
    told = [f"{each['feature']} ({each['loss']})" if each.get("loss") else str(each["feature"]) for each in given]
    return " and ".join(told).replace("labels", "gold labels") or "its teacher"


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


_CLASS = {"tokens": "AutoModelForTokenClassification", "spans": "AutoModelForQuestionAnswering"}


def _code(task: Task, repo_id: str) -> Iterator[str]:
    """Code that loads the student and asks it something."""
    loader = _CLASS.get(task.kind, "AutoModelForSequenceClassification")
    yield from ("import torch", f"from transformers import {loader}, AutoTokenizer", "")
    yield f'name = "{repo_id}"' if repo_id else 'name = "."  # this folder'
    yield "tokenizer = AutoTokenizer.from_pretrained(name)"
    yield f"model = {loader}.from_pretrained(name).eval()"
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
