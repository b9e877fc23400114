"""What a process that tokenises a corpus does: a shard of text at a time. It needs neither PyTorch nor transformers."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from glue_tasks.errors import UserError
from tinydistill.corpus.store import Shard, shard_path
from tinydistill.corpus.words import BeginsWords

_AT_ONCE = 1 << 18  # characters tokenised in one call: a hundred bytes of memory for each
_LONGEST = 1 << 16  # characters of a line tokenised as one text

Block = tuple[list[str], list[bool]]  # lines, and whether each begins a document


class Work:
    """The shards of a corpus, for a process to make."""

    def __init__(self, folder: Path, tokenizer: str, begins_words: BeginsWords, dtype: np.dtype):
        """tokenizer: as tokenizer.json has it. dtype: of the pieces."""
        self.folder, self.tokenizer, self.begins_words, self.dtype = folder, tokenizer, begins_words, dtype
        self.backend: Tokenizer | None = None  # is made in the process that uses it

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "backend": None}

    def do(self, number: int, block: Block) -> None:
        self.shard(block).write(shard_path(self.folder, number))

    def shard(self, block: Block) -> Shard:
        """The pieces of the lines; one without pieces is left out."""
        pieces: list[np.ndarray] = []
        begins: list[np.ndarray] = []
        lengths: list[int] = []
        starts: list[int] = []
        is_open = has_pieces = False  # the document that has no piece yet; the line
        for part, encoding in self._encoded(block):
            is_open |= part.begins_document
            has_pieces &= not part.begins_line
            if not encoding.ids:
                continue
            own = np.asarray(self.begins_words(part.text, encoding), dtype=np.bool_)
            if own.shape != (len(encoding.ids),):
                called = getattr(self.begins_words, "func", self.begins_words).__name__  # of a partial its function
                raise ValueError(f"{called} gives {own.shape} for {len(encoding.ids)} pieces")
            pieces.append(np.array(encoding.ids, dtype=self.dtype))
            begins.append(own)
            if has_pieces:
                lengths[-1] += len(own)
                continue
            if is_open:
                starts.append(len(lengths))
            lengths.append(len(own))
            is_open, has_pieces = False, True
        return Shard(
            np.concatenate([np.empty(0, self.dtype), *pieces]),
            np.concatenate([np.empty(0, np.bool_), *begins]),
            np.array(lengths, dtype=np.uint32),
            np.array(starts, dtype=np.uint32),
            is_open,
        )

    def _encoded(self, block: Block) -> Iterator[tuple["_Part", Encoding]]:
        if self.backend is None:
            self.backend = Tokenizer.from_str(self.tokenizer)
            self.backend.no_truncation()
            self.backend.no_padding()
            self.backend.encode_special_tokens = True  # as the text that they are here
        encode = self.backend.encode_batch  # `encode_batch_fast` would know no words
        waiting: list[_Part] = []
        size = 0
        for part in _parts(block):
            waiting.append(part)
            size += len(part.text)
            if size >= _AT_ONCE:
                yield from _with_pieces(waiting, encode)
                waiting, size = [], 0
        yield from _with_pieces(waiting, encode)


class _Part(NamedTuple):
    """Of a line, nearly always all of it."""

    text: str
    begins_line: bool
    begins_document: bool


def _parts(block: Block) -> Iterator[_Part]:
    for line, begins in zip(*block, strict=True):
        for place, text in enumerate(cut(line)):
            yield _Part(text, not place, begins and not place)


def _with_pieces(parts: list[_Part], encode: Callable[..., list[Encoding]]) -> Iterator[tuple[_Part, Encoding]]:
    yield from zip(parts, encode([part.text for part in parts], add_special_tokens=False), strict=True)


def cut(line: str) -> Iterator[str]:
    """The line, in parts if it is long; a space between two belongs to the later one, as its first piece needs it."""
    start = 0
    while len(line) - start > _LONGEST:
        end = line.rfind(" ", start + _LONGEST // 2, start + _LONGEST)
        end = end if end >= 0 else start + _LONGEST
        yield line[start:end]
        start = end
    yield line[start:]


_work: Work  # of this process, if it is one of the workers


def _begin(work: Work) -> None:
    global _work
    _work = work
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process for each CPU
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the process that reads says so
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _do(number: int, block: Block) -> None:
    _work.do(number, block)


class Workers:
    """Processes that are started when there is work, and have no more of it at a time than keeps them busy."""

    def __init__(self, work: Work, count: int):
        self.work, self.count = work, count
        self.pool: ProcessPoolExecutor | None = None
        self.waiting: deque[tuple[Future, int]] = deque()

    def start(self, number: int, block: Block, size: int) -> int:
        """Gives the bytes that were done meanwhile."""
        if self.pool is None:
            # Not forked: threads of PyTorch and of the tokenizer may hold locks.
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(self.count, context, _begin, (self.work,))
        done = self._finish(self.count + 1)
        try:
            self.waiting.append((self.pool.submit(_do, number, block), size))
        except BrokenProcessPool:
            raise UserError(_ENDED) from None
        return done

    def finish(self) -> int:
        return self._finish(0)

    def _finish(self, but: int) -> int:
        done = 0
        while len(self.waiting) > but:
            future, size = self.waiting.popleft()
            try:
                future.result()
            except BrokenProcessPool:
                raise UserError(_ENDED) from None
            done += size
        return done

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


_ENDED = (
    "a process that tokenises the corpus was ended, for want of memory perhaps; start again, which keeps what is done, "
    'with fewer workers (a script of your own needs `if __name__ == "__main__":` to have more than one)'
)
