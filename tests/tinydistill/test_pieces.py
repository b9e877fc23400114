"""Word pieces with their places, and the special pieces around texts, of tokenizers of every kind."""

import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from glue_tasks.errors import UserError
from tinydistill.pieces import Frame, pieces_of

from .conftest import make_tokenizer

CHINESE = "北京市是中国的首都影片很好看"
LETTERS = [*string.ascii_lowercase, *string.digits, *string.punctuation, *CHINESE]
# Ordinary ones, and white space, an ideographic space, one of no width, a soft hyphen, a direction mark, full width.
ALPHABET = "abs1 .,北京电影。Aé\t\n\u3000\u200b\u00ad\u200fＡ，か"
BERT = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
TEMPLATES = {
    "bert": BERT,
    "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
    "t5": ("$A [SEP]", "$A [SEP] $B [SEP]"),
    "xlnet": ("$A:0 [SEP]:0 [CLS]:2", "$A:0 [SEP]:0 $B:1 [SEP]:1 [CLS]:2"),
    "none": ("$A", "$A $B:1"),
}


def with_template(single: str, pair: str) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer([*SPECIAL, *LETTERS, *(f"##{each}" for each in LETTERS)])
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single, pair, special)
    return tokenizer


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OF_BERT = with_template(*BERT)


