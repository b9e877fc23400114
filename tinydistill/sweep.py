"""Runs that differ in a few settings, or in the seed alone: each in a folder of its own, and a table of all.

    --seeds 1,2,3 --sweep batch_size=16,32 --sweep learning_rate=1e-5,2e-5,3e-5

is the small grid of TinyBERT (arXiv 1909.10351, section 4.2) with three seeds of each. The teacher, the variants of an
augmentation, encoded rows and teacher outputs are made once, and so are first phases that runs have alike: with
`--sweep prediction.learning_rate=...` the intermediate phase is trained once for each seed.
"""

import dataclasses
import itertools
import json
import re
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glue_tasks.errors import UserError
from glue_tasks.writers import whole_file, write_json
from tinydistill import processes
from tinydistill.option_fields import about
from tinydistill.options import Options, Training
from tinydistill.phases import STUDENT, Phase
from tinydistill.preparation import check_ahead, own_settings
from tinydistill.report.markdown import table_lines, to_text
from tinydistill.run import Augment, check_folder
from tinydistill.runs import RECORD, PhaseFolder, versions
from tinydistill.settings import Plan
from tinydistill.text_task import text_task

Value = str | int | float | bool
_FIXED = {"seed": "--seeds", "seeds": "--seeds", "sweep": "--sweep"}  # what is varied in another way


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: `changes`, the settings as they were written, and its seed."""

    changes: Mapping[str, Value] = field(default_factory=dict)
    seed: int | None = None

    @property
    def folder(self) -> str:
        """Below the run's, such as `batch_size=16,learning_rate=1e-05/seed=1`."""
        setting = ",".join(f"{name}={_as_text(value)}" for name, value in self.changes.items())
        parts = [re.sub(r"[^\w.,=+-]+", "-", setting), "" if self.seed is None else f"seed={self.seed}"]
        return "/".join(filter(None, parts))


def _as_text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def cells(options: Options, phases: Sequence[Phase]) -> list[Cell]:
    """The runs that --seeds and --sweep ask for, in the order in which they were written.

    phases: those whose settings `PHASE.NAME=...` may vary. Raises UserError.
    """
    axes = [_axis(text, phases) for text in options.sweep]
    names = [name for name, _ in axes]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--sweep varies {repeated[0]} twice; write all its values behind one {repeated[0]}=")
    seeds: Sequence[int | None] = _seeds(options.seeds) or [None]
    return [
        Cell(dict(zip(names, values, strict=True)), seed)
        for values in itertools.product(*(values for _, values in axes))
        for seed in seeds
    ]


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(re.fullmatch(r"\d{1,9}", part) for part in parts) or len(set(parts)) < len(parts):
        raise UserError(f"--seeds is {text!r}; it is different whole numbers with commas between, such as 1,2,3")
    return [int(part) for part in parts]


def _axis(text: str, phases: Sequence[Phase]) -> tuple[str, list[Value]]:
    """A setting and its values, of `NAME=VALUE,VALUE` or `PHASE.NAME=VALUE,VALUE`."""
    name, _, values = (part.strip() for part in text.partition("="))
    phase, _, setting = name.rpartition(".")
    setting = setting.replace("-", "_")
    if setting in _FIXED:
        raise UserError(f"--sweep {text!r} varies {setting}; give {_FIXED[setting]} for that")
    kinds = {each.name: type(each.default) for each, _ in about(Training)}
    if not phase:
        kinds |= {each.name: type(each.default) for each, known in about(Options) if known.decides != "nothing"}
    if setting not in kinds or kinds[setting] is tuple or (phase and phase not in [each.name for each in phases]):
        raise UserError(
            f"--sweep {text!r} varies no setting of a run; write NAME=VALUE,VALUE with a name that a recipe may set, "
            "such as batch_size=16,32, or of one phase prediction.learning_rate=1e-5,2e-5"
        )
    found = [_value(kinds[setting], part.strip(), text) for part in values.split(",")]
    if len(set(found)) < len(found):
        raise UserError(f"--sweep {text!r} has a value twice")
    return (f"{phase}.{setting}" if phase else setting), found


