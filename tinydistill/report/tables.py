"""The tables of the page, each a header and rows of text; none where a report has nothing for it."""

from collections.abc import Mapping
from typing import Any

from tinydistill.report.headline import main_of, title_of
from tinydistill.report.markdown import difference

Rows = list[list[str]]


def models_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of all models: teachers, what teaches, students."""
    return {**report.get("teachers", {}), "teacher": report["teacher"], **report["students"]}


def scores(report: dict[str, Any]) -> Rows:
    """Every metric of every model with its interval."""
    columns = [(split, metric) for split, of in report["teacher"]["dev"].items() for metric in of]
    rows = [["model", *(f"{split} {metric}" for split, metric in columns)]]
    for name, entry in models_of(report).items():
        cells = []
        for split, metric in columns:
            found = entry.get("intervals", {}).get(split, {}).get(metric)
            span = f" ({found[0]:.4f} to {found[1]:.4f})" if found else ""
            cells.append(f"{entry['dev'][split][metric]:.4f}{span}")
        rows.append([title_of(report, name), *cells])
    return rows


def differences(report: dict[str, Any]) -> Rows:
    """The paired tests."""
    rows = [["model", "compared with", "metric", "difference (interval)", "p"]]
    for name, entry in report["students"].items():
        for tested in (entry.get("against_teacher"), entry.get("against_floor")):
            if tested:
                cells = [title_of(report, name), title_of(report, tested["to"])]
                rows.append([*cells, f"{tested['split']} {tested['metric']}", *difference(tested)])
    return rows if len(rows) > 1 else []


def parts(report: dict[str, Any]) -> Rows:
    """Parameters by part, and the size on disk."""
    rows = [["model", "embeddings", "blocks", "head", "all", "on disk"]]
    for name, entry in models_of(report).items():
        if "parts" in entry:
            counts = [f"{entry['parts'][part]:,}" for part in ("embeddings", "blocks", "head")]
            rows.append([title_of(report, name), *counts, f"{entry['parameters']:,}", f"{entry['bytes'] / 1e6:.2f} MB"])
    return rows if len(rows) > 1 else []


def latency(report: dict[str, Any]) -> Rows:
    """Median and 95th percentile of a batch, and what that is for a sentence."""
    rows = [["model", "batch", "median ms", "95th percentile ms", "ms a sentence", "faster"]]
    for timing in report["latency"]:
        for name in models_of(report):
            median, most = timing["ms_per_batch"][name], timing.get("p95_ms_per_batch", {}).get(name)
            rows.append(
                [
                    title_of(report, name),
                    str(timing["batch_size"]),
                    f"{median:.2f}",
                    "" if most is None else f"{most:.2f}",
                    f"{timing['ms_per_sentence'][name]:.3f}",
                    f"{timing['ms_per_batch']['teacher'] / median:.2f}x" if name in report["students"] else "",
                ]
            )
    return rows


def agreement(report: dict[str, Any]) -> Rows:
    """The share of answers that are the teacher's, and the calibration error."""
    rows = [["model", "answers as the teacher", "expected calibration error"]]
    for name, entry in models_of(report).items():
        share, error = entry.get("agreement"), entry.get("calibration", {}).get("expected_calibration_error")
        if share is not None or error is not None:
            cells = ["" if share is None else f"{share:.1%}", "" if error is None else f"{error:.4f}"]
            rows.append([title_of(report, name), *cells])
    return rows if len(rows) > 1 else []


def by_length(report: dict[str, Any]) -> Rows:
    """The main metric of the quarters of the lengths, which are those of each model's own pieces."""
    _, metric = main_of(report)
    known = {name: entry["by_length"] for name, entry in models_of(report).items() if "by_length" in entry}
    if not known:
        return []
    most = max(len(of["parts"]) for of in known.values())
    rows = [["model", *(["shortest", *[""] * (most - 2), "longest"] if most > 1 else ["all"])]]
    for name, of in known.items():
        cells = [
            f"{part[metric]:.4f} ({part['from']} to {part['to']} {of['measure']}, {part['rows']:,} {_drawn(report)})"
            for part in of["parts"]
        ]
        rows.append([title_of(report, name), *cells, *[""] * (most - len(cells))])
    return rows


def _drawn(report: dict[str, Any]) -> str:
    return report["teacher"].get("drawn", {}).get("what", "rows")


def by_class(report: dict[str, Any]) -> Rows:
    """Precision, recall and F1 of each label, of each model."""
    known = {name: entry["by_class"] for name, entry in models_of(report).items() if "by_class" in entry}
    if not known:
        return []
    rows = [["label", "rows", *(f"{title_of(report, name)}: precision, recall, F1" for name in known)]]
    for label, first in next(iter(known.values())).items():
        cells = [_three(of[label]) for of in known.values()]
        rows.append([label, f"{first['rows']:,}", *cells])
    return rows


def _three(of: Mapping[str, float]) -> str:
    return ", ".join(f"{of[name]:.3f}" for name in ("precision", "recall", "f1"))


def augmentation(made: Mapping[str, Any]) -> Rows:
    """The counts of an augmentation."""
    rows = [["augmentation", ""]]
    for key, said in (("variants", "variants drawn for each row"), ("probability", "probability of a word")):
        if made.get(key) is not None:
            rows.append([said, f"{made[key]}"])
    if "share_replaced" in made:
        rows.append([f"words replaced, in the first {made['measured_on']:,} variants", f"{made['share_replaced']:.1%}"])
    return rows + [[name.replace("_", " "), f"{count:,}"] for name, count in made["counts"].items() if count]
