"""The report of a run of one task as Markdown, drawn from what `report.json` holds."""

import json
from collections.abc import Mapping
from typing import Any

from glue_tasks.rows import in_words
from tinydistill.report.headline import headline, title_of
from tinydistill.report.text import visible


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
                title_of(report, name),
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
    lines = [
        f"# {report['task']}: distillation report",
        "",
        *one_line(headline(report)),
        *table_lines(table(report)),
        "",
    ]
    lines += [latency_line(report), *interval_lines(report)]
    return "\n".join([*lines, *detail_lines(report), *phase_lines(report)])


def one_line(sentence: str) -> list[str]:
    """A paragraph; nothing of an empty one."""
    return [sentence, ""] if sentence else []


def interval_lines(report: dict[str, Any]) -> list[str]:
    """Each model's main metric with its interval, and the tests of differences; nothing in older reports."""
    if "main" not in report:
        return []
    split, metric = report["main"]["split"], report["main"]["metric"]
    rows = [[f"{split} {metric}", "score", f"{report['bootstrap']['level']:.0%} interval", "to the teacher", "p"]]
    floors = []
    for name, entry in {"teacher": report["teacher"], **report["students"]}.items():
        low, high = entry["intervals"][split].get(metric, (None, None))
        tested, floor = entry.get("against_teacher"), entry.get("against_floor")
        cells = [title_of(report, name), f"{entry['dev'][split][metric]:.4f}"]
        cells.append("" if low is None else f"{low:.4f} to {high:.4f}")
        rows.append([*cells, *(difference(tested) if tested else ("", ""))])
        if floor:
            gain, p = difference(floor)
            floors.append(f"{title_of(report, name)} to {title_of(report, floor['to'])}: {gain}, p = {p}.")
    return ["", *table_lines(rows), "", how_drawn(report), *floors]


def difference(tested: Mapping[str, Any]) -> tuple[str, str]:
    """A difference of scores with its interval, and its p-value."""
    low, high = tested["interval"]
    return f"{tested['difference']:+.4f} ({low:+.4f} to {high:+.4f})", f"{tested['p_value']:.3f}"


def how_drawn(report: dict[str, Any]) -> str:
    """How intervals and p-values were made."""
    drawn = report["teacher"]["drawn"]
    return (
        f"Intervals and two-sided p-values are of {report['bootstrap']['draws']:,} bootstrap draws of the "
        f"{drawn['units']:,} {drawn['what']} of {report['main']['split']}, the same for all models."
    )


def detail_lines(report: dict[str, Any]) -> list[str]:
    """The tables of `detail_tables`."""
    return [line for rows in detail_tables(report) for line in ("", *table_lines(rows))]


def detail_tables(report: dict[str, Any]) -> list[list[list[str]]]:
    """The F1 of each type of entity, of each model, and how many there are; nothing where there are no types."""
    models = {"teacher": report["teacher"], **report["students"]}
    known = {title_of(report, name): entry["dev_details"] for name, entry in models.items() if "dev_details" in entry}
    tables = []
    for split in next(iter(known.values()), {}):
        types = sorted({of for details in known.values() for of in details[split]})
        rows = [[f"{split}: F1 by type", "entities", *known]]
        for of in types:
            found = [details[split].get(of) for details in known.values()]
            count = max(each["entities"] for each in found if each)
            rows.append([of, f"{count:,}", *(f"{each['f1']:.4f}" if each else "" for each in found)])
        tables.append(rows)
    return tables


def table_lines(rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    header, *rows = rows
    made = [_line(header), "|" + "---|" * len(header)]
    return [*made, *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(visible(cell).replace("|", "\\|") for cell in cells) + " |"


def latency_line(report: dict[str, Any]) -> str:
    """How the times in the table were measured, and the times of a sentence."""
    timing = report["latency"][0]
    return (
        f"Latency: median of forward passes in turns, {timing['precision']}, {timing['length']} pieces a sentence, "
        f"{timing['threads']} threads, {timing['device']}. "
        "Milliseconds a sentence: "
        + "; ".join(
            f"batch {entry['batch_size']}: "
            + ", ".join(f"{title_of(report, name)} {ms:.2f}" for name, ms in entry["ms_per_sentence"].items())
            for entry in report["latency"]
        )
        + "."
    )


def phase_lines(report: dict[str, Any]) -> list[str]:
    """How each phase went, its settings, and the versions."""
    lines = ["", "## Phases", "", *table_lines(phase_rows(report))]
    return lines + settings_lines(report)


def phase_rows(report: dict[str, Any]) -> list[list[str]]:
    """How each phase went, a row each below a header."""
    rows = [["phase", "train rows", "steps", "seconds", "first loss", "last loss", "dev", "notes"]]
    for name, run in report["phases"].items():
        losses = [entry["loss"] for entry in run["losses"]] or [float("nan")]
        dev = ", ".join(f"{metric} {value:.4f}" for metric, value in run["dev"].items())
        data = run["data"]["train"]
        seen = [f"{data['rows']:,}{in_words(data)}", f"{run['steps']:,}", f"{run['seconds']:,.0f}"]
        rows.append([name, *seen, f"{losses[0]:.4f}", f"{losses[-1]:.4f}", dev, "; ".join(run["notes"])])
    return rows


def settings_lines(report: dict[str, Any]) -> list[str]:
    """The commands, the settings of each phase that are set, and the versions."""
    return ["", "## Settings and versions", "", "```json", settings_text(report), "```", ""]


def settings_text(report: dict[str, Any]) -> str:
    """The same as JSON."""
    runs = report.get("phases") or report["students"]
    settings = report["settings"] if "settings" in report else {name: run["settings"] for name, run in runs.items()}
    shown = {
        "commands": list(dict.fromkeys(run["command"] for run in runs.values() if run.get("command"))),
        "phases": {name: {k: v for k, v in of.items() if v != ""} for name, of in settings.items()},
        "versions": report["versions"],
    }
    return json.dumps({name: each for name, each in shown.items() if each}, indent=2, ensure_ascii=False)
