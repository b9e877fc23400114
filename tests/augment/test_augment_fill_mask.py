"""Whole words filled piece by piece, against a twin that follows one row of pieces at a time."""

from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from augment import Augmenter, CandidateOptions
from augment.chinese import is_in_dictionary
from augment.fill_mask import LONGEST, MaskFiller
from augment.masked_lm import MaskedLM
from augment.words import STOP_WORDS, WordRules
from glue_tasks import UserError

ENGLISH = ["a gripping film .", "unreal , films of gripping unreal Stories", "zebra", "", "the end"]
CHINESE = ["酒店房间很干净，不安静。", "我喜欢电影故事", "没看！ 宽敞 the 酒店", "", "霹雳酒店"]


class Plain:
    """Batches of one and the scores of every piece; rows of pieces as tuples."""

    def __init__(self, name: str, rules: WordRules, m: int, beam: int, is_word: Callable[[str], bool]):
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.model = AutoModelForMaskedLM.from_pretrained(name).eval()
        self.rules, self.m, self.beam, self.is_word = rules, m, beam, is_word
        self.tokens = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        self.unknown = self.tokenizer.unk_token

    def answer(self, sentence: str, start: int, end: int) -> list[str]:
        before, own, after = map(self.tokenizer.tokenize, (sentence[:start], sentence[start:end], sentence[end:]))
        rows: list[tuple[float, list[str]]] = [(0.0, [])]
        for step in range(len(own)):
            longer = []
            for total, pieces in rows:
                first = [*before, *pieces, *["[MASK]"] * (len(own) - step), *after]
                scores = self.log_probabilities(first, [*before, *own, *after], 1 + len(before) + step)
                longer += [
                    (total + score, [*pieces, piece])
                    for piece, score in zip(self.tokens, scores, strict=True)
                    if self.fits(piece, own[step])
                ]
            longer.sort(key=lambda row: -row[0])
            rows = longer[: self.beam if step + 1 < len(own) else 20 * self.m]
        words = ["".join(piece.removeprefix("##") for piece in pieces) for _, pieces in rows]
        words = [word for word in words if self.rules.is_content_word(word) and word != sentence[start:end].lower()]
        return [word for word in words if self.is_word(word)][: self.m]

    def fits(self, piece: str, own: str) -> bool:
        text = piece.removeprefix("##")
        letters = all("\u4e00" <= c <= "\u9fff" and c not in "不没" for c in text)
        if self.rules.language == "en":
            letters = text.isalpha() and piece not in self.tokenizer.all_special_tokens and piece not in STOP_WORDS
        return letters and piece.startswith("##") == own.startswith("##")

    @torch.inference_mode()
    def log_probabilities(self, first: list[str], second: list[str], place: int) -> list[float]:
        tokens = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
        ids = torch.tensor([self.tokenizer.convert_tokens_to_ids(tokens)])
        segments = torch.tensor([[0] * (len(first) + 2) + [1] * (len(second) + 1)])
        return self.model(input_ids=ids, token_type_ids=segments).logits[0, place].log_softmax(-1).tolist()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_same_words_as_a_plain_search(tiny_mlm, tiny_chinese, language, beam, batch_size):
    name, sentences = (tiny_mlm, ENGLISH) if language == "en" else (tiny_chinese, CHINESE)
    is_word = is_in_dictionary if language == "zh" else lambda word: not word.endswith("x")
    choices = CandidateOptions(candidates=5, beam=beam, language=language)
    lm = MaskedLM.load(name, choices, batch_size=batch_size, device="cpu", precision="float32")
    plain = Plain(name, lm.rules, 5, beam, is_word)
    words = [[word for word in lm.rules.find_words(s) if word.replaceable] for s in sentences]
    found = MaskFiller(lm, is_word).candidates(sentences, words)
    expected = [
        [tuple(plain.answer(sentence, word.start, word.end)) or None for word in of_sentence]
        for sentence, of_sentence in zip(sentences, words, strict=True)
    ]
    assert found == expected
    assert sum(1 for answered in found for answer in answered if answer) >= 6


