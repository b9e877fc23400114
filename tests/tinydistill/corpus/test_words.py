"""Words among pieces, against MiniRBT's own way of marking them, plainly written, and against real tokenizers."""

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from glue_tasks.errors import UserError
from tests.tinydistill.conftest import make_tokenizer
from tinydistill.corpus.words import by_word_ids, chinese_words, segmenter, segmenter_version

HAN = "我喜欢你北京大学生活动手机酒店的"
LATIN = [*"abcfilm", *"ABC", *"12", *",.!#-"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, *HAN, *LATIN, "##s", "##a", "##b", "##1", "##，", "film", "##活", "。", "，", "é", "##\u0301"]
BERT = make_tokenizer([each for each in VOCABULARY if each != "活"]).backend_tokenizer  # 活 is unknown
# Words as a segmenter has them: some of them in others, some with what is no Chinese character.
WORDS = [
    "北京",
    "北京大学",
    "大学",
    "大学生",
    "生活",
    "活动",
    "动手",
    "手机",
    "喜欢",
    "酒店",
    "A北",
    "film",
    "的",
    "你的",
]


def encoded(line: str, backend: Tokenizer = BERT) -> Encoding:
    return backend.encode(line, add_special_tokens=False)


def by_dictionary(line: str, words: list[str] = WORDS) -> list[str]:
    """The longest first, from left to right: the words, and what lies between."""
    found: list[str] = []
    while line:
        word = max((word for word in words if line.startswith(word)), key=len, default=line[0])
        found.append(word)
        line = line[len(word) :]
    return found


# The reference, as shared by MiniRBT and transformers: ## is written before each later character of a word, then pieces
# with ## belong to the word before.


def is_chinese(text: str) -> bool:
    blocks = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)]
    blocks += [(0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
    return all(any(low <= ord(each) <= high for low, high in blocks) for each in text)


def reference(pieces: list[str], words: list[str]) -> list[bool]:
    known = {word for word in words if len(word) >= 2 and is_chinese(word)}
    pieces = list(pieces)
    longest = max(map(len, known), default=0)
    at = 0
    while at < len(pieces):
        sizes = [n for n in range(2, min(longest, len(pieces) - at) + 1) if "".join(pieces[at : at + n]) in known]
        size = max(sizes) if sizes and is_chinese(pieces[at]) else 1
        for i in range(at + 1, at + size):
            pieces[i] = "##" + pieces[i]
        at += size
    return [not piece.startswith("##") for piece in pieces]


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [*WORDS, "films", "ab", " ", "，", "a1b", "##", "é", "龘", "\uf90a", "\x1c", "\u3000", "[UNK]"]
        ),
        st.text(HAN, max_size=4),
        st.text(max_size=3),
    ),
    max_size=8,
).map("".join)


@given(LINES)
def test_words_of_bert_begin_without_marks(line: str) -> None:
    encoding = encoded(line)
    assert by_word_ids(line, encoding) == [not piece.startswith("##") for piece in encoding.tokens]


@given(LINES)
def test_chinese_words_are_those_of_the_reference(line: str) -> None:
    encoding = encoded(line)
    expected = reference(encoding.tokens, by_dictionary(line))
    assert chinese_words(by_dictionary)(line, encoding) == expected


@given(st.lists(st.sampled_from([*WORDS, "films", "我", "，"]), max_size=8).map("".join))
def test_chinese_words_of_a_segmenter_that_leaves_characters_out(line: str) -> None:
    def some(line: str) -> list[str]:
        return by_dictionary(line)[::2]

    encoding = encoded(line)
    assert chinese_words(some)(line, encoding) == reference(encoding.tokens, some(line))


def test_ids_stay_single_characters() -> None:
    line = "我喜欢北京大学films"
    encoding = encoded(line)
    before = encoding.ids
    begins = chinese_words(by_dictionary)(line, encoding)
    assert encoding.ids == before
    assert list(zip(encoding.tokens, begins, strict=True)) == [
        ("我", True),
        ("喜", True),
        ("欢", False),
        ("北", True),
        ("京", False),
        ("大", False),
        ("学", False),
        ("film", True),
        ("##s", False),
    ]


