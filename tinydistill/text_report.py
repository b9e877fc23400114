"""The report of a run on plain text: `report.json`, the truth, and `report.md`, drawn from it."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tinydistill import processes
from tinydistill.chain import stage_routes, title
from tinydistill.models import size_on_disk
from tinydistill.report import save, settings_lines, table_lines, to_text
from tinydistill.runs import PhaseFolder, versions


def print_report(output: Path, phases: Collection[str]) -> None:
    """Write the report and show its table."""
    if not processes.is_first():
        return
    report = write_report(output, phases)
    print(f"\n{to_text(table(report))}\n")
    for name in ("report.md", "report.json"):
        print(f"report: {output / name}")


def write_report(output: Path, phases: Collection[str]) -> dict[str, Any]:
    """Put the students of phases on text side by side, with those of the stages of chains; write both files.

    phases: names of phases on text. Returns the content of `report.json`; what the students reach on the text held out
    is what their runs measured.
    """
    students = {}
    for route in [(), *stage_routes(output, phases)]:
        for name in phases:
            folder = PhaseFolder(output.joinpath(*route), name)
            record = folder.read()
            if record is None or record["state"] != "finished":
                continue
            settings = record["settings"]
            students["/".join((*route, name))] = {
                "title": title(route) if route else settings["student"],
                "path": str(folder.path),
                "parameters": _count(folder.path / "model.safetensors"),
                "bytes": size_on_disk(folder.path),
                "taught_by": settings["teacher"],
                "text": settings["corpus_data"],
                "held_out": record["dev"],
                "seconds": record["seconds"],
                "steps": record["steps"],
                "notes": record["notes"],
                "settings": settings,
                "losses": record["losses"],
            }
    report = {"students": students, "versions": versions()}
    save(report, to_markdown(report), output)
    return report


def _count(path: Path) -> int:
    """Parameters of a model as it is saved, those that share their weights once."""
    with safe_open(path, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no dict


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
    lines = ["# Plain text: distillation report", "", *table_lines(table(report)), ""]
    lines += ["Measured on text that no student has seen, at the same masks for each.", ""]
    lines += [f"- {each['title']}: {note}" for each in students.values() for note in each["notes"]]
    settings = {name: each["settings"] for name, each in students.items()}
    return "\n".join([*lines, *settings_lines(settings, report["versions"])])
