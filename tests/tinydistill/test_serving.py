"""The HTTP service: answers are those of `predict`, what is wrong is told, and what waits is answered at the end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason='the extra tinydistill[serve] is not installed: pip install "tinydistill[serve]"')

import uvicorn

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from tests.tinydistill.predictions import save_model, sentences
from tinydistill.lines import LineReader
from tinydistill.serving.app import Limits, create_app
from tinydistill.serving.batches import Batches, Busy, Closed
from tinydistill.serving.server import listen


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), TASKS["MNLI"])


@pytest.fixture(scope="module")
def reader(model: Path) -> LineReader:
    return LineReader(str(model), max_length=16, how="float32")


@pytest.fixture(scope="module")
def address(reader: LineReader) -> Iterator[str]:
    """Of a service in a thread of this process."""
    listening = listen("127.0.0.1", 0)
    app = create_app(reader, "model", 4, Limits(body=2_000, rows=8, characters=100))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def ask(address: str, body: Any, path: str = "/predict", **headers: str) -> tuple[int, Any]:
    """Status and what was answered."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, raw, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            text = response.read().decode()
            return response.status, json.loads(text) if "json" in response.headers["content-type"] else text
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_answers_are_those_of_predict(address: str, reader: LineReader) -> None:
    """Of many clients at once, whatever batches they make."""
    first, second = sentences(60, 1), sentences(60, 2)
    rows = [(a, b) if i % 3 else (a,) for i, (a, b) in enumerate(zip(first, second, strict=True))]
    expected = [answer.to_dict() for answer in reader.answers(rows)]
    requests = [rows[start : start + 1 + start % 5] for start in range(0, 60, 5)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda own: ask(address, {"rows": [as_json(row) for row in own]}), requests))
    for start, own, (status, answer) in zip(range(0, 60, 5), requests, found, strict=True):
        assert status == 200
        for got, wanted in zip(answer["predictions"], expected[start : start + len(own)], strict=True):
            assert got["label"] == wanted["label"]
            assert got["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    status, alone = ask(address, as_json(rows[1]))
    assert (status, alone["predictions"][0]["text_pair"]) == (200, rows[1][1])
    assert ask(address, {"rows": []}) == (200, {"predictions": []})


def as_json(row: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(("text", "text_pair"), row, strict=False))


WRONG: list[tuple[Any, int, str]] = [
    (b"{", 422, "no JSON"),
    (b"\xff\xfe", 422, "no JSON"),
    ({}, 422, "text"),
    ({"text": 3}, 422, "text"),
    ({"text": "a", "more": 1}, 422, "more"),
    ({"rows": ["a"]}, 422, "rows"),
    ([], 422, "body"),
    ({"text": "a", "rows": []}, 422, "or rows"),
    ({"rows": [{"text": "a"}], "text_pair": "a"}, 422, "or rows"),
    ({"rows": 9 * [{"text": "a"}]}, 413, "9 rows are more than the 8 of one request"),
    ({"text": 101 * "a"}, 413, "101 characters"),
    ({"text": 3_000 * "a"}, 413, "larger than the 2,000 bytes"),
]


@pytest.mark.parametrize(("body", "status", "words"), WRONG)
def test_wrong_requests(address: str, body: Any, status: int, words: str) -> None:
    found, answer = ask(address, body)
    assert found == status
    assert isinstance(answer["detail"], str)
    assert words in answer["detail"]


def test_a_body_that_does_not_say_how_long_it_is(address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                       b"transfer-encoding: chunked\r\n\r\n")  # fmt: skip
        for _ in range(3):
            client.sendall(b"3e8\r\n" + 1_000 * b"a" + b"\r\n")
        assert b" 413 " in client.recv(1_000).splitlines()[0]


def test_other_paths(address: str) -> None:
    status, health = ask(address, None, "/health")
    assert (status, health["status"], health["model"]) == (200, "ok", "model")
    assert health["labels"] == list(TASKS["MNLI"].labels)
    status, page = ask(address, None, "/")
    assert status == 200
    assert "<form" in page
    assert "http://" not in page
    assert ask(address, None, "/nothing")[0] == 404
    assert ask(address, None)[0] == 405
    ask(address, {"text": "a"})
    _, metrics = ask(address, None, "/metrics")
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(values['requests_total{path="/predict",status="200"}']) >= 1
    assert float(values["rows_total"]) >= 1
    assert float(values["rows_waiting"]) == 0
    assert float(values["batch_rows_sum"]) >= float(values["rows_total"])


def slowly(seen: list[list[int]], gate: threading.Event) -> Callable[[list[int]], list[int]]:
    def answer(rows: list[int]) -> list[int]:
        seen.append(rows)
        gate.wait(10)
        if -1 in rows:
            raise ValueError("a row that fails")
        return [row * 10 for row in rows]

    return answer


def test_rows_that_come_meanwhile_share_a_batch() -> None:
    seen: list[list[int]] = []
    gate = threading.Event()

    async def clients() -> list[Any]:
        batches: Batches[int, int] = Batches(slowly(seen, gate), most_rows=4, most_waiting=7)
        batches.start()
        first = asyncio.create_task(batches.ask([1]))
        while not seen:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batches.ask(rows)) for rows in ([2, 3], [4, 5, 6], [7])]
        await asyncio.sleep(0.01)
        assert batches.waiting == 6
        with pytest.raises(Busy):
            await batches.ask([8, 9])
        others.append(asyncio.create_task(batches.ask([8])))
        await asyncio.sleep(0.01)
        others[2].cancel()  # the client of 7 goes away
        gate.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert await batches.ask([]) == []
        await batches.close()
        with pytest.raises(Closed):
            await batches.ask([1])
        assert batches.waiting == 0
        return found

    found = asyncio.run(clients())
    assert isinstance(found.pop(3), asyncio.CancelledError)
    assert found == [[10], [20, 30], [40, 50, 60], [80]]
    assert seen == [[1], [2, 3, 4, 5], [6, 8]]


def test_a_failure_is_its_batchs_alone_and_closing_answers_what_waits() -> None:
    seen: list[list[int]] = []
    gate = threading.Event()

    async def clients() -> list[Any]:
        batches: Batches[int, int] = Batches(slowly(seen, gate), most_rows=2, most_waiting=100)
        batches.start()
        asked = [asyncio.create_task(batches.ask(rows)) for rows in ([1], [-1, 2, 3], [4])]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(batches.close())
        gate.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        await closing
        return found

    first, second, third = asyncio.run(clients())
    assert (first, third) == ([10], [40]) or isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert third == [40]


def test_a_port_in_use() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match="choose another --port"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="cannot listen on nowhere"):
        listen("nowhere.invalid", 0)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_when_it_is_told(stop: signal.Signals, model: Path) -> None:
    """With the request that it is answering."""
    command = [sys.executable, "-m", "tinydistill", "serve", "--model", str(model), "--port", "0", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(line.split()[-1] for line in process.stdout if line.startswith("serving on "))
        assert ask(address, None, "/health")[0] == 200
        rows = {"rows": 256 * [{"text": " ".join(sentences(30, 1))}]}
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, address, rows)
            while "batch_rows_count 0.0" in ask(address, None, "/metrics")[1]:
                time.sleep(0.001)
            process.send_signal(stop)
            status, answer = asked.result(60)
        assert (status, len(answer["predictions"])) == (200, 256)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (0, -stop)
    assert not error
