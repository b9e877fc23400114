"""Runs beside each other: the settings in which they differ, and what came of them."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.writers import whole_file
from tinydistill.report import page
from tinydistill.report.headline import main_of, title_of
from tinydistill.report.markdown import table_lines, to_text

FORMATS = ("text", "markdown", "csv")
_DIGESTS = ("_weights", "_data", "_from_record")  # endings of settings that are the content of a file
_LONGEST = 32  # characters of a setting in a table that is read


@dataclass(frozen=True)
class Model:
    """A model of a run. x and y of the pictures are None where its report has none."""

    run: str
    task: str
    title: str
    is_teacher: bool
    settings: dict[str, Any]
    metric: str
    score: float | None
    results: dict[str, str]  # what the table shows
    parameters: int
    ms: float | None  # of a batch of `batch`
    batch: int


def read_runs(folders: Sequence[Path]) -> list[Model]:
    """The models of all runs. Raises UserError if a folder has no report, or is named twice."""
    if twice := {folder for folder in folders if folders.count(folder) > 1}:
        raise UserError(f"{min(twice)} is named twice; name each run once")
    models = []
    for folder in folders:
        report = page.read(folder)
        try:
            models += list(_models(str(folder), report))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{folder / page.REPORT} lacks a part that a comparison needs ({error}); make it anew by starting the "
                "run again"
            ) from error
    if not models:
        raise UserError("the reports have no students to compare; name runs that have one")
    return models


def _models(run: str, report: dict[str, Any]) -> Iterator[Model]:
    if "tasks" in report:
        for task, own in report["tasks"].items():
            yield from _of_task(run, task, own, report["settings"])
    elif "teacher" in report:
        yield from _of_task(run, report["task"], report, report["settings"])
    else:
        for each in report["students"].values():
            results = {name: f"{value:.4f}" for name, value in each["held_out"].items()}
            metric, score = next(iter(each["held_out"].items()), ("", None))
            results |= {"parameters": f"{each['parameters'] / 1e6:.2f} M", "size": f"{each['bytes'] / 1e6:.1f} MB"}
            of = (each["settings"], metric, score, results, each["parameters"], None, 1)
            yield Model(run, "plain text", each["title"], False, *of)


def _of_task(run: str, task: str, report: dict[str, Any], settings: dict[str, Any]) -> Iterator[Model]:
    split, metric = main_of(report)
    timing = report["latency"][0]
    for name, entry in {"teacher": report["teacher"], **report["students"]}.items():
        ratios, ms = entry.get("ratios", {}), timing["ms_per_batch"][name]
        results = {
            f"{of} {key}": f"{value:.4f}" for of, scores in entry["dev"].items() for key, value in scores.items()
        }
        kept = ratios.get("score_kept")
        results |= {
            "kept": "" if kept is None else f"{kept:.1%}",
            "parameters": f"{entry['parameters'] / 1e6:.2f} M",
            "smaller": f"{ratios['times_smaller']:.1f}x" if ratios else "",
            "size": f"{entry['bytes'] / 1e6:.1f} MB",
            f"ms, batch {timing['batch_size']}": f"{ms:.2f}",
            "faster": f"{timing['ms_per_batch']['teacher'] / ms:.1f}x" if ratios else "",
        }
        yield Model(
            run,
            task,
            title_of(report, name),
            name == "teacher",
            {} if name == "teacher" else settings.get(name, {}),
            f"{split} {metric}",
            entry["dev"][split][metric],
            results,
            entry["parameters"],
            ms,
            timing["batch_size"],
        )


def differing(models: Sequence[Model]) -> list[str]:
    """The settings that are not the same for all students; of files their names, not their content."""
    students = [model for model in models if not model.is_teacher]
    names = dict.fromkeys(name for model in students for name in model.settings if not name.endswith(_DIGESTS))
    names.pop("task", None)  # has a column of its own
    return [name for name in names if len({_cell(model.settings.get(name)) for model in students}) > 1]


def rows(models: Sequence[Model], longest: int = 0) -> list[list[str]]:
    """A header and a row a model. longest: characters of a setting; 0 is all."""
    settings = differing(models)
    results = list(dict.fromkeys(name for model in models for name in model.results))
    with_task = len({model.task for model in models}) > 1
    found = [["run", *(["task"] if with_task else []), "model", *settings, *results]]
    for model in models:
        cells = [_cell(model.settings[name]) if name in model.settings else "" for name in settings]
        short = [cell if not longest or len(cell) <= longest else cell[: longest - 1] + "…" for cell in cells]
        own = [model.run, *([model.task] if with_task else []), model.title, *short]
        found.append([*own, *(model.results.get(name, "") for name in results)])
    return found


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def to_table(models: Sequence[Model], how: str) -> str:
    """The comparison as text, Markdown or CSV. Raises UserError for another format."""
    if how not in FORMATS:
        raise UserError(f"--format is {how!r}; it can be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if how == "csv":
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(rows(models))
        return file.getvalue().rstrip("\n")
    table = rows(models, _LONGEST)
    return "\n".join(table_lines(table)) if how == "markdown" else to_text(table)


def write_page(models: Sequence[Model], path: Path) -> None:
    """A page with the table, and pictures of scores against sizes and latencies, for each task and metric."""
    from tinydistill.report import figures
    from tinydistill.report.html import environment

    names = (f"p{number}" for number in itertools.count(1))
    groups: dict[tuple[str, str], list[Model]] = {}
    for model in models:
        if model.score is not None:
            groups.setdefault((model.task, model.metric), []).append(model)
    pictures = []
    for (task, metric), group in groups.items():
        base = [
            {"run": each.run, "title": each.title, "is_teacher": each.is_teacher, "score": each.score} for each in group
        ]
        told = f"{task}, {metric}"
        sizes = [point | {"x": each.parameters / 1e6} for point, each in zip(base, group, strict=True)]
        pictures.append(figures.trade(sizes, "million parameters", told, next(names)))
        times = [point | {"x": each.ms} for point, each in zip(base, group, strict=True) if each.ms is not None]
        if times:
            batch = group[0].batch
            pictures.append(figures.trade(times, f"ms for a batch of {batch}", told, next(names)))
    context = {"runs": list(dict.fromkeys(model.run for model in models)), "rows": rows(models), "pictures": pictures}
    text = environment().get_template("comparison.html").render(context)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
