"""The report of a run folder: `report.json`, the truth, and `report.md`, drawn from it."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from glue_tasks.errors import UserError
from glue_tasks.rows import in_words
from glue_tasks.task import Task
from glue_tasks.writers import write_json
from tinydistill import latency, processes
from tinydistill.chain import stage_routes, title
from tinydistill.checks import check_pieces, check_positions
from tinydistill.data import count_rows, left_out
from tinydistill.encoders import precision
from tinydistill.encoders.precision import device
from tinydistill.encoders.pretrained import quiet
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.ensemble import BY_LABEL, Ensemble
from tinydistill.evaluation import predict
from tinydistill.kinds import TaskKind, kind_of
from tinydistill.label_order import is_unnamed
from tinydistill.models import load_fine_tuned, size_on_disk, weights_digest
from tinydistill.options import Options
from tinydistill.outputs import OfSpans
from tinydistill.phases import PHASES, Phase
from tinydistill.preparation import digest_of, shares_of
from tinydistill.runs import PhaseFolder, versions
from tinydistill.task_data import load_dev


def write_report(task: Task, options: Options, phases: Mapping[str, Phase] = PHASES) -> dict[str, Any]:
    """Measure the teacher and every finished student of the output folder side by side; write both files.

    phases: those whose runs are looked for; students are the models of those that keep the best one on dev. After a
    chain of students the stages below the folder are looked for too, those of other chains among them.

    Returns the content of `report.json`.
    """
    output = Path(options.output_dir)
    # Each phase noted what it did to their outputs.
    models = {name: load_fine_tuned(path, task)[0] for name, path in options.teachers.items()}
    teacher_weights = digest_of({name: weights_digest(model) for name, model in models.items()})
    runs, student_paths, titles = {}, {}, {}
    taught: dict[tuple[str, ...], set[str]] = {(): {teacher_weights}}  # weights of what teaches the stages of a route
    for route in [(), *(stage_routes(output, phases) if options.chain else ())]:
        for own_name, phase in phases.items():
            folder, name = PhaseFolder(output.joinpath(*route), own_name), "/".join((*route, own_name))
            record = folder.read()
            if record is None or record["state"] != "finished":
                continue
            of = record["settings"]
            if phase.makes_teacher:
                if folder.path.resolve() in {Path(path).resolve() for path in options.teachers.values()}:
                    runs[name] = record
                continue
            if of["task"] != task.name or of["teacher_weights"] not in taught.get(route[:-1], ()):
                print(f"note: {folder.path} is left out of the report: it is of another task or teacher")
                continue
            runs[name] = record
            if phase.keeps_best:
                student_paths[name], titles[name] = str(folder.path), _title_of(phase, route)
                models[name] = load_fine_tuned(str(folder.path), task)[0]
                if route:
                    taught.setdefault(route, set()).add(weights_digest(models[name]))
    students = describe(
        task, options, {name: model.to(device()) for name, model in models.items()}, options.teachers | student_paths
    )
    timings = latency.measure(models, options.max_length)
    for name in student_paths:
        students[name] |= {"title": titles[name], "made_from": runs[name]["settings"]["student"]}
    report = {
        "task": task.name,
        # Of each phase its own: phases may have been run one by one, with other seeds and options.
        "seed": {name: run["settings"]["seed"] for name, run in runs.items()},
        "settings": {name: run["settings"] for name, run in runs.items()},
        "versions": versions(),
        **beside_teacher(task, options, students, timings),
        "phases": {name: {k: v for k, v in run.items() if k != "settings"} for name, run in runs.items()},
    }
    save(report, to_markdown(report), output)
    return report


def _title_of(phase: Phase, route: tuple[str, ...]) -> str:
    of_phase = phase.title or phase.name
    return f"{title(route)}, {of_phase}" if route else of_phase


def save(report: dict[str, Any], page: str, output: Path) -> None:
    """Write both files."""
    write_json(output / "report.json", report)
    partial = output / "report.md.partial"
    partial.write_text(page, encoding="utf-8")
    partial.replace(output / "report.md")


def beside_teacher(
    task: Task, options: Options, models: Mapping[str, dict[str, Any]], timings: Sequence[latency.Timing]
) -> dict[str, Any]:
    """The entries of a report about models, which `describe` gave: teachers, students with their ratios, and times."""
    students = dict(models)
    teachers = {name: students.pop(name) for name in options.teachers}
    teacher = students.pop(ENSEMBLE) if len(teachers) > 1 else next(iter(teachers.values()))
    for timing in timings:
        for times in (timing.ms_per_batch, timing.ms_per_sentence):
            times["teacher"] = sum(times[name] for name in teachers)  # all of them, for an ensemble
    for name, student in students.items():
        student["ratios"] = _ratios(task, teacher, student) | {
            f"times_faster_batch_{timing.batch_size}": timing.ms_per_batch["teacher"] / timing.ms_per_batch[name]
            for timing in timings
        }
    return {
        "teacher": teacher,
        **({"teachers": teachers} if len(teachers) > 1 else {}),
        "students": students,
        "latency": [asdict(timing) for timing in timings],
    }


def describe(
    task: Task, options: Options, models: Mapping[str, PreTrainedModel], paths: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Dev metrics, parameters and size of models, by name; each reads the dev set with its own tokenizer.

    Where there are several teachers among them, their ensemble is one more.

    The models' outputs are in the task's order as far as they name them. Raises UserError if a model without names has
    them in another order, as dev tells, or if a model cannot read sentences of the maximum length.
    """
    kind = kind_of(task)
    how = precision.resolve(options.precision, device())
    entries = {}
    of_teachers: dict[str, dict[str, np.ndarray]] = {}  # outputs by split and name
    gold: dict[str, Dataset] = {}
    for name, model in models.items():
        folder = Path(paths[name])
        check_positions(model, f"model {paths[name]}", options.max_length)
        tokenizer = load_tokenizer(paths[name])
        check_pieces(model.config, tokenizer, f"model {paths[name]}")
        dev = load_dev(kind, options, tokenizer)
        collate = kind.collate(tokenizer, options.max_length if options.padding == "max_length" else None)
        scores, details = {}, {}
        for split, data in dev.items():
            outputs = predict(model, data, collate, how, kept=kind.outputs)
            if split == task.dev_splits[0]:
                unnamed = is_unnamed(task, model, paths[name])
                doubts = kind.doubts(paths[name], outputs, data, unnamed)
                for note in (*(doubts.notes if unnamed else []), *doubts.serious):
                    print(f"note: {note}")
            scores[split] = kind.score(outputs, data, model.config)
            if of_split := kind.details(outputs, data, model.config):
                details[split] = of_split
            if name in options.teachers:
                of_teachers.setdefault(split, {})[name] = outputs
                gold[split] = data
        entries[name] = {
            "path": paths[name],
            "parameters": model.num_parameters(),
            # A hub id has no folder of ours: what its weights take in float32.
            "bytes": size_on_disk(folder) if folder.is_dir() else 4 * model.num_parameters(),
            "layers": model.config.num_hidden_layers,
            "hidden_size": model.config.hidden_size,
            "dev": scores,
            **({"dev_details": details} if details else {}),
            "dev_rows": {split: {"rows": count_rows(data), **left_out(data)} for split, data in dev.items()},
        }
    if len(teachers := [name for name in options.teachers if name in entries]) > 1:
        entries[ENSEMBLE] = _ensemble(kind, options, {name: entries[name] for name in teachers}, of_teachers, gold)
    return entries


