"""A model that is no longer trained, at changing lengths: ours beside inductor's freezing and torchao's 8 bits.

torchao is measured where it is installed; the project does not need it.

    python -m benchmarks.frozen_products
"""

import copy
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from benchmarks.machine import check_inputs
from glue_tasks import get_task
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from tinydistill.encoders.attention import replace_attention
from tinydistill.encoders.cpu import int8
from tinydistill.encoders.cpu.products import prepare_products

BATCH, ROUNDS = 32, 5


def main(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2.")] = Path("../shared/data/glue"),
    model: Annotated[Path, typer.Option(help="An encoder.")] = Path("../shared/models/minilm-l6-h384-mlm"),
    rows: Annotated[int, typer.Option(help="The first so many rows of dev.")] = 256,
    ways: Annotated[str, typer.Option(help="Those whose names begin so, beside float32.")] = "",
) -> None:
    """Time each way over the batches in turns, and compare its last hidden states with float32's."""
    check_inputs(data_dir=data_dir, model=model)
    task = get_task("SST-2")
    texts = [row.texts[0] for row in open_table(task, find_file(task, data_dir, "dev"), "dev")][:rows]
    tokenizer = AutoTokenizer.from_pretrained(model)
    batches = [
        tokenizer(texts[start : start + BATCH], padding=True, return_tensors="pt")
        for start in range(0, len(texts), BATCH)
    ]
    encoder = AutoModel.from_pretrained(model, dtype=torch.float32).eval().requires_grad_(False)
    runs, starting = {}, {}
    for name, prepare in _ways(batches).items():
        if name != "float32" and not name.startswith(ways):
            continue
        began = time.perf_counter()
        print(f"preparing {name}", flush=True)
        try:
            runs[name] = prepare(copy.deepcopy(encoder))
            _through(runs[name], batches)
        except Exception as error:  # of one way, which the others do not depend on
            print(f"{name}: {str(error).strip().splitlines()[0][:200]}", flush=True)
            runs.pop(name, None)
        starting[name] = time.perf_counter() - began
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            _through(run, batches)
            times[name].append(time.perf_counter() - began)
    wanted = _through(runs["float32"], batches)
    plain = min(times["float32"])
    print("| way | ms a batch, best (median) | times float32 | states off by | s to start |\n" + "|---" * 5 + "|")
    for name, run in runs.items():
        off = ((_through(run, batches) - wanted).norm() / wanted.norm()).item()
        best, median = (1e3 * each / len(batches) for each in (min(times[name]), statistics.median(times[name])))
        print(
            f"| {name} | {best:.0f} ({median:.0f}) | {plain / min(times[name]):.2f}x | {off:.2%} "
            f"| {starting[name]:.0f} |",
            flush=True,
        )


Run = Callable[..., object]


def _ways(batches: list) -> dict[str, Callable[[PreTrainedModel], Run]]:
    ways: dict[str, Callable[[PreTrainedModel], Run]] = {
        "float32": lambda model: model,
        "float32, ours": _ours,
        "float32, inductor's freezing": _frozen,
        "int8, ours": lambda model: _ours(_in_8_bits(model, batches)),
    }
    if importlib.util.find_spec("torchao"):
        ways["int8, torchao"] = _torchao
        ways["compiled int8, torchao"] = lambda model: torch.compile(_torchao(model), dynamic=True)
    return ways


def _ours(model: PreTrainedModel) -> PreTrainedModel:
    replace_attention(model)
    prepare_products(model, "float32")
    return model


def _in_8_bits(model: PreTrainedModel, batches: list) -> PreTrainedModel:
    int8.quantise(model, int8.largest_inputs(model, batches[:2], "float32"), "float32")
    return model


def _frozen(model: PreTrainedModel) -> Run:
    return torch.compile(model, dynamic=True, options={"freezing": True})


def _torchao(model: PreTrainedModel) -> PreTrainedModel:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(model.encoder, Int8DynamicActivationInt8WeightConfig())
    return model


@torch.no_grad()
def _through(run: Run, batches: list) -> torch.Tensor:
    """The last hidden states of the tokens, (N, D)."""
    return torch.cat([run(**batch).last_hidden_state[batch["attention_mask"].bool()] for batch in batches])  # type: ignore[attr-defined]


if __name__ == "__main__":
    typer.run(main)
