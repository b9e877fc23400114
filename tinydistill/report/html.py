"""The report as a page: one file with its style and pictures inside, which asks for nothing from anywhere.

Templates lie beside this file. Everything they print is escaped, and its control characters are visible (text.py).
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tinydistill.report import figures, markdown, markdown_of_tasks, markdown_of_text, tables
from tinydistill.report.headline import headline, title_of
from tinydistill.report.text import finalize, isolated

_SHOWN_MATRIX = 12  # labels, up to which a confusion matrix is a table
_SHOWN_CONFUSIONS = 15


def environment() -> Environment:
    """The templates."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["data"] = isolated
    return made


def to_html(report: dict[str, Any]) -> str:
    """The page of a report, of a task, of several, or of plain text."""
    names = (f"p{number}" for number in itertools.count(1))
    context: dict[str, Any] = {
        "headline": headline(report),
        "settings": markdown.settings_text(report),
        "seeds": _seeds(report),
    }
    if "tasks" in report:
        context |= {
            "title": report["task"],
            "means": markdown_of_tasks.means(report),
            "tasks": {name: _of_task(own, names) for name, own in report["tasks"].items()},
            "phases": markdown.phase_rows(report),
            "curves": _curves(report["phases"], names),
        }
        return environment().get_template("tasks.html").render(context)
    if "teacher" not in report:
        students = report["students"]
        context |= {
            "title": "Plain text",
            "table_rows": markdown_of_text.table(report),
            "notes": [(each["title"], note) for each in students.values() for note in each["notes"]],
            "curves": _curves({each["title"]: each for each in students.values()}, names),
        }
        return environment().get_template("text.html").render(context)
    context |= {
        "title": report["task"],
        "task": _of_task(report, names),
        "phases": markdown.phase_rows(report),
        "curves": _curves(report["phases"], names),
        "augmentation": _augmentation(report.get("augmentation")),
    }
    return environment().get_template("task.html").render(context)


def _of_task(report: dict[str, Any], names: Iterator[str]) -> dict[str, Any]:
    """What the templates show of the models of one task."""
    models = tables.models_of(report)
    is_drawn = "drawn" in report["teacher"] and "bootstrap" in report
    return {
        "table": markdown.table(report),
        "how_timed": markdown.latency_line(report),
        "scores": tables.scores(report),
        "how_drawn": markdown.how_drawn(report) if is_drawn else "",
        "differences": tables.differences(report),
        "parts": tables.parts(report),
        "latency": tables.latency(report),
        "pictures": [
            figures.scores(report, next(names)),
            figures.parameters(report, next(names)),
            *(figures.latency(report, timing, next(names)) for timing in report["latency"]),
        ],
        "details": markdown.detail_tables(report),
        "agreement": tables.agreement(report),
        "calibration": figures.calibration(report, next(names)) if "calibration" in report["teacher"] else "",
        "confusions": [
            (title_of(report, name), _confusion(entry["confusion"]))
            for name, entry in models.items()
            if "confusion" in entry
        ],
        "by_class": tables.by_class(report),
        "by_length": tables.by_length(report),
        "disagreements": [
            (title_of(report, name), entry["disagreements"])
            for name, entry in report["students"].items()
            if entry.get("disagreements")
        ],
    }


def _confusion(of: Mapping[str, Any]) -> dict[str, Any]:
    """A matrix with the share of its row that each cell is, or the most frequent wrong answers."""
    labels, matrix = of.get("labels", []), of.get("matrix", [])
    if matrix and len(labels) <= _SHOWN_MATRIX:
        rows = [
            (label, [(count, round(count / max(sum(row), 1), 3)) for count in row])
            for label, row in zip(labels, matrix, strict=True)
        ]
        return {"labels": labels, "rows": rows}
    wrong = of.get("most") or [
        {"gold": labels[i], "answer": labels[j], "rows": count}
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if i != j and count
    ]
    wrong = sorted(wrong, key=lambda each: -each["rows"])[:_SHOWN_CONFUSIONS]
    return {"most": [["gold", "answer", "rows"], *([w["gold"], w["answer"], f"{w['rows']:,}"] for w in wrong)]}


def _curves(runs: Mapping[str, Mapping[str, Any]], names: Iterator[str]) -> list[tuple[str, list[Markup]]]:
    """For each training its losses, scores on dev and learning rate by step, as far as they were logged."""
    found = []
    for title, run in runs.items():
        losses, evaluations = run.get("losses") or [], run.get("evaluations") or []
        pictures = [figures.losses(losses, next(names))] if losses else []
        pictures += figures.layers(losses, next(names))
        pictures += [figures.evaluations(evaluations, run.get("best_step"), next(names))] if evaluations else []
        if any("learning_rate" in entry for entry in losses):
            pictures.append(figures.learning_rate(losses, next(names)))
        if pictures:
            found.append((title, pictures))
    return found


def _seeds(report: dict[str, Any]) -> str:
    return json.dumps(report["seed"], ensure_ascii=False) if report.get("seed") else ""


def _augmentation(made: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {"table": tables.augmentation(made), "examples": made.get("examples", [])} if made else None