ENSEMBLE = "ensemble"  # of several teachers


def _ensemble(
    kind: TaskKind,
    options: Options,
    entries: Mapping[str, dict[str, Any]],
    outputs: Mapping[str, Mapping[str, np.ndarray]],
    dev: Mapping[str, Dataset],
) -> dict[str, Any]:
    """The mean of the teachers, as students see it at temperature 1."""
    main = kind.task.dev_splits[0]
    chance = kind.chance(dev[main])
    reached = {name: entry["dev"][main][kind.task.main_metric] - chance for name, entry in entries.items()}
    ensemble = Ensemble(
        shares_of(options, reached),
        # Of spans probabilities are over a window's pieces, which do not lie together here.
        "logits" if isinstance(kind.outputs, OfSpans) else options.teacher_mean,
        kind.losses["logits"] == BY_LABEL,
    )
    scores = {}
    for split, by_name in outputs.items():
        mean = ensemble.mean({name: torch.from_numpy(each) for name, each in by_name.items()})
        scores[split] = kind.score(mean.numpy(), dev[split])
    return {
        "title": f"ensemble of {len(entries)} teachers",
        "path": ", ".join(entry["path"] for entry in entries.values()),
        "shares": dict(ensemble.shares),
        **{key: sum(entry[key] for entry in entries.values()) for key in ("parameters", "bytes")},
        "dev": scores,
        "dev_rows": next(iter(entries.values()))["dev_rows"],
    }


