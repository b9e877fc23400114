"""Rows of several requests in one forward pass.

While the model is at work, what comes in waits and goes into the next batch together: a single client never waits for
others, and many clients share passes. No timer is needed.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row")
Found = TypeVar("Found")


class Busy(Exception):
    """More rows wait than may; the client should try again later."""


class Closed(Exception):
    """The service is shutting down."""


@dataclass
class _Asked(Generic[Row, Found]):
    """A request whose rows wait, or are being answered."""

    rows: Sequence[Row]
    answered: "asyncio.Future[list[Found]]"
    found: list[Found] = field(default_factory=list)
    taken: int = 0  # rows that are in a batch


class Batches(Generic[Row, Found]):
    """Answers rows in batches of at most `most_rows`, in the order in which they came.

    answer: what the model says of some rows; it runs in a thread, one batch at a time. most_waiting: rows.
    """

    def __init__(self, answer: Callable[[list[Row]], list[Found]], most_rows: int, most_waiting: int):
        self._answer, self._most_rows, self._most_waiting = answer, most_rows, most_waiting
        self._asked: list[_Asked[Row, Found]] = []
        self._waiting = 0
        self._something = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._closing = False
        self.sizes: Callable[[int], None] = lambda rows: None  # told of each batch

    @property
    def waiting(self) -> int:
        """Rows that are in no batch yet."""
        return self._waiting

    def start(self) -> None:
        """In the loop that serves."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Answer what waits, and stop."""
        self._closing = True
        self._something.set()
        if self._worker:
            await self._worker

    async def ask(self, rows: Sequence[Row]) -> list[Found]:
        """One answer for each row. Raises Busy, Closed, or what the model raised."""
        if self._closing:
            raise Closed
        if not rows:
            return []
        if self._waiting and self._waiting + len(rows) > self._most_waiting:
            raise Busy
        asked: _Asked[Row, Found] = _Asked(rows, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self._waiting += len(rows)
        self._something.set()
        return await asked.answered

    async def _work(self) -> None:
        while True:
            while not self._asked:
                if self._closing:
                    return
                self._something.clear()
                await self._something.wait()
            parts = self._next()
            rows = [row for asked, start, end in parts for row in asked.rows[start:end]]
            if not rows:  # all were given up
                continue
            self.sizes(len(rows))
            try:
                found = await asyncio.to_thread(self._answer, rows)
            except Exception as error:  # told to each client; the service goes on
                for asked, _, _ in parts:
                    if not asked.answered.done():
                        asked.answered.set_exception(error)
                continue
            at = 0
            for asked, start, end in parts:
                asked.found += found[at : at + end - start]
                at += end - start
                if len(asked.found) == len(asked.rows) and not asked.answered.done():
                    asked.answered.set_result(asked.found)

    def _next(self) -> list[tuple[_Asked[Row, Found], int, int]]:
        """The requests of the next batch, each with its rows from and to."""
        parts = []
        free = self._most_rows
        while self._asked and free:
            asked = self._asked[0]
            end = min(asked.taken + free, len(asked.rows))
            left = len(asked.rows) - asked.taken
            if asked.answered.done():  # its client went away, or an earlier part of it failed
                self._waiting -= left
                self._asked.pop(0)
                continue
            parts.append((asked, asked.taken, end))
            free -= end - asked.taken
            self._waiting -= end - asked.taken
            asked.taken = end
            if end == len(asked.rows):
                self._asked.pop(0)
        return parts
