"""Which variable of TensorFlow's code becomes which weight of transformers' model, as tables.

Sources: modeling.py, run_pretraining.py, run_classifier.py and run_squad.py of https://github.com/google-research/bert
and of https://github.com/google-research/google-research/tree/master/mobilebert, which
https://github.com/ymcui/Chinese-MobileBERT has almost as they are. A kernel is (inputs, outputs) there, and a weight
(outputs, inputs) here.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import transformers
from transformers import PreTrainedConfig

# The parts of a block by their path in it, the same in both codes but for "/" and ".".
_BERT_DENSE = (
    "attention/self/query",
    "attention/self/key",
    "attention/self/value",
    "attention/output/dense",
    "intermediate/dense",
    "output/dense",
)
_BERT_NORMS = ("attention/output", "output")
_FEED_FORWARD_DENSE = ("intermediate/dense", "output/dense")
_FEED_FORWARD_NORMS = ("output",)
_BOTTLENECK_DENSE = ("bottleneck/input/dense", "output/bottleneck/dense")
_BOTTLENECK_NORMS = ("bottleneck/input", "output/bottleneck")
_SHARED_BOTTLENECK_DENSE = ("bottleneck/attention/dense",)  # one input for queries and keys
_SHARED_BOTTLENECK_NORMS = ("bottleneck/attention",)

_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")


@dataclass(frozen=True)
class Weight:
    """A variable, the weight that it becomes, and whether rows become columns."""

    variable: str
    key: str
    transposed: bool = False


@dataclass(frozen=True)
class Head:
    """What a model does with its body: the ending of its class's name, and the weights of its own.

    needs_pooler: whether its class computes with the pooler. The others' files keep one that is there.
    """

    class_suffix: str
    weights: tuple[Weight, ...]
    needs_pooler: bool


BODY_ALONE = Head("Model", (), needs_pooler=False)


def body(config: PreTrainedConfig) -> list[Weight]:
    """The weights of embeddings and blocks, by the configuration of the transformers model."""
    return list(_body(config))


def pooler(config: PreTrainedConfig) -> list[Weight]:
    """The weights of the pooler; none where a MobileBERT takes the first state as it is."""
    if not getattr(config, "classifier_activation", True):
        return []
    return list(_dense("bert/pooler/dense", f"{config.model_type}.pooler.dense"))


def head(config: PreTrainedConfig, variables: Collection[str]) -> Head:
    """The head that a checkpoint of these variables has: a task's, else those of pretraining, else none."""
    if "output_weights" in variables:
        return Head("ForSequenceClassification", tuple(_linear("", "classifier")), needs_pooler=True)
    if "cls/squad/output_weights" in variables:
        return Head("ForQuestionAnswering", tuple(_linear("cls/squad/", "qa_outputs")), needs_pooler=False)
    masked = tuple(_masked_lm(config)) if any(name.startswith("cls/predictions/") for name in variables) else ()
    following = tuple(_linear("cls/seq_relationship/", "cls.seq_relationship"))
    if not any(weight.variable in variables for weight in following):
        return Head("ForMaskedLM", masked, needs_pooler=False) if masked else BODY_ALONE
    suffix = "ForPreTraining" if masked else "ForNextSentencePrediction"
    return Head(suffix, (*masked, *following), needs_pooler=True)


def model_class(config: PreTrainedConfig, of: Head) -> type[transformers.PreTrainedModel]:
    """The class of transformers for the configuration and the head."""
    return getattr(transformers, {"bert": "Bert", "mobilebert": "MobileBert"}[config.model_type] + of.class_suffix)


def left_out(names: Collection[str]) -> list[str]:
    """What variables that no weight is made of are, in words: groups with their numbers, the others by name."""
    counts = dict.fromkeys(_GROUPS, 0)
    others = []
    for name in sorted(names):
        group = next((group for group, pattern in _GROUPS.items() if pattern.search(name)), None)
        if group:
            counts[group] += 1
        else:
            others.append(name)
    return [f"{count:,} {group}" for group, count in counts.items() if count] + others


def is_of_no_model(name: str) -> bool:
    """Whether a variable belongs to the training or to a teacher beside the model."""
    return any(pattern.search(name) for pattern in _GROUPS.values())


