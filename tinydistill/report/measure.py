"""What is measured of a run folder, and written to `report.json`; report.md and report.html are drawn from that."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.rows import in_words
from glue_tasks.task import Task
from tinydistill import latency, processes
from tinydistill.chain import stage_routes, title
from tinydistill.encoders.precision import device
from tinydistill.encoders.pretrained import quiet
from tinydistill.models import load_fine_tuned, weights_digest
from tinydistill.options import Options
from tinydistill.phases import PHASES, Phase
from tinydistill.preparation import digest_of
from tinydistill.report import statistics
from tinydistill.report.augmentation import describe_augmentation
from tinydistill.report.markdown import table, to_text
from tinydistill.report.models import ENSEMBLE, describe, measured
from tinydistill.report.page import FILES, save
from tinydistill.runs import PhaseFolder, versions


def write_report(task: Task, options: Options, phases: Mapping[str, Phase] = PHASES) -> dict[str, Any]:
    """Measure the teacher and every finished student of the output folder side by side; write the report's files.

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
        task,
        options,
        {name: model.to(device()) for name, model in models.items()},
        options.teachers | student_paths,
        floor=floor_of({name: phases[name.rpartition("/")[2]] for name in student_paths}),
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
        **({"augmentation": made} if (made := describe_augmentation(task, options)) else {}),
    }
    save(report, output)
    return report


def floor_of(students: Mapping[str, Phase]) -> str:
    """The first student without a teacher, with which the others are compared; "" if there is none."""
    return next((name for name, phase in students.items() if not phase.has_teacher), "")


def _title_of(phase: Phase, route: tuple[str, ...]) -> str:
    of_phase = phase.title or phase.name
    return f"{title(route)}, {of_phase}" if route else of_phase


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
        if len(teachers) == 1:  # of a sum of several the 95th percentile is not known
            timing.p95_ms_per_batch["teacher"] = next(timing.p95_ms_per_batch[name] for name in teachers)
    for name, student in students.items():
        student["ratios"] = _ratios(task, teacher, student) | {
            f"times_faster_batch_{timing.batch_size}": timing.ms_per_batch["teacher"] / timing.ms_per_batch[name]
            for timing in timings
        }
    return {
        "main": {"split": task.dev_splits[0], "metric": task.main_metric},
        "bootstrap": {"draws": statistics.DRAWS, "seed": statistics.SEED, "level": statistics.LEVEL},
        "teacher": teacher,
        **({"teachers": teachers} if len(teachers) > 1 else {}),
        "students": students,
        "latency": [asdict(timing) for timing in timings],
    }


def _ratios(task: Task, teacher: dict[str, Any], student: dict[str, Any]) -> dict[str, float | None]:
    main = task.dev_splits[0]
    own, theirs = (entry["dev"][main][task.main_metric] for entry in (student, teacher))
    return {
        "score_kept": own / theirs if theirs > 0 else None,  # of a score of 0 or less no share can be kept
        "times_smaller": teacher["parameters"] / student["parameters"],
    }


def print_report(task: Task, options: Options, phases: Mapping[str, Phase] = PHASES) -> dict[str, Any]:
    """Write the report, show its table, and return it; {} in processes beside the first."""
    if not processes.is_first():  # which then has the machine to itself, as latency wants it
        return {}
    report = write_report(task, options, phases)
    print(f"\n{to_text(table(report))}\n")
    for name, entry in report["students"].items():
        print(f"{name}: {entry['path']}")
    for name in FILES:
        print(f"report: {Path(options.output_dir) / name}")
    return report


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
        for who, entry in measured(task, options, models, paths)[0].items():
            for split, scores in entry["dev"].items():
                figures = ", ".join(f"{metric} {value:.4f}" for metric, value in scores.items())
                rows, size = entry["dev_rows"][split], f"{entry['parameters'] / 1e6:.2f} M parameters"
                print(f"{who} on {split}: {figures} ({rows['rows']:,} rows{in_words(rows)}; {size}; {entry['path']})")
