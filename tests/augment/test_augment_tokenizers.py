"""Tokenizers of other kinds than BERT's, against a twin that works one word at a time."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from augment import Augmenter, CandidateOptions
from augment.masked_lm import MaskedLM
from augment.models import longest_input
from augment.pieces import Pieces
from augment.words import WordRules, find_words, is_content_word
from glue_tasks import UserError

SENTENCES = [
    "film of a good city",  # its first word follows no space
    "  a story ,  and the  Film makes people warm .",
    'the "film" is (good) , a naïve 😀 story — dull',
    "gripping unreal films",
    "",
]


@torch.inference_mode()
def plain_answer(name: str, sentence: str, start: int, end: int, m: int) -> set[str] | None:
    """The words among the m likeliest pieces at the one piece from `start` to `end`; None if it is not one."""
    tokenizer = AutoTokenizer.from_pretrained(name, add_prefix_space=True)
    model = AutoModelForMaskedLM.from_pretrained(name).eval()
    encoded = tokenizer(sentence, sentence, return_tensors="pt", return_offsets_mapping=True)
    copies = encoded.encodings[0].sequence_ids
    offsets = encoded.pop("offset_mapping")[0].tolist()
    ours = [i for i, (a, b) in enumerate(offsets) if copies[i] == 0 and a < end and b > start and b > a]
    ours = [i for i in ours if sentence[slice(*offsets[i])].strip()]
    mark = next((mark for mark in "Ġ▁" if any(t.startswith(mark) for t in tokenizer.get_vocab())), None)
    if len(ours) != 1 or sentence[slice(*offsets[ours[0]])].strip() != sentence[start:end]:
        return None
    if encoded["input_ids"][0, ours[0]] == tokenizer.unk_token_id:
        return None
    (own,) = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0, ours].tolist())
    encoded["input_ids"][0, ours[0]] = tokenizer.mask_token_id
    top = model(**encoded).logits[0, ours[0]].argsort(descending=True)[:m].tolist()
    found = set()
    for piece in tokenizer.convert_ids_to_tokens(top):
        if mark is None:
            word = piece  # ##... is no content word
        elif own.startswith(mark):
            word = piece[1:] if piece.startswith(mark) else ""
        else:
            word = piece if mark + piece in tokenizer.get_vocab() else ""
        if is_content_word(word) and word.casefold() != sentence[start:end].casefold():
            found.add(word.casefold())
    return found


def test_same_candidates_as_a_plain_search(tiny_other):
    m = 40
    lm = MaskedLM.load(tiny_other, CandidateOptions(candidates=m), batch_size=3, device="cpu", precision="float32")
    words = [[word for word in find_words(sentence) if word.replaceable] for sentence in SENTENCES]
    answers, _ = lm.candidates(SENTENCES, words)
    known = 0
    for sentence, of_sentence, answered in zip(SENTENCES, words, answers, strict=True):
        for word, answer in zip(of_sentence, answered, strict=True):
            expected = plain_answer(tiny_other, sentence, word.start, word.end, m)
            found = None if answer is None else {each.casefold() for each in answer}
            assert found == expected, word
            known += bool(answer)
    assert known >= 9
    assert answers[0][0]  # at the start of the text
    assert all(answer is None for answer in answers[3])


@pytest.fixture(scope="module")
def of_kind():
    return {}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(st.sampled_from(["film", "Good", "STORY", "gripping", "電影", '"', " ", "n't"]), st.text(max_size=4)),
        max_size=9,
    )
)
def test_what_is_not_replaced_keeps_its_characters(tiny_other, of_kind, parts):
    if tiny_other not in of_kind:
        choices = CandidateOptions(multi_piece_words="fill", exactly_m=True)
        of_kind[tiny_other] = Augmenter(tiny_other, None, choices, probability=1.0, device="cpu", precision="float32")
    sentence = " ".join(parts)
    (slots,) = of_kind[tiny_other].slots([sentence])
    words = {(word.start, word.end): word.text for word in find_words(sentence) if word.replaceable}
    for slot in slots:
        text = words[slot.start, slot.end]
        assert sentence[slot.start : slot.end] == text
        assert text.casefold() not in {each.casefold() for each in slot.candidates}
        assert all(is_content_word(each) for each in slot.candidates)
    (variant, *_) = of_kind[tiny_other].variants(sentence, n=1) or [sentence]
    end = 0
    rest = variant
    for slot in slots:
        kept = sentence[end : slot.start]
        assert rest.startswith(kept)
        rest = rest[len(kept) :]
        rest = rest[len(max((each for each in slot.candidates if rest.startswith(each)), key=len)) :]
        end = slot.end
    assert rest == sentence[end:]


def test_a_word_after_a_bracket_is_given_pieces_that_are_words(tiny_other):
    lm = MaskedLM.load(tiny_other, CandidateOptions(candidates=5, exactly_m=True), device="cpu", precision="float32")
    sentence = "the (good film"
    ((good, film),), _ = lm.candidates([sentence], [[word for word in find_words(sentence) if word.replaceable]])
    assert film is not None
    assert len(film) == 5
    assert good is None or len(good) == 5  # a byte-level vocabulary may lack "good" without the space


def test_exactly_m(tiny_mlm):
    few = Augmenter(
        tiny_mlm, None, CandidateOptions(candidates=6, multi_piece_words="mask"), device="cpu", precision="float32"
    )
    exact = Augmenter(
        tiny_mlm,
        None,
        CandidateOptions(candidates=6, multi_piece_words="mask", exactly_m=True),
        device="cpu",
        precision="float32",
    )
    sentence = "a good film of an unreal city"
    (some,), (all_six,) = few.slots([sentence]), exact.slots([sentence])
    assert [len(slot.candidates) for slot in all_six] == [6] * 4
    assert sum(len(slot.candidates) for slot in some) < 24
    of_place = {slot.start: set(slot.candidates) for slot in all_six}
    assert all(set(slot.candidates) <= of_place[slot.start] for slot in some)


def test_forms_of_one_word_in_a_cased_vocabulary_count_once(tmp_path_factory, tiny_other):
    choices = CandidateOptions(candidates=500, exactly_m=True)
    lm = MaskedLM.load(tiny_other, choices, device="cpu", precision="float32")
    ((answer, *_),), _ = lm.candidates(["a story"], [[word for word in find_words("a story") if word.replaceable]])
    assert answer is not None
    folded = [word.casefold() for word in answer]
    assert len(set(folded)) == len(folded)
    assert "story" not in folded


def test_positions_of_roberta_begin_behind_the_padding(tiny_other):
    model = AutoModelForMaskedLM.from_pretrained(tiny_other)
    tokenizer = AutoTokenizer.from_pretrained(tiny_other)
    expected = 198 if "Roberta" in type(model).__name__ else 200
    assert longest_input(model, tokenizer) == expected
    lm = MaskedLM.load(tiny_other, device="cpu", precision="float32")
    sentence = "a good film " * 60
    words = [word for word in find_words(sentence) if word.replaceable]
    (answers,), windowed = lm.candidates([sentence], [words])
    assert windowed == 1
    assert all(answers)


def test_a_tokenizer_of_an_unknown_kind_is_refused():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"film": 0, "[MASK]": 1}, unk_token="[MASK]")), mask_token="[MASK]"
    )
    with pytest.raises(UserError, match="neither WordPiece, byte-level nor Metaspace"):
        Pieces.of(tokenizer)


def test_special_tokens_are_never_chosen(tiny_other):
    tokenizer = AutoTokenizer.from_pretrained(tiny_other)
    for words in Pieces.of(tokenizer).words(WordRules()):
        assert not {words[i] for i in tokenizer.all_special_ids} - {None}
        assert "" not in words
        assert None in words