def byte_level() -> PreTrainedTokenizerFast:
    """As RoBERTa's: a piece may begin with the space before it."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the film is great and the plot is good"] * 3, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", cls_token="<s>", sep_token="</s>")


def sentence_piece() -> PreTrainedTokenizerFast:
    """As XLM-R's, with pieces of several Chinese characters."""
    words = [
        "▁",
        "▁the",
        "▁film",
        "film",
        "s",
        "▁北京",
        "北京",
        "电影",
        "▁电",
        "很好",
        "a",
        "b",
        "é",
        "▁a",
        "か",
        ",",
        ".",
    ]
    alone = [each for each in (*CHINESE, "电", "。", "1", "A", "▁1") if each not in words]
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += [(word, -float(len(words) - i)) for i, word in enumerate(words)] + [(each, -20.0) for each in alone]
    backend = Tokenizer(models.Unigram(vocab, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    special = [("<s>", 0), ("</s>", 2)]
    backend.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", cls_token="<s>", sep_token="</s>")


OF_SENTENCE_PIECE = sentence_piece()
KINDS = {
    **{name: with_template(*template) for name, template in TEMPLATES.items()},
    "byte level": byte_level(),
    "sentence piece": OF_SENTENCE_PIECE,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [("the films",), ("北京 great!", "The film is très  good."), ("", "a"), ("b c", "")])
def test_an_example_is_what_the_tokenizer_makes(kind: str, texts: tuple[str, ...]) -> None:
    tokenizer = KINDS[kind]
    frame = Frame.of(tokenizer, two=len(texts) == 2)
    pieces = [each.ids for each in pieces_of(texts, tokenizer, by_character=False)]
    expected = tokenizer.backend_tokenizer.encode(*texts)
    ids, types = frame.around(*pieces)
    assert (ids, types) == (expected.ids, expected.type_ids)
    assert len(ids) == frame.size + sum(map(len, pieces))
    start = frame.start_of_last(*pieces)
    assert ids[start : start + len(pieces[-1])] == pieces[-1]
    of_last = [place for place, of in enumerate(expected.sequence_ids) if of == len(texts) - 1]
    assert not of_last or start == of_last[0]


def test_what_an_earlier_call_left_of_truncation_and_padding_does_not_matter() -> None:
    tokenizer = with_template(*BERT)
    tokenizer(["a", "b c"], truncation=True, max_length=3, padding="max_length")
    (found,) = pieces_of(["a b c d e f"], tokenizer, by_character=False)
    assert len(found.ids) == 6
    tokenizer(["a", "b c"], truncation=True, max_length=3, padding="max_length")
    assert Frame.of(tokenizer, two=True).parts == ((2,), (3,), (3,))


def plain_text(piece: str) -> str:
    return unicodedata.normalize("NFKC", piece.removeprefix("##").replace("▁", "")).lower()


def check_places(text: str, tokenizer: PreTrainedTokenizerFast, by_character: bool) -> None:
    """Pieces are in order, each says what stands at its place, and together they say all."""
    (found,) = pieces_of([text], tokenizer, by_character)
    assert len(found.ids) == len(found.starts) == len(found.ends)
    assert found.starts == sorted(found.starts)
    assert found.ends == sorted(found.ends)
    seen = [False] * len(text)
    pieces_at: dict[tuple[int, int], str] = {}
    for id, start, end in zip(found.ids, found.starts, found.ends, strict=True):
        assert 0 <= start < end <= len(text)
        seen[start:end] = [True] * (end - start)
        piece = tokenizer.convert_ids_to_tokens(id)
        assert piece == "▁" or not text[start].isspace()
        pieces_at[start, end] = pieces_at.get((start, end), "") + ("?" if id == tokenizer.unk_token_id else piece)
    for (start, end), piece in pieces_at.items():
        if "?" not in piece and piece != "▁":
            there = "".join(c for c in text[start:end] if not c.isspace() and unicodedata.category(c) != "Cf")
            bare = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", there).lower())
            without_accents = "".join(c for c in bare if unicodedata.category(c) != "Mn")
            assert plain_text(piece) in (unicodedata.normalize("NFKC", there).lower(), without_accents)
    missed = "".join(c for c, is_seen in zip(text, seen, strict=True) if not is_seen)
    assert all(c.isspace() or unicodedata.category(c) == "Cf" for c in missed)


@given(st.text(ALPHABET, max_size=12), st.booleans())
@settings(max_examples=150)
def test_places_of_bert(text: str, by_character: bool) -> None:
    check_places(text, OF_BERT, by_character)


@given(st.text(ALPHABET, max_size=12), st.booleans())
@settings(max_examples=150)
def test_places_of_sentence_piece(text: str, by_character: bool) -> None:
    check_places(text, OF_SENTENCE_PIECE, by_character)


@given(st.text(ALPHABET, max_size=12))
@settings(max_examples=150)
def test_no_piece_has_two_chinese_characters(text: str) -> None:
    for tokenizer, alone in ((OF_BERT, "北京电影"), (OF_SENTENCE_PIECE, "北京电影か，Ａ。")):
        (found,) = pieces_of([text], tokenizer, by_character=True)
        for start, end in zip(found.starts, found.ends, strict=True):
            assert end == start + 1 or not set(text[start:end]) & set(alone)


def pieces_with_places(text: str, tokenizer: PreTrainedTokenizerFast) -> list[tuple[str, str]]:
    (found,) = pieces_of([text], tokenizer, by_character=True)
    tokens = tokenizer.convert_ids_to_tokens(found.ids)
    return [(token, text[start:end]) for token, start, end in zip(tokens, found.starts, found.ends, strict=True)]


def test_chinese_by_character_of_sentence_piece() -> None:
    """Each as it stands inside a text: without the mark of a word's start, unless a space is before it."""
    (plain,) = pieces_of(["北京电影"], OF_SENTENCE_PIECE, by_character=False)
    assert OF_SENTENCE_PIECE.convert_ids_to_tokens(plain.ids) == ["▁北京", "电影"]
    assert pieces_with_places("北京电影", OF_SENTENCE_PIECE) == [(c, c) for c in "北京电影"]
    assert pieces_with_places("the films很 电，film", OF_SENTENCE_PIECE) == [
        ("▁the", "the"),
        ("▁film", "films"),
        ("s", "films"),
        ("很", "很"),
        ("▁电", "电"),
        (",", "，"),
        ("film", "film"),
    ]
    assert pieces_with_places("", OF_SENTENCE_PIECE) == []
    assert pieces_with_places(" \u3000\n", OF_SENTENCE_PIECE) == []


def test_a_word_has_the_pieces_that_the_tokenizer_gives_it() -> None:
    text = "the films film a"
    by_unit, plain = (pieces_of([text], OF_SENTENCE_PIECE, each)[0] for each in (True, False))
    assert by_unit.ids == plain.ids


def test_several_texts_have_each_its_own() -> None:
    texts = ["", "北京", "the film", ""]
    for by_character in (False, True):
        for tokenizer in (OF_BERT, OF_SENTENCE_PIECE):
            alone = [pieces_of([text], tokenizer, by_character)[0] for text in texts]
            assert pieces_of(texts, tokenizer, by_character) == alone
            assert alone[0].ids == []


@pytest.mark.realdata
def test_a_published_sentence_piece_model(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "e5-small-l12-h384")
    text = "北京在中国。iPhone 6s的价格是5,288元，很 好"
    assert pieces_with_places(text, tokenizer) == [
        *((c, c) for c in "北京在中国"),
        ("。", "。"),
        ("iPhone", "iPhone"),
        ("▁6", "6"),
        ("s", "s"),
        *((c, c) for c in "的价格是"),
        ("5", "5"),
        (",", ","),
        ("288", "288"),
        ("元", "元"),
        (",", "，"),
        ("很", "很"),
        ("好", "好"),  # this model has no piece of it with the mark
    ]
    assert tokenizer.unk_token_id not in pieces_of([text], tokenizer, by_character=True)[0].ids
    english = "Normandy is a region in northern France"
    by_unit, plain = (pieces_of([english], tokenizer, each)[0] for each in (True, False))
    assert by_unit.ids == plain.ids
    for pair in (("谁写的？", text), (english, text)):
        expected = tokenizer.backend_tokenizer.encode(*pair)
        pieces = [each.ids for each in pieces_of(pair, tokenizer, by_character=False)]
        assert Frame.of(tokenizer, two=True).around(*pieces) == (expected.ids, expected.type_ids)


@pytest.mark.realdata
def test_a_published_bert(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "minilm-l6-h384-mlm")
    text = "The café's  nave, c.1200 — 北京!"
    (found,) = pieces_of([text], tokenizer, by_character=False)
    tokens = tokenizer.convert_ids_to_tokens(found.ids)
    places = [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]
    assert places[:6] == ["The", "café", "'", "s", "nave", ","]
    assert tokens[:6] == ["the", "cafe", "'", "s", "nave", ","]
    assert places[-3:] == ["北", "京", "!"]
    expected = tokenizer.backend_tokenizer.encode("who?", text)
    pieces = [each.ids for each in pieces_of(["who?", text], tokenizer, by_character=False)]
    assert Frame.of(tokenizer, two=True).around(*pieces) == (expected.ids, expected.type_ids)


def test_a_maximum_length_without_room(tokenizer) -> None:
    one, two = Frame.of(tokenizer, two=False), Frame.of(tokenizer, two=True)
    assert (one.room(3, 1), two.room(5, 2)) == (1, 2)
    for frame, length, least in ((one, 2, 1), (two, 4, 2), (two, 1, 2)):
        with pytest.raises(UserError, match="use a longer --max-length"):
            frame.room(length, least)
