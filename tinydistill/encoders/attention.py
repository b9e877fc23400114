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
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from glue_tasks.errors import UserError
from tinydistill.encoders.cpu.attention import attend, for_each_head

NAME = "sdpa_with_scores"
_MARK = "returns_scores"  # attribute of the attention modules that were asked for
_VALUES_MARK = "returns_values"  # of those that were asked for values too
_call_order: list[nn.Module] | None = None  # the modules called, during `_attention_modules`


class QueriesAndKeys(NamedTuple):
    """What attention scores are made of: they are scale · QKᵀ, (B, H, L, L), before softmax and without a mask.

    The values that they weigh are there where they were asked for.
    """

    query: Tensor  # (B, H, L, d)
    key: Tensor  # (B, H, L, d)
    scale: float
    value: Tensor | None = None  # (B, H, L, d)

    def mean_over_heads(self) -> "QueriesAndKeys":
        """Those of the mean of the scores over heads, as one head: the heads' products add up in one of H·d.

        Values are dropped.
        """
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

    def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scale, **kwargs)[0]

    if query.device.type == "cpu":
        mask_is_all = not getattr(module, "is_causal", True) and kwargs.get("position_bias") is None
        output = attend(query, key, value, attention_mask, scale, dropout, fused, mask_is_all)
    else:
        output = fused(query, key, value, attention_mask)
    if _call_order is not None:
        _call_order.append(module)
    if not (output_attentions and getattr(module, _MARK, False)):
        return output, None
    values = for_each_head(value, query) if getattr(module, _VALUES_MARK, False) else None
    return output, QueriesAndKeys(query, for_each_head(key, query), scale, values)


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
    values: whether the blocks return values too, or which do. Raises UserError if the model's attention cannot be
    replaced.
    """

    def __init__(self, model: PreTrainedModel, blocks: Iterable[int], values: bool | Iterable[int] = False):
        wanted = set(blocks)
        self._values = (wanted if values else set()) if isinstance(values, bool) else set(values)
        wanted |= self._values
        modules = _attention_modules(model)
        for module in modules:
            setattr(module, _MARK, False)
            setattr(module, _VALUES_MARK, False)
        for block in wanted:
            setattr(modules[block], _MARK, True)
        for block in self._values:
            setattr(modules[block], _VALUES_MARK, True)
        # Models that share one module between blocks (ALBERT) return more than was asked for.
        self._returned = [block for block, module in enumerate(modules) if getattr(module, _MARK)]
        self._wanted = wanted

    def read(self, attentions: Sequence[QueriesAndKeys]) -> dict[int, QueriesAndKeys]:
        """Block (0-based) -> queries, keys and maybe values, from the `attentions` of the model's output."""
        return {
            block: made_of if block in self._values else made_of._replace(value=None)
            for block, made_of in zip(self._returned, attentions, strict=True)
            if block in self._wanted
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
