"""A corpus tokenised to disk: what it holds, when it is made, and what a kill leaves."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from glue_tasks.errors import UserError
from tests.tinydistill.conftest import PIECES, make_tokenizer
from tests.tinydistill.corpus.corpora import corpus_of, ids_in, ids_of, made_up, write_text
from tinydistill.corpus import store, tokens, work
from tinydistill.corpus.store import Corpus, shard_path
from tinydistill.corpus.tokens import tokenise_corpus
from tinydistill.corpus.words import by_word_ids

ROOT = Path(__file__).resolve().parents[3]
ARRAYS = ("pieces.bin", "begins.bin", "lines.bin", "documents.bin")


def files_of(corpus: Corpus) -> list[bytes]:
    return [(corpus.folder / name).read_bytes() for name in ARRAYS]


def begins_in(corpus: Corpus) -> list[bool]:
    return corpus.begins_word(0, len(corpus.pieces)).tolist()


def test_a_corpus_is_what_the_tokenizer_says_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With shards of a few lines, whose borders are no borders of documents."""
    tokenizer = make_tokenizer()
    texts = made_up(30, 6, 5)
    texts[3][0] = "\u200b\u200b"  # no piece: the document begins with its second line
    texts[8] = ["\u200b", "\u200b"]  # nor here at all
    texts[12][-1:] = ["the film", "\u200b"]
    for size in (1, 40, 1 << 22):
        monkeypatch.setattr(tokens, "_SHARD", size)
        monkeypatch.setattr(work, "_AT_ONCE", 30)
        corpus = corpus_of(tmp_path / str(size), texts)
        assert ids_in(corpus) == ids_of(texts, tokenizer)
        flat = [piece for text in ids_of(texts, tokenizer) for line in text for piece in line]
        begins = [not tokenizer.convert_ids_to_tokens(piece).startswith("##") for piece in flat]
        assert begins_in(corpus) == begins
        for start, end in ((0, 0), (1, 2), (7, 25), (8, 16), (len(flat) - 3, len(flat))):
            assert corpus.begins_word(start, end).tolist() == begins[start:end]
        assert corpus.describe()["documents"] == len(ids_of(texts, tokenizer))
        assert sorted(path.name for path in corpus.folder.iterdir()) == sorted([*ARRAYS, "corpus.json", "lock"])


def test_any_number_of_processes_makes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_SHARD", 200)
    path = write_text(tmp_path / "a.txt", made_up(40, 6, 9))
    one = tokenise_corpus([path], make_tokenizer(), tmp_path / "one", workers=1)
    two = tokenise_corpus([path], make_tokenizer(), tmp_path / "two", workers=2)
    assert files_of(one) == files_of(two)
    assert one.folder.name == two.folder.name


def test_a_corpus_is_read_only_and_sent_by_its_name(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, made_up(3, 3, 3))
    for array in (corpus.pieces, corpus.lines, corpus.documents):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert corpus.pieces.dtype == np.uint16
    kind, arguments = corpus.__reduce__()
    assert ids_in(kind(*arguments)) == ids_in(corpus)
    assert arguments == (corpus.folder,)


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    large = make_tokenizer([*PIECES, *(f"w{number}" for number in range(1 << 16))])
    corpus = corpus_of(tmp_path, [[f"good w{(1 << 16) - 1}"]], large)
    assert corpus.pieces.dtype == np.uint32
    assert corpus.pieces.tolist() == [PIECES.index("good"), len(PIECES) + (1 << 16) - 1]


def test_special_pieces_in_a_text_are_text(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [["good [SEP] film [MASK]"]])
    special = {make_tokenizer().convert_tokens_to_ids(name) for name in ("[SEP]", "[MASK]")}
    assert not special & set(corpus.pieces.tolist())
    assert PIECES.index("film") in corpus.pieces


