"""How long models take to answer, measured side by side."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from tinydistill.encoders.limits import accepted_inputs


@dataclass(frozen=True)
class Timing:
    """How long one batch took, in milliseconds, for each model by name."""

    batch_size: int
    length: int  # pieces of every sentence
    threads: int
    device: str
    precision: str
    ms_per_batch: dict[str, float]
    ms_per_sentence: dict[str, float]


SECONDS = 1.0  # spent on each batch size


def measure(models: Mapping[str, PreTrainedModel], length: int, batch_sizes: Sequence[int] = (1, 32)) -> list[Timing]:
    """Latency of each model in float32 at each batch size: the median of forward passes taken in turns.

    Taking turns lets a machine that slows down slow all of them.
    """
    timings = []
    for batch_size in batch_sizes:
        times = take_turns(models, batch_size, length)
        medians = {name: 1000 * statistics.median(taken) for name, taken in times.items()}
        timings.append(
            Timing(
                batch_size=batch_size,
                length=length,
                threads=torch.get_num_threads(),
                device=next(iter(models.values())).device.type,
                precision="float32",
                ms_per_batch=medians,
                ms_per_sentence={name: median / batch_size for name, median in medians.items()},
            )
        )
    return timings


@torch.inference_mode()
def take_turns(models: Mapping[str, PreTrainedModel], batch_size: int, length: int) -> dict[str, list[float]]:
    """Seconds of each forward pass of each model, five of each at least, for as long as SECONDS; the first ones, which
    allocate, are not among them."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.eval()
        _seconds(model, batch_size, length)
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS or any(len(taken) < 5 for taken in times.values()):
        for name, model in models.items():
            times[name].append(_seconds(model, batch_size, length))
    return times


def _seconds(model: PreTrainedModel, batch_size: int, length: int) -> float:
    """One forward pass."""
    columns = {
        "input_ids": torch.randint(5, min(model.config.vocab_size, 1000), (batch_size, length), device=model.device),
        "attention_mask": torch.ones(batch_size, length, dtype=torch.long, device=model.device),
        "token_type_ids": torch.zeros(batch_size, length, dtype=torch.long, device=model.device),
    }
    inputs = {name: columns[name] for name in accepted_inputs(model)}
    start = time.perf_counter()
    model(**inputs)
    if model.device.type != "cpu":
        torch.accelerator.synchronize()  # or only the launch would be timed
    return time.perf_counter() - start
