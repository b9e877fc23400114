"""Parameters and memory of a model, as a tree of its modules; of two models, beside each other.

A weight that several modules share, such as the word embeddings of a masked LM, is counted once, where it is met first.
Buffers are no parameters: they are named apart, and count nowhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill.encoders.skeleton import Skeleton, build_on_meta, counterpart, load_skeleton
from tinydistill.in_memory import task_of
from tinydistill.students import StudentSpec, student_config


@dataclass(frozen=True)
class Row:
    """A module, or a parameter that lies in a module directly."""

    name: str  # "bert.encoder"; "" is the whole model
    parameters: int  # without those that are counted elsewhere
    share: float  # of the whole model's
    bytes: int  # of these
    trained: int  # of these
    shared: int  # further ones, which are counted elsewhere
    shared_with: tuple[str, ...]  # where

    @property
    def depth(self) -> int:
        """0 for the whole model, 1 for its modules."""
        return self.name.count(".") + 1 if self.name else 0

    @property
    def frozen(self) -> int:
        """Parameters that are not trained."""
        return self.parameters - self.trained


@dataclass(frozen=True)
class Buffer:
    """A tensor of a model that is no parameter, such as the numbers of the positions."""

    name: str
    values: int
    bytes: int  # in memory


@dataclass(frozen=True)
class Tree:
    """The rows from the whole model downwards, each followed by what it holds."""

    name: str
    model: str  # its class
    rows: tuple[Row, ...]
    buffers: tuple[Buffer, ...]
    dtypes: tuple[str, ...]  # of the parameters, most bytes first
    where: str  # "in memory" or "on disk": what the bytes are of
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> Row:
        return self.rows[0]


@dataclass(frozen=True)
class Pair:
    """A row of two models; None where one has no module of that name."""

    name: str
    first: Row | None
    second: Row | None

    @property
    def times_smaller(self) -> float | None:
        """The first's parameters by the second's, if both have some."""
        if self.first and self.second and self.first.parameters and self.second.parameters:
            return self.first.parameters / self.second.parameters
        return None


def tree(
    model: nn.Module,
    depth: int = 2,
    name: str = "",
    dtypes: Mapping[str, torch.dtype] | None = None,
    where: str = "in memory",
    below: str = "",
) -> Tree:
    """Count the parameters of a model, module by module to `depth`; plain numbers, nothing of the model is kept.

    dtypes: of parameters by name, where bytes are to be counted at others than those in memory; `where` says which.
    below: a name to put before those of the modules, by which a body aligns with one that has a head.
    Parameters over the same memory are one; parts of it that overlap otherwise are counted each. Raises UserError for a
    depth below 1.
    """
    if depth < 1:
        raise UserError(f"a depth of {depth} shows no module; give 1 or more")
    first: dict[object, str] = {}  # where each weight is met first
    trained: set[object] = set()  # also where only one of several over the same memory is
    for key, parameter in _parameters(model, below):
        first.setdefault(_identity(parameter), key)
        if parameter.requires_grad:
            trained.add(_identity(parameter))
    rows: dict[str, _Count] = {"": _Count()}
    by_dtype: dict[str, int] = {}
    for key, parameter in _parameters(model, below):
        identity, counted = _identity(parameter), parameter.numel()
        dtype = (dtypes or {}).get(key.removeprefix(f"{below}.") if below else key, parameter.dtype)
        parts = key.split(".")
        for length in range(min(len(parts), depth) + 1):
            row = rows.setdefault(".".join(parts[:length]), _Count())
            if first[identity] != key:
                row.shared.append((key, first[identity], counted))
                continue
            row.parameters += counted
            row.bytes += counted * dtype.itemsize
            row.trained += counted * (identity in trained)
        if first[identity] == key:
            told = str(dtype).removeprefix("torch.")
            by_dtype[told] = by_dtype.get(told, 0) + counted * dtype.itemsize
    buffers = [
        Buffer(f"{below}.{key}" if below else key, buffer.numel(), buffer.nbytes)
        for key, buffer in model.named_buffers()
    ]
    total = rows[""].parameters
    return Tree(
        name or type(model).__name__,
        type(model).__name__,
        tuple(row.as_row(key, total) for key, row in rows.items()),
        tuple(buffers),
        tuple(sorted(by_dtype, key=lambda each: -by_dtype[each])),
        where,
        tuple(_notes(model)),
    )


def trees(first: str, second: str = "", depth: int = 2) -> list[Tree]:
    """One or two models, each a folder or a hub id; the second may be a student's form, built of the first.

    Raises UserError if there is none, or if a form stands first.
    """
    if depth < 1:
        raise UserError(f"a depth of {depth} shows no module; give --depth 1 or more")
    spec = StudentSpec.parse(first)
    if not spec.path:
        raise UserError(
            f"{first} is the form of a student, which takes its kind from a teacher; name the teacher first"
        )
    models = [load_skeleton(first)]
    if second and (spec := StudentSpec.parse(second)).path:
        models.append(load_skeleton(second))
    elif second:
        teacher = models[0].model
        config = student_config(spec, teacher.config, task_of(teacher.config))
        models.append(Skeleton(build_on_meta(config, second, counterpart(type(teacher), config)), {}, "as it is built"))
    prefixes = {each.model.base_model_prefix for each in models}
    align = len({_is_body(each.model) for each in models}) > 1 and len(prefixes) == 1
    below = [each.model.base_model_prefix if align and _is_body(each.model) else "" for each in models]
    return [
        tree(each.model, depth, name, each.dtypes, each.source, prefix)
        for each, name, prefix in zip(models, (first, second), below, strict=False)
    ]


def pairs(first: Tree, second: Tree) -> list[Pair]:
    """The rows of two models by name: each row of either, in the first's order, what the second adds after it."""
    rows = [{row.name: row for row in each.rows} for each in (first, second)]
    inner: dict[str, dict[str, None]] = {}  # the names right below each
    for name in (name for each in rows for name in each if name):
        inner.setdefault(name.rpartition(".")[0], {})[name] = None

    def walk(name: str) -> Iterator[Pair]:
        yield Pair(name, rows[0].get(name), rows[1].get(name))
        for each in inner.get(name, ()):
            yield from walk(each)

    return list(walk(""))


