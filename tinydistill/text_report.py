"""What is put together of a run on plain text, and written to `report.json`."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tinydistill import processes
from tinydistill.chain import stage_routes, title
from tinydistill.models import size_on_disk
from tinydistill.report.markdown import to_text
from tinydistill.report.markdown_of_text import table
from tinydistill.report.page import FILES, save
from tinydistill.runs import PhaseFolder, versions


def print_report(output: Path, phases: Collection[str]) -> dict[str, Any]:
    """Write the report, show its table, and return it; {} in processes beside the first."""
    if not processes.is_first():
        return {}
    report = write_report(output, phases)
    print(f"\n{to_text(table(report))}\n")
    for name in FILES:
        print(f"report: {output / name}")
    return report


def write_report(output: Path, phases: Collection[str]) -> dict[str, Any]:
    """Put the students of phases on text side by side, with those of the stages of chains; write the
    report's files.

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
                "command": record.get("command", ""),
                "losses": record["losses"],
            }
    report = {"students": students, "versions": versions()}
    save(report, output)
    return report


def _count(path: Path) -> int:
    """Parameters of a model as it is saved, those that share their weights once."""
    with safe_open(path, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no dict
