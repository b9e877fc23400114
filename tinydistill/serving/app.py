"""The HTTP service: `/predict`, `/health`, `/metrics`, and a page at `/`."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glue_tasks.version import __version__
from tinydistill.lines import LineReader
from tinydistill.serving.batches import Batches, Busy, Closed

Texts = tuple[str, ...]  # one, or two of a pair


@dataclass(frozen=True)
class Limits:
    """What one request, and all that wait, may ask for."""

    body: int = 1 << 20  # bytes
    rows: int = 256  # of a request
    characters: int = 100_000  # of a text
    waiting: int = 4_096  # rows of all requests


class Row(BaseModel):
    """A sentence, or a pair."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(description="A sentence.")
    text_pair: str | None = Field(default=None, description="The second sentence, of a pair.")


class Asked(BaseModel):
    """`text`, with `text_pair` for a pair; or `rows` of these."""

    model_config = ConfigDict(extra="forbid")
    text: str | None = None
    text_pair: str | None = None
    rows: list[Row] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Asked":
        if (self.text is None) == (self.rows is None) or (self.rows is not None and self.text_pair is not None):
            raise ValueError("give text, with text_pair for a pair; or rows of these")
        return self

    def texts(self) -> list[Texts]:
        rows = [Row(text=self.text or "", text_pair=self.text_pair)] if self.rows is None else self.rows
        return [(row.text,) if row.text_pair is None else (row.text, row.text_pair) for row in rows]


def create_app(reader: LineReader, name: str, batch_size: int, limits: Limits = Limits()) -> FastAPI:
    """name: of the model, for /health."""

    def answer(rows: list[Texts]) -> list[dict[str, Any]]:
        return [each.to_dict() for each in reader.answers(rows)]

    batches: Batches[Texts, dict[str, Any]] = Batches(answer, batch_size, limits.waiting)
    meters = _Meters(lambda: batches.waiting)
    batches.sizes = meters.batch.observe

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(answer, [("",)])  # the first pass is slow, and no client's
        batches.start()
        yield
        await batches.close()

    app = FastAPI(title="tinydistill", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)

    app.add_middleware(_LimitBody, most=limits.body)

    @app.middleware("http")
    async def measured(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        response = await go_on(request)
        path = request.url.path if request.url.path in _PATHS else "other"
        meters.requests.labels(path, str(response.status_code)).inc()
        if path == "/predict":
            meters.seconds.observe(time.perf_counter() - began)
        return response

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return JSONResponse({"detail": "the body is no JSON in UTF-8"}, status_code=422)
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        what = str(first["msg"]).removeprefix("Value error, ")
        return JSONResponse({"detail": f"{where or 'the body'}: {what}"}, status_code=422)

    @app.post("/predict")
    async def predict(asked: Asked) -> dict[str, Any]:
        """`{"text": "..."}` or `{"rows": [{"text": "...", "text_pair": "..."}, ...]}`."""
        texts = asked.texts()
        if len(texts) > limits.rows:
            raise HTTPException(413, f"{len(texts):,} rows are more than the {limits.rows:,} of one request")
        if (longest := max((len(text) for row in texts for text in row), default=0)) > limits.characters:
            raise HTTPException(
                413, f"a text of {longest:,} characters is longer than the {limits.characters:,} of one text"
            )
        try:
            found = await batches.ask(texts)
        except Busy:
            raise HTTPException(503, "too many rows wait; try again", headers={"Retry-After": "1"}) from None
        except Closed:
            raise HTTPException(503, "the service is shutting down") from None
        meters.rows.inc(len(found))
        return {"predictions": found}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": name, "labels": list(reader.kind.task.labels), "version": __version__}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(meters.registry), media_type="text/plain; version=0.0.4")

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"))

    return app


_PATHS = ("/predict", "/health", "/metrics", "/")
_PAGE = Path(__file__).with_name("page.html")


class _Meters:
    """What /metrics tells, in Prometheus' format."""

    def __init__(self, waiting: Callable[[], float]):
        own = self.registry = CollectorRegistry()
        self.requests = Counter("requests", "Requests, by path and status.", ["path", "status"], registry=own)
        self.rows = Counter("rows", "Rows answered.", registry=own)
        self.seconds = Histogram("predict_seconds", "Time of a request to /predict.", registry=own, buckets=_SECONDS)
        self.batch = Histogram("batch_rows", "Rows of a forward pass.", registry=own, buckets=[2**n for n in range(9)])
        Gauge("rows_waiting", "Rows that wait for a batch.", registry=own).set_function(waiting)


_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


class _LimitBody:
    """Refuses a body by what it says of its length, and one that says nothing as soon as too much has come."""

    def __init__(self, app: ASGIApp, most: int):
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = dict(scope.get("headers", ())).get(b"content-length", b"")
        if told.isdigit() and int(told) > self.most:
            await JSONResponse({"detail": self._sentence}, status_code=413)(scope, receive, send)
            return
        come = 0

        async def counted() -> Message:
            nonlocal come
            message = await receive()
            come += len(message.get("body", b""))
            if come > self.most:
                raise HTTPException(413, self._sentence)
            return message

        await self.app(scope, counted, send)

    @property
    def _sentence(self) -> str:
        return f"the body is larger than the {self.most:,} bytes of one request"
