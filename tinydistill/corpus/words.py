"""Where words begin among the pieces of a line, for masks of whole words. The pieces themselves are not touched.

| text            | a word is                                                                                       |
|-----------------|-------------------------------------------------------------------------------------------------|
| with spaces     | what the tokenizer parts before it makes pieces: of BERT, a piece without ## and those with it   |
| Chinese, BERT   | as MiniRBT marks it (pretraining/run_chinese_ref.py): a segmenter's words of several characters  |
| Chinese, others | what lies between two places where the segmenter parts the line                                  |

Chinese is whole-word masked after Cui et al. 2019 (arXiv 1906.08101): inputs stay single characters, and those of a
word are masked together.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Encoding

from glue_tasks.errors import UserError, is_outside
from glue_tasks.jieba_words import jieba_tokenizer
from glue_tasks.seals import fingerprint

Segment = Callable[[str], list[str]]  # a line -> its words, from left to right
BeginsWords = Callable[[str, Encoding], list[bool]]  # a line and its pieces -> whether each begins a word

# The characters that BERT's tokenizers part from each other.
CHINESE = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]+"
)
_SPACE = re.compile(r"[^\S\x0b\x0c\x1c-\x1f\x85]")  # without those that BERT's tokenizers take out of a word

# LTP reads 512 pieces, two of them special: the rest of a line would go lost. Parts end behind a mark where they can.
_PARTS_FOR_LTP = re.compile(r".{1,509}(?:\W|\Z)|.{1,510}", re.DOTALL)


def by_word_ids(line: str, encoding: Encoding) -> list[bool]:
    """Whether each piece of a line (n,), without special tokens, begins a word; one that is special does.

    The tokenizer's own words count, and spaces too: some of SentencePiece part nothing at all.
    """
    found: list[bool] = []
    word_before, end_before = None, 0
    for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
        behind_space = _SPACE.search(line, end_before, max(start, min(start + 1, end)))  # or with it
        found.append(word is None or word != word_before or behind_space is not None)
        word_before, end_before = word, end
    return found


def chinese_words(segment: Segment) -> BeginsWords:
    """`by_word_ids` for Chinese, by a segmenter.

    As in the reference, the words of a line are a set: what the segmenter found once is a word wherever its characters
    stand in that line. They are found from left to right, the longest first; a character that the tokenizer does not
    know is in none. Tokenizers that do not part characters, as those of SentencePiece and bytes, have a piece begin a
    word where the segmenter begins one.
    """
    return functools.partial(_begins_chinese_words, segment)


def _begins_chinese_words(segment: Segment, line: str, encoding: Encoding) -> list[bool]:
    found = by_word_ids(line, encoding)
    if not CHINESE.search(line):
        return found
    words = segment(line)
    pieces, starts = encoding.tokens, _starts(line, words)
    end_before = 0
    for i, (start, end) in enumerate(encoding.offsets):
        # A character may be several pieces, of its bytes. As in the reference, ## stays with the piece before it.
        if start in starts and start >= end_before and not pieces[i].startswith("##"):
            found[i] = True
        end_before = end
    for i in _later_characters(pieces, {word for word in words if len(word) > 1 and CHINESE.fullmatch(word)}):
        found[i] = False
    return found


def _starts(line: str, words: Sequence[str]) -> set[int]:
    """Where words begin directly behind others, and they or those are Chinese. A segmenter may leave spaces out."""
    starts, at = set(), 0
    for word in words:
        if word and (start := line.find(word, at)) >= 0:
            if CHINESE.search(line, max(start - 1, 0), start + 1) and not _SPACE.search(line, max(start - 1, 0), start):
                starts.add(start)
            at = start + len(word)
    return starts


def _later_characters(pieces: Sequence[str], words: Collection[str]) -> list[int]:
    """Which pieces are characters of a word, but not its first."""
    longest = max(map(len, words), default=0)
    found: list[int] = []
    at = 0
    while at < len(pieces):
        size = min(longest, len(pieces) - at) if CHINESE.fullmatch(pieces[at]) else 1
        while size > 1 and "".join(pieces[at : at + size]) not in words:
            size -= 1
        found += (i for i in range(at + 1, at + size) if len(pieces[i]) == 1)
        at += max(size, 1)
    return found


_LTP = "LTP/small"


def segmenter(name: str) -> Segment:
    """What parts a Chinese line into words: `jieba`, or `ltp`, of which a model may follow a colon, a folder or hub id.

    LTP/small if none does; `ltp:LTP/legacy` needs no neural network and is many times as fast. A model is loaded at the
    first line, once a process. Raises UserError if there is no such segmenter, or its package is not installed.
    """
    kind, colon, model = name.partition(":")
    if kind not in ("jieba", "ltp") or (colon and (kind == "jieba" or not model)):
        raise UserError(f"there is no Chinese segmenter {name!r}; take jieba, ltp or ltp:MODEL")
    if importlib.util.find_spec(kind) is None:
        raise UserError(f"Chinese words by {kind} need a package that is not installed; run: pip install {kind}")
    return _words_of_jieba if kind == "jieba" else functools.partial(_words_of_ltp, model or _LTP)


def segmenter_version(name: str) -> str:
    """All that decides its words, in a line: the package with its version, and of LTP the model as it is now.

    Raises UserError as `segmenter`, and if a model of the hub cannot be had.
    """
    segmenter(name)
    kind, _, model = name.partition(":")
    version = f"{kind} {importlib.metadata.version(kind)}"
    if kind == "jieba":
        return version
    model = model or _LTP
    with _of_ltp(model):
        folder = _ltp_folder(model)
    if not Path(model).is_dir():
        return f"{version} {model} {folder.name}"  # the revision
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = "".join(f"{path.relative_to(folder)} {fingerprint(path)['sha256']} " for path in files)
    return f"{version} {hashlib.sha256(digests.encode()).hexdigest()[:16]}"


def _words_of_jieba(line: str) -> list[str]:
    return jieba_tokenizer().lcut(line)


def _words_of_ltp(model: str, line: str) -> list[str]:
    parts = [part for part in _PARTS_FOR_LTP.findall(line) if part.strip()]
    if not parts:
        return []
    # It counts the space behind a word to it.
    return [word.strip() for words in _ltp(model).pipeline(parts, tasks=["cws"]).cws for word in words]


@functools.cache
def _ltp(model: str) -> Any:
    """A model of LTP 4 (Che et al. 2021). Raises UserError if it cannot be had."""
    from ltp import LTP

    # LTP 4.2 loads from the hub, and encodes, by arguments and methods that newer clients no longer have.
    with _of_ltp(model), contextlib.redirect_stdout(None):  # it says that it loads
        loaded = LTP(str(_ltp_folder(model)))
    tokenizer = getattr(loaded, "tokenizer", None)  # the legacy models have none
    if tokenizer is not None and not hasattr(tokenizer, "batch_encode_plus"):
        tokenizer.batch_encode_plus = tokenizer
    return loaded


def _ltp_folder(model: str) -> Path:
    from huggingface_hub import snapshot_download

    return Path(model) if Path(model).is_dir() else Path(snapshot_download(model))


@contextlib.contextmanager
def _of_ltp(model: str) -> Iterator[None]:
    """Any error of a model is one sentence."""
    try:
        yield
    except Exception as error:
        if is_outside(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"LTP's model {model} cannot be loaded; give a folder with one as ltp:FOLDER, or take jieba ({reason})"
        ) from None
