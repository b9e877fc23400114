"""What a report says of models by themselves and beside their teacher, from one pass over dev each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from glue_tasks.task import Task
from tinydistill.checks import check_pieces, check_positions
from tinydistill.data import count_rows, left_out
from tinydistill.encoders import precision
from tinydistill.encoders.precision import device
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.ensemble import BY_LABEL, Ensemble
from tinydistill.evaluation import predict
from tinydistill.kinds import TaskKind, kind_of
from tinydistill.kinds.multi_label import MultiLabel
from tinydistill.kinds.tokens import Tokens
from tinydistill.label_order import is_unnamed
from tinydistill.models import size_on_disk
from tinydistill.options import Options
from tinydistill.outputs import OfSpans
from tinydistill.preparation import shares_of
from tinydistill.report import analysis, statistics
from tinydistill.report.parts import parameters_by_part
from tinydistill.task_data import load_dev, texts_of_rows

ENSEMBLE = "ensemble"  # of several teachers
Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Outputs:
    """What a model gives on a dev split, as its own tokenizer reads that."""

    values: np.ndarray  # (P, C)
    data: Dataset


def describe(
    task: Task, options: Options, models: Mapping[str, PreTrainedModel], paths: Mapping[str, str], floor: str = ""
) -> Entries:
    """What a report has of models, by name: scores, their intervals, parameters, size, and how they differ.

    Where there are several teachers among them, their ensemble is one more. floor: the name of a student without a
    teacher, with which the other students are compared too.

    The models' outputs are in the task's order as far as they name them. Raises UserError if a model without names has
    them in another order, as dev tells, or if a model cannot read sentences of the maximum length.
    """
    entries, outputs = measured(task, options, models, paths)
    _compare(kind_of(task), options, entries, outputs, floor)
    return entries


def measured(
    task: Task, options: Options, models: Mapping[str, PreTrainedModel], paths: Mapping[str, str]
) -> tuple[Entries, dict[str, dict[str, Outputs]]]:
    """Scores and sizes of models, by name, and their outputs on each dev split by name; each reads the dev set with
    its own tokenizer."""
    kind = kind_of(task)
    how = precision.resolve(options.precision, device())
    entries: Entries = {}
    found: dict[str, dict[str, Outputs]] = {split: {} for split in task.dev_splits}
    for name, model in models.items():
        folder = Path(paths[name])
        check_positions(model, f"model {paths[name]}", options.max_length)
        tokenizer = load_tokenizer(paths[name])
        check_pieces(model.config, tokenizer, f"model {paths[name]}")
        dev = load_dev(kind, options, tokenizer)
        collate = kind.collate(tokenizer, options.max_length if options.padding == "max_length" else None)
        scores, details = {}, {}
        for split, data in dev.items():
            outputs = predict(model, data, collate, how, kept=kind.outputs)
            if split == task.dev_splits[0]:
                unnamed = is_unnamed(task, model, paths[name])
                doubts = kind.doubts(paths[name], outputs, data, unnamed)
                for note in (*(doubts.notes if unnamed else []), *doubts.serious):
                    print(f"note: {note}")
            scores[split] = kind.score(outputs, data, model.config)
            if of_split := kind.details(outputs, data, model.config):
                details[split] = of_split
            found[split][name] = Outputs(outputs, data)
        entries[name] = {
            "path": paths[name],
            "parameters": model.num_parameters(),
            "parts": parameters_by_part(model),
            # A hub id has no folder of ours: what its weights take in float32.
            "bytes": size_on_disk(folder) if folder.is_dir() else 4 * model.num_parameters(),
            "layers": model.config.num_hidden_layers,
            "hidden_size": model.config.hidden_size,
            "dev": scores,
            **({"dev_details": details} if details else {}),
            "dev_rows": {split: {"rows": count_rows(data), **left_out(data)} for split, data in dev.items()},
        }
    if len(teachers := [name for name in options.teachers if name in entries]) > 1:
        entries[ENSEMBLE] = _ensemble(kind, options, {name: entries[name] for name in teachers}, found)
    return entries, found


def _ensemble(
    kind: TaskKind,
    options: Options,
    entries: Mapping[str, dict[str, Any]],
    outputs: Mapping[str, dict[str, Outputs]],
) -> dict[str, Any]:
    """The mean of the teachers, as students see it at temperature 1. outputs: gets those of the mean."""
    main = kind.task.dev_splits[0]
    first = next(iter(entries))
    chance = kind.chance(outputs[main][first].data)
    reached = {name: entry["dev"][main][kind.task.main_metric] - chance for name, entry in entries.items()}
    ensemble = Ensemble(
        shares_of(options, reached),
        # Of spans probabilities are over a window's pieces, which do not lie together here.
        "logits" if isinstance(kind.outputs, OfSpans) else options.teacher_mean,
        kind.losses["logits"] == BY_LABEL,
    )
    scores = {}
    for split, by_name in outputs.items():
        mean = ensemble.mean({name: torch.from_numpy(by_name[name].values) for name in entries}).numpy()
        by_name[ENSEMBLE] = Outputs(mean, by_name[first].data)
        scores[split] = kind.score(mean, by_name[first].data)
    return {
        "title": f"ensemble of {len(entries)} teachers",
        "path": ", ".join(entry["path"] for entry in entries.values()),
        "shares": dict(ensemble.shares),
        **{key: sum(entry[key] for entry in entries.values()) for key in ("parameters", "bytes")},
        "parts": {part: sum(entry["parts"][part] for entry in entries.values()) for part in entries[first]["parts"]},
        "dev": scores,
        "dev_rows": entries[first]["dev_rows"],
    }


def _compare(
    kind: TaskKind, options: Options, entries: Entries, outputs: Mapping[str, dict[str, Outputs]], floor: str
) -> None:
    """Add to the entries intervals, tests of differences, and where models are right, by the outputs on each split."""
    main, metric = kind.task.dev_splits[0], kind.task.main_metric
    teacher = ENSEMBLE if ENSEMBLE in entries else next((name for name in options.teachers if name in entries), "")
    for entry in entries.values():
        entry["intervals"] = {}
    for split, by_name in outputs.items():
        drawn = {}
        for name, of in by_name.items():
            units = kind.units(of.values, of.data, entries[name]["dev"][split])
            drawn[name] = statistics.drawn_scores(units)
            entries[name]["intervals"][split] = statistics.intervals(drawn[name])
            if split == main:
                entries[name]["drawn"] = {"what": units.name, "units": len(units)}
                entries[name]["by_length"] = {"measure": units.measure, "parts": analysis.by_length(units, metric)}
        if split != main:
            continue
        for other, key in ((teacher, "against_teacher"), (floor, "against_floor")):
            for name in entries:
                # A model's tokenizer decides windows, never which rows there are: all have as many.
                if other and name != other and name not in options.teachers and name != ENSEMBLE and drawn[name]:
                    own, theirs = (entries[each]["dev"][main][metric] for each in (name, other))
                    tested = statistics.paired(own, theirs, drawn[name][metric], drawn[other][metric])
                    to = "teacher" if other == teacher else other
                    entries[name][key] = {"metric": metric, "split": main, "to": to, **tested}
    _look_at_answers(kind, options, entries, outputs[main], teacher)


def _look_at_answers(
    kind: TaskKind, options: Options, entries: Entries, outputs: Mapping[str, Outputs], teacher: str
) -> None:
    labels, main = kind.task.labels, kind.task.dev_splits[0]
    said = {name: kind.said(of.values, of.data, entries[name]["dev"][main]) for name, of in outputs.items()}
    theirs = said.get(teacher)
    for name, of in outputs.items():
        if isinstance(kind, MultiLabel):
            chosen = kind.label_sets(of.values, entries[name]["dev"][main]["threshold"])
            entries[name]["by_class"] = analysis.by_label(chosen, kind.references(of.data), labels)
        if classes := kind.classes(of.values, of.data):
            entries[name] |= analysis.of_classes(classes, labels)
        own = said[name]
        if own is None or theirs is None or name in (*options.teachers, ENSEMBLE) or len(own.gold) != len(theirs.gold):
            continue
        entries[name]["agreement"] = analysis.agreement(own, theirs)
        shown = _shown(kind, options, main, analysis.most_confident(own, theirs).tolist(), of.data)
        entries[name]["disagreements"] = analysis.disagreements(own, theirs, shown)


def _shown(
    kind: TaskKind, options: Options, split: str, rows: Sequence[int], data: Dataset
) -> dict[int, analysis.Shown]:
    """The texts of what was answered: rows of a file, or tokens of its sentences."""
    if not isinstance(kind, Tokens):
        return {row: analysis.of_texts(row, texts) for row, texts in texts_of_rows(kind, options, split, rows).items()}
    places = dict(zip(rows, kind.places(data)[rows].tolist(), strict=True))
    sentences = texts_of_rows(kind, options, split, {sentence for sentence, _ in places.values()})
    return {
        row: analysis.of_token(sentence, sentences[sentence], token, kind.joint)
        for row, (sentence, token) in places.items()
    }
