"""A TensorFlow 1 checkpoint of BERT or MobileBERT in, a folder as `save_pretrained` writes it out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from tqdm import tqdm
from transformers import PreTrainedConfig

from glue_tasks.errors import UserError
from tinydistill.convert.configs import lower_case as stated_case
from tinydistill.convert.configs import read_config
from tinydistill.convert.folder import check_output, whole_folder
from tinydistill.convert.names import (
    BODY_ALONE,
    Head,
    Weight,
    body,
    head,
    is_of_no_model,
    left_out,
    model_class,
    pooler,
)
from tinydistill.convert.variables import Checkpoint, open_checkpoint
from tinydistill.convert.vocabulary import read_vocabulary
from tinydistill.encoders.pretrained import quiet
from tinydistill.encoders.skeleton import build_on_meta
from tinydistill.encoders.weights import check_finite

_TOLD = 5  # names in a sentence
_OF_BODY = ("bert/embeddings/", "bert/encoder/")


@dataclass(frozen=True)
class Converted:
    """What was written."""

    folder: Path
    architecture: str  # transformers' class
    layers: int
    parameters: int  # shared ones once
    variables: int  # of the checkpoint that were used
    left_out: tuple[str, ...]  # groups with their numbers, and whole names
    notes: tuple[str, ...]


def convert(
    checkpoint: Path,
    config: Path,
    output: Path,
    *,
    vocab: Path | None = None,
    lower_case: bool | None = None,
    keep_padding_row: bool = False,
    overwrite: bool = False,
) -> Converted:
    """Write the model of a checkpoint, with the heads that it has, as a folder of safetensors and a tokenizer.

    checkpoint: a prefix, one of its files, or a folder with one checkpoint. config: the JSON of TensorFlow's code.
    vocab: by default the vocab.txt beside the checkpoint, if there is one. lower_case: by default as the JSON says, or
    as the vocabulary looks. keep_padding_row: of MobileBERT, whose states depend on the embedding of padding
    otherwise. Raises UserError if anything does not fit; then nothing is written.
    """
    check_output(output, overwrite)
    found = open_checkpoint(checkpoint)
    read = read_config(config)
    if keep_padding_row and read.model_type != "mobilebert":
        raise UserError(f"--keep-padding-row is of MobileBERT, and {config} is of {read.model_type}; leave it out")
    notes = _of_norms(read)
    tokenizer = None
    if vocab is None and (beside := found.prefix.with_name("vocab.txt")).is_file():
        vocab = beside
    if vocab:
        case = stated_case(config) if lower_case is None else lower_case
        tokenizer, decided = read_vocabulary(vocab, read.vocab_size, read.max_position_embeddings, case)
        read.pad_token_id = tokenizer.pad_token_id
        notes += decided
    elif lower_case is not None:
        raise UserError(
            "--lower-case is about a vocabulary, and there is no vocab.txt beside the checkpoint; name one with --vocab"
        )
    else:
        notes.append("no tokenizer is written: there is no vocab.txt beside the checkpoint, and --vocab names none")
    kind = head(read, found.variables)
    weights = _weights(found, read, kind, config)
    if kind.class_suffix == "ForSequenceClassification":
        read.num_labels = (found.variables["output_weights"].shape or (2,))[0]
    shapes = _shapes(read, kind, config)
    _check_shapes(found, weights, shapes, config)
    unused = found.variables.keys() - {weight.variable for weight in weights}
    tensors = _tensors(found, weights)
    if (empty := "cls.predictions.dense.weight") in shapes and 0 in shapes[empty]:  # as wide as the embeddings
        tensors[empty] = torch.zeros(shapes[empty])
    check_finite(str(found.prefix), tensors)
    if read.model_type == "mobilebert" and not keep_padding_row:
        notes += _zero_padding_row(tensors, read)
    if pooler(read) and not any(weight.variable.startswith("bert/pooler/") for weight in weights):
        notes.append("the checkpoint has no pooler; a fine-tuning begins with a fresh one")
    read.architectures, read.dtype = [model_class(read, kind).__name__], torch.float32
    with whole_folder(output) as partial, quiet():
        safetensors.torch.save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
        read.save_pretrained(partial)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial)
    return Converted(
        output,
        read.architectures[0],
        read.num_hidden_layers,
        sum(tensor.numel() for tensor in tensors.values()),
        len(weights),
        tuple(left_out(unused)),
        tuple(notes),
    )


def _weights(found: Checkpoint, config: PreTrainedConfig, kind: Head, path: Path) -> list[Weight]:
    """The weights to be made, which the checkpoint has all. Raises UserError otherwise, or if its body has more."""
    needed = [*body(config), *kind.weights]
    of_pooler = pooler(config)
    if kind.needs_pooler or any(weight.variable in found.variables for weight in of_pooler):
        needed += of_pooler
    missing = [weight.variable for weight in needed if weight.variable not in found.variables]
    if missing and not any(name.startswith(_OF_BODY) for name in found.variables):
        scopes = sorted({name.partition("/")[0] for name in found.variables})
        raise UserError(
            f"{found.prefix} holds no variables of BERT or MobileBERT, whose names begin with bert/; it has "
            f"{_listed(scopes)}"
        )
    if missing:
        raise UserError(
            f"{found.prefix} lacks {_listed(missing)} of the model that {path} describes; take both from the same model"
        )
    names = found.variables.keys() - {weight.variable for weight in needed}
    more = sorted(name for name in names if name.startswith(_OF_BODY) and not is_of_no_model(name))
    if more:
        raise UserError(
            f"{found.prefix} has {_listed(more)}, which the model that {path} describes does not; take both from the "
            "same model"
        )
    return needed


def _shapes(config: PreTrainedConfig, kind: Head, path: Path) -> dict[str, tuple[int, ...]]:
    """The weights of the model, and of its body with a pooler, by name, with their shapes."""
    model = build_on_meta(config, str(path), model_class(config, kind))
    whole = build_on_meta(config, str(path), model_class(config, BODY_ALONE))
    named = {f"{config.model_type}.{key}": tensor for key, tensor in whole.state_dict().items()}
    return {key: tuple(tensor.shape) for key, tensor in {**named, **model.state_dict()}.items()}


def _check_shapes(
    found: Checkpoint, weights: Iterable[Weight], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Raises UserError if a variable has another shape than the weight that it is to become."""
    for weight in weights:
        has = found.variables[weight.variable].shape
        expected = shapes[weight.key][::-1] if weight.transposed else shapes[weight.key]
        if has != expected:
            raise UserError(
                f"{weight.variable} in {found.prefix} is {_sizes(has)}, and {_sizes(expected)} by {path}; take both "
                "from the same model"
            )


