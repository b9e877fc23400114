"""A model as a folder for ONNX Runtime: the graph, its tokenizer and its configuration, so that it stands alone.

The graph is made by torch's exporter (torch.onnx.export with dynamo, that is torch.export) of transformers' own code
with its plain attention; 8 bits are ONNX Runtime's dynamic quantisation, weights by output channel.
References: https://docs.pytorch.org/docs/stable/onnx_export.html and
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from glue_tasks.errors import UserError
from glue_tasks.writers import write_json
from tinydistill.encoders.limits import accepted_inputs, position_limit
from tinydistill.encoders.pretrained import quiet
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.extras import import_extra
from tinydistill.models import load_as_saved, weights_digest
from tinydistill.onnx_model import GRAPH, RECORD, is_onnx
from tinydistill.runs import PhaseFolder, versions

FLOAT, INT8 = "onnx", "onnx-int8"
FORMATS = (FLOAT, INT8)
OPSET = 18  # the lowest that torch's exporter writes without converting; any ONNX Runtime since 1.14 reads it
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_LARGEST = 1_900_000_000  # bytes of weights in the graph's own file; protobuf ends at 2 GiB
_QUANTISED = {
    "method": "dynamic, weights in int8 by output channel, inputs in uint8",
    "operators": ["MatMul"],  # those of linear layers (Gemm) become such first
    # Without VNNI two products of 8 bits overflow the 16 that the processor adds them in, and the model goes wrong.
    "weight_bits": 7,
}


@contextlib.contextmanager
def exported(
    name: str, output: Path, formats: Sequence[str] = (FLOAT,), overwrite: bool = False
) -> Iterator[dict[str, tuple[Path, dict[str, Any]]]]:
    """Format -> its folder and what its `export.json` will hold, to which the block may add; each becomes
    `<output>/<format>` when the block ends without an error, and none does otherwise.

    name: a folder or a hub id of a model with any head. Raises UserError if a folder is there, or nothing fits.
    """
    if wrong := [each for each in formats if each not in FORMATS]:
        raise UserError(f"--formats has {wrong[0]!r}; it can be {', '.join(FORMATS)}")
    if is_onnx(name):
        raise UserError(f"{name} is exported already; name the folder that it was exported from")
    check_packages()
    for each in formats:
        _check_place(output / each, overwrite)
    model, tokenizer = load_as_saved(name), load_tokenizer(name)
    record = _record_of(model, name)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as scratch:
        made: dict[str, tuple[Path, dict[str, Any]]] = {}
        inputs = inputs_of(model, tokenizer)
        first = Path(scratch) / FLOAT
        write_graph(model, inputs, first)
        for each in dict.fromkeys(formats):
            folder = Path(scratch) / each
            if each == INT8:
                quantise(first, folder)
            with quiet():
                model.config.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
            own = {"format": each, **record, "inputs": inputs, "outputs": list(outputs_of(model))}
            own |= {"quantisation": _QUANTISED if each == INT8 else None}
            own["bytes"] = sum(path.stat().st_size for path in folder.glob(f"{GRAPH}*"))
            made[each] = (folder, own)
        yield made
        for each, (folder, own) in made.items():
            write_json(folder / RECORD, own)
            if (output / each).exists():
                shutil.rmtree(output / each)
            folder.rename(output / each)


def check_packages() -> None:
    """Raises UserError if a package of the extra is not installed."""
    import_extra("onnx", *_PACKAGES)


def _check_place(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not (folder / GRAPH).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something else; choose another --output")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise UserError(f"{folder} is there already; choose another --output, or write over it with --overwrite")


def inputs_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The columns that the model's forward names and the tokenizer gives; a mask always, for batches are padded."""
    given = {"input_ids", "attention_mask", *tokenizer.model_input_names}
    return [name for name in accepted_inputs(model) if name in given]


def outputs_of(model: PreTrainedModel) -> tuple[str, ...]:
    """The outputs that the graph has, by the names that transformers gives them."""
    saved = type(model).__name__
    if saved.endswith("ForQuestionAnswering"):
        return ("start_logits", "end_logits")
    return ("logits",) if "For" in saved else ("last_hidden_state",)


class _ByName(nn.Module):
    """A model that takes the columns of a batch and gives its outputs as a tuple."""

    def __init__(self, model: PreTrainedModel, outputs: Sequence[str]):
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        found = self.model(**{name: column for name, column in given.items() if column is not None})
        return tuple(getattr(found, name) for name in self.outputs)


def write_graph(model: PreTrainedModel, inputs: Sequence[str], folder: Path) -> None:
    """Write the model's graph, for any number of sentences and of pieces that the model has positions for.

    The model is left on the CPU, in eval mode and with transformers' plain attention. Raises UserError if torch's
    exporter cannot do it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.to("cpu").eval()
    with contextlib.suppress(ValueError):  # of a model that has but one attention
        model.set_attn_implementation("eager")
    outputs, limit = outputs_of(model), position_limit(model)
    # Of two sentences of different length: a size of 1 would be taken for one that is always 1.
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    ids = torch.arange(5, 12).remainder(model.config.vocab_size).repeat(2, 1)
    columns = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=limit)}
    size = sum(each.nbytes for each in {id(each): each for each in model.state_dict().values()}.values())
    with _silent():
        try:
            torch.onnx.export(
                _ByName(model, outputs).eval(),
                (),
                str(folder / GRAPH),
                kwargs={name: columns[name] for name in inputs},
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dict.fromkeys(inputs, axes),
                opset_version=OPSET,
                dynamo=True,
                external_data=size > _LARGEST,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = " ".join(str(error.__cause__ or error).split())[:200]
            raise UserError(
                f"torch {torch.__version__} cannot export models of type {model.config.model_type!r} to ONNX; serve "
                f"the folder as it is ({reason})"
            ) from None


def quantise(source: Path, folder: Path) -> None:
    """Write the graph of one folder in 8 bits into another."""
    (tool,) = import_extra("onnx", "onnxruntime.quantization")
    folder.mkdir(parents=True, exist_ok=True)
    with _silent():
        tool.quantize_dynamic(
            str(source / GRAPH),
            str(folder / GRAPH),
            op_types_to_quantize=_QUANTISED["operators"],
            per_channel=True,
            reduce_range=True,
            weight_type=tool.QuantType.QInt8,
            use_external_data_format=any(source.glob(f"{GRAPH}.*")),
        )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The exporters' progress and advice are not the user's."""
    loud = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), quiet(), open(os.devnull, "w") as nowhere:
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(nowhere):
                yield
    finally:
        logging.disable(loud)


def _record_of(model: PreTrainedModel, name: str) -> dict[str, Any]:
    """What a folder's `export.json` says of where it comes from; no path."""
    settings = (PhaseFolder(Path(name).parent, Path(name).name).read() or {}).get("settings", {})
    return {
        "opset": OPSET,
        "exporter": "torch.onnx.export (dynamo)",
        "architecture": type(model).__name__,
        "model_type": model.config.model_type,
        "parameters": model.num_parameters(),
        "positions": position_limit(model),
        "weights": weights_digest(model),
        "trained_with": {key: settings[key] for key in ("task", "max_length", "doc_stride") if key in settings},
        "versions": {**versions(), **{package: version(package) for package in _PACKAGES}},
    }
