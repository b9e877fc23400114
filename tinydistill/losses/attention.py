"""Losses of attention: of its scores before softmax, and of its probabilities.

Shapes: B examples, L tokens, H heads, d the size of a head. `mask` (B, L) is 1 for a token and 0 for padding: padded
keys are in no softmax and padded queries in no mean. An example without tokens gives 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tinydistill.encoders.attention import QueriesAndKeys
from tinydistill.encoders.cpu.squared_errors import masked_score_error
from tinydistill.losses.arithmetic import count, wide, zero_padding


def attention_mse(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """Squared error of the scaled scores QKᵀ/√d before softmax, a mean over heads × valid queries × valid keys.

    TinyBERT, equation 7 (the unnormalised scores, as section 3.2 prefers). Returns (B,). Short texts take the scores,
    long ones Gram matrices: L × L matrices are then never made.
    """
    valid = mask.to(torch.bool)
    return sum_of_squares(student, teacher, valid, valid) / (student.query.shape[1] * count(valid).square())


def attention_mse_in_original_code(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """The same as in TinyBERT's original code: scores of padded keys are zeroed, those of padded queries are not, and
    the mean is over heads × L × L.
    """
    heads, width = student.query.shape[1:3]
    valid = mask.to(torch.bool)
    return sum_of_squares(student, teacher, torch.ones_like(valid), valid) / (heads * width**2)


def attention_mse_sum(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """Squared error of the scores before softmax, summed over heads: a mean over valid queries × valid keys.

    TextBrewer (2002.12620), `attention_mse_sum`. The models may differ in their heads. Returns (B,).
    """
    valid = mask.to(torch.bool)
    # As one head of H·d, the products of all heads add up, and H × L × L scores are never made.
    own, theirs = (of.mean_over_heads()._replace(scale=of.scale) for of in (student, teacher))
    return sum_of_squares(own, theirs, valid, valid) / count(valid).square()


# Up to so many tokens for each of the dₛ + dₜ dimensions the scores are faster (benchmarks/attention_loss.py).
_SCORES_PER_WIDTH = 1.5


def sum_of_squares(student: QueriesAndKeys, teacher: QueriesAndKeys, queries: Tensor, keys: Tensor) -> Tensor:
    """The sum of the squared differences of scores, (B,), over the queries and keys that count, (B, L) each."""
    _check_heads(student, teacher)
    with torch.autocast(keys.device.type, enabled=False):
        by_scores = keys.shape[1] <= _SCORES_PER_WIDTH * (student.query.shape[-1] + teacher.query.shape[-1])
        by_scores &= student.query.dtype != torch.float64  # which it would not keep
        return (_by_scores if by_scores else _by_gram_matrices)(student, teacher, queries, keys)


def _by_scores(student: QueriesAndKeys, teacher: QueriesAndKeys, queries: Tensor, keys: Tensor) -> Tensor:
    """By the scores of both."""
    return masked_score_error(student[:3], teacher[:3], queries[:, :, None] & keys[:, None, :])


def _by_gram_matrices(student: QueriesAndKeys, teacher: QueriesAndKeys, queries: Tensor, keys: Tensor) -> Tensor:
    """As ⟨QₛᵀQₛ, KₛᵀKₛ⟩/dₛ − 2⟨QₛᵀQₜ, KₛᵀKₜ⟩/√(dₛdₜ) + ⟨QₜᵀQₜ, KₜᵀKₜ⟩/dₜ.

    Its terms are large where the scores are alike: in float32 the error of value and gradient is some 1e-5 of them
    where the loss has fallen to a hundredth of the scores' squares.
    """
    own, theirs = (  # rows of zeros add nothing
        (zero_padding(wide(of.query) * of.scale, queries), zero_padding(of.key, keys)) for of in (student, teacher)
    )

    def inner(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
        queries, keys = (x.transpose(-1, -2) @ y for x, y in zip(one, other, strict=True))  # (B, H, d, d)
        return (queries * keys).sum((1, 2, 3))

    return inner(own, own) - 2 * inner(own, theirs) + inner(theirs, theirs)


def attention_kl(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """KL(A_T ‖ A_S) of the attention probabilities, a mean over heads × valid queries.

    MobileBERT's attention transfer (2004.02984, equation 2) and MiniLM's (2002.10957, section 3.1). A: softmax over
    valid keys. The models have the same number of heads. Returns (B,).
    """
    _check_heads(student, teacher)
    return mean_kl(log_probabilities(student, mask), log_probabilities(teacher, mask), mask)


def attention_kl_mean(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """KL(A_T ‖ A_S), a mean over valid queries, where A is the softmax of the mean of the scores over heads.

    The models may differ in their heads. Returns (B,).
    """
    return attention_kl(student.mean_over_heads(), teacher.mean_over_heads(), mask)


def attention_cross_entropy(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """−Σ A_T log A_S of the attention probabilities over valid keys, a mean over heads × valid queries.

    TextBrewer (2002.12620), `attention_ce`; MobileBERT's code has it in place of the divergence, whose gradient is the
    same. The models have the same number of heads. Returns (B,).
    """
    _check_heads(student, teacher)
    own, others = log_probabilities(student, mask), log_probabilities(teacher, mask)
    return _mean_over_queries(-(others.detach().exp() * own).sum(-1), mask)


def attention_cross_entropy_mean(student: QueriesAndKeys, teacher: QueriesAndKeys, mask: Tensor) -> Tensor:
    """−Σ A_T log A_S, a mean over valid queries, where A is the softmax of the mean of the scores over heads.

    TextBrewer (2002.12620), `attention_ce_mean`. The models may differ in their heads. Returns (B,).
    """
    return attention_cross_entropy(student.mean_over_heads(), teacher.mean_over_heads(), mask)


def log_probabilities(of: QueriesAndKeys, mask: Tensor) -> Tensor:
    """The logarithm of the softmax of scores over valid keys, (B, H, L, L); of a padded key, a huge negative number."""
    valid = mask.to(torch.bool)
    with torch.autocast(mask.device.type, enabled=False):
        scores = zero_padding(wide(of.query) * of.scale, valid) @ zero_padding(of.key, valid).transpose(-1, -2)
        nothing = torch.finfo(scores.dtype).min / 2  # not −∞, of which 0 times is NaN
        return scores.masked_fill(~valid[:, None, None, :], nothing).log_softmax(-1)


def mean_kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(teacher ‖ student) of log-probabilities (B, H, L, L): a mean over H × valid queries, (B,)."""
    by_query = F.kl_div(student, teacher.detach(), reduction="none", log_target=True).sum(-1)
    return _mean_over_queries(by_query, mask)


def _mean_over_queries(values: Tensor, mask: Tensor) -> Tensor:
    """(B, H, L) -> the mean over heads and valid queries, (B,)."""
    valid = mask.to(torch.bool)
    return values.masked_fill(~valid[:, None], 0.0).sum((1, 2)) / (values.shape[1] * count(valid))


def _check_heads(student: QueriesAndKeys, teacher: QueriesAndKeys) -> None:
    """Raises ValueError if the models differ in their heads: one head would silently be compared with each."""
    own, others = student.query.shape[1], teacher.query.shape[1]
    if own != others:
        raise ValueError(
            f"the student has {own} attention heads and the teacher {others}; average them over heads first"
        )
