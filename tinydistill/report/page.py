"""The files of a report, each drawn from `report.json` alone: the same bytes whenever it is drawn again."""

import json
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.writers import whole_file, write_json
from tinydistill.report import markdown, markdown_of_tasks, markdown_of_text

REPORT = "report.json"
FILES = ("report.md", "report.html", REPORT)


def save(report: dict[str, Any], output: Path) -> None:
    """Write report.json, and what is drawn from it."""
    write_json(output / REPORT, report)
    _draw(read(output), output)


def redraw(folder: Path) -> list[Path]:
    """Draw report.md and report.html of a run folder again; returns their paths. Raises UserError without a report."""
    return _draw(read(folder), folder)


def read(folder: Path) -> dict[str, Any]:
    """What `report.json` of a run folder holds. Raises UserError if there is none that can be read."""
    path = folder / REPORT
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name one in which run_tinybert.py wrote a {REPORT}")
    if not path.is_file():
        raise UserError(
            f"{folder} has no {REPORT}, which a run writes when its last phase is finished; finish the run, or name "
            "another folder"
        )
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        report = None
    if not isinstance(report, dict) or not ({"students", "tasks"} & report.keys()) or "versions" not in report:
        raise UserError(f"{path} is no report of a run, or is damaged; make it anew by starting the run again")
    return report


def to_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    if "tasks" in report:
        return markdown_of_tasks.to_markdown(report)
    return (markdown if "teacher" in report else markdown_of_text).to_markdown(report)


def _draw(report: dict[str, Any], output: Path) -> list[Path]:
    from tinydistill.report.html import to_html  # templates and pictures, half a second to import

    try:
        pages = {"report.md": to_markdown(report), "report.html": to_html(report)}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{output / REPORT} lacks a part that the page needs ({error}); make it anew by starting the run again"
        ) from error
    for name, page in pages.items():
        with whole_file(output / name) as partial:
            partial.write_text(page, encoding="utf-8")
    return [output / name for name in pages]