def _tensors(found: Checkpoint, weights: Collection[Weight]) -> dict[str, torch.Tensor]:
    """The weights by name, in float32, read one after the other."""
    tensors = {}
    for weight in tqdm(weights, desc="convert", unit=" variables", leave=False, delay=2):
        values = found.read(weight.variable)
        tensors[weight.key] = torch.from_numpy(np.ascontiguousarray(values.T if weight.transposed else values))
    return tensors


def _zero_padding_row(tensors: Mapping[str, torch.Tensor], config: PreTrainedConfig) -> list[str]:
    """Make the word embedding of padding zero, as it is in a model that transformers begins; a note if it was not.

    A text's last token reads the embedding of what follows it: zeros at the end of a batch's longest text, and this row
    where there is padding.
    """
    row = tensors["mobilebert.embeddings.word_embeddings.weight"][config.pad_token_id]
    if not row.any():
        return []
    row.zero_()
    return [
        f"the word embedding of padding (row {config.pad_token_id}) was set to zero, so that outputs do not depend on "
        "padding: each token reads its neighbours' embeddings; --keep-padding-row leaves it as trained"
    ]


def _of_norms(config: PreTrainedConfig) -> list[str]:
    if config.model_type != "mobilebert" or config.normalization_type != "layer_norm":
        return []
    return [
        "normalization_type is layer_norm: transformers' MobileBERT adds 1e-5 to the variance in some of them, where "
        "TensorFlow's code adds 1e-12; outputs differ a little"
    ]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD:,} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def _sizes(shape: Iterable[int] | None) -> str:
    return "of no known shape" if shape is None else " x ".join(map(str, shape)) or "a single value"
