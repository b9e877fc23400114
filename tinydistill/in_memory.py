"""Models that are loaded and datasets in memory, for those who write the loop themselves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from datasets import ClassLabel, Dataset, List
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from glue_tasks import labels
from glue_tasks.errors import UserError
from glue_tasks.metrics import OF_KIND
from glue_tasks.task import Task
from tinydistill import checks
from tinydistill.adaptors import config_of, is_transformers, sizes_of, tried
from tinydistill.data import PLACES, flat_column
from tinydistill.distiller import Distiller
from tinydistill.ensemble import BY_LABEL, Ensemble
from tinydistill.features import AdaptedReader, Adaptor, Features, check_given
from tinydistill.kinds import kind_of
from tinydistill.kinds.sentences import Sentences
from tinydistill.models import with_shared_weights
from tinydistill.objectives import ANY_TEACHER, TEACHER, Objective
from tinydistill.options import Options
from tinydistill.phases import PHASES
from tinydistill.resolving import Sizes, resolve
from tinydistill.settings import check_ranges, merge

# Options that say how two models are compared, and how long texts may be; the others are TrainingArguments' work.
_NAMES = ("layer_map", "projection", "heads", "temperature", "loss_scale", "teacher_mean", "max_length", "noise")
TINYBERT = (*PHASES["intermediate"].objectives, *PHASES["prediction"].objectives)


def task_of(config: PreTrainedConfig, name: str = "custom", model: Any = None) -> Task:
    """A task of the labels and the kind that a model's configuration states, with columns `text` and `label`.

    model: one that has the configuration; of tokens if its head is.
    """
    if has_tags(model):
        tags = tuple(config.id2label[i] for i in range(config.num_labels))
        return Task(name, "", ("tokens",), "tags", tags, OF_KIND["tokens"], kind="tokens")
    if type(model).__name__.endswith("ForQuestionAnswering"):
        raise UserError(
            "DistillationTrainer does not know which pieces of a dataset are the context of a question; use distill(), "
            "which reads questions, contexts and answers"
        )
    kind = {"regression": "regression", "multi_label_classification": "multi-label"}.get(config.problem_type or "")
    kind = kind or ("regression" if config.num_labels == 1 else "classification")
    metrics = {"regression": ("pearson", "spearman"), "multi-label": ("micro_f1", "macro_f1")}.get(kind, ("accuracy",))
    labels = () if kind == "regression" else tuple(config.id2label[i] for i in range(config.num_labels))
    return Task(
        name=name,
        summary="",
        text_columns=("text",),
        label_column="label",
        labels=labels,
        metrics=metrics,
        kind=kind,
    )


def has_tags(model: Any) -> bool:
    """Whether a model gives each piece a label."""
    return type(model).__name__.endswith("ForTokenClassification")


def options_of(given: Mapping[str, Any]) -> Options:
    """What a DistillationTrainer is told beside transformers' arguments. Raises UserError for what cannot be."""
    if unknown := given.keys() - set(_NAMES):
        raise UserError(f"DistillationTrainer has no option {min(unknown)!r}; there are {', '.join(_NAMES)}")
    values: dict[str, Any] = {"max_length": _MAX_LENGTH}
    merge(values, given, Options, "DistillationTrainer")
    options = Options(**values)
    check_ranges(options)
    return options


_MAX_LENGTH = 128  # where none is given; a shorter one if the tokenizer says so


