"""The losses: pure functions of tensors, one value for each example, found by name in `LOSSES`.

Shapes: B examples, L tokens (padding included), H heads, D hidden size, C classes. `mask` (B, L) is 1 for a token and
0 for padding. Every loss averages within an example and leaves the mean over examples to the caller, so that neither
padding, nor the batch an example happens to share, nor gradient accumulation changes what the example contributes.
All arithmetic is float32 or better, whatever the precision of the models. Those `in_original_code` are on the scale of
TinyBERT's own code, https://github.com/huawei-noah/Pretrained-Language-Model/tree/master/TinyBERT, and do depend on L.

A loss of one's own is a function with the arguments of its feature:
    hidden      (student, teacher, mask), states (B, L, D); of two layers, a pair of states in the place of each
    attention   (student, teacher, mask), QueriesAndKeys
    relations   (student, teacher, mask, heads), QueriesAndKeys with values
    logits      (student, teacher, temperature), (N, C); N outputs are examples, or tokens of them; of spans the starts
                and ends of examples, whose C classes are pieces: those outside the context have the logit -1e4
    labels      (student's logits, labels)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from tinydistill.losses.attention import (
    attention_cross_entropy,
    attention_cross_entropy_mean,
    attention_kl,
    attention_kl_mean,
    attention_mse,
    attention_mse_in_original_code,
    attention_mse_sum,
)
from tinydistill.losses.hidden import (
    cls_direction,
    feature_map_mse,
    feature_mean_mse,
    feature_variance_difference,
    gram_mse,
    hidden_cosine,
    hidden_mse,
    hidden_mse_in_original_code,
    neuron_selectivity,
)
from tinydistill.losses.outputs import (
    gold_binary_cross_entropy,
    gold_cross_entropy,
    gold_mse,
    jensen_shannon,
    kl_divergence,
    logits_mse,
    reverse_kl,
    shift_probability,
    soft_binary_cross_entropy,
    soft_cross_entropy,
    soft_cross_entropy_in_original_code,
)
from tinydistill.losses.relations import key_relations, query_relations, value_relations

__all__ = [
    "ALIASES",
    "FEATURES",
    "IN_ORIGINAL_CODE",
    "LOSSES",
    "Loss",
    "attention_cross_entropy",
    "attention_cross_entropy_mean",
    "attention_kl",
    "attention_kl_mean",
    "attention_mse",
    "attention_mse_in_original_code",
    "attention_mse_sum",
    "cls_direction",
    "feature_map_mse",
    "feature_mean_mse",
    "feature_variance_difference",
    "gold_binary_cross_entropy",
    "gold_cross_entropy",
    "gold_mse",
    "gram_mse",
    "hidden_cosine",
    "hidden_mse",
    "hidden_mse_in_original_code",
    "jensen_shannon",
    "key_relations",
    "kl_divergence",
    "logits_mse",
    "neuron_selectivity",
    "query_relations",
    "reverse_kl",
    "shift_probability",
    "soft_binary_cross_entropy",
    "soft_cross_entropy",
    "soft_cross_entropy_in_original_code",
    "value_relations",
]


@dataclass(frozen=True)
class Loss:
    """A row of the table of losses.

    takes: whether it compares "one" layer of each model or "two", a pair of layers of each. equal_widths, equal_heads:
    whether the models' hidden sizes (the student's projected) or numbers of attention heads must agree. reads: what it
    looks at of QueriesAndKeys.
    """

    function: Callable[..., Tensor]
    feature: str
    formula: str  # of an example; S and T are the student's and the teacher's
    source: str
    takes: str = "one"
    equal_widths: bool = False
    equal_heads: bool = False
    reads: tuple[str, ...] = ("query", "key")  # of attention and relations
    mean_over_classes: bool = False  # of logits


_TEXTBREWER = "TextBrewer (arXiv 2002.12620)"
_MINILM2 = "MiniLMv2, section 3 (arXiv 2012.15828)"
_ORIGINAL = "TinyBERT's original code"
_MOBILEBERT = "MobileBERT, eq. 1, as in its code (arXiv 2004.02984)"

_TABLE = (
    Loss(
        attention_mse,
        "attention",
        "mean over heads and pairs of tokens of (S - T)^2, scores QK'/sqrt(d) before softmax",
        "TinyBERT, eq. 7 (arXiv 1909.10351)",
        equal_heads=True,
    ),
    Loss(
        attention_mse_in_original_code,
        "attention",
        "mean over heads and pairs of positions of (S - T)^2, scores before softmax, 0 for padded keys",
        _ORIGINAL,
        equal_heads=True,
    ),
    Loss(
        attention_mse_sum,
        "attention",
        "mean over pairs of tokens of (S - T)^2, scores before softmax summed over heads",
        _TEXTBREWER,
    ),
    Loss(
        attention_cross_entropy,
        "attention",
        "mean over heads and tokens of -sum(T log S), attention probabilities",
        _TEXTBREWER,
        equal_heads=True,
    ),
    Loss(
        attention_cross_entropy_mean,
        "attention",
        "mean over tokens of -sum(T log S), softmax of the mean of the scores over heads",
        _TEXTBREWER,
    ),
    Loss(
        attention_kl,
        "attention",
        "mean over heads and tokens of sum(T log(T/S)), attention probabilities",
        "MobileBERT, eq. 2 (arXiv 2004.02984); MiniLM, section 3.1 (arXiv 2002.10957)",
        equal_heads=True,
    ),
    Loss(
        attention_kl_mean,
        "attention",
        "mean over tokens of sum(T log(T/S)), softmax of the mean of the scores over heads",
        "MobileBERT, eq. 2 (arXiv 2004.02984), with heads averaged",
    ),
    Loss(
        hidden_mse,
        "hidden",
        "mean over tokens and D of (S - T)^2",
        "TinyBERT, eq. 8 and 9 (arXiv 1909.10351)",
        equal_widths=True,
    ),
    Loss(
        hidden_mse_in_original_code,
        "hidden",
        "mean over positions, padding included, and D of (S - T)^2",
        _ORIGINAL,
        equal_widths=True,
    ),
    Loss(
        hidden_cosine, "hidden", "mean over tokens of 1 - cos(S, T)", "DistilBERT (arXiv 1910.01108)", equal_widths=True
    ),
    Loss(
        cls_direction,
        "hidden",
        "sum over D of (S/|S| - T/|T|)^2, the state of the first token",
        "PKD, section 3.2 (arXiv 1908.09355)",
        equal_widths=True,
    ),
    Loss(
        feature_map_mse,
        "hidden",
        "mean over tokens and D of (norm S - norm T)^2, norm x = (x - mean x)/sqrt(var x + 1e-12), both over D",
        _MOBILEBERT,
        equal_widths=True,
    ),
    Loss(feature_mean_mse, "hidden", "mean over tokens of (mean S - mean T)^2, means over D of each", _MOBILEBERT),
    Loss(
        feature_variance_difference,
        "hidden",
        "mean over tokens of |var S - var T|, variances over D of each",
        _MOBILEBERT,
    ),
    Loss(
        gram_mse,
        "hidden",
        "mean over D x D of (S1'S2/n - T1'T2/n)^2, n tokens",
        "FSP, eq. 1 and 2 (Yim et al., CVPR 2017)",
        takes="two",
        equal_widths=True,
    ),
    Loss(
        neuron_selectivity,
        "hidden",
        "mean over pairs of tokens of (S1 S2'/D - T1 T2'/D)^2, D of each model",
        "NST, section 4 (arXiv 1707.01219)",
        takes="two",
    ),
    Loss(
        query_relations,
        "relations",
        "mean over relation heads and tokens of sum(T log(T/S)), softmax(QQ'/sqrt(d))",
        _MINILM2,
        reads=("query",),
    ),
    Loss(key_relations, "relations", "the same, softmax(KK'/sqrt(d))", _MINILM2, reads=("key",)),
    Loss(value_relations, "relations", "the same, softmax(VV'/sqrt(d))", _MINILM2, reads=("value",)),
    Loss(
        soft_cross_entropy,
        "logits",
        "-sum(T log S), T = softmax(z_T/t), S = softmax(z_S/t)",
        "TinyBERT, eq. 10 (arXiv 1909.10351)",
    ),
    Loss(
        soft_cross_entropy_in_original_code,
        "logits",
        "-mean over C of T log S, softmax(z/t)",
        _ORIGINAL,
        mean_over_classes=True,
    ),
    Loss(kl_divergence, "logits", "sum(T log(T/S)), softmax(z/t)", "Hinton et al. (arXiv 1503.02531)"),
    Loss(reverse_kl, "logits", "sum(S log(S/T)), softmax(z/t)", "MiniLLM, section 2 (arXiv 2306.08543)"),
    Loss(
        jensen_shannon,
        "logits",
        "sum(S log(S/M) + T log(T/M))/2, softmax(z/t), M = (S + T)/2",
        "GKD, section 2 (arXiv 2306.13649)",
    ),
    Loss(
        soft_binary_cross_entropy,
        "logits",
        "-sum over C of T log S + (1 - T) log(1 - S), sigmoid(z/t)",
        "TinyBERT, eq. 10 (arXiv 1909.10351), each label a task of two classes",
    ),
    Loss(
        logits_mse,
        "logits",
        "mean over C of ((z_S - z_T)/t)^2",
        "Ba and Caruana, section 2 (arXiv 1312.6184)",
        mean_over_classes=True,
    ),
    Loss(gold_cross_entropy, "labels", "-log softmax(z_S) of the gold label", "supervised"),
    Loss(
        gold_binary_cross_entropy,
        "labels",
        "-mean over C of y log S + (1 - y) log(1 - S), sigmoid(z_S)",
        "supervised",
    ),
    Loss(gold_mse, "labels", "(z_S - y)^2", "supervised"),
)
LOSSES: dict[str, Loss] = {loss.function.__name__: loss for loss in _TABLE}
FEATURES = {name: loss.feature for name, loss in LOSSES.items()}
# --loss-scale reference: the same losses on the scale of TinyBERT's original code.
IN_ORIGINAL_CODE = {name: f"{name}_in_original_code" for name in ("attention_mse", "hidden_mse", "soft_cross_entropy")}
# TextBrewer's names -> ours, where they differ.
ALIASES: Mapping[str, str] = {
    "ce": "soft_cross_entropy",
    "mse": "logits_mse",
    "cos": "hidden_cosine",
    "pkd": "cls_direction",
    "gram": "gram_mse",
    "fsp": "gram_mse",
    "mmd": "neuron_selectivity",
    "nst": "neuron_selectivity",
    "attention_ce": "attention_cross_entropy",
    "attention_ce_mean": "attention_cross_entropy_mean",
}