def as_json(told: list[Tree]) -> dict[str, Any]:
    """What the table shows as plain dictionaries and numbers; of two models also `pairs`, by name."""
    entries: dict[str, Any] = {"models": [_tree_as_json(each) for each in told]}
    if len(told) == 2:
        entries["pairs"] = [
            {
                "name": pair.name,
                "parameters": [row.parameters if row else None for row in (pair.first, pair.second)],
                "times_smaller": pair.times_smaller,
            }
            for pair in pairs(*told)
        ]
    return entries


def _tree_as_json(each: Tree) -> dict[str, Any]:
    whole = each.whole
    return {
        "name": each.name,
        "class": each.model,
        "parameters": whole.parameters,
        "trained": whole.trained,
        "frozen": whole.frozen,
        "bytes": whole.bytes,
        "dtypes": list(each.dtypes),
        "bytes_are": each.where,
        "rows": [{**vars(row), "shared_with": list(row.shared_with), "frozen": row.frozen} for row in each.rows],
        "buffers": [dict(vars(buffer)) for buffer in each.buffers],
        "notes": list(each.notes),
    }


class _Count:
    """A row while it is counted."""

    def __init__(self) -> None:
        self.parameters = self.bytes = self.trained = 0
        self.shared: list[tuple[str, str, int]] = []  # the name, that under which it is counted, values

    def as_row(self, name: str, total: int) -> Row:
        outside = [each for each in self.shared if not _is_in(each[1], name)]
        return Row(
            name,
            self.parameters,
            self.parameters / total if total else 0.0,
            self.bytes,
            self.trained,
            sum(values for _, _, values in outside),
            tuple(_sources(name, outside)),
        )


def _sources(name: str, shared: Iterable[tuple[str, str, int]]) -> list[str]:
    """Where the shared weights of a row are counted: one module, if all of them have their place in it; or each."""
    found: dict[str, None] = {}
    for key, source, _ in shared:
        rest = key[len(name) :]  # "" or ".decoder.weight"
        found[source.removesuffix(rest) if rest and source.endswith(rest) else source] = None
    return list(found)


def _is_in(key: str, name: str) -> bool:
    return not name or key == name or key.startswith(f"{name}.")


def _parameters(model: nn.Module, below: str) -> Iterator[tuple[str, nn.Parameter]]:
    """Every name of every parameter, also further ones of the same."""
    for key, parameter in model.named_parameters(remove_duplicate=False):
        yield (f"{below}.{key}" if below else key), parameter


def _identity(tensor: Tensor) -> object:
    """What two parameters over the same memory have in common; on the meta device, which has none, themselves."""
    if tensor.device.type == "meta" or not tensor.numel():
        return id(tensor)
    return tensor.device, tensor.data_ptr(), tensor.nbytes


def _is_body(model: PreTrainedModel) -> bool:
    return model.base_model is model


def _notes(model: nn.Module) -> Iterator[str]:
    """What the tree does not show: blocks that run several times, as ALBERT's."""
    config = getattr(model, "config", None)
    groups, blocks = getattr(config, "num_hidden_groups", None), getattr(config, "num_hidden_layers", None)
    if groups and blocks and groups < blocks:
        yield f"its {blocks} blocks share the weights of {groups}, which {'is' if groups == 1 else 'are'} counted once"
