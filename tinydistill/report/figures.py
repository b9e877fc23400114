"""The pictures of a report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from unicodedata import east_asian_width

from markupsafe import Markup

from tinydistill.report.headline import main_of, title_of
from tinydistill.report.svg import COLOURS, FAINT, INK, draw, plain

_PARTS = ("embeddings", "blocks", "head")
_PANELS = 4  # side by side


def scores(report: dict[str, Any], name: str) -> Markup:
    """Each model's main metric with its interval."""
    split, metric = main_of(report)
    models = _models(report)

    def plot(axes: Any) -> None:
        for place, (key, entry) in enumerate(models.items()):
            value, interval = entry["dev"][split][metric], entry.get("intervals", {}).get(split, {}).get(metric)
            if interval:
                axes.plot(interval, [place, place], color=COLOURS[place % len(COLOURS)], linewidth=3, alpha=0.45)
            axes.plot([value], [place], "o", color=COLOURS[place % len(COLOURS)], label=key)
        _name_rows(axes, report, models)
        axes.set_xlabel(plain(f"{metric} on {split}"))

    return draw(name, f"{metric} of each model with its interval", plot, **_rows(report, models))


def parameters(report: dict[str, Any], name: str) -> Markup:
    """Parameters by part."""
    models = {key: entry for key, entry in _models(report).items() if "parts" in entry}

    def plot(axes: Any) -> None:
        for place, entry in enumerate(models.values()):
            left = 0.0
            for part, colour in zip(_PARTS, COLOURS, strict=False):
                count = entry["parts"][part] / 1e6
                axes.barh(place, count, left=left, color=colour, height=0.6, label=part if place == 0 else None)
                left += count
        _name_rows(axes, report, models)
        axes.set_xlabel("million parameters")
        _legend(axes, columns=3)

    return (
        draw(name, "parameters of each model by part", plot, **_rows(report, models, top=0.35)) if models else Markup()
    )


def latency(report: dict[str, Any], timing: Mapping[str, Any], name: str) -> Markup:
    """Median and 95th percentile of a batch."""
    models = _models(report)

    def plot(axes: Any) -> None:
        for place, key in enumerate(models):
            median, most = timing["ms_per_batch"][key], timing.get("p95_ms_per_batch", {}).get(key)
            axes.barh(place, median, color=COLOURS[place % len(COLOURS)], height=0.6)
            if most:
                axes.plot([median, most], [place, place], color=INK, linewidth=1)
                axes.plot([most], [place], "|", color=INK)
        _name_rows(axes, report, models)
        axes.set_xlabel(f"ms for a batch of {timing['batch_size']}")
        axes.set_xlim(left=0)

    return draw(name, f"milliseconds for a batch of {timing['batch_size']}", plot, **_rows(report, models))


def losses(entries: Sequence[Mapping[str, Any]], name: str) -> Markup:
    """Each component by step; on a logarithmic scale where they are far apart."""
    components = _components(entries)

    def plot(axes: Any) -> None:
        values = []
        for number, component in enumerate(components):
            points = [(entry["step"], entry[component]) for entry in entries if component in entry]
            values += [value for _, value in points]
            label = "sum" if component == "loss" else component.removeprefix("loss_")
            _line(axes, points, COLOURS[number % len(COLOURS)], label)
        if min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_title("losses", loc="left")
        _legend(axes)

    return draw(name, "losses by step", plot)


def layers(entries: Sequence[Mapping[str, Any]], name: str) -> list[Markup]:
    """Of each objective that compares several layers, the loss of each by step, side by side."""
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for entry in entries for key in entry if key.startswith("layer_")):
        found.setdefault(key.rpartition("_")[0], []).append(key)
    return [
        _panels(entries, objective.removeprefix("layer_"), row, f"{name}-{place}-{number}")
        for place, (objective, keys) in enumerate(found.items())
        for number, row in enumerate(_in_rows(keys))
    ]


def _in_rows(keys: Sequence[str]) -> list[Sequence[str]]:
    """Parts of about equal length, of which a phone shows one."""
    wide = math.ceil(len(keys) / math.ceil(len(keys) / _PANELS))
    return [keys[start : start + wide] for start in range(0, len(keys), wide)]


def _panels(entries: Sequence[Mapping[str, Any]], objective: str, keys: Sequence[str], name: str) -> Markup:
    def plot(*panels: Any) -> None:
        values = []
        for axes, key in zip(panels, keys, strict=True):
            points = [(entry["step"], entry[key]) for entry in entries if key in entry]
            values += [value for _, value in points]
            _line(axes, points, COLOURS[0], "")
            axes.set_title(plain(f"layer {key.rpartition('_')[2]}"), loc="left")
            axes.locator_params(axis="x", nbins=2)
        if min(values) > 0 and max(values) > 20 * min(values):
            panels[0].set_yscale("log")
        panels[0].set_xlabel("step")
        panels[0].figure.text(0.02, 0.91, plain(f"{objective} of each layer"))

    size = (max(1.1 * len(keys), 2.2) + 0.6, 2.1)
    return draw(name, f"{objective} of each layer by step", plot, size, top=0.5, panels=len(keys))


