"""What teachers compute for a batch, by the name of the teacher: live, or from columns that were computed before."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinydistill.encoders.cpu.products import prepare_products
from tinydistill.encoders.precision import autocast
from tinydistill.features import AdaptedReader, Adaptor, FeatureReader, Features, Reader
from tinydistill.models import with_shared_weights
from tinydistill.objectives import ANY_TEACHER, TEACHER, Objective


class TeacherSignal(Protocol):
    """What the student is compared with."""

    def __call__(self, batch: Mapping[str, Tensor]) -> Mapping[str, Features]:
        """Features by the teacher's name, without a gradient."""


class NoTeacher:
    """Of a phase that learns from gold labels alone."""

    def __call__(self, batch: Mapping[str, Tensor]) -> Mapping[str, Features]:
        return {}


class LiveTeacher:
    """A model that is run on every batch. It stays as it was: a copy over the same weights runs."""

    def __init__(
        self,
        model: PreTrainedModel | nn.Module,
        objectives: Sequence[Objective],
        precision: str,
        device: torch.device,
        name: str = TEACHER,
        adaptor: Adaptor | None = None,
    ):
        """objectives: resolved; only what they compare is computed. adaptor: of what is no transformers model."""
        self.name, self.precision, self.device = name, precision, device
        # A device without a number is the current one of its type.
        is_there = all(parameter.device.type == device.type for parameter in model.parameters())
        self.model = with_shared_weights(model) if is_there else copy.deepcopy(model).to(device)
        self.model.eval()
        if adaptor is None:  # another module may multiply by its layers' weights itself
            prepare_products(self.model, precision)
        own = [objective for objective in objectives if objective.teacher in (name, ANY_TEACHER)]
        self._read: Reader
        with autocast(precision, device):
            self._read = AdaptedReader(adaptor, own, 1, name) if adaptor else FeatureReader(self.model, own, side=1)

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> Mapping[str, Features]:
        with autocast(self.precision, self.device):
            return {self.name: self._read(self.model, batch)}


class Teachers:
    """Several signals as one."""

    def __init__(self, signals: Iterable[TeacherSignal]):
        self.signals = list(signals)

    def __call__(self, batch: Mapping[str, Tensor]) -> Mapping[str, Features]:
        return {name: features for signal in self.signals for name, features in signal(batch).items()}


class CachedTeachers:
    """Teachers whose logits are columns of the dataset, which `teacher_logits.py` computes: no forward pass."""

    def __init__(self, names: Iterable[str] = (TEACHER,)):
        self.columns = {name: logits_column(name) for name in names}

    def __call__(self, batch: Mapping[str, Tensor]) -> Mapping[str, Features]:
        return {name: Features(logits=batch[column]) for name, column in self.columns.items() if column in batch}


def logits_column(teacher: str) -> str:
    """The column of a dataset that holds the teacher's logits, (N, C)."""
    return f"{teacher}_logits"
