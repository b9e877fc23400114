import itertools
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment import Augmenter, CandidateOptions
from augment.words import WordRules

RULES = WordRules.of(CandidateOptions(language="zh"))


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("酒店的房间很干净，服务好！", ["酒店", "房间", "干净", "服务", "好"]),
        ("我不喜欢，没有意思，无聊，他不会再看", ["喜欢", "意思", "看"]),  # no word that denies, nor a part of one
        ("8GB内存 Thinkpad😀 键盘", ["内存", "键盘"]),
        ("他说“电影精彩”", ["说", "电影", "精彩"]),
        ("三十个人，两次，第二天看电影", ["人", "看", "电影"]),
        ("電影沒有意思", ["電影", "有意思"]),
        ("", []),
        ("the film", []),
    ],
)
def test_replaceable_words(sentence, expected):
    assert [word.text for word in RULES.find_words(sentence) if word.replaceable] == expected


@given(st.lists(st.one_of(st.text("酒店的房间很干净不没好电影 ，。a1", max_size=8), st.text(max_size=8))).map("".join))
def test_offsets_name_the_words_of_the_sentence_as_written(sentence):
    words = RULES.find_words(sentence)
    assert all(sentence[word.start : word.end] == word.text for word in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    assert not any(set(word.text) & set("不没無无未") for word in words if word.replaceable)


@pytest.mark.parametrize("text", ["不好", "没", "的", "非常", "一", "十二", "好a", "film", "，", "", "##好"])
def test_no_content_word(text):
    assert not RULES.is_content_word(text)


@pytest.fixture(scope="module")
def augmenter(tiny_chinese):
    choices = CandidateOptions(language="zh", exactly_m=True)
    return Augmenter(tiny_chinese, None, choices, probability=1.0, batch_size=4, device="cpu", precision="float32")


def test_one_character_by_the_model_and_longer_words_by_filling(augmenter):
    sentence = " 酒店 的房间不好， 我看 电影！"
    (slots,) = augmenter.slots([sentence])
    found = {sentence[slot.start : slot.end]: slot.candidates for slot in slots}
    assert set(found) == {"酒店", "房间", "看", "电影"}
    for word, candidates in found.items():
        assert {len(candidate) for candidate in candidates} == {len(word)}
        assert all(RULES.is_content_word(candidate) for candidate in candidates)
        assert word not in candidates
    assert augmenter.counts.answered_by_masked_lm == 1
    assert augmenter.counts.answered_by_fill == 3
    (variant,) = augmenter.variants(sentence, n=1)
    assert len(variant) == len(sentence)  # and no space between characters that was not there
    replaced = {i for slot in slots for i in range(slot.start, slot.end)}
    assert all(variant[i] == c for i, c in enumerate(sentence) if i not in replaced)


def test_vectors_are_asked_before_filling(tiny_chinese, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("4 2\n酒店 1 0\n旅馆 0.9 0.1\n不好 0.9 0.1\n的 1 0\n", encoding="utf-8")
    augmenter = Augmenter(tiny_chinese, vectors, CandidateOptions(language="zh"), device="cpu", precision="float32")
    (slots,) = augmenter.slots(["酒店的房间"])
    assert slots[0].candidates == ("旅馆",)  # neither the denial nor the particle beside it
    assert augmenter.counts.answered_by_vectors == augmenter.counts.answered_by_fill == 1


def test_jieba_is_silent_and_leaves_no_file(tmp_path):
    # Its own cache is read with `marshal` from a known name in the shared temporary folder.
    code = "from augment.chinese import split; print(list(split('酒店的房间')))"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "[(0, 2, False), (2, 3, False), (3, 5, False)]\n"
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("masking", ["exact", "joint"])
def test_other_tokenizers_put_han_characters_only(tiny_other, masking):
    choices = CandidateOptions(language="zh", multi_piece_words="fill,mask", masking=masking)
    augmenter = Augmenter(tiny_other, None, choices, device="cpu", precision="float32")
    (slots,) = augmenter.slots(["我看电影，film 酒店"])
    assert all(RULES.is_content_word(each) for slot in slots for each in slot.candidates)
