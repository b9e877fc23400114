"""All words of a sentence masked at once, against a twin of one sentence at a time."""

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from augment import Augmenter, CandidateOptions
from augment.masked_lm import MaskedLM
from augment.words import find_words, is_content_word

SENTENCES = ["a gripping film .", "The Story tells of a CITY , and it is not dull .", "", "gripping", "film", "the"]


def words_of(sentence: str):
    return [word for word in find_words(sentence) if word.replaceable]


@torch.inference_mode()
def plain_joint(name: str, sentence: str, m: int) -> list[tuple[str, ...] | None]:
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForMaskedLM.from_pretrained(name).eval()
    encoded = tokenizer(sentence, sentence, return_tensors="pt", return_offsets_mapping=True)
    offsets = [tuple(pair) for pair in encoded.pop("offset_mapping")[0].tolist()]
    places = [offsets.index((w.start, w.end)) if (w.start, w.end) in offsets else None for w in words_of(sentence)]
    for place in places:
        if place is not None:
            encoded["input_ids"][0, place] = tokenizer.mask_token_id
    ranked = model(**encoded).logits[0].argsort(dim=-1, descending=True)
    answers: list[tuple[str, ...] | None] = []
    for word, place in zip(words_of(sentence), places, strict=True):
        top = [] if place is None else tokenizer.convert_ids_to_tokens(ranked[place, :m].tolist())
        kept = tuple(piece for piece in top if is_content_word(piece) and piece != word.text.lower())
        answers.append(None if place is None else kept)
    return answers


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_same_candidates_at_any_batch_size(tiny_mlm, batch_size):
    choices = CandidateOptions(masking="joint")
    lm = MaskedLM.load(tiny_mlm, choices, batch_size=batch_size, device="cpu", precision="float32")
    answers, _ = lm.candidates(SENTENCES, [words_of(sentence) for sentence in SENTENCES])
    assert answers == [plain_joint(tiny_mlm, sentence, 15) for sentence in SENTENCES]
    exact = MaskedLM.load(tiny_mlm, device="cpu", precision="float32")
    alone, _ = exact.candidates(SENTENCES, [words_of(sentence) for sentence in SENTENCES])
    assert alone != answers
    assert alone[4] == answers[4]  # of one word alone both are the same


def test_one_pass_for_each_sentence(tiny_mlm, monkeypatch):
    lm = MaskedLM.load(tiny_mlm, CandidateOptions(masking="joint"), device="cpu", precision="float32")
    seen = []
    scores = lm.scores
    monkeypatch.setattr(lm, "scores", lambda inputs: seen.extend(len(i.positions) for i in inputs) or scores(inputs))
    lm.candidates(SENTENCES, [words_of(sentence) for sentence in SENTENCES], multi_piece_words=True)
    assert sorted(seen) == [1, 1, 2, 4]  # gaps in the sentences that have any


def test_few_gaps_at_once_however_many_sentences(tiny_mlm, monkeypatch):
    lm = MaskedLM.load(tiny_mlm, CandidateOptions(masking="joint"), batch_size=2, device="cpu", precision="float32")
    seen = []
    scores = lm.scores
    monkeypatch.setattr(
        lm, "scores", lambda inputs: seen.append(sum(len(i.positions) for i in inputs)) or scores(inputs)
    )
    sentence = "good bad great awful warm cold funny sad old young new"
    lm.candidates([sentence] * 4, [words_of(sentence)] * 4)
    assert seen == [11] * 4  # two would be more than 2 * 8


def test_sentences_longer_than_the_model_are_masked_one_word_at_a_time(tiny_mlm):
    sentence = "good bad cold warm dull long sad " * 6
    joint = MaskedLM.load(tiny_mlm, CandidateOptions(masking="joint"), device="cpu", precision="float32")
    exact = MaskedLM.load(tiny_mlm, device="cpu", precision="float32")
    assert joint.candidates([sentence], [words_of(sentence)]) == exact.candidates([sentence], [words_of(sentence)])


def test_with_one_mask_for_words_of_several_pieces(tiny_mlm):
    choices = CandidateOptions(masking="joint", multi_piece_words="mask")
    augmenter = Augmenter(tiny_mlm, None, choices, device="cpu", precision="float32")
    (slots,) = augmenter.slots(["a gripping film of unreal stories"])
    assert len(slots) == augmenter.counts.answered_by_masked_lm >= 3


def test_joint_masking_of_other_tokenizers(tiny_other):
    choices = CandidateOptions(masking="joint", multi_piece_words="mask")
    augmenter = Augmenter(tiny_other, None, choices, device="cpu", precision="float32")
    assert augmenter.variants("film of a good city", n=5)