def test_only_what_was_changed_is_tokenised_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(work.Work, "do", lambda self, *args, do=work.Work.do: made.append(args) or do(self, *args))
    path = write_text(tmp_path / "a.txt", [["the good film", "bad"], ["plot"]])

    def makes(**options: object) -> bool:
        made.clear()
        settings = {"tokenizer": make_tokenizer(), "cache_dir": tmp_path / "cache", **options}
        tokenise_corpus([settings.pop("path", path)], **settings)  # type: ignore[arg-type]
        return bool(made)

    assert makes()
    tokenizer = make_tokenizer()
    tokenizer("a longer text", padding="max_length", truncation=True, max_length=20)  # which the backend remembers
    os.utime(path, (0, 0))
    moved = path.rename(tmp_path / "moved.txt")
    assert not makes(tokenizer=tokenizer, path=moved)
    assert not makes(path=moved, field="other")  # which plain text has not
    assert makes(path=moved, tokenizer=make_tokenizer([*PIECES, "more"]))
    assert makes(path=moved, begins_words=every_piece)
    assert makes(path=moved, begins_words=every_piece, words_by="2")
    write_text(moved, [["the good film", "bad", "plot"]])
    assert makes(path=moved)
    assert not makes(path=moved)
    records = tmp_path / "a.jsonl"
    records.write_text('{"text": "good", "body": "bad"}', encoding="utf-8")
    assert makes(path=records)
    assert makes(path=records, field="body")


