"""A narrower student out of a teacher's blocks: fewer dimensions, heads and feed-forward units.

The states of all blocks, h (L, D), are written in one orthonormal basis P (D, d) of the directions in which they vary
most (PCA): the student's states are s = h P. Whatever reads the states is multiplied by P from the right, W P; whatever
writes them by P^T from the left. A linear layer in between then does exactly what it did to the part of the states that
lies in P. What is exact, and what is not:

- Word, position and segment embeddings, queries, keys, values and feed-forward units read P P^T h in place of h.
- A layer normalisation scales each dimension by its own gain, which does not commute with P, and it divides by the
  norm of what is left of a state. Gain and bias are fitted, dimension by dimension, by least squares.
- A head as wide as the teacher's is taken whole, those that write most. A narrower one keeps the best approximation of
  lower rank of its scores, Q K^T, and of what it writes, V W_O (a truncated SVD over the states that it reads), with
  scores scaled for the new 1 / sqrt(width).
- Feed-forward units are chosen by the variance that they write; the mean of those left out goes into the bias.
- With all dimensions, heads and units the student is the teacher, to the last bit.

The states are the teacher's, on training rows, or on rows of random pieces where there are none.

Why this way: of a MiniLM masked LM narrowed to half its width, the best linear map of such a student's last states
explained more of the teacher's, before any training, than that of a student cut to the first dimensions, than principal
directions of the word embeddings, and than fresh weights; rows of random pieces did worse than sentences.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill.encoders.limits import position_limit
from tinydistill.shapes import Shape, check_heads

# Model types whose blocks are BERT's: normalised after each sum, with modules of the same names.
BERT_LIKE = ("bert", "camembert", "data2vec-text", "electra", "ernie", "roberta", "xlm-roberta")
_ROWS, _PIECES = 64, 32  # of random pieces
_AT_ONCE = 32  # rows


@dataclass(frozen=True)
class Narrow:
    """The sizes that a teacher's blocks are reduced to. 0: the teacher's hidden size and heads, units in proportion."""

    hidden: int = 0
    heads: int = 0
    ffn: int = 0

    def shape(self, teacher: PreTrainedConfig, layers: int) -> Shape:
        """Of a student with so many blocks. Raises UserError if the teacher has no BERT-like blocks or smaller ones."""
        if teacher.model_type not in BERT_LIKE:
            raise UserError(
                f"the blocks of models of type {teacher.model_type!r} cannot be narrowed; copy them whole with "
                "init:layers=..., or give a shape with fresh weights"
            )
        width, heads, ffn = teacher.hidden_size, teacher.num_attention_heads, teacher.intermediate_size
        hidden = self.hidden or width
        made = Shape(layers, hidden, self.heads or heads, self.ffn or max(ffn * hidden // width, 1))
        for name, theirs in (("hidden", width), ("heads", heads), ("ffn", ffn)):
            if (own := getattr(made, name)) > theirs:
                raise UserError(f"--student asks for {name}={own}, more than the teacher's {theirs}; give at most that")
        check_heads(made)
        if hidden != width and hidden == getattr(teacher, "embedding_size", width):
            raise UserError(
                f"a hidden size of {hidden} is that of the teacher's word embeddings, and such a model has no layer "
                "between them; choose another hidden size"
            )
        if hidden // made.heads > width // heads:
            raise UserError(
                f"{made.heads} heads of a hidden size of {hidden} are {hidden // made.heads} wide, the teacher's only "
                f"{width // heads}; give more heads, at least {math.ceil(hidden * heads / width)}"
            )
        return made


def is_narrower(student: PreTrainedConfig, teacher: PreTrainedConfig) -> bool:
    """Whether copies of the teacher's blocks would be too large for the student."""
    names = ("hidden_size", "num_attention_heads", "intermediate_size")
    return teacher.model_type in BERT_LIKE and any(getattr(student, n) < getattr(teacher, n) for n in names)


