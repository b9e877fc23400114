"""Losses of hidden states: of one layer of each model, or of a pair of layers of each.

Shapes: B examples, L tokens, D hidden size. `mask` (B, L) is 1 for a token and 0 for padding. The student's states are
projected by the caller where widths must agree. An example without tokens gives 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tinydistill.encoders.attention import QueriesAndKeys
from tinydistill.encoders.cpu.squared_errors import masked_squared_error
from tinydistill.losses.arithmetic import count, wide, zero_padding
from tinydistill.losses.attention import sum_of_squares

Pair = tuple[Tensor, Tensor]  # hidden states of two layers of one model, (B, L, D) each
_EPS = 1e-12  # added to a variance, as in BERT's and MobileBERT's code


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared error of hidden states, a mean over valid tokens × D; the student's are projected by the caller.

    TinyBERT, equations 8 and 9. student, teacher: (B, L, D). Returns (B,).
    """
    valid = mask.to(torch.bool)
    return masked_squared_error(student, teacher, valid) / (count(valid) * student.shape[-1])


def hidden_mse_in_original_code(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The same as in TinyBERT's original code: a mean over L × D, padded positions included."""
    return (wide(student) - wide(teacher)).square().mean((1, 2))


def hidden_cosine(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1 − cos(S, T), a mean over valid tokens; the cosine with a vector of zeros is 0, and has no gradient.

    DistilBERT (1910.01108). student, teacher: (B, L, D). Returns (B,).
    """
    valid = mask.to(torch.bool)
    own, others = zero_padding(student, valid), zero_padding(teacher, valid)
    cosine = (own * others).sum(-1) * _one_over_norm(own) * _one_over_norm(others)  # (B, L)
    return (1 - cosine).masked_fill(~valid, 0.0).sum(1) / count(valid)


def cls_direction(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared distance of the states of [CLS], each of length 1: a sum over D, from 0 to 4.

    PKD (1908.09355), section 3.2. [CLS] is the first token that is no padding, wherever padding stands; a vector of
    zeros stays one. student, teacher: (B, L, D). Returns (B,).
    """
    valid = mask.to(torch.bool)
    rows, first = torch.arange(len(valid), device=mask.device), valid.to(torch.uint8).argmax(1)
    own, others = (wide(x[rows, first]).masked_fill(~valid.any(1, keepdim=True), 0.0) for x in (student, teacher))
    own, others = (x * _one_over_norm(x)[:, None] for x in (own, others))  # (B, D)
    return (own - others).square().sum(1)


def _one_over_norm(states: Tensor) -> Tensor:
    """1/‖x‖ over the last dimension, and 0, with a gradient of 0, for one of zeros."""
    squares = states.square().sum(-1)
    none = squares <= 1e-24  # float32 has no gradient of the root of less
    return squares.masked_fill(none, 1.0).rsqrt().masked_fill(none, 0.0)


def feature_map_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Squared error of hidden states that are layer-normalised without weights: a mean over valid tokens × D.

    MobileBERT (2004.02984), equation 1, as in its code: its states are not normalised, and thousands of times those of
    a BERT. student, teacher: (B, L, D). Returns (B,). The state of a token that is one value everywhere becomes zeros.
    """
    valid = mask.to(torch.bool)
    own, others = (F.layer_norm(zero_padding(x, valid), x.shape[-1:], eps=_EPS) for x in (student, teacher))
    return masked_squared_error(own, others, valid) / (count(valid) * student.shape[-1])


def feature_mean_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """(mean T − mean S)², each the mean over D of a token's state: a mean over valid tokens.

    MobileBERT's code, which takes all of the teacher's layers at once; ours compares the layers of a pair.
    (B, L, D of the student), (B, L, D of the teacher); the sizes may differ. Returns (B,).
    """
    valid = mask.to(torch.bool)
    own, others = (zero_padding(x, valid).mean(-1) for x in (student, teacher))  # (B, L)
    return (own - others).square().sum(1) / count(valid)


def feature_variance_difference(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """|variance of T − variance of S|, each over D of a token's state: a mean over valid tokens.

    MobileBERT's code; see `feature_mean_mse`. Variances divide by D. Returns (B,).
    """
    valid = mask.to(torch.bool)
    own, others = (zero_padding(x, valid).var(-1, correction=0) for x in (student, teacher))  # (B, L)
    return (own - others).abs().sum(1) / count(valid)


def gram_mse(students: Pair, teachers: Pair, mask: Tensor) -> Tensor:
    """Squared error of G = XᵀY/n, X and Y the states of two layers over the n valid tokens: a mean over D × D.

    FSP: Yim et al. (CVPR 2017), "A gift from knowledge distillation", equations 1 and 2. All (B, L, D). Returns (B,).
    """
    valid = mask.to(torch.bool)
    (x, y), (teachers_x, teachers_y) = ([zero_padding(z, valid) for z in pair] for pair in (students, teachers))
    with torch.autocast(mask.device.type, enabled=False):
        difference = x.transpose(1, 2) @ y - teachers_x.transpose(1, 2) @ teachers_y  # (B, D, D)
    return (difference / count(valid)[:, None, None]).square().mean((1, 2))


def neuron_selectivity(students: Pair, teachers: Pair, mask: Tensor) -> Tensor:
    """Squared error of K = XYᵀ/D, X and Y the states of two layers: a mean over valid tokens × valid tokens.

    NST: Huang and Wang (1707.01219), section 4, with the polynomial kernel of degree 2, as TextBrewer has it: over D in
    place of lengths of 1. (B, L, D of the student) twice and (B, L, D of the teacher) twice; the sizes may differ.
    Returns (B,). K is computed as attention scores of one head are: texts far longer than D take Gram matrices in place
    of L × L.
    """
    valid = mask.to(torch.bool)
    own, others = (QueriesAndKeys(x[:, None], y[:, None], 1 / x.shape[-1]) for x, y in (students, teachers))
    return sum_of_squares(own, others, valid, valid) / count(valid).square()