def test_a_damaged_corpus_is_made_anew(tmp_path: Path) -> None:
    texts = made_up(5, 3, 3)
    corpus = corpus_of(tmp_path, texts)
    whole = files_of(corpus)
    for name in ARRAYS:
        raw = bytearray((corpus.folder / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (corpus.folder / name).write_bytes(raw)
        assert files_of(corpus_of(tmp_path, texts)) == whole


def test_an_empty_corpus_is_told(tmp_path: Path) -> None:
    for text in ("", "\n\n", "\u200b\n"):
        path = tmp_path / "a.txt"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"a.txt holds no text; name files that do"):
            tokenise_corpus([path], make_tokenizer(), tmp_path / "cache")
    (tmp_path / "b.txt").touch()
    with pytest.raises(UserError, match="the corpus of 2 files, .*b.txt …, holds no text"):
        tokenise_corpus([tmp_path / "b.txt", path], make_tokenizer(), tmp_path / "cache")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("place", ["before a shard", "in a shard", "before joining", "in joining", "before the record"])
def test_a_start_after_a_kill_makes_what_is_missing_alone(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard is a line here. What a kill leaves half-written is put there, since an exception would remove it."""
    monkeypatch.setattr(tokens, "_SHARD", 1)
    texts = made_up(6, 3, 4)
    whole = files_of(corpus_of(tmp_path / "other", texts))
    count = sum(map(len, texts))
    at = count // 2
    folder = tmp_path / "killed" / "cache" / next((tmp_path / "other" / "cache").iterdir()).name
    made: list[int] = []
    do = work.Work.do

    def killed(*args: object, **more: object) -> None:
        raise Killed

    def half_written(self: work.Work, number: int, block: work.Block) -> None:
        if number == at:
            if place == "in a shard":
                do(self, number, block)
                path = shard_path(folder, number)
                raw = path.read_bytes()
                path.with_name(path.name + ".1-1.partial").write_bytes(raw[:100])
                path.write_bytes(raw[: len(raw) // 2])  # as after a power cut
            raise Killed
        do(self, number, block)

    with monkeypatch.context() as patch:
        if place in ("before a shard", "in a shard"):
            patch.setattr(work.Work, "do", half_written)
        elif place == "before joining":
            patch.setattr(tokens, "join", killed)
        elif place == "in joining":
            patch.setattr(store, "_write_joined", killed)
        else:
            patch.setattr(store, "seal", killed)
        with pytest.raises(Killed):
            corpus_of(tmp_path / "killed", texts)
    monkeypatch.setattr(work.Work, "do", lambda self, number, block: made.append(number) or do(self, number, block))
    corpus = corpus_of(tmp_path / "killed", texts)
    assert files_of(corpus) == whole
    assert made == (list(range(at, count)) if place.endswith("a shard") else [])
    assert not list(corpus.folder.rglob("*.partial"))
    assert not (corpus.folder / "shards").exists()


SCRIPT = """
import sys
import time
from pathlib import Path
from transformers import PreTrainedTokenizerFast
from tinydistill.corpus import reading, tokens

def stuck(files, field):
    for number, line in enumerate(reading.corpus_lines(files, field)):
        if number == 400:
            time.sleep(3600)
        yield line

if __name__ == "__main__":
    tokens._SHARD, tokens.corpus_lines = 1000, stuck
    path, cache, tokenizer = sys.argv[1:]
    tokens.tokenise_corpus([path], PreTrainedTokenizerFast(tokenizer_file=tokenizer), Path(cache), workers=2)
"""


def test_workers_end_with_a_killed_parent_whose_shards_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_text(tmp_path / "a.txt", made_up(200, 6, 9))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    make_tokenizer().backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    parent = subprocess.Popen(
        [sys.executable, script, path, tmp_path / "cache", tmp_path / "tokenizer.json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        start_new_session=True,
    )
    while parent.poll() is None and len(list(tmp_path.glob("cache/*/shards/*.npz"))) < 3:
        time.sleep(0.02)
    assert parent.poll() is None
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    patience = time.monotonic() + 60
    while _is_alive(parent.pid) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not _is_alive(parent.pid)
    kept = {shard.name: shard.stat().st_mtime_ns for shard in tmp_path.glob("cache/*/shards/*.npz")}
    monkeypatch.setattr(tokens, "_SHARD", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "join", lambda folder, *args: folder)
        folder = tokenise_corpus([path], make_tokenizer(), tmp_path / "cache", workers=1)
    assert isinstance(folder, Path)
    assert len(kept) >= 3
    assert {name: (folder / "shards" / name).stat().st_mtime_ns for name in kept} == kept
    resumed = tokenise_corpus([path], make_tokenizer(), tmp_path / "cache", workers=1)
    assert files_of(resumed) == files_of(tokenise_corpus([path], make_tokenizer(), tmp_path / "new", workers=1))


def _is_alive(group: int) -> bool:
    """Whether a process of the group is at work, the zombies of which nobody has asked aside."""
    found = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True)
    return any(not state.strip().startswith("Z") for state in found.stdout.splitlines())


# Which pieces begin a word.


def every_piece(line: str, encoding: Encoding) -> list[bool]:
    return [True] * len(encoding.ids)


def pairs_of_characters(line: str, encoding: Encoding) -> list[bool]:
    """As a segmenter would that takes every two characters for a word."""
    return [start % 2 == 0 for start, _ in encoding.offsets]


def too_few(line: str, encoding: Encoding) -> list[bool]:
    return [True]


def test_a_function_of_ones_own_says_what_begins_a_word(tmp_path: Path) -> None:
    tokenizer = make_tokenizer([*PIECES, *"影片很好看"])
    path = write_text(tmp_path / "a.txt", [["影片很好看", "好看"]])
    corpus = tokenise_corpus([path], tokenizer, tmp_path, begins_words=pairs_of_characters)
    assert begins_in(corpus) == [True, False, True, False, True, True, False]
    assert begins_in(tokenise_corpus([path], tokenizer, tmp_path)) == [True] * 7
    with pytest.raises(ValueError, match="too_few gives"):
        tokenise_corpus([path], tokenizer, tmp_path, begins_words=too_few)
    with pytest.raises(TypeError, match="not a function"):
        tokenise_corpus([path], tokenizer, tmp_path, begins_words=str.split)  # type: ignore[arg-type]


TEXT = st.text(st.sampled_from(" '-,.#abcdeé0影片\u3000\t[]MASK"), max_size=30)


@pytest.fixture(scope="module")
def bert() -> PreTrainedTokenizerFast:
    letters = [*"abcdeé0ms'-,.#[]影片", "ab", "cd", "##e", "##d", "##ab", "##0", "##c", "##a", "##b", "##s", "##k"]
    vocab = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters])}
    return BertTokenizer(vocab=vocab)


@settings(max_examples=100)
@given(line=TEXT)
def test_word_ids_are_berts_convention(bert: PreTrainedTokenizerFast, line: str) -> None:
    encoding = bert.backend_tokenizer.encode(line, add_special_tokens=False)
    expected = [not token.startswith("##") for token in encoding.tokens]
    assert by_word_ids(line, encoding) == expected


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pieces would be kept under the digest of what it was."""
    path, tokenizer = write_text(tmp_path / "a.txt", [["good film"], ["bad"]]), make_tokenizer()
    before = path.read_bytes()

    def changed(*args: Any) -> int:
        path.write_bytes(before + b"\nplot\n")
        return make(*args)

    make = tokens._make_shards
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "_make_shards", changed)
        with pytest.raises(UserError, match="a.txt changed while it was read; run the command again"):
            tokenise_corpus([path], tokenizer, tmp_path / "cache")
    path.write_bytes(before)
    assert len(tokenise_corpus([path], tokenizer, tmp_path / "cache").pieces) == 3


def test_words_of_byte_level_pieces() -> None:
    """As RoBERTa has them: a space belongs to the word behind it, marks and 's are words."""
    tokens_ = [*pre_tokenizers.ByteLevel.alphabet(), "Ġg", "oo", "Ġgoo"]
    backend = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens_)}, [("Ġ", "g"), ("o", "o"), ("Ġg", "oo")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    encoding = backend.encode("good it's")
    assert encoding.tokens == ["Ġgoo", "d", "Ġ", "i", "t", "'", "s"]
    assert by_word_ids("", encoding) == [True, False, True, False, False, True, False]
    assert by_word_ids("", backend.encode("")) == []


@pytest.mark.realdata
def test_real_tokenizers_in_english_and_chinese(shared: Path, tmp_path: Path) -> None:
    line = "Don't re-read O'Brien's state-of-the-art unbelievable filmmaking!"
    sentences = {
        "minilm-l6-h384-mlm": "don ' t re - read o ' brien ' s state - of - the - art unbelievable filmmaking !",
        "e5-small-l12-h384": "Don't re-read O'Brien's state-of-the-art unbelievable filmmaking!",
    }
    for name, words in sentences.items():
        tokenizer = AutoTokenizer.from_pretrained(shared / "models" / name)
        corpus = corpus_of(tmp_path / name, [[line]], tokenizer)
        assert sum(begins_in(corpus)) == len(words.split())
        assert ids_in(corpus) == [[tokenizer(line, add_special_tokens=False)["input_ids"]]]
    vocab = (shared / "data" / "vocab").glob("*chinese*")
    chinese = BertTokenizer(vocab=str(next(vocab)))
    corpus = corpus_of(tmp_path / "zh", [["影片很好看，2021年上映。"]], chinese)
    assert chinese.convert_ids_to_tokens(corpus.pieces.tolist())[-4:] == ["年", "上", "映", "。"]
    assert begins_in(corpus) == [True] * len(corpus.pieces)


@settings(max_examples=200)
@given(st.text(st.sampled_from("ab "), max_size=60), st.integers(2, 9))
def test_long_lines_are_cut_at_spaces(line: str, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "_LONGEST", longest)
        parts = list(work.cut(line))
    assert "".join(parts) == line
    assert all(0 < len(part) <= longest for part in parts) or not line
    for part, after in itertools.pairwise(parts):
        assert after.startswith(" ") or " " not in part[longest // 2 :]


def test_a_long_line_has_the_pieces_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = [[" ".join(made_up(1, 1, 40, seed)[0][0] for seed in range(9)), "plot"]]
    monkeypatch.setattr(work, "_LONGEST", 50)
    assert ids_in(corpus_of(tmp_path, text)) == ids_of(text, make_tokenizer())