def test_long_sentences_show_a_window_and_long_words_stay(tiny_mlm):
    lm = MaskedLM.load(tiny_mlm, CandidateOptions(candidates=5), device="cpu", precision="float32")
    words = ["good", "bad", "cold", "warm", "dull", "long"] * 7
    words[20] = "gripping"
    sentence, window = " ".join(words), " ".join(words[5:34])
    answers, of_window = MaskFiller(lm).candidates(
        [sentence, window], [lm.rules.find_words(sentence), lm.rules.find_words(window)]
    )
    assert answers[20] is not None
    assert answers[20] == of_window[15]
    too_long = "grip" + "ping" * LONGEST
    assert MaskFiller(lm).candidates([too_long], [lm.rules.find_words(too_long)]) == [[None]]


def test_other_tokenizers_fill_words_too(tiny_other):
    choices = CandidateOptions(multi_piece_words="fill")
    augmenter = Augmenter(tiny_other, None, choices, device="cpu", precision="float32")
    (slots,) = augmenter.slots(["a gripping film (gripping)"])
    assert augmenter.counts.answered_by_fill >= 1
    assert all(each.isalpha() for slot in slots for each in slot.candidates)


def test_filled_words_are_words_that_the_vectors_know(tiny_mlm, tmp_path):
    vectors = tmp_path / "vectors.txt"
    known = ["coldly", "films", "Gripx", "warmly"]
    vectors.write_text("".join(f"{word} 1 {i}\n" for i, word in enumerate(known)))
    choices = CandidateOptions(multi_piece_words="vectors,fill", beam=100)
    augmenter = Augmenter(tiny_mlm, vectors, choices, device="cpu", precision="float32")
    (slots,) = augmenter.slots(["coldly gripping"])
    assert [augmenter.counts.answered_by_vectors, augmenter.counts.answered_by_fill] == [1, 1]
    assert {"films"} <= set(slots[1].candidates) <= {"coldly", "films", "gripx", "warmly"}


def test_the_first_with_an_answer_wins(tiny_mlm, tiny_vectors):
    def slots(order: str) -> dict[str, tuple[str, ...]]:
        augmenter = Augmenter(
            tiny_mlm, tiny_vectors, CandidateOptions(multi_piece_words=order), device="cpu", precision="float32"
        )
        sentence = "gripping zebra"  # of the two, vectors know the first
        (found,) = augmenter.slots([sentence])
        counts = augmenter.counts
        assert counts.replaceable == 2 == len(found) + counts.without_candidate
        assert len(found) == counts.answered_by_masked_lm + counts.answered_by_vectors + counts.answered_by_fill
        return {sentence[slot.start : slot.end]: slot.candidates for slot in found}

    known = {line.split(" ")[0].lower() for line in tiny_vectors.read_text().splitlines()}
    vectors, fill, mask = slots("vectors"), slots("fill"), slots("mask")
    assert set(vectors) == {"gripping"}
    filled = slots("vectors,fill")
    assert filled["gripping"] == vectors["gripping"]
    assert set(filled.get("zebra", ())) <= known
    assert slots("vectors, mask") == {**mask, **vectors}
    assert slots("mask,vectors,fill") == mask
    assert set(slots("fill,vectors")["gripping"]) < set(fill["gripping"]) | set(vectors["gripping"])


def test_fill_needs_no_vectors_and_vectors_are_not_forgotten(tiny_mlm):
    Augmenter(tiny_mlm, options=CandidateOptions(multi_piece_words="fill"))
    with pytest.raises(UserError, match="--multi-piece-words mask or fill"):
        Augmenter(tiny_mlm, options=CandidateOptions(multi_piece_words="vectors,fill"))
