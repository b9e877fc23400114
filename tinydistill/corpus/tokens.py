"""A corpus tokenised once to disk, by several processes.

One process reads, the others make a shard of what it read, a few megabytes of text at a time, in memory that does not
grow with the corpus. What they make does not depend on their number. A start after a kill makes the shards that are
not there, and reads the text of the others for their borders alone.
"""

import contextlib
import functools
import hashlib
import inspect
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from glue_tasks import jieba_words, records
from glue_tasks import lines as lines_module
from glue_tasks.digests import code_digest
from glue_tasks.errors import UserError
from glue_tasks.lines import RECORDS, suffix_of
from glue_tasks.seals import fingerprint
from glue_tasks.writers import alone
from tinydistill.corpus import reading, store, words, work
from tinydistill.corpus.reading import corpus_files, corpus_lines
from tinydistill.corpus.store import Corpus, is_whole_shard, join, shard_path
from tinydistill.corpus.words import BeginsWords, by_word_ids
from tinydistill.corpus.work import Block, Work, Workers
from tinydistill.encoders.tokenizer import what_decides_pieces

_SHARD = 1 << 22  # characters: what a kill loses, and a process holds


def tokenise_corpus(
    paths: Iterable[str | Path],
    tokenizer: PreTrainedTokenizerBase,
    cache_dir: Path,
    field: str = "text",
    workers: int | None = None,
    begins_words: BeginsWords = by_word_ids,
    words_by: str = "",
) -> Corpus:
    """The pieces of the files and folders, without special ones, in `<cache_dir>/corpus-<key>`; made once.

    The key is of all that decides the pieces: the files' bytes and order, the field, the tokenizer, the code that
    reads, what finds the words.
    field: of JSON and Parquet. workers: processes, one for each CPU by default. begins_words: which of a line's pieces
    begin a word, a function at the top of a module, or a partial of one. words_by: what decides that beside the
    function's source, such as a segmenter's version and dictionary.
    Text that looks like a special piece, "[MASK]", is text. A line is tokenised in parts of 65,536 characters, cut at
    a space where there is one.
    In a run of several processes, the first makes it while the others wait: `processes.after_first`.
    Raises UserError as `corpus_files` and `corpus_lines`, where there is no text at all, and if a file changes.
    """
    files = corpus_files(paths)
    before = _states(files)
    digests = _digests(files)
    key = _key(files, digests, tokenizer, field, begins_words, words_by)
    folder = cache_dir / f"corpus-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / "lock"):
        if whole := store.opened(folder):
            return whole
        kind = np.dtype(np.uint16 if max(tokenizer.get_vocab().values()) < 1 << 16 else np.uint32)
        shards = Work(folder, tokenizer.backend_tokenizer.to_str(), begins_words, kind)
        count = _make_shards(shards, files, field, workers or _cpus())
        for path, now, then in zip(files, _states(files), before, strict=True):
            if now != then:
                store.remove_shards(folder)
                raise UserError(f"{path} changed while it was read; run the command again when it is as it is to be")
        named = str(files[0]) if len(files) == 1 else f"the corpus of {len(files)} files, {files[0]} …,"
        described = [{"name": path.name, **digest} for path, digest in zip(files, digests, strict=True)]
        return join(folder, count, kind, named, {"corpus": described})


def _states(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Of each file its size and when it was written to."""
    return [(state.st_size, state.st_mtime_ns) for state in map(os.stat, files)]


def _digests(files: Sequence[Path]) -> list[dict[str, Any]]:
    found = []
    total = sum(path.stat().st_size for path in files)
    with tqdm(total=total, desc="check the corpus", unit="B", unit_scale=True, leave=False, delay=2) as bar:
        for path in files:
            found.append(fingerprint(path))
            bar.update(found[-1]["bytes"])
    return found


def _key(
    files: Sequence[Path],
    digests: Sequence[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    field: str,
    begins_words: BeginsWords,
    words_by: str,
) -> str:
    function = begins_words.func if isinstance(begins_words, functools.partial) else begins_words
    if not inspect.isfunction(function):
        raise TypeError(f"begins_words is {begins_words!r}, not a function at the top of a module")
    formats = [suffix_of(path) if suffix_of(path) in RECORDS else "" for path in files]
    with_field = field if any(formats) else ""
    parts = [
        *(f"{digest['sha256']} {kind}" for digest, kind in zip(digests, formats, strict=True)),
        with_field,
        json.dumps(what_decides_pieces(tokenizer)),
        *map(_source, (lines_module, records, jieba_words, reading, words, work, store)),
        str(_SHARD),
        code_digest(function),
        words_by,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blocks(lines: Iterator[tuple[str, bool]]) -> Iterator[Block]:
    """The text of each shard: lines of `_SHARD` characters or a line more, wherever documents begin."""
    block: Block = ([], [])
    size = 0
    for line, begins in lines:
        block[0].append(line)
        block[1].append(begins)
        size += len(line)
        if size >= _SHARD:
            yield block
            block, size = ([], []), 0
    if size:
        yield block


def _make_shards(work: Work, files: Sequence[Path], field: str, workers: int) -> int:
    """Make those that are not there. Gives the number of all."""
    is_plain = all(suffix_of(path) not in RECORDS and not path.name.lower().endswith(".gz") for path in files)
    total = sum(path.stat().st_size for path in files) if is_plain else None
    with (
        tqdm(total=total, desc="tokenise the corpus", unit="B", unit_scale=True, delay=2) as bar,
        contextlib.closing(Workers(work, workers)) as processes,
    ):
        blocks = _blocks(corpus_lines(files, field))
        # Of one shard, or by one process, nothing is gained by starting others.
        first = list(itertools.islice(blocks, 2))
        alone = workers == 1 or len(first) < 2
        count = 0
        for block in itertools.chain(first, blocks):
            size = sum(_bytes(line) + 1 for line in block[0])
            if is_whole_shard(shard_path(work.folder, count)):
                bar.update(size)
            elif alone:
                work.do(count, block)
                bar.update(size)
            else:
                bar.update(processes.start(count, block, size))
            count += 1
        bar.update(processes.finish())
    return count


def _bytes(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode())
