"""What is measured of a run of several tasks: each task's models beside its teacher, and the mean of what is kept."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinydistill import latency, processes
from tinydistill.encoders.precision import device
from tinydistill.latency import Timing
from tinydistill.models import load_fine_tuned, weights_digest
from tinydistill.phases import Phase
from tinydistill.preparation import digest_of
from tinydistill.report.markdown import table, to_text
from tinydistill.report.markdown_of_tasks import means
from tinydistill.report.measure import beside_teacher, floor_of
from tinydistill.report.models import describe
from tinydistill.report.page import FILES, save
from tinydistill.runs import PhaseFolder, versions
from tinydistill.settings import Plan


def write_report(plan: Plan, phases: Mapping[str, Phase]) -> dict[str, Any]:
    """Measure each task's teacher and every finished student on it; write the report's files.

    Returns the content of `report.json`: what a report of a single task has is in `tasks`, and in `mean` the means over
    the tasks, of each student.
    """
    output = Path(plan.options.output_dir)
    models: dict[str, dict[str, Any]] = {}
    for task, part in plan.parts.items():
        models[task] = {name: load_fine_tuned(path, part.task)[0] for name, path in part.options.teachers.items()}
    digests = {
        task: digest_of({name: weights_digest(model) for name, model in own.items()}) for task, own in models.items()
    }
    runs = {}
    for name, phase in phases.items():
        record = PhaseFolder(output, name).read()
        if record is None or record["state"] != "finished" or phase.makes_teacher:
            continue
        of = record["settings"]
        if of["task"] == plan.options.task and all(of[f"{t}_teacher_weights"] == each for t, each in digests.items()):
            runs[name] = record
        else:
            print(f"note: {output / name} is left out of the report: it is of other tasks or teachers")
    students = [name for name in runs if phases[name].keeps_best]
    entries = {}
    for task, part in plan.parts.items():
        paths = {name: str(output / name / task) for name in students}
        models[task] |= {name: load_fine_tuned(path, part.task)[0] for name, path in paths.items()}
        own = {name: model.to(device()) for name, model in models[task].items()}
        floor = floor_of({name: phases[name] for name in students})
        entries[task] = describe(part.task, part.options, own, part.options.teachers | paths, floor)
    times = _times(plan, models, students)
    tasks = {
        task: {"task": task, **beside_teacher(part.task, part.options, entries[task], times[task])}
        for task, part in plan.parts.items()
    }
    found = {
        "task": plan.options.task,
        "seed": {name: run["settings"]["seed"] for name, run in runs.items()},
        "settings": {name: run["settings"] for name, run in runs.items()},
        "versions": versions(),
        "tasks": tasks,
        "mean": {name: _mean(plan, tasks, name) for name in students},
        "phases": {name: {k: v for k, v in run.items() if k != "settings"} for name, run in runs.items()},
    }
    for name in students:
        for entry in tasks.values():
            made_from = runs[name]["settings"]["student"]
            entry["students"][name] |= {"title": phases[name].title or name, "made_from": made_from}
    save(found, output)
    return found


def _times(plan: Plan, models: Mapping[str, Mapping[str, Any]], students: list[str]) -> dict[str, list[Timing]]:
    """For each task the times of its teacher and of the students, which are measured with the first task's head."""
    first = next(iter(plan.parts))
    measured = {("", name): models[first][name] for name in students}
    for task, part in plan.parts.items():
        measured |= {(task, name): models[task][name] for name in part.options.teachers}
    names = {" ".join(key): key for key in measured}
    length = max(part.options.max_length for part in plan.parts.values())
    timings = latency.measure({name: measured[key] for name, key in names.items()}, length)

    def of_task(times: Mapping[str, float], task: str) -> dict[str, float]:
        return {own: times[name] for name, (of, own) in names.items() if of in ("", task)}

    return {
        task: [
            dataclasses.replace(
                each,
                ms_per_batch=of_task(each.ms_per_batch, task),
                ms_per_sentence=of_task(each.ms_per_sentence, task),
                p95_ms_per_batch=of_task(each.p95_ms_per_batch, task),
            )
            for each in timings
        ]
        for task in plan.parts
    }


def _mean(plan: Plan, tasks: Mapping[str, dict[str, Any]], student: str) -> dict[str, float | None]:
    """Over the tasks: of the main metric, of the teachers' and of the shares kept, where each has one."""

    def score(entry: dict[str, Any], task: str) -> float:
        of = plan.parts[task].task
        return entry["dev"][of.dev_splits[0]][of.main_metric]

    kept = [own["students"][student]["ratios"]["score_kept"] for own in tasks.values()]
    return {
        "score": sum(score(own["students"][student], task) for task, own in tasks.items()) / len(tasks),
        "teacher": sum(score(own["teacher"], task) for task, own in tasks.items()) / len(tasks),
        "score_kept": None if None in kept else sum(kept) / len(kept),
    }


def print_report(plan: Plan, phases: Mapping[str, Phase]) -> dict[str, Any]:
    """Write the report, show its tables, and return it; {} in processes beside the first."""
    if not processes.is_first():
        return {}
    found = write_report(plan, phases)
    for task, own in found["tasks"].items():
        print(f"\n{task}\n{to_text(table(own))}")
    print(f"\n{to_text(means(found))}\n")
    output = Path(plan.options.output_dir)
    for student in found["mean"]:
        print(f"{student}: {', '.join(str(output / student / task) for task in plan.parts)}")
    for name in FILES:
        print(f"report: {output / name}")
    return found