def _ratios(task: Task, teacher: dict[str, Any], student: dict[str, Any]) -> dict[str, float | None]:
    main = task.dev_splits[0]
    own, theirs = (entry["dev"][main][task.main_metric] for entry in (student, teacher))
    return {
        "score_kept": own / theirs if theirs > 0 else None,  # of a score of 0 or less no share can be kept
        "times_smaller": teacher["parameters"] / student["parameters"],
    }


def table(report: dict[str, Any]) -> list[list[str]]:
    """The comparison, a header and a row a model, as text."""
    per_batch, single = report["latency"][-1], report["latency"][0]
    dev_teacher = report["teacher"]["dev"]
    columns = [(split, metric) for split, scores in dev_teacher.items() for metric in scores]
    header = ["model", *(f"{split} {metric}" for split, metric in columns), "kept", "parameters", "smaller", "size"]
    header += [f"ms, batch {entry['batch_size']}" for entry in (single, per_batch)]
    header += ["faster"]
    rows = [header]
    for name, entry in {**report.get("teachers", {}), "teacher": report["teacher"], **report["students"]}.items():
        ratios = entry.get("ratios", {})
        speed = per_batch["ms_per_batch"]
        rows.append(
            [
                _title(report, name),
                *(f"{entry['dev'][split][metric]:.4f}" for split, metric in columns),
                f"{kept:.1%}" if (kept := ratios.get("score_kept")) is not None else "",
                f"{entry['parameters'] / 1e6:.2f} M",
                f"{ratios['times_smaller']:.1f}x" if ratios else "",
                f"{entry['bytes'] / 1e6:.1f} MB",
                *(f"{timing['ms_per_batch'][name]:.1f}" for timing in (single, per_batch)),
                f"{speed['teacher'] / speed[name]:.1f}x" if ratios else "",
            ]
        )
    return rows


def _title(report: dict[str, Any], name: str) -> str:
    entry = report["teacher"] if name == "teacher" else report["students"].get(name, {})
    return entry.get("title", name)