def _value(kind: type, text: str, whole: str) -> Value:
    words = {"true": True, "false": False}
    try:
        if not text:
            raise ValueError
        return words[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise UserError(
            f"--sweep {whole!r} has the value {text!r}, which is not of type {kind.__name__}; write values with commas "
            "between"
        ) from None


Resolve = Callable[[Cell], Plan]
Train = Callable[[Sequence[str], Plan], Path]  # runs phases by their names; gives the last one's folder


def laid_over(settings: Mapping[str, Any], cell: Cell, phases: Sequence[Phase]) -> dict[str, Any]:
    """The settings of a run with those of a cell; what every phase has of its own is varied in each of `phases`."""
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    found |= {"seeds": None, "sweep": None, **({} if cell.seed is None else {"seed": cell.seed})}
    of_training = {each.name for each, _ in about(Training)}
    for name, value in cell.changes.items():
        phase, _, setting = name.rpartition(".")
        if setting not in of_training:
            found[setting] = value
            continue
        for each in phases:
            if phase in ("", each.name):
                found.setdefault(each.table or each.name, {})[setting] = value
    return found


def run(names: Sequence[str], plan: Plan, resolve: Resolve, train: Train, augment: Augment | None) -> Path:
    """Run each cell in its folder, and write a table of what they reach; returns the folder of the best one's model.

    names: the phases. plan: of the whole run, whose options name the folder. resolve: the plan of a cell. train: runs
    phases. augment: makes a training file, for all runs. Raises UserError, of any cell before the first one starts.
    """
    options = dataclasses.replace(plan.options, seeds="", sweep=())
    if plan.parts:
        raise UserError("--seeds and --sweep are for one task; start a run of several tasks for each")
    if options.push_to_hub:
        raise UserError(
            "--push-to-hub takes one student, and --seeds and --sweep make several; run them without it, then the best "
            "one's settings with it"
        )
    phases = [plan.phases[name] for name in names]
    students = [phase.name for phase in phases if not phase.makes_teacher]
    chosen = cells(plan.options, [plan.phases[name] for name in students])
    plans = [resolve(cell) for cell in chosen]
    on_text = len(phases) == 1 and phases[0].reads_text
    task = text_task(phases[0].trains_head) if on_text else plan.task
    for each in plans:
        check_folder(dataclasses.replace(each.options, seeds="", sweep=()))
        check_ahead([each.phases[name] for name in names], task, each.options)
    if making := [phase.name for phase in phases if phase.makes_teacher]:
        options = dataclasses.replace(
            options, teacher=(str(train(making, dataclasses.replace(plan, options=options))),)
        )
    if augment is not None:
        options = dataclasses.replace(options, train_file=str(processes.from_first(lambda: augment(task, options))))
    reached = []
    trained: dict[str, Path] = {}  # the folder of a phase, by all that decides what comes out
    for place, (cell, each) in enumerate(zip(chosen, plans, strict=True), start=1):
        if processes.is_first():
            print(f"run {place} of {len(chosen)}: {cell.folder}")
        own = dataclasses.replace(
            each.options,
            output_dir=str(Path(options.output_dir) / cell.folder),
            cache_dir=str(options.cache),
            teacher=options.teacher,
            pretrained="",
            train_file=options.train_file,
        )
        keys = {} if own.chain else _keys([each.phases[name] for name in students[:-1]], own)
        left = students[processes.from_first(lambda: _take(keys, trained, own)) :]  # noqa: B023 - called at once
        reached.append(train(left, dataclasses.replace(each, options=own)))
        trained = {key: Path(own.output_dir) / name for name, key in keys.items()} | trained
    summary = summarise(chosen, reached, plan.task.main_metric)
    if processes.is_first():
        _tell(summary, Path(options.output_dir))
    return Path(summary["best"]["path"])


def _keys(phases: Sequence[Phase], options: Options) -> dict[str, str]:
    """For each phase the settings of itself and of those before it that decide the result, as text.

    None of one that starts from what is no phase of these runs, nor of those after it.
    """
    found: dict[str, str] = {}
    before: list[Any] = [options.layer_map]  # which may tell the blocks of a student
    for phase in phases:
        if phase.starts_from not in (STUDENT, *found):
            break
        settings = {
            field.name: getattr(options, field.name)
            for field, known in about(options)
            if known.decides != "nothing" and (not known.serves or known.serves in phase.uses)
        }
        before.append([phase.name, settings, dataclasses.asdict(phase.training), own_settings(phase)])
        found[phase.name] = json.dumps(before, default=str)
    return found


def _take(keys: Mapping[str, str], trained: Mapping[str, Path], options: Options) -> int:
    """Copy from other runs the first phases that they have alike; returns how many are there so."""
    taken = 0
    for name, key in keys.items():
        place = Path(options.output_dir) / name
        is_replaced = options.overwrite and (place / RECORD).exists()
        if key not in trained or (place.exists() and not is_replaced):
            break
        folder = PhaseFolder(place.parent, name)
        with folder.locked():
            folder.take_lock()
            folder.check_inputs(*options.teachers.values(), options.student)
            partial = place.with_name(f"{name}.partial")
            for old in (partial, place):
                shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(trained[key], partial)
            partial.rename(place)
        print(f"{name}: copied from {trained[key]}, which has the same settings")
        taken += 1
    return taken


def summarise(chosen: Sequence[Cell], folders: Sequence[Path], main_metric: str) -> dict[str, Any]:
    """What the runs reached on dev, by their settings, the best first.

    Of each metric the mean over the seeds, the sample standard deviation and the values. Where phases measure losses
    alone, the smallest first of them is the best.
    """
    rows: dict[str, dict[str, Any]] = {}
    for cell, folder in zip(chosen, folders, strict=True):
        record = PhaseFolder(folder.parent, folder.name).read()
        assert record is not None
        row = rows.setdefault(Cell(cell.changes).folder, {"settings": dict(cell.changes), "runs": []})
        row["runs"].append({"seed": record["settings"]["seed"], "path": str(folder), "dev": record["dev"]})
    for row in rows.values():
        values = {name: [run["dev"][name] for run in row["runs"]] for name in row["runs"][0]["dev"]}
        row["dev"] = {
            name: {"mean": statistics.fmean(each), "spread": statistics.stdev(each) if len(each) > 1 else None}
            for name, each in values.items()
        }
    first = next(iter(rows.values()))
    by = main_metric if main_metric in first["dev"] else next(iter(first["dev"]))
    sign = 1 if by == main_metric else -1
    ordered = sorted(rows.values(), key=lambda row: -sign * row["dev"][by]["mean"])
    best = max((run for row in ordered for run in row["runs"]), key=lambda run: sign * run["dev"][by])
    return {"by": by, "settings": ordered, "best": best, "versions": versions()}


def _tell(summary: dict[str, Any], output: Path) -> None:
    """Write `sweep.json` and `sweep.md`, and show the table."""
    write_json(output / "sweep.json", summary)
    rows, notes = table(summary), notes_on(summary)
    with whole_file(output / "sweep.md") as partial:
        partial.write_text("\n".join(["# Runs", "", *table_lines(rows), "", *notes, ""]), encoding="utf-8")
    print(f"\n{to_text(rows)}\n")
    for note in notes:
        print(note)
    for name in ("sweep.md", "sweep.json"):
        print(f"report: {output / name}")


def table(summary: dict[str, Any]) -> list[list[str]]:
    """A header, and a row for each setting, as text."""
    settings = summary["settings"]
    names = list(settings[0]["settings"])
    metrics = sorted(settings[0]["dev"], key=lambda name: name != summary["by"])
    rows = [[*names, "runs", *(f"dev {name}" for name in metrics)]]
    for row in settings:
        figures = []
        for name in metrics:
            of = row["dev"][name]
            figures.append(f"{of['mean']:.4f}" + ("" if of["spread"] is None else f" ± {of['spread']:.4f}"))
        rows.append([*(_as_text(value) for value in row["settings"].values()), f"{len(row['runs'])}", *figures])
    return rows


def notes_on(summary: dict[str, Any]) -> list[str]:
    """What the figures are, and which run is the best."""
    count = sum(len(row["runs"]) for row in summary["settings"])
    best, by = summary["best"], summary["by"]
    found = []
    if any(row["dev"][by]["spread"] is not None for row in summary["settings"]):
        found.append("Figures are means over the seeds ± their sample standard deviation.")
    if count > 1:
        found.append(
            f"The best of {count} runs by dev {by} ({best['dev'][by]:.4f}, seed {best['seed']}): {best['path']}. "
            "Its score is optimistic: it was chosen by the rows that it is measured on."
        )
    return found