def as_distiller(
    student: PreTrainedModel | nn.Module,
    teacher: Any,
    objectives: Sequence[Objective],
    options: Options,
    adaptor: Adaptor | None = None,
    adaptors: Mapping[str, Adaptor] | None = None,
    batch: Mapping[str, Tensor] | None = None,
) -> Distiller:
    """The student, over the same weights, with its projections and objectives; they are resolved for the two models.

    teacher: a model, several by name, or None or a signal, of which nothing is known: its layers must then be named.
    adaptor, adaptors: of the student and of teachers by name, for those that are no transformers models. batch: what
    they are tried on; without one, nothing is known of them before the first step. Raises UserError.
    """
    objectives = objectives or TINYBERT
    models = by_name(teacher)
    kind = kind_of(task_of(labels_config(student, models), model=student))
    if teacher is None and any(each.feature != "labels" for each in objectives):
        raise UserError("the objectives compare the student with a teacher, and there is none; give one as teacher=")
    own = _Known.of(student, adaptor, batch, "student")
    known = {name: _Known.of(model, (adaptors or {}).get(name), batch, name) for name, model in models.items()}
    # Of a signal nothing is known but that it fits.
    sizes = {name: each.sizes for name, each in known.items()} or {TEACHER: own.sizes}
    _check(objectives, own, known, resolved=False)
    resolved = resolve(objectives, kind.losses, own.sizes, sizes, options)
    _check(resolved, own, known, resolved=True)
    ensemble = Ensemble(
        dict.fromkeys(models, 1 / max(len(models), 1)),
        options.teacher_mean,
        kind.losses["logits"] == BY_LABEL,
    )
    return Distiller(
        with_shared_weights(student),
        resolved,
        {name: each.widths or each.width for name, each in sizes.items()},
        kind.outputs,
        ensemble,
        AdaptedReader(adaptor, resolved) if adaptor else None,
        own.sizes.widths or own.sizes.width,
    )


@dataclass(frozen=True)
class _Known:
    """What is known of a model before the first step. features: of one with an adaptor that could be tried."""

    who: str
    sizes: Sizes
    features: Features | None = None

    @staticmethod
    def of(model: Any, adaptor: Adaptor | None, batch: Mapping[str, Tensor] | None, who: str) -> "_Known":
        """Raises UserError if the model does not work with its adaptor."""
        if adaptor is None:
            return _Known(who, Sizes.of(model.config))
        if batch is None:
            return _Known(who, Sizes())
        features = tried(model, adaptor, batch, who)
        return _Known(who, sizes_of(features), features)

    def check(self, objective: Objective, side: Literal[0, 1], resolved: bool) -> None:
        """Raises UserError if an objective's feature is not there, or layers that it does not name cannot be known."""
        if self.features is not None:
            check_given(objective, self.features, side, self.who, layers=resolved)
        if objective.compares_layers and isinstance(objective.layers, str) and not self.sizes.layers:
            raise UserError(
                f"the objective {objective.label} does not name its layers, and how many the {self.who} has is not "
                "known; name them with layers=((student's, teacher's), ...)"
            )


def _check(objectives: Iterable[Objective], student: _Known, teachers: Mapping[str, _Known], resolved: bool) -> None:
    for each in objectives:
        student.check(each, 0, resolved)
        for name, teacher in teachers.items():
            if each.teacher in (name, ANY_TEACHER):
                teacher.check(each, 1, resolved)


def labels_config(student: Any, teachers: Mapping[str, Any]) -> PreTrainedConfig:
    """What says which labels there are: the student's configuration, else a teacher's, else that of two labels."""
    found = (config_of(model) for model in (student, *teachers.values()))
    return next((config for config in found if config is not None), PreTrainedConfig())


def by_name(teacher: Any) -> dict[str, Any]:
    """The models among what a trainer was given as its teacher: one, or several by name."""
    if isinstance(teacher, nn.Module):
        return {TEACHER: teacher}
    return dict(teacher) if isinstance(teacher, Mapping) else {}


