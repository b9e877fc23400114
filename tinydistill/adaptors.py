"""Students and teachers that are no transformers models: any module, with an adaptor that says what it gives."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from glue_tasks.errors import UserError, is_outside
from tinydistill.features import Adaptor, Features, check_shapes, in_evaluation
from tinydistill.objectives import nearest
from tinydistill.resolving import Sizes

_ROWS = 2  # of the batch on which a module is tried


def is_transformers(model: Any) -> bool:
    """Whether a model can be read without an adaptor; also one of transformers inside of another library's."""
    return isinstance(model, PreTrainedModel) or (config_of(model) is not None and hasattr(model, "base_model"))


def config_of(model: Any) -> PreTrainedConfig | None:
    """The configuration of a transformers model, or of a module that has one."""
    config = getattr(model, "config", None)
    return config if isinstance(config, PreTrainedConfig) else None


def by_teacher(given: Adaptor | Mapping[str, Adaptor] | None, teachers: Mapping[str, nn.Module]) -> dict[str, Adaptor]:
    """The adaptors of teachers by name. Raises UserError if one is of no teacher, or a teacher needs one."""
    if given is not None and not teachers:
        raise UserError("there is a teacher_adaptor, and no model as teacher=; leave it out")
    if given is None or isinstance(given, Mapping):
        adaptors = dict(given or {})
    elif len(teachers) > 1:
        raise UserError(f"there are the teachers {', '.join(teachers)}; give teacher_adaptor by name, as a dict")
    else:
        adaptors = dict.fromkeys(teachers, given)
    for name in adaptors:
        if name not in teachers:
            raise UserError(
                f"there is a teacher_adaptor of {name!r}, which is no teacher; there are {', '.join(teachers)}"
                f"{nearest(name, teachers)}"
            )
    for name, model in teachers.items():
        check_readable(model, adaptors.get(name), name, "teacher_adaptor")
    return adaptors


def check_readable(model: Any, adaptor: Adaptor | None, who: str, argument: str) -> None:
    """Raises UserError if a model cannot be read. who: what the error calls it."""
    if adaptor is not None and not callable(adaptor):
        raise UserError(f"the {argument} is a {type(adaptor).__name__}; give a function of batch and outputs")
    if not isinstance(model, nn.Module):
        raise UserError(f"the {who} is a {type(model).__name__}; give a loaded model")
    if adaptor is None and not is_transformers(model):
        raise UserError(
            f"the {who} is a {type(model).__name__}, which is no transformers model; say what it gives with "
            f"{argument}=, a function (batch, outputs) -> tinydistill.Features"
        )


def sample_batch(data: Any, encode: Callable[[Dataset], Dataset], collate: Callable) -> dict[str, Tensor] | None:
    """A batch of the first two rows of a dataset, or None where that cannot be had of it."""
    if not isinstance(data, Dataset) or not len(data):
        return None
    rows = Dataset.from_dict(data[:_ROWS], features=data.features)  # in memory: nothing of it is kept on disk
    return collate(encode(rows).to_list())


@torch.no_grad()
def tried(model: nn.Module, adaptor: Adaptor, batch: Mapping[str, Tensor], who: str) -> Features:
    """What the adaptor gives for a batch, by the model in evaluation mode; model and random state stay as they were.

    Raises UserError if the module cannot be called with the batch, or the adaptor does not take what it gives.
    """
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    batch = {name: values.to(place) for name, values in batch.items()}
    with in_evaluation(model), torch.random.fork_rng():
        try:
            features = adaptor(batch, model(batch))
        except Exception as error:
            if is_outside(error):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(
                f"the {who} ({type(model).__name__}) and its adaptor do not work on a batch of two rows "
                f"({reason}); with an adaptor a module is called with the batch, a dict of "
                f"{', '.join(sorted(batch))}, as its one argument"
            ) from error
    check_shapes(features, batch, who)
    return features


def sizes_of(features: Features) -> Sizes:
    """What objectives ask of a model, as far as its features tell."""
    layers = max([0, *features.hidden, *(block + 1 for block in features.attention)])
    widths = {layer: states.shape[-1] for layer, states in features.hidden.items()}
    first = next(iter(features.attention.values()), None)
    if first is not None:
        heads, width = first.query.shape[1], first.query.shape[1] * first.query.shape[3]
        return Sizes(layers, width, heads, widths, width)
    return Sizes(layers, widths[max(widths)] if widths else 0, 0, widths)
