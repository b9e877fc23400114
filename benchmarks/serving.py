"""Requests a second, and how long they take, of a model behind `python -m tinydistill serve`.

Real clients over HTTP, each with a connection of its own that it keeps, ask one sentence of SST-2's dev set after the
other. Models are served one at a time, each as it is, as ONNX and in 8 bits. Every answer is compared with what
`predict` says of the sentence alone; one is wrong if its label is another one and the model was surer than by a
hundredth. Clients and server share the machine.

    python -m benchmarks.serving
    python -m benchmarks.serving --teacher runs/sst2/teacher --student runs/sst2/prediction
"""

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.machine import check_inputs
from glue_tasks import get_task
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file
from tinydistill.export import exported
from tinydistill.lines import LineReader

MODEL = Path("../shared/models/minilm-l6-h384-mlm")
FORMATS = ("torch", "onnx", "onnx-int8")
_SURE = 0.01  # of a probability, above that of chance


@exit_on_user_error(resumable=False)
def main(
    teacher: Annotated[Path | None, typer.Option(help="A fine-tuned model. Default: --model, a fresh head.")] = None,
    student: Annotated[Path | None, typer.Option(help="Its student. Default: three blocks of --model.")] = None,
    model: Annotated[Path, typer.Option(help="Encoder of which the defaults are made.")] = MODEL,
    data_dir: Annotated[Path, typer.Option(help="The folder that holds SST-2.")] = Path("../shared/data/glue"),
    clients: Annotated[str, typer.Option(help="How many ask at once.")] = "1,8,32",
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 10.0,
    threads: Annotated[int, typer.Option(help="Of the server's forward passes.")] = 1,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/serving.json"),
) -> None:
    """Serve each model in each format to so many clients at once."""
    check_inputs(**{name: path for name, path in {"teacher": teacher, "student": student}.items() if path})
    check_inputs(model=model, data_dir=data_dir)
    task = get_task("SST-2")
    table = open_table(task, find_file(task, data_dir, "dev"), "dev")
    sentences = [row.texts[0] for row in table]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        chosen = {"teacher": teacher, "student": student}
        for who, blocks in (("teacher", 0), ("student", 3)):
            served = chosen[who] or _fresh(model, blocks, Path(scratch) / f"{who}-model")
            with exported(str(served), Path(scratch) / who, list(FORMATS[1:])):
                pass
            folders = {name: served if name == "torch" else Path(scratch) / who / name for name in FORMATS}
            for name, folder in folders.items():
                expected = [answer.to_dict() for answer in LineReader(str(folder)).answers([(s,) for s in sentences])]
                with _served(folder, threads) as (host, port):
                    for count in map(int, clients.split(",")):
                        found = _load(host, port, count, seconds, sentences, expected)
                        rows.append({"model": who, "format": name, "clients": count, **found})
                        print(json.dumps(rows[-1]), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"threads": threads, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    print(_table(rows))


def _fresh(model: Path, blocks: int, folder: Path) -> Path:
    """A classifier of SST-2 with a fresh head, which answers as fast as a trained one. blocks: 0 is all."""
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": blocks} if blocks else {}
    named = {"id2label": dict(enumerate(get_task("SST-2").labels)), "num_labels": 2}
    made = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32, **sizes, **named)
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


@contextmanager
def _served(model: Path, threads: int) -> Iterator[tuple[str, int]]:
    """The address of a server of its own."""
    command = [sys.executable, "-m", "tinydistill", "serve", "--model", str(model), "--port", "0"]
    server = subprocess.Popen([*command, "--threads", str(threads)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.startswith("serving on "))
        host, _, port = line.strip().rpartition("/")[2].rpartition(":")
        _ask(http.client.HTTPConnection(host, int(port)), "ready?")
        yield host, int(port)
    finally:
        server.terminate()
        server.wait()


def _ask(connection: http.client.HTTPConnection, sentence: str) -> dict[str, Any]:
    connection.request("POST", "/predict", json.dumps({"text": sentence}), {"content-type": "application/json"})
    response = connection.getresponse()
    body = json.loads(response.read())
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {body}")
    return body["predictions"][0]


def _load(
    host: str, port: int, clients: int, seconds: float, sentences: Sequence[str], expected: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What all clients together saw."""
    times: list[list[float]] = [[] for _ in range(clients)]
    wrong = [0] * clients
    ends = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(host, port)
        draw = np.random.default_rng(number)
        while time.perf_counter() < ends:
            at = int(draw.integers(len(sentences)))
            began = time.perf_counter()
            answer = _ask(connection, sentences[at])
            times[number].append(time.perf_counter() - began)
            sure = expected[at]["probability"] - 1 / len(expected[at]["probabilities"])
            wrong[number] += answer["label"] != expected[at]["label"] and sure > _SURE

    workers = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - began
    all_times = np.array([each for own in times for each in own]) * 1000
    p50, p95, p99 = np.percentile(all_times, (50, 95, 99))
    return {
        "requests_per_second": round(len(all_times) / took, 1),
        "p50_ms": round(p50, 2),
        "p95_ms": round(p95, 2),
        "p99_ms": round(p99, 2),
        "wrong": sum(wrong),
        "requests": len(all_times),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    header = ["model", "format", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "wrong answers"]
    keys = ("model", "format", "clients", "requests_per_second", "p50_ms", "p95_ms", "p99_ms", "wrong")
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(str(row[key]) for key in keys) + " |" for row in rows)])


if __name__ == "__main__":
    typer.run(main)
