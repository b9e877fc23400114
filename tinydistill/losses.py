"""The losses: pure functions of tensors, one value for each example.

Shapes: B examples, L tokens (padding included), H heads, D hidden size, C classes. `mask` (B, L) is 1 for a token and
0 for padding. Every loss averages within an example and leaves the mean over examples to the caller, so that neither
padding, nor the batch an example happens to share, nor gradient accumulation changes what the example contributes.
All arithmetic is float32 or better, whatever the precision of the models. Those `in_original_code` are on the scale of
TinyBERT's own code, https://github.com/huawei-noah/Pretrained-Language-Model/tree/master/TinyBERT, and do depend on L.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from tinydistill.encoders.attention import QueriesAndKeys
from tinydistill.encoders.cpu import squared_errors


def attention_mse(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """Squared error of the scaled scores QKᵀ/√d before softmax, a mean over heads × valid queries × valid keys.

    TinyBERT, equation 7 (the unnormalised scores, as section 3.2 prefers). Returns (B,). Short texts take the scores,
    long ones Gram matrices: L × L matrices are then never made.
    """
    valid = mask.to(torch.bool)
    return _sum_of_squares(student, teacher, valid, valid) / (student.query.shape[1] * valid.sum(1).square())


def attention_mse_in_original_code(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """The same as in TinyBERT's original code: scores of padded keys are zeroed, those of padded queries are not, and
    the mean is over heads × L × L.
    """
    heads, width = student.query.shape[1:3]
    valid = mask.to(torch.bool)
    return _sum_of_squares(student, teacher, torch.ones_like(valid), valid) / (heads * width**2)


# Up to so many tokens for each of the dₛ + dₜ dimensions the scores are faster (benchmarks/attention_loss.py).
_SCORES_PER_WIDTH = 1.5


def _sum_of_squares(student: QueriesAndKeys, teacher: QueriesAndKeys, queries: Tensor, keys: Tensor) -> Tensor:
    """The sum of the squared differences, (B,), over the queries and keys that count, (B, L) each."""
    with torch.autocast(keys.device.type, enabled=False):
        by_scores = keys.shape[1] <= _SCORES_PER_WIDTH * (student.query.shape[-1] + teacher.query.shape[-1])
        return (_by_scores if by_scores else _by_gram_matrices)(student, teacher, queries, keys)


def _by_scores(student: QueriesAndKeys, teacher: QueriesAndKeys, queries: Tensor, keys: Tensor) -> Tensor:
    """By the scores of both."""
    return squared_errors.of_scores(student, teacher, queries[:, :, None] & keys[:, None, :])


def _by_gram_matrices(student: QueriesAndKeys, teacher: QueriesAndKeys, queries: Tensor, keys: Tensor) -> Tensor:
    """As ⟨QₛᵀQₛ, KₛᵀKₛ⟩/dₛ − 2⟨QₛᵀQₜ, KₛᵀKₜ⟩/√(dₛdₜ) + ⟨QₜᵀQₜ, KₜᵀKₜ⟩/dₜ.

    Its terms are large where the scores are alike: in float32 the error of value and gradient is some 1e-5 of them
    where the loss has fallen to a hundredth of the scores' squares.
    """
    no_query, no_key = (~those[:, None, :, None] for those in (queries, keys))  # rows of zeros add nothing
    own, theirs = (
        ((of.query.float() * of.scale).masked_fill(no_query, 0.0), of.key.float().masked_fill(no_key, 0.0))
        for of in (student, teacher)
    )

    def inner(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
        queries, keys = (x.transpose(-1, -2) @ y for x, y in zip(one, other, strict=True))  # (B, H, d, d)
        return (queries * keys).sum((1, 2, 3))

    return inner(own, own) - 2 * inner(own, theirs) + inner(theirs, theirs)


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared error of hidden states, a mean over valid tokens × D; the student's are projected by the caller.

    TinyBERT, equations 8 and 9. student, teacher: (B, L, D). Returns (B,).
    """
    valid = mask.to(torch.bool)
    return squared_errors.of_states(student, teacher, valid) / (valid.sum(1) * student.shape[-1])


def hidden_mse_in_original_code(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The same as in TinyBERT's original code: a mean over L × D, padded positions included."""
    return (student.float() - teacher.float()).square().mean((1, 2))


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of softmax(z_S/t) under softmax(z_T/t), a sum over classes.

    TinyBERT, equation 10. student, teacher: logits (B, C). Returns (B,).
    """
    targets = F.softmax(teacher.float() / temperature, dim=-1)
    return -(targets * F.log_softmax(student.float() / temperature, dim=-1)).sum(-1)


def soft_cross_entropy_in_original_code(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """The same as in TinyBERT's original code: a mean over classes."""
    return soft_cross_entropy(student, teacher, temperature) / student.shape[-1]


def logits_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of the outputs, a mean over C: the prediction loss of a regression. (B, C) twice. Returns (B,)."""
    return (student.float() - teacher.float()).square().mean(-1)


def gold_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy under the gold labels. logits: (B, C), labels: ids (B,). Returns (B,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def gold_mse(outputs: Tensor, values: Tensor) -> Tensor:
    """Squared error to the gold values. outputs: (B, 1), values: (B,). Returns (B,)."""
    return (outputs.float()[:, 0] - values.float()).square()


def soft_binary_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Binary cross-entropy of σ(z_S/t) under σ(z_T/t), a sum over labels: the prediction loss of several labels.

    Each label is a task of two classes, and its part that of `soft_cross_entropy` on logits (z, 0). student, teacher:
    logits (B, C). Returns (B,).
    """
    targets = torch.sigmoid(teacher.float() / temperature)
    return F.binary_cross_entropy_with_logits(student.float() / temperature, targets, reduction="none").sum(-1)


def gold_binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy under gold labels, a mean over labels as in transformers. Both (B, C). Returns (B,)."""
    return F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none").mean(-1)


# What is compared -> its losses, found by the names of their functions. Arguments: hidden (B, L, D) twice and the mask;
# attention QueriesAndKeys twice and the mask; logits (B, C) twice; labels the student's logits (B, C) and gold labels.
_BY_FEATURE: Mapping[str, tuple[Callable[..., Tensor], ...]] = {
    "attention": (attention_mse, attention_mse_in_original_code),
    "hidden": (hidden_mse, hidden_mse_in_original_code),
    "logits": (
        soft_cross_entropy,
        soft_cross_entropy_in_original_code,
        soft_binary_cross_entropy,
        logits_mse,
    ),
    "labels": (gold_cross_entropy, gold_binary_cross_entropy, gold_mse),
}
LOSSES = {loss.__name__: loss for functions in _BY_FEATURE.values() for loss in functions}
FEATURES = {loss.__name__: feature for feature, functions in _BY_FEATURE.items() for loss in functions}
# --loss-scale reference: the same losses on the scale of TinyBERT's original code.
IN_ORIGINAL_CODE = {name: f"{name}_in_original_code" for name in ("attention_mse", "hidden_mse", "soft_cross_entropy")}
