"""The latency of models side by side, at several batch sizes, lengths and numbers of threads: `tinydistill latency`.

Models are folders of transformers or of ONNX Runtime, and shapes by name with random weights, which are as fast as
trained ones. What stands behind `@` is a format to export a model to for the measurement: `tinybert-4l-312d@onnx-int8`.
"""

import contextlib
import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedModel

from glue_tasks.errors import UserError
from tinydistill import latency
from tinydistill.checks import check_positions
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.export import FLOAT, FORMATS, INT8, check_packages, quantise, write_graph
from tinydistill.models import load_as_saved
from tinydistill.onnx_model import OnnxModel
from tinydistill.report import table_lines, to_text
from tinydistill.shapes import SHAPES, Shape, check_heads, mobilebert_config, parse, published_config

LAYOUTS = ("text", "markdown", "csv", "json")
_SHAPE = "shape:"


@dataclass(frozen=True)
class Measured:
    """How long a model takes, in milliseconds."""

    model: str  # as it was named
    runs_on: str  # "torch" or "ONNX Runtime"
    threads: int
    batch_size: int
    length: int  # pieces of every sentence
    passes: int  # forward passes measured
    median_per_batch: float
    p95_per_batch: float
    median_per_sentence: float
    p95_per_sentence: float
    times_faster: float  # than the first model, by the median


def measure(
    names: Sequence[str], batch_sizes: Sequence[int], lengths: Sequence[int], threads: Sequence[int]
) -> list[Measured]:
    """Each model at each setting, in float32 unless it is in 8 bits, on the CPU; in turns, so that a machine that slows
    down slows all of them. Raises UserError if a model cannot be, or cannot read so many pieces."""
    if not names:
        raise UserError("latency needs models; name folders or shapes with --models, such as --models bert-base")
    rows: list[Measured] = []
    before = torch.get_num_threads()
    with _loaded(names) as models:
        for name, model in models.items():
            check_positions(model, f"model {name}", max(lengths))
        try:
            for count in threads:
                torch.set_num_threads(count)
                for model in models.values():
                    if isinstance(model, OnnxModel):
                        model.use_threads(count)
                for length in lengths:
                    for batch_size in batch_sizes:
                        rows += _rows(models, count, batch_size, length)
        finally:
            torch.set_num_threads(before)
    return rows


def _rows(models: Mapping[str, PreTrainedModel], threads: int, batch_size: int, length: int) -> Iterator[Measured]:
    times = {name: 1000 * np.array(taken) for name, taken in latency.take_turns(models, batch_size, length).items()}
    first = float(np.median(next(iter(times.values()))))
    for name, taken in times.items():
        median, late = float(np.median(taken)), float(np.percentile(taken, 95))
        yield Measured(
            model=name,
            runs_on="ONNX Runtime" if isinstance(models[name], OnnxModel) else "torch",
            threads=threads,
            batch_size=batch_size,
            length=length,
            passes=len(taken),
            median_per_batch=median,
            p95_per_batch=late,
            median_per_sentence=median / batch_size,
            p95_per_sentence=late / batch_size,
            times_faster=first / median,
        )


@contextlib.contextmanager
def _loaded(names: Sequence[str]) -> Iterator[dict[str, PreTrainedModel]]:
    """The models by their names, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as scratch:
        models: dict[str, PreTrainedModel] = {}
        for place, name in enumerate(dict.fromkeys(names)):
            base, _, form = name.rpartition("@")
            if not base or Path(name).exists():
                models[name] = _load(name)
                continue
            if form not in FORMATS:
                raise UserError(f"{name} asks for the format {form!r}; behind @ it can be {', '.join(FORMATS)}")
            models[name] = _exported(_load(base), form, Path(scratch) / str(place))
        yield models


def _load(name: str) -> PreTrainedModel:
    shape = parse(name.removeprefix(_SHAPE)) if name.startswith(_SHAPE) else None
    if Path(name).exists() or not (shape or name.lower() in SHAPES):
        return load_as_saved(name)
    config = _config_of(shape) if shape else published_config(name.lower())
    return AutoModelForSequenceClassification.from_config(config).eval()


def _config_of(shape: Shape) -> BertConfig:
    """A BERT, or a MobileBERT, of that size with the vocabulary of English BERT."""
    check_heads(shape)
    plain = BertConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
    )
    return mobilebert_config(shape, plain) if shape.bottleneck else plain


def _exported(model: PreTrainedModel, form: str, folder: Path) -> OnnxModel:
    check_packages()
    if isinstance(model, OnnxModel):
        raise UserError(f"{model.name} is exported already; name it without @{form}")
    write_graph(model, accepted_inputs(model), folder / FLOAT)
    if form == INT8:
        quantise(folder / FLOAT, folder / INT8)
    model.config.save_pretrained(folder / form)
    return OnnxModel(str(folder / form))


def laid_out(rows: Sequence[Measured], layout: str) -> str:
    """The measurements as a table for the terminal, in Markdown or as CSV, or as JSON."""
    if layout not in LAYOUTS:
        raise UserError(f"--format is {layout!r}; it can be {', '.join(LAYOUTS)}")
    if layout == "json":
        return json.dumps([asdict(row) for row in rows], indent=2)
    titles = ["model", "on", "threads", "batch", "length", "ms/batch", "p95", "ms/sentence", "p95", "faster"]
    if layout == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        return text.getvalue().rstrip("\n")
    table = [titles, *(_cells(row) for row in rows)]
    return "\n".join(table_lines(table)) if layout == "markdown" else to_text(table)


def _cells(row: Measured) -> list[str]:
    times = (row.median_per_batch, row.p95_per_batch, row.median_per_sentence, row.p95_per_sentence)
    settings = map(str, (row.threads, row.batch_size, row.length))
    return [row.model, row.runs_on, *settings, *(f"{ms:.2f}" for ms in times), f"{row.times_faster:.1f}x"]