def test_what_is_a_word_once_is_one_everywhere_in_its_line_only() -> None:
    def segment(line: str) -> list[str]:
        return ["大学", *line[2:]] if line.startswith("大学") else list(line)

    of = chinese_words(segment)
    assert of("大学我大学", encoded("大学我大学")) == [True, False, True, True, False]
    assert of("我大学", encoded("我大学")) == [True, True, True]


def test_a_character_that_is_unknown_is_a_word_by_itself() -> None:
    assert encoded("生活动").tokens == ["生", "[UNK]", "动"]
    assert chinese_words(lambda line: [line])("生活动", encoded("生活动")) == [True, True, True]


def test_lines_without_chinese_are_not_segmented() -> None:
    def never(line: str) -> list[str]:
        raise AssertionError(line)

    assert chinese_words(never)("films, a", encoded("films, a")) == by_word_ids("films, a", encoded("films, a"))
    assert chinese_words(never)("", encoded("")) == []


def byte_level() -> Tokenizer:
    """As RoBERTa's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["the films are great, the plots are not 北京 北京"] * 3, trainer)
    return backend


def sentence_piece(parts_words: bool = True) -> Tokenizer:
    """As XLM-R's; or as those that leave it to the pieces to begin with a space, which part nothing beforehand."""
    pieces = ["▁", "▁the", "▁film", "s", "▁北", "京", "大学", "北京", "，", ".", *"的我a生"]
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), *((piece, -float(len(piece))) for piece in pieces)], unk_id=0))
    if parts_words:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
        )
    else:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Metaspace()
    return backend


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (byte_level(), ["the", " films", ",", " are", " great"]),
        (sentence_piece(), ["the", "films,", "are", "great"]),
        (sentence_piece(parts_words=False), ["the", "films,", "are", "great"]),
    ],
    ids=["byte level", "sentence piece", "sentence piece that parts nothing"],
)
def test_words_of_other_tokenizers(backend: Tokenizer, words: list[str]) -> None:
    line = "the films, are great"
    assert [word.strip() for word in joined(line, backend, by_word_ids)] == [word.strip() for word in words]


def joined(line: str, backend: Tokenizer, begins: Callable[[str, Encoding], list[bool]]) -> list[str]:
    """The text of each word."""
    encoding = encoded(line, backend)
    found = begins(line, encoding)
    assert len(found) == len(encoding.ids) > 1
    assert found[0]
    firsts = [start for (start, _), first in zip(encoding.offsets, found, strict=True) if first]
    return [line[a:b] for a, b in zip(firsts, [*firsts[1:], len(line)], strict=True)]


@pytest.mark.parametrize("backend", [byte_level(), sentence_piece(), sentence_piece(parts_words=False)])
def test_chinese_words_of_tokenizers_that_do_not_part_characters(backend: Tokenizer) -> None:
    line = "我的北京大学，我a 的大学"
    words = ["我", "的", "北京", "大学", "，", "我", "a", "的", "大学"]
    assert joined(line, backend, by_word_ids) != words  # of the tokenizer's own, a clause is a word
    assert [word.strip() for word in joined(line, backend, chinese_words(lambda _: words))] == words


@given(LINES, st.sampled_from([byte_level(), sentence_piece(), sentence_piece(parts_words=False)]))
def test_any_line_of_any_tokenizer(line: str, backend: Tokenizer) -> None:
    encoding = encoded(line, backend)
    for begins in (by_word_ids(line, encoding), chinese_words(by_dictionary)(line, encoding)):
        assert len(begins) == len(encoding.ids)
        assert all(begins[:1])


def test_special_pieces_begin_words() -> None:
    assert by_word_ids("films", BERT.encode("films")) == [True, True, False, True]


def test_jieba() -> None:
    line = "我喜欢北京大学films"
    assert chinese_words(segmenter("jieba"))(line, encoded(line)) == reference(
        encoded(line).tokens, ["喜欢", "北京大学"]
    )


@pytest.mark.parametrize("name", ["", "jieba:x", "ltp:", "hanlp"])
def test_no_segmenter(name: str) -> None:
    with pytest.raises(UserError, match="there is no Chinese segmenter"):
        segmenter(name)


def test_a_segmenter_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="run: pip install ltp$"):
        segmenter("ltp")