def evaluations(entries: Sequence[Mapping[str, Any]], best: int | None, name: str) -> Markup:
    """What was measured on dev, by step; `best` is the step whose checkpoint was kept."""
    metrics = [key for key in entries[0] if key not in ("step", "threshold")]

    def plot(axes: Any) -> None:
        for number, metric in enumerate(metrics):
            points = [(entry["step"], entry[metric]) for entry in entries if metric in entry]
            _line(axes, points, COLOURS[number % len(COLOURS)], metric.removeprefix("loss_"))
        if best is not None:
            axes.axvline(best, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("step")
        axes.set_title(plain(f"{metrics[0]} on dev" if len(metrics) == 1 else "on dev"), loc="left")
        _legend(axes)

    return draw(name, "scores on dev by step", plot)


def learning_rate(entries: Sequence[Mapping[str, Any]], name: str) -> Markup:
    """By step."""

    def plot(axes: Any) -> None:
        points = [(entry["step"], entry["learning_rate"]) for entry in entries if "learning_rate" in entry]
        _line(axes, points, COLOURS[0], "learning rate")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.set_title("learning rate", loc="left")

    return draw(name, "learning rate by step", plot, left=0.65)


def calibration(report: dict[str, Any], name: str) -> Markup:
    """How often answers of a probability are right, of each model."""
    models = {key: entry for key, entry in _models(report).items() if "calibration" in entry}

    def plot(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        for number, (key, entry) in enumerate(models.items()):
            bins = [each for each in entry["calibration"]["bins"] if each["rows"]]
            points = [(each["confidence"], each["accuracy"]) for each in bins]
            _line(axes, points, COLOURS[number % len(COLOURS)], title_of(report, key), marker="o")
        axes.set_xlim(0, 1.03)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("probability of the answer")
        axes.set_title("share that is right", loc="left")
        _legend(axes)

    return draw(name, "calibration of each model", plot, size=(3.6, 3.0))


def trade(points: Sequence[Mapping[str, Any]], across: str, metric: str, name: str) -> Markup:
    """Scores against what they cost. points: each with "run", "title", "score", and "x"."""
    runs = list(dict.fromkeys(point["run"] for point in points))

    def plot(axes: Any) -> None:
        for point in points:
            colour = COLOURS[runs.index(point["run"]) % len(COLOURS)]
            axes.plot([point["x"]], [point["score"]], "s" if point["is_teacher"] else "o", color=colour)
            axes.annotate(
                plain(point["title"]),
                (point["x"], point["score"]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=8,
            )
        if max(point["x"] for point in points) > 5 * min(point["x"] for point in points) > 0:
            axes.set_xscale("log")
        axes.margins(x=0.25, y=0.15)
        axes.set_xlabel(across)
        axes.set_title(plain(metric), loc="left")

    return draw(name, f"{metric} against {across}", plot, size=(5.2, 3.4))


def _models(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {**report.get("teachers", {}), "teacher": report["teacher"], **report["students"]}


def _components(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the losses in log entries: the sum first, if it is of several."""
    names = list(dict.fromkeys(key for entry in entries for key in entry if key.startswith("loss_")))
    return ["loss", *names] if len(names) != 1 else names


def _rows(report: dict[str, Any], models: Iterable[str], top: float = 0.1) -> dict[str, Any]:
    """The size of a picture with a row for each model, and room for their names."""
    names = _names(report, models)
    longest = max(sum(2 if east_asian_width(c) in "WF" else 1 for c in line) for n in names for line in n.split("\n"))
    return {"size": (3.6, top + 0.55 + 0.32 * max(len(names), 2)), "left": 0.15 + 0.068 * longest, "top": top}


def _names(report: dict[str, Any], models: Iterable[str]) -> list[str]:
    return [plain(title_of(report, name), columns=22, lines=2) for name in models]


def _name_rows(axes: Any, report: dict[str, Any], models: Iterable[str]) -> None:
    """Names from top to bottom."""
    names = _names(report, models)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _line(axes: Any, points: Sequence[tuple[float, float]], colour: str, label: str, marker: str = "") -> None:
    """A line, or a dot where there is one point."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    axes.plot(
        xs, ys, color=colour, label=plain(label), marker=marker or ("o" if len(points) < 15 else ""), markersize=3
    )


def _legend(axes: Any, columns: int = 1) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) > 1:
        above = {"loc": "upper left", "bbox_to_anchor": (0, 1), "bbox_transform": axes.figure.transFigure}
        place = above if columns > 1 else {"loc": "best"}
        axes.legend(fontsize=8, ncols=columns, columnspacing=1.0, handlelength=1.2, **place)