_SLOTS = r"adam_[mv]|(?:AdamWeightDecay|LAMB|Lamb|Adam|Momentum)(?:Optimizer)?(?:_\d+)?"
_GROUPS = {
    "of a teacher (teacher/)": re.compile(r"^teacher/"),
    "slots of the optimiser (adam_m, adam_v and such)": re.compile(rf"/(?:{_SLOTS})$"),
    "moving averages of weights": re.compile(r"/ExponentialMovingAverage$"),
    "of distillation (hidden_distill)": re.compile(r"^hidden_distill_\d+/"),
    "of the training's state (global_step and such)": re.compile(
        r"^(?:global_step|beta[12]_power(?:_\d+)?|(?:current_)?loss_scale|good_steps|bad_steps|learning_rate)$"
    ),
}


def _body(config: PreTrainedConfig) -> Iterator[Weight]:
    prefix = config.model_type
    norm = _norm_scope(config)
    for name in _EMBEDDINGS:
        yield Weight(f"bert/embeddings/{name}", f"{prefix}.embeddings.{name}.weight")
    if prefix == "mobilebert":
        yield from _dense("bert/embeddings/embedding_transformation", f"{prefix}.embeddings.embedding_transformation")
    yield from _norm(f"bert/embeddings/{norm}", f"{prefix}.embeddings.LayerNorm")
    for layer in range(config.num_hidden_layers):
        scope, module = f"bert/encoder/layer_{layer}/", f"{prefix}.encoder.layer.{layer}."
        yield from _parts(scope, module, _BERT_DENSE, _BERT_NORMS, norm)
        if prefix == "bert":
            continue
        for network in range(config.num_feedforward_networks - 1):
            inner = (f"{scope}ffn_layer_{network}/", f"{module}ffn.{network}.")
            yield from _parts(*inner, _FEED_FORWARD_DENSE, _FEED_FORWARD_NORMS, norm)
        if config.use_bottleneck:
            yield from _parts(scope, module, _BOTTLENECK_DENSE, _BOTTLENECK_NORMS, norm)
            if config.key_query_shared_bottleneck:
                yield from _parts(scope, module, _SHARED_BOTTLENECK_DENSE, _SHARED_BOTTLENECK_NORMS, norm)


def _masked_lm(config: PreTrainedConfig) -> Iterator[Weight]:
    scope, module = "cls/predictions/", "cls.predictions."
    yield from _dense(f"{scope}transform/dense", f"{module}transform.dense")
    yield from _norm(f"{scope}transform/LayerNorm", f"{module}transform.LayerNorm")  # in MobileBERT too
    yield Weight(f"{scope}output_bias", f"{module}bias")
    if config.model_type == "mobilebert" and config.hidden_size != config.embedding_size:
        yield Weight(f"{scope}extra_output_weights", f"{module}dense.weight", transposed=True)


def _parts(scope: str, module: str, dense: Collection[str], norms: Collection[str], norm: str) -> Iterator[Weight]:
    for path in dense:
        yield from _dense(scope + path, module + path.replace("/", "."))
    for path in norms:
        yield from _norm(f"{scope}{path}/{norm}", f"{module}{path.replace('/', '.')}.LayerNorm")


def _dense(scope: str, module: str) -> Iterator[Weight]:
    yield Weight(f"{scope}/kernel", f"{module}.weight", transposed=True)
    yield Weight(f"{scope}/bias", f"{module}.bias")


def _norm(scope: str, module: str) -> Iterator[Weight]:
    yield Weight(f"{scope}/gamma", f"{module}.weight")
    yield Weight(f"{scope}/beta", f"{module}.bias")


def _linear(scope: str, module: str) -> Iterator[Weight]:
    """A head that TensorFlow's code writes out by itself, (outputs, inputs) as here."""
    yield Weight(f"{scope}output_weights", f"{module}.weight")
    yield Weight(f"{scope}output_bias", f"{module}.bias")


def _norm_scope(config: PreTrainedConfig) -> str:
    return "FakeLayerNorm" if getattr(config, "normalization_type", "") == "no_norm" else "LayerNorm"
