import json
from itertools import count, islice
from pathlib import Path

import pytest

from augment import Augmenter, CandidateOptions
from augment.variants import draw_variants
from augment.words import WordRules
from glue_tasks import UserError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"candidates": 0}, "--M is at least 1, not 0"),
        ({"vectors_limit": 0}, "--vectors-limit is at least 1"),
        ({"beam": 0}, "--beam is at least 1"),
        ({"masking": "half"}, "--masking is exact or joint, not 'half'"),
        ({"language": "fr"}, "no built-in list of words never to be touched for the language 'fr'.*--stop-words"),
        ({"language": "xx"}, "no rule for the words of the language 'xx'; there is one for zh, en, de"),
        ({"language": "ja"}, r"Japanese \(ja\) writes no spaces between words"),
        ({"language": "th"}, r"Thai \(th\) writes no spaces"),
        ({"language": "ko", "stop_words": Path(__file__)}, r"Korean \(ko\) joins particles"),
        ({"multi_piece_words": "both"}, "--multi-piece-words is vectors, mask or fill.*not 'both'"),
        ({"multi_piece_words": "fill,fill"}, "--multi-piece-words"),
        ({"multi_piece_words": ()}, "--multi-piece-words"),
        ({"multi_piece_words": ""}, "--multi-piece-words"),
        ({"stop_words": Path("nowhere")}, "there is no file nowhere; .* with --stop-words"),
        ({"keep_words": Path("nowhere")}, "with --keep-label-words"),
    ],
)
def test_mistakes(given, message):
    with pytest.raises(UserError, match=message) as error:
        CandidateOptions(**given)
    assert "\n" not in str(error.value)


def test_who_is_asked_by_default():
    assert CandidateOptions().multi_piece_words == ("vectors",)
    assert CandidateOptions(language="zh").multi_piece_words == ("vectors", "fill")
    assert CandidateOptions(multi_piece_words=" vectors, fill") == CandidateOptions(
        multi_piece_words=("vectors", "fill")
    )
    assert CandidateOptions(language="zh").sources(None) == ("fill",)
    assert CandidateOptions(language="zh").sources("vectors.txt") == ("vectors", "fill")
    assert CandidateOptions(multi_piece_words="vectors,mask").sources("vectors.txt") == ("vectors", "mask")
    assert CandidateOptions(multi_piece_words="mask,fill").sources(None) == ("mask", "fill")
    with pytest.raises(UserError, match="no word vectors are given"):
        CandidateOptions(multi_piece_words="fill,vectors").sources(None)


def test_as_a_record_of_json(tmp_path):
    words = tmp_path / "words.txt"
    words.touch()
    record = CandidateOptions(multi_piece_words="vectors,fill", keep_words=words).as_record()
    assert json.loads(json.dumps(record)) == record
    assert record["multi_piece_words"] == "vectors,fill"
    assert record["keep_words"] == str(words)


def test_words_from_files(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\ufeffFilm\n\n  Cliche\u0301 \r\n", encoding="utf-8")
    stop = WordRules.of(CandidateOptions(stop_words=words))
    assert not stop.is_content_word("film")
    assert not stop.is_content_word("clichés"[:-1])
    assert stop.is_content_word("the")
    kept = WordRules.of(CandidateOptions(keep_words=words))
    assert [word.text for word in kept.find_words("the FILM and the plot") if word.replaceable] == ["plot"]
    words.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8"):
        WordRules.of(CandidateOptions(keep_words=words))


def test_words_that_a_label_hangs_on_are_neither_taken_out_nor_put_in(tiny_mlm, tiny_vectors, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("good\nfilms\n")
    sentence = "a good gripping film"

    def candidates(choices: CandidateOptions) -> dict[str, tuple[str, ...]]:
        augmenter = Augmenter(tiny_mlm, tiny_vectors, choices, device="cpu", precision="float32")
        return {sentence[slot.start : slot.end]: slot.candidates for slot in augmenter.slots([sentence])[0]}

    free, held = (
        candidates(CandidateOptions(candidates=60)),
        candidates(CandidateOptions(candidates=60, keep_words=words)),
    )
    assert set(free) == {"good", "gripping", "film"}
    assert "good" in free["film"]
    assert "films" in free["gripping"]
    assert held == {word: tuple(c for c in free[word] if c not in ("good", "films")) for word in ("gripping", "film")}


def test_words_with_digits():
    rules = WordRules.of(CandidateOptions(letters_only=False))
    found = [word.text for word in rules.find_words("the 10th c3po film can't 42 a_b") if word.replaceable]
    assert found == ["10th", "c3po", "film", "42"]


def test_variants_of_reads_lazily_and_draws_by_number(tiny_mlm, monkeypatch):
    monkeypatch.setattr("augment.augmenter._BLOCK", 3)
    augmenter = Augmenter(
        tiny_mlm, options=CandidateOptions(multi_piece_words="mask"), device="cpu", precision="float32"
    )
    read = []

    def sentences():
        for number in count():
            read.append(number)
            yield f"a good film {number}"

    found = list(islice(augmenter.variants_of(sentences(), n=4, seed=7), 5))
    assert len(read) == 6
    for row, variants in enumerate(found):
        (slots,) = augmenter.slots([f"a good film {row}"])
        assert variants == draw_variants(f"a good film {row}", slots, 4, 0.4, 7, row=row)
    assert list(augmenter.variants_of([], n=4)) == []
    assert augmenter.variants("a good film 0", n=4, seed=7) == found[0]