def encode_dataset(
    data: Dataset | None,
    tokenizer: PreTrainedTokenizerBase | None,
    student: Any,
    config: PreTrainedConfig,
    max_length: int,
) -> Dataset | None:
    """A dataset of texts tokenised, with the column `length`; one that is tokenised gets that column alone.

    config: what says which labels there are.
    Raises UserError if it has neither `text` nor `input_ids`, or labels that are none of the model's.
    """
    if not isinstance(data, Dataset):  # of a loader of your own
        return data
    if "labels" not in data.column_names and "label" in data.column_names:
        data = data.rename_column("label", "labels")
    if "input_ids" not in data.column_names:
        if "text" not in data.column_names:
            raise UserError(
                f"the dataset has the columns {', '.join(data.column_names)}; name those of its texts `text` and "
                "`text_pair` (rename_column), or tokenise it into `input_ids`"
            )
        if tokenizer is None:
            raise UserError("a dataset of texts needs processing_class, the tokenizer")
        if is_transformers(student):
            checks.check_pieces(student.config, tokenizer, "student")
        texts = [name for name in ("text", "text_pair") if name in data.column_names]
        length = min(tokenizer.model_max_length, max_length)
        data = data.map(
            lambda rows: tokenizer(
                *(rows[name] for name in texts),
                truncation="longest_first",
                max_length=length,
                return_attention_mask=False,
            ),
            batched=True,
            remove_columns=texts,
            desc="tokenise",
        )
    if has_tags(student) and PLACES not in data.column_names:
        data = _at_places(data)
    elif "labels" in data.column_names:
        data = _with_label_ids(data, config)
    texts = [name for name, kind in data.features.items() if getattr(kind, "dtype", "") in ("string", "large_string")]
    data = data.remove_columns(texts)
    if "length" not in data.column_names:
        data = data.add_column("length", [len(ids) for ids in data["input_ids"]])
    return data


def _at_places(data: Dataset) -> Dataset:
    """Labels of pieces, -100 where there is none, as those of the pieces that have one. Raises UserError without."""
    if not isinstance(data.features.get("labels"), List):
        raise UserError(
            "a model of tokens learns from a dataset that is tokenised, with a list of labels for each row, -100 for "
            "pieces that have none; or give tokens and tags to distill()"
        )

    def of_rows(rows: dict[str, list]) -> dict[str, list]:
        places = [[i for i, label in enumerate(labels) if label >= 0] for labels in rows["labels"]]
        labels = [[labels[i] for i in own] for labels, own in zip(rows["labels"], places, strict=True)]
        return {PLACES: places, "labels": labels}

    return data.map(of_rows, batched=True, desc="labels of pieces")


def _with_label_ids(data: Dataset, config: PreTrainedConfig) -> Dataset:
    """Labels that have names as the positions of the model's outputs of these names; numbers stay as they are."""
    kind, task = data.features["labels"], task_of(config)
    is_named = isinstance(kind, ClassLabel) and not labels.are_numbers(kind.names)
    if not is_named and getattr(kind, "dtype", "") not in ("string", "large_string"):
        return data
    if labels.are_numbers(task.labels) and is_named:
        return data  # the model says nothing of what its outputs mean
    names = kind.names if is_named else data.unique("labels")
    ids = {name: labels.label_id(task, name) for name in names}
    unknown = [name for name, label in ids.items() if label is None]
    if unknown and labels.are_numbers(task.labels):
        raise UserError(
            f"the dataset has the label {unknown[0]!r}, and no model's configuration names its labels; give their "
            "numbers, in the order of the student's outputs"
        )
    if unknown:
        raise UserError(
            f"the dataset has the label {unknown[0]!r}, the student {', '.join(task.labels)}; name them alike in its "
            "configuration (id2label and label2id)"
        )
    found = [ids[names[each] if is_named else each] for each in data["labels"]]
    return data.remove_columns("labels").add_column("labels", found)


def references(config: PreTrainedConfig, data: Dataset) -> np.ndarray | None:
    """The gold labels of a dataset for a model of the configuration, or None if it has none; of tokens those of all,
    one row's after the other's."""
    if "labels" not in data.column_names:
        return None
    if PLACES in data.column_names:
        return flat_column(data, "labels")
    kind = kind_of(task_of(config))
    assert isinstance(kind, Sentences)
    return kind.references(data)
