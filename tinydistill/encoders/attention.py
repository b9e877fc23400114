"""One registered attention function that also returns what the scores before softmax are made of.

transformers looks an attention implementation up by name; ours runs PyTorch's fused attention for the output and
returns queries and keys beside it, in the place of the attention probabilities, for the blocks that were asked for.
Whether the scores QKᵀ/√d, (B, H, L, L), are made of them at all is the loss's choice.
Reference: https://huggingface.co/docs/transformers/attention_interface
"""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from glue_tasks.errors import UserError
from tinydistill.encoders.cpu.dropout import dropout as drop_out

NAME = "sdpa_with_scores"
_MARK = "returns_scores"  # attribute of the attention modules that were asked for
_LANES = 16  # float32 values that a processor takes at once, at most
_call_order: list[nn.Module] | None = None  # the modules called, while `_attention_modules` looks


class QueriesAndKeys(NamedTuple):
    """What attention scores are made of: they are scale · QKᵀ, (B, H, L, L), before softmax and without a mask."""

    query: Tensor  # (B, H, L, d)
    key: Tensor  # (B, H, L, d)
    scale: float

    def mean_over_heads(self) -> "QueriesAndKeys":
        """Those of the mean of the scores over heads, as one head: the heads' products add up in one of H·d."""
        heads = self.query.shape[1]
        query, key = (x.transpose(1, 2).flatten(2)[:, None] for x in (self.query, self.key))  # (B, 1, L, H·d)
        return QueriesAndKeys(query, key, self.scale / heads)


def sdpa_with_scores(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    output_attentions: bool = False,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, QueriesAndKeys | None]:
    """Attention output (B, L, H, d) and, for marked modules, what their scores are made of.

    query, key, value: (B, H, L, d).
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    plain = not getattr(module, "is_causal", True) and kwargs.get("position_bias") is None
    if dropout and plain and query.device.type == "cpu":
        output = _with_dropout(
            query, _for_each_head(key, query), _for_each_head(value, query), attention_mask, scale, dropout
        )
    else:
        seen = (key, value, attention_mask)
        if plain and query.device.type == "cpu":
            seen = _filled_up(*seen)
        output = _fused(module, query, *seen, {"dropout": dropout, "scaling": scale, **kwargs})
    if _call_order is not None:
        _call_order.append(module)
    if not (output_attentions and getattr(module, _MARK, False)):
        return output, None
    return output, QueriesAndKeys(query, _for_each_head(key, query), scale)


def _for_each_head(states: Tensor, query: Tensor) -> Tensor:
    """Keys or values (B, heads of keys, L, d) as (B, H, L, d): several heads of queries may share one of keys."""
    heads = query.shape[1] // states.shape[1]
    return states if heads == 1 else states.repeat_interleave(heads, dim=1)


def _fused(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict[str, Any]
) -> Tensor:
    """PyTorch's own, (B, L, H, d); on the CPU in float32, where it is faster than in bf16, casts included."""
    if query.device.type != "cpu":
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]
    with torch.autocast("cpu", enabled=False):
        output, _ = sdpa_attention_forward(module, _wide(query), _wide(key), _wide(value), mask, **options)
    return output.to(value.dtype)


def _filled_up(key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys that are masked, up to a multiple of 16: of others PyTorch takes the exponentials of the rest one by one.

    For 9 to 15 keys that is much of the time; for many the rest is a small part, and a copy costs more.
    """
    length = key.shape[2]
    more = -length % _LANES
    if length > 2 * _LANES or not 0 < more <= _LANES // 2:
        return key, value, mask
    if mask is None:
        mask = torch.ones(1, 1, 1, length, dtype=torch.bool, device=key.device)
    masked = False if mask.dtype == torch.bool else -torch.inf
    return F.pad(key, (0, 0, 0, more)), F.pad(value, (0, 0, 0, more)), F.pad(mask, (0, more), value=masked)


def _with_dropout(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, p: float) -> Tensor:
    """As PyTorch's attention computes it in training on the CPU, where it has no fused one; ours draws faster.

    Scores and softmax are float32, whatever the precision. Returns (B, L, H, d).
    """
    with torch.autocast("cpu", enabled=False):
        scores = (_wide(query) * scale) @ _wide(key).transpose(-1, -2)  # (B, H, L, L)
        if mask is not None:  # (B, 1, L, L), True where a token is seen, or what is added
            scores = scores + (_added(mask) if mask.dtype == torch.bool else mask)
        chances = drop_out(scores.softmax(-1), p)
        return (chances.to(value.dtype) @ value).transpose(1, 2).contiguous()


def _added(mask: Tensor) -> Tensor:
    """What to add to scores, (B, 1, L, L): made once for all heads, and without a gradient."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)


def _wide(states: Tensor) -> Tensor:
    return states.to(torch.promote_types(states.dtype, torch.float32))


AttentionInterface.register(NAME, sdpa_with_scores)
# Without a mask function of the same name the padding mask would silently be lost.
AttentionMaskInterface.register(NAME, sdpa_mask)


def replace_attention(model: PreTrainedModel) -> None:
    """Let a model's blocks attend by the function above, where they let themselves be told so."""
    if not model.config.is_encoder_decoder:
        with contextlib.suppress(ValueError):  # of a model that has but one attention
            model.set_attn_implementation(NAME)


class ScoreReader:
    """Asks a model for the attention scores of some of its blocks.

    With `output_attentions=True` the model then returns scores for those blocks alone; `read` tells which is which.
    Raises UserError if the model's attention cannot be replaced.
    """

    def __init__(self, model: PreTrainedModel, blocks: Iterable[int]):
        wanted = set(blocks)
        modules = _attention_modules(model)
        for module in modules:
            setattr(module, _MARK, False)
        for block in wanted:
            setattr(modules[block], _MARK, True)
        # Models that share one module between blocks (ALBERT) return more than was asked for.
        self._returned = [block for block, module in enumerate(modules) if getattr(module, _MARK)]
        self._wanted = wanted

    def read(self, attentions: Sequence[QueriesAndKeys]) -> dict[int, QueriesAndKeys]:
        """Block (0-based) -> queries and keys, from the `attentions` of the model's output."""
        return {
            block: made_of for block, made_of in zip(self._returned, attentions, strict=True) if block in self._wanted
        }


@torch.no_grad()
def _attention_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The attention module of each block, in the order of the blocks, found by running one token through the model."""
    global _call_order
    found: list[nn.Module] = []
    replace_attention(model)
    if not model.config.is_encoder_decoder:
        was_training, _call_order = model.training, found
        try:
            token = torch.full((1, 1), model.config.pad_token_id or 0, device=model.device)
            model.eval().base_model(input_ids=token, attention_mask=torch.ones_like(token))
        finally:
            _call_order = None
            model.train(was_training)
    if len(found) != model.config.num_hidden_layers:
        raise UserError(
            f"models of type {model.config.model_type!r} do not give their attention scores through transformers' "
            "attention interface; their attention "
            "scores cannot be compared: distil from them by --phase prediction alone, which needs none, or choose a "
            "BERT, RoBERTa, ELECTRA, DistilBERT, ALBERT or ModernBERT"
        )
    return found
