"""Words in other scripts and languages: whole, or refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertForMaskedLM, BertTokenizer
from typer.testing import CliRunner

from augment import Augmenter, CandidateOptions
from augment.__main__ import app
from augment.masked_lm import MaskedLM
from augment.words import WordRules, find_words
from glue_tasks import UserError

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def rules(language: str, folder: Path, *stop_words: str, keep: str = "") -> WordRules:
    (folder / "stop.txt").write_text("\n".join(stop_words) + "\n", encoding="utf-8")
    (folder / "keep.txt").write_text(keep + "\n", encoding="utf-8")
    choices = CandidateOptions(language=language, stop_words=folder / "stop.txt", keep_words=folder / "keep.txt")
    return WordRules.of(choices)


@pytest.mark.parametrize(
    ("language", "stop_words", "sentence", "expected"),
    [
        ("hi", "में नहीं है", "हिन्दी में अच्छी फ़िल्म नहीं है।", "हिन्दी अच्छी फ़िल्म"),  # vowel signs, a nukta, a danda
        ("hi", "क्षमा", "क्षमा क्\u200dष आ film", "क्\u200dष"),  # a joiner inside; a single letter; another script
        ("mr", "आहे", "हा चित्रपट छान आहे", "चित्रपट छान"),
        ("ar", "في ليس", "الفِلْم جميل، ليس في المدينة؟", "الفِلْم جميل المدينة"),
        ("fa", "نه", "می\u200cخواهم فیلم نه", "می\u200cخواهم فیلم"),
        ("bn", "না", "ছবিটি ভালো না", "ছবিটি ভালো"),
        ("he", "לא", "הסרט לא טוב.", "הסרט טוב"),
        ("ru", "не", "Это не плохой фильм, а хороший.", "Это плохой фильм хороший"),
        ("el", "δεν", "η ταινία δεν είναι κακή", "ταινία είναι κακή"),
        ("de", "nicht der für", "Der Film ist nicht für Kinder, Straße!", "Film ist Kinder Straße"),
        ("fr", "pas n'est", "L'acteur n'est pas très bon : «génial»", "très bon génial"),
        ("es", "no", "¿No es buena? ¡Película mala!", "es buena Película mala"),
    ],
)
def test_words_of_a_language_that_has_spaces(tmp_path, language, stop_words, sentence, expected):
    words = rules(language, tmp_path, *stop_words.split()).find_words(sentence)
    assert [word.text for word in words if word.replaceable] == expected.split()


SCRIPTS = (
    "\u0915\u093f\u094d\u0937\u200d\u0627\u0651\u0e01\u0e34\u0e19\ud55c\u1112\u1161\u11ab\u304b\u3099e\u0301\u0327 a'-."
)


@given(st.text(SCRIPTS, max_size=20))
def test_no_letter_is_cut_from_its_marks(sentence):
    boundaries = {0} | {match.end() for match in regex.finditer(r"\X", sentence)}
    for word in find_words(sentence):
        if word.replaceable:
            assert {word.start, word.end} <= boundaries


OTHERS = ("हिन्दी में अच्छी फिल्म", "ภาพยนตร์ที่ดี", "좋은 영화", "とても良い映画", "فيلم جميل", "хороший фильм", "好电影")


@pytest.mark.parametrize("text", OTHERS)
def test_of_other_scripts_nothing_is_replaced_in_an_english_text(text):
    found = [word.text for word in find_words(f"a film {text} story") if word.replaceable]
    assert found == ["film", "story"]


def write_rows(folder: Path, *texts: str) -> list[str]:
    (folder / "SST-2").mkdir()
    rows = "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(texts))
    (folder / "SST-2" / "train.tsv").write_text("sentence\tlabel\n" + rows, encoding="utf-8")
    return ["--task", "SST-2", "--data-dir", str(folder), "--device", "cpu", "--multi-piece-words", "mask", "--mlm"]


@pytest.mark.parametrize(
    ("text", "script"),
    [("हिन्दी में अच्छी फिल्म", "Devanagari"), ("ภาพยนตร์ที่ดี", "Thai"), ("좋은 영화", "Hangul"), ("хороший film", "Cyrillic")],
)
def test_a_text_of_another_script_is_refused_by_name(tmp_path, tiny_mlm, text, script):
    result = CliRunner().invoke(app, [*write_rows(tmp_path, text, text), tiny_mlm])
    assert result.exit_code == 2
    assert f"of the letters of its first rows are {script}" in result.stderr
    assert "language" in result.stderr


def test_japanese_given_as_chinese_is_refused_by_name(tmp_path, tiny_chinese):
    (tmp_path / "chnsenticorp").mkdir()
    (tmp_path / "chnsenticorp" / "train.tsv").write_text("label\ttext_a\n1\t酒店はとても静かです\n", encoding="utf-8")
    given = ["--task", "ChnSentiCorp", "--data-dir", str(tmp_path), "--mlm", tiny_chinese, "--device", "cpu"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2
    assert "Japanese (ja) writes no spaces between words" in result.stderr


@pytest.fixture(scope="module")
def hindi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hindi")
    pieces = ["हिन्दी", "अच्छी", "फिल्म", "कहानी", "बुरी", "में", "नहीं", "film", "story"]
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])}
    BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False).save_pretrained(folder)
    BertForMaskedLM(BertConfig(vocab_size=len(vocabulary), **SIZES)).save_pretrained(folder)
    (folder / "stop.txt").write_text("में\nनहीं\n", encoding="utf-8")
    return folder


def test_hindi_from_end_to_end(hindi):
    choices = CandidateOptions(language="hi", multi_piece_words="mask", stop_words=hindi / "stop.txt")
    augmenter = Augmenter(str(hindi), None, choices, probability=1.0, device="cpu", precision="float32")
    variants = augmenter.variants("अच्छी फिल्म नहीं", n=20)
    assert variants
    known = {"हिन्दी", "अच्छी", "फिल्म", "कहानी", "बुरी"}
    assert all(set(variant.split()[:2]) <= known and variant.split()[2] == "नहीं" for variant in variants)


def test_a_model_that_takes_the_marks_away_is_refused(hindi, tmp_path):
    tokenizer = BertTokenizer.from_pretrained(hindi, do_lower_case=True, strip_accents=True)
    tokenizer.save_pretrained(tmp_path)
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **SIZES)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="takes marks away, as in 'नहीं'"):
        MaskedLM.load(
            str(tmp_path), CandidateOptions(language="hi", multi_piece_words="mask", stop_words=hindi / "stop.txt")
        )


@pytest.mark.parametrize(
    ("keep", "sentence", "expected"),
    [
        ("New York", "the New York film , a new film in york", "film new film york"),
        ("New York", "NEW  YORK , new-york , New\nYork and Newer York", "Newer York"),
        ("New York", "New York's story, New Yorker film", "story New Yorker film"),
        ("New York\nNew York City", "New York City film", "film"),
        ("well made", "a well-made film is well made", "film"),
        ("café noir", "a cafe\u0301 noir story", "story"),
        ("not the film", "not the film , the film", "film"),
        ("u.s. film", "a U.S. film story", "story"),
        ("don't like", "I don\u2019t like film", "film"),
    ],
)
def test_phrases_are_kept_as_wholes(tmp_path, keep, sentence, expected):
    kept = replace(rules("en", tmp_path, "the", "a", "in", "and", "not", "is", keep=keep), language="en")
    assert [word.text for word in kept.find_words(sentence) if word.replaceable] == expected.split()


def test_no_phrase_is_put_in_either(tiny_mlm, tmp_path):
    (tmp_path / "keep.txt").write_text("good film\nnew york\n")
    choices = CandidateOptions(multi_piece_words="mask", keep_words=tmp_path / "keep.txt", candidates=90)
    augmenter = Augmenter(tiny_mlm, None, choices, probability=0.9, device="cpu", precision="float32")
    for sentence in ("a bad film of a good story", "the old york", "good film"):
        for variant in augmenter.variants(sentence, n=200):
            for phrase in ("good film", "new york"):
                assert variant.count(phrase) == sentence.count(phrase)
    assert augmenter.variants("good film", n=50) == []


def test_chinese_phrases_are_kept_however_the_sentence_is_cut(tmp_path):
    words = {
        keep: [
            word.text
            for word in WordRules.of(CandidateOptions(language="zh", keep_words=tmp_path / "keep.txt")).find_words(
                sentence
            )
            if word.replaceable
        ]
        for keep, sentence in (("酒店房间", "这家酒店房间干净，酒店的房间"), ("好看", "电影好看"))
        if (tmp_path / "keep.txt").write_text(keep, encoding="utf-8")
    }
    assert words == {"酒店房间": ["干净", "酒店", "房间"], "好看": ["电影"]}
