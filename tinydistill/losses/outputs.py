"""Losses of logits and of labels. Shapes: N outputs (examples, or tokens of them), C classes or labels.

`temperature` t is a number, or one for each output as a tensor (N, 1). None of these losses is multiplied by t². All
are finite for logits of any size that float32 holds.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tinydistill.losses.arithmetic import wide


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Cross-entropy of softmax(z_S/t) under softmax(z_T/t), a sum over classes.

    TinyBERT, equation 10. student, teacher: logits (N, C). Returns (N,).
    """
    targets = F.softmax(wide(teacher) / temperature, dim=-1)
    return -(targets * F.log_softmax(wide(student) / temperature, dim=-1)).sum(-1)


def soft_cross_entropy_in_original_code(student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """The same as in TinyBERT's original code: a mean over classes."""
    return soft_cross_entropy(student, teacher, temperature) / student.shape[-1]


def kl_divergence(student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """KL(P_T ‖ P_S) = Σ P_T log(P_T/P_S) with P = softmax(z/t): the soft cross-entropy less the teacher's entropy.

    Hinton et al. (1503.02531), up to a term that the student does not reach. student, teacher: logits (N, C). Returns
    (N,), 0 where both agree.
    """
    own, others = (F.log_softmax(wide(z) / temperature, dim=-1) for z in (student, teacher))
    return (others.exp() * (others - own)).sum(-1)


def reverse_kl(student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """KL(P_S ‖ P_T) = Σ P_S log(P_S/P_T) with P = softmax(z/t): the student seeks the teacher's largest modes.

    MiniLLM (2306.08543), section 2. student, teacher: logits (N, C). Returns (N,).
    """
    return kl_divergence(teacher, student, temperature)


def jensen_shannon(student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """½ KL(P_S ‖ M) + ½ KL(P_T ‖ M) with P = softmax(z/t) and M = ½ (P_S + P_T): symmetric, log 2 at most.

    GKD (2306.13649), section 2, with β = ½. student, teacher: logits (N, C). Returns (N,).
    """
    own, others = (F.log_softmax(wide(z) / temperature, dim=-1) for z in (student, teacher))
    middle = torch.logaddexp(own, others) - math.log(2)
    return (own.exp() * (own - middle) + others.exp() * (others - middle)).sum(-1) / 2


def logits_mse(student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """((z_S − z_T)/t)², a mean over C; with t = 1 the prediction loss of a regression.

    Ba and Caruana (1312.6184), section 2. student, teacher: (N, C). Returns (N,).
    """
    return ((wide(student) - wide(teacher)) / temperature).square().mean(-1)


def soft_binary_cross_entropy(student: Tensor, teacher: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Binary cross-entropy of σ(z_S/t) under σ(z_T/t), a sum over labels: the prediction loss of several labels.

    Each label is a task of two classes, and its part that of `soft_cross_entropy` on logits (z, 0). student, teacher:
    logits (N, C). Returns (N,).
    """
    targets = torch.sigmoid(wide(teacher) / temperature)
    return F.binary_cross_entropy_with_logits(wide(student) / temperature, targets, reduction="none").sum(-1)


def shift_probability(teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """The teacher's logits with the largest and that of the gold label exchanged: a teacher that is never wrong.

    Wen et al. (1911.07471): probability shift. teacher_logits: (N, C), labels: ids (N,); a row whose
    label is negative (-100) stays as it is. Returns new logits (N, C); those given are not changed.
    """
    gold, top = labels.clamp(min=0)[..., None], teacher_logits.argmax(-1, keepdim=True)  # (N, 1)
    shifted = teacher_logits.scatter(-1, gold, teacher_logits.gather(-1, top))
    shifted = shifted.scatter(-1, top, teacher_logits.gather(-1, gold))
    return torch.where(labels[..., None] >= 0, shifted, teacher_logits)


def gold_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy under the gold labels. logits: (N, C), labels: ids (N,). Returns (N,)."""
    return F.cross_entropy(wide(logits), labels, reduction="none")


def gold_mse(outputs: Tensor, values: Tensor) -> Tensor:
    """Squared error to the gold values. outputs: (N, 1), values: (N,). Returns (N,)."""
    return (wide(outputs)[:, 0] - wide(values)).square()


def gold_binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy under gold labels, a mean over labels as in transformers. Both (N, C). Returns (N,)."""
    logits = wide(logits)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").mean(-1)
