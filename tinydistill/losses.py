"""The losses: pure functions of tensors, one value for each example.

Shapes: B examples, L tokens (padding included), H heads, D hidden size, C classes. `mask` (B, L) is 1 for a token and
0 for padding. Every loss averages within an example and leaves the mean over examples to the caller, so that neither
padding, nor the batch an example happens to share, nor gradient accumulation changes what the example contributes.
All arithmetic is float32 or better, whatever the precision of the models.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared error of the scaled scores QKᵀ/√d before softmax, a mean over heads × valid queries × valid keys.

    TinyBERT, equation 7 (the unnormalised scores, as section 3.2 prefers).
    student, teacher: (B, H, L, L). Returns (B,).
    """
    valid = mask.to(torch.bool)
    pairs = valid[:, None, :, None] & valid[:, None, None, :]  # (B, 1, L, L)
    squares = (student.float() - teacher.float()).masked_fill(~pairs, 0.0).square()
    count = student.shape[1] * valid.sum(1).square()
    return squares.sum((1, 2, 3)) / count


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared error of hidden states, a mean over valid tokens × D; the student's are projected by the caller.

    TinyBERT, equations 8 and 9. student, teacher: (B, L, D). Returns (B,).
    """
    valid = mask.to(torch.bool)
    squares = (student.float() - teacher.float()).masked_fill(~valid[:, :, None], 0.0).square()
    return squares.sum((1, 2)) / (valid.sum(1) * student.shape[-1])


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of softmax(z_S/t) under softmax(z_T/t), a sum over classes.

    TinyBERT, equation 10. student, teacher: logits (B, C). Returns (B,).
    """
    targets = F.softmax(teacher.float() / temperature, dim=-1)
    return -(targets * F.log_softmax(student.float() / temperature, dim=-1)).sum(-1)


def logits_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of the outputs, a mean over C: the prediction loss of a regression. (B, C) twice. Returns (B,)."""
    return (student.float() - teacher.float()).square().mean(-1)


def gold_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy under the gold labels. logits: (B, C), labels: ids (B,). Returns (B,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def gold_mse(outputs: Tensor, values: Tensor) -> Tensor:
    """Squared error to the gold values. outputs: (B, 1), values: (B,). Returns (B,)."""
    return (outputs.float()[:, 0] - values.float()).square()
