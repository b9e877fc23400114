"""The whole of the algorithm against a twin that works one word, one sentence and one search at a time."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from augment import Augmenter, CandidateOptions
from augment.variants import Slot, draw_variants
from augment.words import STOP_WORDS
from glue_tasks import get_task
from glue_tasks.files import open_table

SENTENCES = [
    "a gripping film .",
    "The Story tells of a CITY , and it is not dull .",
    "",
    "gripping",
    'he said "good film" and Bad story . ',
    "do it : a long , long , very long story of a young actor in the old house by the river .",
    "unreal , coldly , warmly",
    "no film",
    "42 absently thrilled actors",
]


class Plain:
    """Batches of one, scores at every position of the input, a full sort of every list. For words of a to z."""

    def __init__(self, mlm: str, vectors: Path, m: int, masks_all: bool = False):
        self.masks_all = masks_all
        self.tokenizer = AutoTokenizer.from_pretrained(mlm)
        self.model = AutoModelForMaskedLM.from_pretrained(mlm, dtype=torch.float32).eval()
        lines = [line.split(" ") for line in vectors.read_text(encoding="utf-8").split("\n") if line]
        self.words = [line[0].lower() for line in lines]
        matrix = np.array([line[1:] for line in lines], dtype=np.float64)
        self.unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        self.m = m

    def slots(self, sentence: str) -> list[Slot]:
        slots = []
        for match in re.finditer("[a-zA-Z]+", sentence):
            word = match.group()
            if not _is_content(word):
                continue
            before, pieces, after = map(
                self.tokenizer.tokenize, (sentence[: match.start()], word, sentence[match.end() :])
            )
            asks_model = self.masks_all or (len(pieces) == 1 and pieces != ["[UNK]"])
            found = self.by_mask(before, pieces, after) if asks_model else self.by_vectors(word)
            found = [other for other in found if other != word.lower()]
            if found:
                slots.append(Slot(*match.span(), tuple(sorted(_in_case_of(word, other) for other in found))))
        return slots

    @torch.inference_mode()
    def by_mask(self, before: list[str], pieces: list[str], after: list[str]) -> list[str]:
        first = ["[CLS]", *before, "[MASK]", *after, "[SEP]"]
        second = [*before, *pieces, *after, "[SEP]"]
        ids = torch.tensor([self.tokenizer.convert_tokens_to_ids(first + second)])
        segments = torch.tensor([[0] * len(first) + [1] * len(second)])
        scores = self.model(input_ids=ids, token_type_ids=segments).logits[0, 1 + len(before)]
        top = self.tokenizer.convert_ids_to_tokens(scores.argsort(descending=True)[: self.m].tolist())
        return [piece for piece in top if _is_content(piece) and [piece] != pieces]

    def by_vectors(self, word: str) -> list[str]:
        if word.lower() not in self.words:
            return []
        similarity = self.unit @ self.unit[self.words.index(word.lower())]
        ranked = [self.words[i] for i in np.argsort(-similarity, kind="stable")]
        return [other for other in dict.fromkeys(ranked) if _is_content(other) and other != word.lower()][: self.m]


def _is_content(word: str) -> bool:
    return re.fullmatch("[a-zA-Z]{2,}", word) is not None and word.lower() not in STOP_WORDS


def _in_case_of(word: str, other: str) -> str:
    return other.upper() if word.isupper() else other.title() if word[0].isupper() else other


def plain_variants(sentence: str, slots: list[Slot], n: int, p: float, seed: int, row: int, column: int) -> list[str]:
    generator = random.Random(f"{seed} {row} {column}")
    variants: list[str] = []
    for _ in range(n):
        chosen = []
        for slot in slots:
            replace = generator.random() < p
            chosen.append(slot.candidates[int(generator.random() * len(slot.candidates))] if replace else None)
        variant = sentence
        for slot, choice in reversed(list(zip(slots, chosen, strict=True))):
            if choice is not None:
                variant = variant[: slot.start] + choice + variant[slot.end :]
        if variant != sentence and variant not in variants:
            variants.append(variant)
    return variants


@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_mask_for_a_word_of_several_pieces(tiny_mlm, tiny_vectors, batch_size):
    plain = Plain(tiny_mlm, tiny_vectors, m=15, masks_all=True)
    ours = Augmenter(
        tiny_mlm,
        batch_size=batch_size,
        device="cpu",
        precision="float32",
        options=CandidateOptions(multi_piece_words="mask"),
    )
    assert ours.slots(SENTENCES) == [plain.slots(sentence) for sentence in SENTENCES]
    assert ours.counts.answered_by_masked_lm == ours.counts.replaceable == 28


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_same_candidates_and_variants_at_any_batch_size(tiny_mlm, tiny_vectors, batch_size):
    plain = Plain(tiny_mlm, tiny_vectors, m=15)
    ours = Augmenter(tiny_mlm, tiny_vectors, batch_size=batch_size, device="cpu", precision="float32")
    expected = [plain.slots(sentence) for sentence in SENTENCES]
    found = ours.slots(SENTENCES)
    assert found == expected
    assert ours.counts.replaceable == 28
    assert ours.counts.without_candidate == 3  # said, absently, thrilled: neither in the vocabulary nor in the vectors
    for row, sentence in enumerate(SENTENCES):
        drawn = draw_variants(sentence, found[row], 20, 0.4, seed=42, row=row, column=1)
        assert drawn == plain_variants(sentence, expected[row], 20, 0.4, 42, row, 1)


def test_variants_of_one_sentence(tiny_mlm, tiny_vectors):
    ours = Augmenter(
        masked_lm=tiny_mlm, vectors=tiny_vectors, options=CandidateOptions(candidates=4), precision="float32"
    )
    slots = Plain(tiny_mlm, tiny_vectors, m=4).slots(SENTENCES[1])
    assert ours.variants(SENTENCES[1], n=5, seed=0) == plain_variants(SENTENCES[1], slots, 5, 0.4, 0, 0, 0)


@pytest.mark.realdata
def test_real_model_and_sentences():
    shared = Path(__file__).parents[3] / "shared"
    if not shared.is_dir():
        pytest.skip("no ../shared")
    mlm, vectors = shared / "models/minilm-l6-h384-mlm", shared / "data/vectors/glove.6B.50d-subset.txt"
    table = open_table(get_task("SST-2"), shared / "data/glue/SST-2/train.tsv")
    sentences = [row.texts[0] for row, _ in zip(table, range(40), strict=False)]
    sentences = [s for s in sentences if re.fullmatch(r"[a-z ,.-]*", s)][:5]
    assert len(sentences) == 5
    plain = Plain(str(mlm), vectors, m=15)
    found = Augmenter(mlm, vectors, device="cpu", precision="float32").slots(sentences)
    for sentence, slots in zip(sentences, found, strict=True):
        assert slots == plain.slots(sentence)
