"""The report of a run on plain text as Markdown, drawn from what `report.json` holds."""

from typing import Any

from tinydistill.report.headline import headline
from tinydistill.report.markdown import one_line, settings_lines, table_lines

_OF_OUTPUTS = ("masked_accuracy", "masked_loss", "pseudo_perplexity")


def table(report: dict[str, Any]) -> list[list[str]]:
    """The comparison, a header and a row a student, as text.

    What its guesses at masked pieces reach; losses where no student guesses, each of which compares it with its own
    teacher.
    """
    students = report["students"].values()
    measured = list(dict.fromkeys(name for each in students for name in each["held_out"]))
    columns = [name for name in measured if name in _OF_OUTPUTS] or measured
    rows = [["student", "taught by", "parameters", "size", *columns, "steps", "seconds"]]
    for each in students:
        rows.append(
            [
                each["title"],
                each["taught_by"],
                f"{each['parameters'] / 1e6:.2f} M",
                f"{each['bytes'] / 1e6:.1f} MB",
                *(f"{each['held_out'][name]:.4f}" if name in each["held_out"] else "" for name in columns),
                f"{each['steps']:,}",
                f"{each['seconds']:,.0f}",
            ]
        )
    return rows


def to_markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    students = report["students"]
    lines = ["# Plain text: distillation report", "", *one_line(headline(report)), *table_lines(table(report)), ""]
    lines += ["Measured on text that no student has seen, at the same masks for each.", ""]
    lines += [f"- {each['title']}: {note}" for each in students.values() for note in each["notes"]]
    return "\n".join([*lines, *settings_lines(report)])
