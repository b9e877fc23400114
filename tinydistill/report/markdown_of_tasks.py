"""The report of a run of several tasks as Markdown: each task's models, and the mean of what is kept."""

from typing import Any

from tinydistill.report.headline import headline
from tinydistill.report.markdown import (
    detail_lines,
    interval_lines,
    latency_line,
    one_line,
    phase_lines,
    table,
    table_lines,
)


def means(report: dict[str, Any]) -> list[list[str]]:
    """A table, as text."""
    rows = [["mean of the tasks", "score", "teacher", "kept"]]
    for name, mean in report["mean"].items():
        title = next(iter(report["tasks"].values()))["students"][name]["title"]
        kept = "" if mean["score_kept"] is None else f"{mean['score_kept']:.1%}"
        rows.append([title, f"{mean['score']:.4f}", f"{mean['teacher']:.4f}", kept])
    return rows


def to_markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    tasks = report["tasks"]
    lines = [f"# {report['task']}: distillation report", "", *one_line(headline(report)), *table_lines(means(report))]
    for task, own in tasks.items():
        lines += ["", f"## {task}", "", *table_lines(table(own)), *interval_lines(own), *detail_lines(own)]
    first = next(iter(tasks))
    lines += ["", f"Of {first}: {latency_line(tasks[first])}"]
    return "\n".join([*lines, *phase_lines(report)])