def to_text(rows: list[list[str]]) -> str:
    """A table for the terminal: columns aligned, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def to_markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    lines = [f"# {report['task']}: distillation report", "", *table_lines(table(report)), "", latency_line(report)]
    return "\n".join([*lines, *detail_lines(report), *phase_lines(report)])


def detail_lines(report: dict[str, Any]) -> list[str]:
    """The F1 of each type of entity, of each model, and how many there are; nothing where there are no types."""
    models = {"teacher": report["teacher"], **report["students"]}
    known = {_title(report, name): entry["dev_details"] for name, entry in models.items() if "dev_details" in entry}
    lines = []
    for split in next(iter(known.values()), {}):
        types = sorted({of for details in known.values() for of in details[split]})
        rows = [[f"{split}: F1 by type", "entities", *known]]
        for of in types:
            found = [details[split].get(of) for details in known.values()]
            count = max(each["entities"] for each in found if each)
            rows.append([of, f"{count:,}", *(f"{each['f1']:.4f}" if each else "" for each in found)])
        lines += ["", *table_lines(rows)]
    return lines


def table_lines(rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    header, *rows = rows
    made = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*made, *("| " + " | ".join(row) + " |" for row in rows)]


def latency_line(report: dict[str, Any]) -> str:
    """How the times in the table were measured, and the times of a sentence."""
    timing = report["latency"][0]
    return (
        f"Latency: median of forward passes in turns, {timing['precision']}, {timing['length']} pieces a sentence, "
        f"{timing['threads']} threads, {timing['device']}. "
        "Milliseconds a sentence: "
        + "; ".join(
            f"batch {entry['batch_size']}: "
            + ", ".join(f"{_title(report, name)} {ms:.2f}" for name, ms in entry["ms_per_sentence"].items())
            for entry in report["latency"]
        )
        + "."
    )


def phase_lines(report: dict[str, Any]) -> list[str]:
    """How each phase went, its settings, and the versions."""
    lines = [
        "",
        "## Phases",
        "",
        "| phase | train rows | steps | seconds | first loss | last loss | dev | notes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in report["phases"].items():
        losses = [entry["loss"] for entry in run["losses"]] or [float("nan")]
        dev = ", ".join(f"{metric} {value:.4f}" for metric, value in run["dev"].items())
        data = run["data"]["train"]
        lines.append(
            f"| {name} | {data['rows']:,}{in_words(data)} | {run['steps']:,} | {run['seconds']:,.0f} | {losses[0]:.4f} "
            f"| {losses[-1]:.4f} | {dev} | {'; '.join(run['notes'])} |"
        )
    return lines + settings_lines(report["settings"], report["versions"])


def settings_lines(settings: Mapping[str, Mapping[str, Any]], versions: Mapping[str, str]) -> list[str]:
    """The settings of each phase that are set, and the versions."""
    phases = {name: {k: v for k, v in of.items() if v != ""} for name, of in settings.items()}
    text = json.dumps({"phases": phases, "versions": versions}, indent=2, ensure_ascii=False)
    return ["", "## Settings and versions", "", "```json", text, "```", ""]


def print_report(task: Task, options: Options, phases: Mapping[str, Phase] = PHASES) -> None:
    """Write the report and show its table."""
    if not processes.is_first():  # which then has the machine to itself, as latency wants it
        return
    report = write_report(task, options, phases)
    print(f"\n{to_text(table(report))}\n")
    for name, entry in report["students"].items():
        print(f"{name}: {entry['path']}")
    for name in ("report.md", "report.json"):
        print(f"report: {Path(options.output_dir) / name}")


@quiet()
def print_scores(task: Task, options: Options, paths: Mapping[str, str]) -> None:
    """Score models on dev and show a line for each split. paths: what each is called -> folder or hub id.

    Raises UserError if there are several tasks, or no model.
    """
    if not paths:
        raise UserError("--phase evaluate needs --teacher or --student, or both")
    if len(options.tasks) > 1:
        raise UserError(f"models are scored on one task at a time, and there are {options.task}; name one with --task")
    if not processes.is_first():
        return
    models = {}
    for who, path in paths.items():
        model, notes = load_fine_tuned(path, task)
        models[who] = model.to(device())
        for note in notes:
            print(f"note: {note}")
    with tempfile.TemporaryDirectory() as scratch:
        options = options if options.output_dir else dataclasses.replace(options, output_dir=scratch)
        for who, entry in describe(task, options, models, paths).items():
            for split, scores in entry["dev"].items():
                figures = ", ".join(f"{metric} {value:.4f}" for metric, value in scores.items())
                rows, size = entry["dev_rows"][split], f"{entry['parameters'] / 1e6:.2f} M parameters"
                print(f"{who} on {split}: {figures} ({rows['rows']:,} rows{in_words(rows)}; {size}; {entry['path']})")
