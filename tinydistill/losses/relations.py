"""MiniLMv2's losses: how the tokens of a text relate to each other, by queries, keys or values.

Wang et al. (2012.15828), section 3: the vectors of all attention heads of a block stand side by side, (B, L, D), and
are split anew into R relation heads. So neither widths nor numbers of attention heads of the models need agree, and no
projection is needed; R divides both widths. `mask` (B, L) is 1 for a token and 0 for padding.
"""

from torch import Tensor

from tinydistill.encoders.attention import QueriesAndKeys
from tinydistill.losses.attention import log_probabilities, mean_kl

Parts = QueriesAndKeys  # with values, where their relations are compared


def query_relations(student: Parts, teacher: Parts, mask: Tensor, heads: int) -> Tensor:
    """KL(P_T ‖ P_S) of P = softmax(QQᵀ/√(D/R)) over valid tokens: a mean over R relation heads × valid tokens.

    MiniLMv2 (2012.15828), section 3. heads: R. Returns (B,). Raises ValueError if R does not divide a width.
    """
    return _relations(student.query, teacher.query, mask, heads)


def key_relations(student: Parts, teacher: Parts, mask: Tensor, heads: int) -> Tensor:
    """The same of keys, softmax(KKᵀ/√(D/R))."""
    return _relations(student.key, teacher.key, mask, heads)


def value_relations(student: Parts, teacher: Parts, mask: Tensor, heads: int) -> Tensor:
    """The same of values, softmax(VVᵀ/√(D/R)). Raises ValueError if a model's were not kept."""
    if student.value is None or teacher.value is None:
        raise ValueError("value_relations needs the values of both models; ScoreReader keeps them with values=True")
    return _relations(student.value, teacher.value, mask, heads)


def _relations(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    own, others = (log_probabilities(_split(x, heads), mask) for x in (student, teacher.detach()))
    return mean_kl(own, others, mask)


def _split(vectors: Tensor, heads: int) -> QueriesAndKeys:
    """(B, H, L, d) -> (B, R, L, H·d/R), to be compared with themselves."""
    width = vectors.shape[1] * vectors.shape[3]
    if heads < 1 or width % heads:
        raise ValueError(f"{heads} relation heads do not divide a width of {width}")
    split = vectors.transpose(1, 2).flatten(2).unflatten(-1, (heads, width // heads)).transpose(1, 2)
    return QueriesAndKeys(split, split, (width // heads) ** -0.5)