def narrow(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    blocks: Sequence[int],
    rows: Mapping[str, Tensor] | None = None,
) -> None:
    """Give a student of any smaller sizes the teacher's weights; its block i is made of the teacher's `blocks[i]`.

    Both are of one BERT-like type, with a head of one kind. rows: `input_ids` and `attention_mask` (B, L) of texts;
    without them rows of random pieces are read, the same whatever the seed.
    """
    with torch.no_grad():
        _Narrowing(teacher, student, blocks, rows or _random_rows(teacher.config)).run()


class _Narrowing:
    """N states are those of all pieces of the rows, in float64; D, d are the widths of teacher and student."""

    def __init__(
        self, teacher: PreTrainedModel, student: PreTrainedModel, blocks: Sequence[int], rows: Mapping[str, Tensor]
    ):
        self.teacher, self.student, self.blocks = teacher, student, blocks
        self.own: Any = student.base_model
        self.theirs: Any = teacher.base_model
        self.width, self.own_width = teacher.config.hidden_size, student.config.hidden_size
        self.seen = _Observed(self.theirs, blocks, rows)
        self.basis = _basis(self.seen.states(self.theirs), self.own_width)  # (D, d)
        self.done: set[int] = set()  # the student's parameters that have their values

    def run(self) -> None:
        self._embeddings(self.own.embeddings, self.theirs.embeddings)
        if hasattr(self.theirs, "embeddings_project"):  # ELECTRA
            self._write(self.own.embeddings_project, self.theirs.embeddings_project)
        for i, block in enumerate(self.blocks):
            self._block(self.own.encoder.layer[i], self.theirs.encoder.layer[block])
        self._head()
        left = [name for name, each in self.student.named_parameters() if id(each) not in self.done]
        for name in left:  # of sizes that do not change
            theirs, own = self.teacher.get_parameter(name), self.student.get_parameter(name)
            if theirs.shape != own.shape:
                raise UserError(
                    f"{type(self.teacher).__name__} cannot be narrowed ({name} would be of another size); copy its "
                    "blocks whole with init:layers=..., or give a shape with fresh weights"
                )
            self._set(own, theirs)

    def _set(self, own: Tensor, value: Tensor) -> None:
        own.copy_(value)
        self.done.add(id(own))

    def _set_linear(self, own: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
        self._set(own.weight, weight)
        if bias is not None:
            self._set(own.bias, bias)

    def _write(self, own: nn.Linear, theirs: nn.Linear, weight: Tensor | None = None) -> None:
        """A layer whose outputs are states; weight: the teacher's, if not as it is."""
        weight = theirs.weight.double() if weight is None else weight
        self._set_linear(own, self.basis.T @ weight, self.basis.T @ theirs.bias.double())

    def _embeddings(self, own: Any, theirs: nn.Module) -> None:
        """Those that are as wide as the states; ELECTRA's may have a width of their own, and stay."""
        for name, module in theirs.named_children():
            if isinstance(module, nn.Embedding) and module.embedding_dim == self.width:
                self._set(own.get_submodule(name).weight, module.weight.double() @ self.basis)
            elif isinstance(module, nn.LayerNorm) and module.weight.numel() == self.width:
                self._norm(own.get_submodule(name), module)

    def _norm(self, own: nn.LayerNorm, theirs: nn.LayerNorm) -> None:
        seen = self.seen[theirs]
        self._fit(own, seen.inputs @ self.basis, theirs, seen.outputs @ self.basis)

    def _fit(self, own: nn.LayerNorm, inputs: Tensor, theirs: nn.LayerNorm, outputs: Tensor) -> None:
        """The gain and bias (d) with which normalised inputs (N, d) are nearest to the outputs (N, d)."""
        gain: Tensor = theirs.weight
        bias: Tensor = theirs.bias
        if self.own_width < self.width:
            normed = F.layer_norm(inputs, inputs.shape[-1:], eps=own.eps)
            mean, wanted = normed.mean(0), outputs.mean(0)
            gain = ((normed - mean) * (outputs - wanted)).sum(0) / (normed - mean).square().sum(0).clamp_min(1e-12)
            bias = wanted - gain * mean
        self._set(own.weight, gain)
        self._set(own.bias, bias)

    def _block(self, own: Any, theirs: Any) -> None:
        self._attention(own.attention, theirs.attention)
        self._norm(own.attention.output.LayerNorm, theirs.attention.output.LayerNorm)
        first, second = theirs.intermediate.dense, theirs.output.dense
        seen = self.seen[second].inputs  # (N, units)
        writes = self.basis.T @ second.weight.double()  # (d, units)
        kept, left = _strongest(seen.var(0) * writes.square().sum(0), own.intermediate.dense.out_features)
        self._set_linear(own.intermediate.dense, first.weight.double()[kept] @ self.basis, first.bias[kept])
        bias = self.basis.T @ second.bias.double() + writes[:, left] @ seen.mean(0)[left]
        self._set_linear(own.output.dense, writes[:, kept], bias)
        self._norm(own.output.LayerNorm, theirs.output.LayerNorm)

    def _attention(self, own: Any, theirs: Any) -> None:
        own_count = self.student.config.num_attention_heads
        size, own_size = self.width // self.teacher.config.num_attention_heads, self.own_width // own_count
        layers = [getattr(theirs.self, name) for name in ("query", "key", "value")]
        # Each head's (size, d + 1), the bias last; and what writes its values, (d, size).
        reads = [
            torch.cat([each.weight.double() @ self.basis, each.bias.double()[:, None]], 1).unflatten(0, (-1, size))
            for each in layers
        ]
        writes = (self.basis.T @ theirs.output.dense.weight.double()).unflatten(1, (-1, size)).transpose(0, 1)
        context = self.seen[theirs.output.dense].inputs.unflatten(1, (-1, size)).transpose(0, 1)  # (heads, N, size)
        written = (context - context.mean(1, keepdim=True)) @ writes.transpose(1, 2)
        kept, left = _strongest(written.square().sum((1, 2)), own_count)
        bias = self.basis.T @ theirs.output.dense.bias.double()
        bias = bias + torch.einsum("hdw,hw->d", writes[left], context[left].mean(1))
        queries, keys, values = (each[kept] for each in reads)
        writes = writes[kept]
        if own_size < size:
            roots = _roots(self.seen[theirs.self.query].inputs @ self.basis)
            scale = math.sqrt(own_size / size)  # the student divides scores by a smaller root
            queries, keys = _of_rank(own_size, scale * queries.transpose(1, 2) @ keys, roots, roots)
            queries = queries.transpose(1, 2)
            writes, values = _of_rank(own_size, writes @ values, None, roots)
        for name, read in zip(("query", "key", "value"), (queries, keys, values), strict=True):
            flat = read.flatten(0, 1)
            self._set_linear(getattr(own.self, name), flat[:, :-1], flat[:, -1])
        self._set_linear(own.output.dense, writes.transpose(0, 1).flatten(1), bias)

    def _head(self) -> None:
        """What reads the last states: classes, tags, spans and masked pieces."""
        pooler = getattr(self.theirs, "pooler", None)
        classes: Any = getattr(self.teacher, "classifier", None)
        own: Any = getattr(self.student, "classifier", None)
        if pooler is not None:
            self._hidden_layer(
                self.own.pooler.dense, own, pooler.dense, classes, torch.tanh(pooler.dense(self.seen.first))
            )
        elif isinstance(getattr(classes, "out_proj", None), nn.Linear):  # RoBERTa's and ELECTRA's
            active = (F.gelu if self.teacher.config.model_type == "electra" else torch.tanh)(
                classes.dense(self.seen.first)
            )
            self._hidden_layer(own.dense, own.out_proj, classes.dense, classes.out_proj, active)
        for name in ("classifier", "qa_outputs"):
            theirs, own = (getattr(model, name, None) for model in (self.teacher, self.student))
            if isinstance(theirs, nn.Linear) and id(own.weight) not in self.done:
                self._set_linear(own, theirs.weight.double() @ self.basis, theirs.bias)
        heads = [_before_decoder(model) for model in (self.student, self.teacher)]
        if heads[0] is not None and heads[1] is not None:
            self._masked_lm(heads[0], heads[1])

    def _hidden_layer(
        self, own: nn.Linear, own_next: nn.Linear | None, theirs: nn.Linear, next_: nn.Linear | None, active: Tensor
    ) -> None:
        """A layer of a head, of whose units (N, D) those are kept by which the next layer's outputs vary most."""
        active = active.double()
        weight = torch.ones(1, active.shape[1]) if next_ is None else next_.weight.double()
        kept, left = _strongest(active.var(0) * weight.square().sum(0), own.out_features)
        self._set_linear(own, theirs.weight.double()[kept] @ self.basis, theirs.bias[kept])
        if own_next is not None and next_ is not None:
            self._set_linear(own_next, weight[:, kept], next_.bias + weight[:, left] @ active.mean(0)[left])

    def _masked_lm(self, own: Any, theirs: Any) -> None:
        """The layer (D, D), activation and normalisation of a masked LM before a decoder tied to the embeddings.

        What the decoder reads has to be in the basis too, P^T act(W h + b), and is approximated by act(P^T (W h + b)).
        """
        reads = theirs.dense.weight.double() @ self.basis
        if theirs.dense.out_features != self.width:  # the embeddings have a width of their own
            self._set_linear(own.dense, reads, theirs.dense.bias)
            return
        self._write(own.dense, theirs.dense, reads)
        act = getattr(theirs, "transform_act_fn", F.gelu)  # BERT's is that of its configuration
        norm, own_norm = (getattr(each, "LayerNorm", None) or each.layer_norm for each in (theirs, own))
        inputs = act(F.linear(self.seen.last.double() @ self.basis, own.dense.weight.double(), own.dense.bias.double()))
        self._fit(own_norm, inputs, norm, norm(act(theirs.dense(self.seen.last))).double() @ self.basis)
        decoders: list[Any] = [model.get_output_embeddings() for model in (self.student, self.teacher)]
        if id(decoders[0].weight) not in self.done:  # not tied
            self._set(decoders[0].weight, decoders[1].weight.double() @ self.basis)


def _before_decoder(model: PreTrainedModel) -> Any:
    """What is between the body and the decoder of a masked LM; None if the model is none."""
    for path in ("cls.predictions.transform", "lm_head", "generator_predictions"):
        with contextlib.suppress(AttributeError):
            return model.get_submodule(path)
    return None


@dataclass(frozen=True)
class _Seen:
    inputs: Tensor  # (N, width), float64
    outputs: Tensor  # likewise; of a normalisation alone


class _Observed:
    """What went into and came out of the layers of a body (see `_layers`), of the rows' pieces without padding."""

    def __init__(self, body: PreTrainedModel, blocks: Sequence[int], rows: Mapping[str, Tensor]):
        self._kept: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in _layers(body, blocks)}
        device, training = next(body.parameters()).device, body.training
        first, last = [], []
        hooks = [layer.register_forward_hook(self._keep) for layer in self._kept]
        try:
            body.eval()
            for ids, mask in zip(
                rows["input_ids"].split(_AT_ONCE), rows["attention_mask"].split(_AT_ONCE), strict=True
            ):
                self._valid = mask.bool().to(device)
                states = body(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
                first.append(states[:, 0])
                last.append(states[self._valid])
        finally:
            body.train(training)
            for hook in hooks:
                hook.remove()
        self.first = torch.cat(first)  # (rows, D), of the piece that a head of whole texts reads
        self.last = torch.cat(last)  # (N, D)

    def _keep(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        outputs = output[self._valid] if isinstance(layer, nn.LayerNorm) else output.new_empty(0)
        self._kept[layer].append((args[0][self._valid], outputs))

    def __getitem__(self, layer: nn.Module) -> _Seen:
        inputs, outputs = zip(*self._kept[layer], strict=True)
        return _Seen(torch.cat(inputs).double(), torch.cat(outputs).double())

    def states(self, body: Any) -> Iterator[Tensor]:
        """(N, D) of all that is read: embeddings, and the two normalised sums of each block."""
        for block in body.encoder.layer:
            yield self[block.attention.self.query].inputs
            yield self[block.attention.output.LayerNorm].outputs
        yield self.last.double()


def _random_rows(config: PreTrainedConfig) -> dict[str, Tensor]:
    length = min(_PIECES, position_limit(config) or _PIECES)
    ids = torch.randint(config.vocab_size, (_ROWS, length), generator=torch.Generator().manual_seed(0))
    if config.pad_token_id is not None:  # from which RoBERTa counts positions
        ids[ids == config.pad_token_id] = config.vocab_size - 1
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _layers(body: Any, blocks: Sequence[int]) -> Iterator[nn.Module]:
    """What reads or gives states in every block; in those that are narrowed all else that is chosen or fitted."""
    yield body.embeddings.LayerNorm
    for place, block in enumerate(body.encoder.layer):
        yield block.attention.self.query
        yield block.attention.output.LayerNorm
        if place in blocks:
            yield from (block.attention.output.dense, block.output.dense, block.output.LayerNorm)


def _basis(states: Iterable[Tensor], size: int) -> Tensor:
    """(D, size): the orthonormal directions of most variance, each layer's counted alike; all of them if they are D.

    Within their space the basis is turned so that it lies as near as can be to `size` of the teacher's own dimensions
    (orthogonal Procrustes), because gains of normalisations are by dimension.
    """
    moment: Tensor | None = None
    for each in states:
        centred = each - each.mean(0)
        own = centred.T @ centred / centred.square().sum()
        moment = own if moment is None else moment + own
    assert moment is not None
    if size == len(moment):
        return torch.eye(size, dtype=moment.dtype, device=moment.device)
    leading = torch.linalg.eigh(moment)[1][:, -size:]  # (D, size)
    nearest = leading.square().sum(1).topk(size).indices.sort().values
    left, _, right = torch.linalg.svd(leading[nearest])
    return leading @ (left @ right).T


def _strongest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The places of the highest scores, in order, and the others."""
    order = scores.argsort(descending=True)
    return order[:count].sort().values, order[count:].sort().values


def _roots(states: Tensor) -> tuple[Tensor, Tensor]:
    """R with R R^T the second moment of the states (N, d) with a 1 behind them, and its inverse; (d + 1, d + 1)."""
    known = F.pad(states, (0, 1), value=1.0)
    values, vectors = torch.linalg.eigh(known.T @ known / len(known))
    roots = values.clamp_min(1e-9 * float(values[-1])).sqrt()
    return vectors * roots, vectors.T / roots[:, None]


def _of_rank(
    rank: int, matrices: Tensor, left: tuple[Tensor, Tensor] | None, right: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """A (heads, m, rank) and B (heads, rank, n) with A B nearest to matrices (heads, m, n).

    Near is meant for what they are applied to, x^T M y: `left` and `right` are the roots of the moments of x and y, and
    their inverses; without `left` x is any.
    """
    weighed = matrices @ right[0] if left is None else left[0].T @ matrices @ right[0]
    first, values, second = torch.linalg.svd(weighed, full_matrices=False)
    half = values[:, :rank].sqrt()
    first, second = first[..., :rank] * half[:, None], half[..., None] * second[:, :rank] @ right[1]
    return (first if left is None else left[1].T @ first), second