_FAKE = """
from dataclasses import dataclass

loaded = []

@dataclass
class LTPOutput:
    cws: list

class Model:
    class tokenizer:
        pass

    def pipeline(self, inputs, tasks=None):
        # As LTP 4.2: it encodes by a method that transformers 5 has no longer, cuts at 510 pieces, and counts the space
        # behind a word to it.
        assert tasks == ["cws"] and isinstance(inputs, list) and all(line.strip() for line in inputs)
        self.tokenizer.batch_encode_plus
        return LTPOutput([[line[i:i + 3] for i in range(0, min(len(line), 510), 3)] for line in inputs])

def LTP(pretrained_model_name_or_path="LTP/small"):
    print("Loading weights from local directory")
    loaded.append(pretrained_model_name_or_path)
    if pretrained_model_name_or_path.endswith("damaged"):
        raise KeyError("nerual")
    return Model()
"""


@pytest.fixture
def ltp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with the interface of LTP 4.2, and the folder of a model."""
    (tmp_path / "ltp.py").write_text(_FAKE, encoding="utf-8")
    (tmp_path / "model").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ltp", raising=False)
    yield tmp_path / "model"
    sys.modules.pop("ltp", None)  # which the test imported


def test_ltp(ltp: Path, capsys: pytest.CaptureFixture) -> None:
    segment = segmenter(f"ltp:{ltp}")
    line = "北京 大学生" * 3
    assert segment(line) == ["北京", "大学生"] * 3
    assert segment(line) == segment(line)
    assert sys.modules["ltp"].loaded == [str(ltp)]  # once
    assert segment(" ") == []
    assert capsys.readouterr().out == ""
    pickle.dumps(chinese_words(segment))  # for worker processes


@pytest.mark.parametrize(
    "line", ["生" * 1100, "生活，" * 500, "。" * 1030, "a" * 509 + "\n" + "生" * 600, " " * 600 + "生"]
)
def test_ltp_reads_long_lines_whole(ltp: Path, line: str) -> None:
    segment = segmenter(f"ltp:{ltp}")
    assert "".join(segment(line)) == line.replace(" ", "").replace("\n", "")
    assert all(word == "生活，" for word in segment("生活，" * 500))  # parts end at a mark


def test_ltp_comes_from_the_hub(ltp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def snapshot_download(name: str) -> str:
        asked.append(name)
        return str(ltp)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert segmenter("ltp:OF/TEST")("北京 ") == ["北京"]
    assert asked == ["OF/TEST"]


def test_what_decides_the_words(ltp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is another one under the same name is known."""
    versions = {"jieba": "0.42.1", "ltp": "4.2"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    assert segmenter_version("jieba") == "jieba 0.42.1"
    first = segmenter_version(f"ltp:{ltp}")
    assert first.startswith("ltp 4.2 ")
    assert str(ltp) not in first
    assert segmenter_version(f"ltp:{ltp}") == first
    (ltp / "weights").write_bytes(b"other")
    assert segmenter_version(f"ltp:{ltp}") != first
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name: f"/cache/{name}/snapshots/0a1b")
    assert segmenter_version("ltp") == "ltp 4.2 LTP/small 0a1b"


def test_a_model_of_ltp_that_cannot_be_had(ltp: Path) -> None:
    damaged = ltp.with_name("damaged")
    damaged.mkdir()
    with pytest.raises(UserError, match="damaged cannot be loaded; give a folder .*nerual"):
        segmenter(f"ltp:{damaged}")("北京")
    with pytest.raises(UserError, match="no/such cannot be loaded"):  # the tests are offline
        segmenter("ltp:no/such")("北京")


@pytest.mark.realdata
def test_a_published_vocabulary_and_jieba(shared: Path) -> None:
    vocabulary = (shared / "data/vocab/bert-base-chinese-vocab.txt").read_text(encoding="utf-8").split("\n")
    backend = make_tokenizer([piece for piece in vocabulary if piece]).backend_tokenizer
    rows = (shared / "data/zh/chnsenticorp/dev.tsv").read_text(encoding="utf-8").splitlines()[1:100]
    segment = segmenter("jieba")
    joined_characters = 0
    for row in rows:
        line = row.partition("\t")[2]
        encoding = encoded(line, backend)
        found = chinese_words(segment)(line, encoding)
        assert found == reference(encoding.tokens, segment(line))
        joined_characters += len(found) - sum(found)
    assert joined_characters > 2000
