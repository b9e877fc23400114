"""Noise on texts: each operation against a plain twin, borders of texts, and the same noise however rows are read."""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast, TrainingArguments

from glue_tasks.errors import UserError
from tinydistill import DistillationTrainer, Objective, noise
from tinydistill.data import column
from tinydistill.noisy_data import NoisyDataset
from tinydistill.settings import resolve
from tinydistill.teachers import CachedTeachers, LiveTeacher

from .conftest import PIECES, make_tokenizer, tiny_bert_config
from .runs import record, refused, run

CLS, SEP, MASK = (PIECES.index(piece) for piece in ("[CLS]", "[SEP]", "[MASK]"))


class Scripted:
    """Gives the numbers it was made with, in their order."""

    def __init__(self, numbers: list[float]):
        self.numbers = list(numbers)

    def random(self, size: int) -> np.ndarray:
        given_, self.numbers = self.numbers[:size], self.numbers[size:]
        assert len(given_) == size
        return np.array(given_)


_NUMBERS = st.floats(0, 1, exclude_max=True)
_SCRIPT = st.integers(0, 12).flatmap(lambda size: st.lists(_NUMBERS, min_size=size, max_size=size))
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def on_letters(function: Callable[..., np.ndarray], count: int, numbers: list[float], *values: float) -> str:
    """What becomes of the first letters, as a word."""
    found = function(np.arange(count), Scripted(numbers), *values)
    return "".join(_LETTERS[piece] for piece in found)


@given(_SCRIPT, _NUMBERS)
def test_masking_and_deleting(numbers: list[float], p: float) -> None:
    word = _LETTERS[: len(numbers)]
    masked = "".join("z" if number < p else letter for letter, number in zip(word, numbers, strict=True))
    assert on_letters(noise.mask, len(word), numbers, 25, p) == masked
    left = "".join(letter for letter, number in zip(word, numbers, strict=True) if number >= p)
    if word and not left:
        left = word[numbers.index(max(numbers))]
    assert on_letters(noise.delete, len(word), numbers, p) == left


@given(st.integers(1, 9), _NUMBERS, _NUMBERS, _NUMBERS, st.integers(1, 7))
def test_ngrams(count: int, drawn: float, of_length: float, of_place: float, longest: int) -> None:
    word = _LETTERS[:count]
    found = on_letters(noise.take_ngram, count, [drawn, of_length, of_place], 0.5, longest)
    if drawn >= 0.5:
        assert found == word
        return
    lengths = [min(n, count) for n in range(1, longest + 1)]
    length = lengths[int(of_length * longest)]
    places = [word[i : i + length] for i in range(count - length + 1)]
    assert found == places[int(of_place * len(places))]


def test_ngrams_are_drawn_evenly() -> None:
    """Lengths 1 to 5 of a text of 7, and the places of each."""
    random, draws = np.random.default_rng(0), 30_000
    found = Counter(tuple(noise.take_ngram(np.arange(7), random, 1.0).tolist()) for _ in range(draws))
    expected = {tuple(range(i, i + n)): 1 / 5 / (8 - n) for n in range(1, 6) for i in range(8 - n)}
    assert found.keys() == expected.keys()
    for ngram, share in expected.items():
        assert found[ngram] / draws == pytest.approx(share, abs=5 * (share / draws) ** 0.5)
    taken = sum(len(noise.take_ngram(np.arange(7), random)) < 7 for _ in range(draws))
    assert taken / draws == pytest.approx(0.25, abs=0.015)


def shuffled_near(word: str, numbers: list[float], p: tuple[float, ...]) -> str:
    """By cases; the word is eaten from the left."""
    if len(word) < 2:
        return word
    abc, number = word[:3], numbers[0]
    below = [sum(p[: i + 1]) for i in range(4)]
    if number >= below[3]:
        return word[0] + shuffled_near(word[1:], numbers[1:], p)
    if len(word) == 2 or number < below[0]:
        return word[1] + word[0] + shuffled_near(word[2:], numbers[2:], p)
    a, b, c = abc
    moved = c + b + a if number < below[1] else c + a + b if number < below[2] else b + c + a
    return moved + shuffled_near(word[3:], numbers[3:], p)


@given(_SCRIPT, st.sampled_from([(0.1, 0, 0, 0), (0.25, 0.25, 0.25, 0.25), (0, 0.5, 0, 0.25), (0, 0, 0.5, 0)]))
def test_short_shuffles(numbers: list[float], p: tuple[float, ...]) -> None:
    assert on_letters(noise.shuffle_near, len(numbers), numbers, *p) == shuffled_near(
        _LETTERS[: len(numbers)], numbers, p
    )


@pytest.mark.parametrize(
    ("number", "moved"), [(0.05, "bacd"), (0.25, "cbad"), (0.45, "cabd"), (0.65, "bcad"), (0.85, "abcd")]
)
def test_short_shuffles_by_name(number: float, moved: str) -> None:
    assert on_letters(noise.shuffle_near, 4, [number, 0.9, 0.9, 0.9], 0.2, 0.2, 0.2, 0.2) == moved


def shuffled_far(word: str, numbers: list[float], p: float, length: int) -> str:
    length += length % 2
    if len(word) < length or not word:
        return word
    if numbers[0] < p:
        moved = word[length // 2 : length] + word[: length // 2]
        return moved + shuffled_far(word[length:], numbers[length:], p, length)
    return word[0] + shuffled_far(word[1:], numbers[1:], p, length)


@given(_SCRIPT, st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(2, 6))
def test_long_shuffles(numbers: list[float], p: float, length: int) -> None:
    word = _LETTERS[: len(numbers)]
    assert on_letters(noise.shuffle_far, len(word), numbers, p, length) == shuffled_far(word, numbers, p, length)


@pytest.mark.parametrize(
    ("count", "share", "moved"), [(6, 0.5, "cdabef"), (6, 1, "defabc"), (8, 0.25, "badcfehg"), (3, 0.01, "bac")]
)
def test_long_shuffles_of_a_share(count: int, share: float, moved: str) -> None:
    numbers = [0.0] * count if count == 8 else [0.0] + [0.9] * (count - 1)
    assert on_letters(noise.shuffle_far, count, numbers, 0.1, share) == moved


@given(st.integers(0, 30), st.integers(0, 9), st.text("01", min_size=5, max_size=5))
def test_no_text_becomes_empty_and_no_piece_is_new(count: int, seed: int, chosen: str) -> None:
    names = [name for name, bit in zip(noise._OPERATIONS, chosen, strict=True) if bit == "1"] or ["deleting"]
    how = noise.parse(",".join(names))
    found = noise.add_noise(np.arange(count), how, np.random.default_rng(seed), MASK + 1000)
    assert min(count, 1) <= len(found) <= count
    kept = [piece for piece in found.tolist() if piece != MASK + 1000]
    assert len(set(kept)) == len(kept)
    assert set(kept) <= set(range(count))
    if not {"ngrams", "deleting"} & {*names}:
        assert len(found) == count
    if not {"short-shuffle", "long-shuffle"} & {*names}:
        assert kept == sorted(kept)


def test_one_of_all_that_would_be_deleted_stays() -> None:
    random = np.random.default_rng(0)
    found = Counter(noise.delete(np.arange(4), random, 1.0).item() for _ in range(4_000))
    assert all(found[piece] / 4_000 == pytest.approx(0.25, abs=0.04) for piece in range(4))


def test_the_order_of_the_operations() -> None:
    """Shuffles come before masking and after deleting, however they are written: seen with one draw for all."""
    how = noise.parse("masking=0.5,short-shuffle=0.5,deleting=0.5,long-shuffle=0.5:2,ngrams=0:3")
    assert list(how) == ["ngrams", "deleting", "long-shuffle", "short-shuffle", "masking"]
    numbers = [0, 0, 0, *(0.9, 0.1, 0.9, 0.9), *(0.1, 0.9, 0.9), *(0.9, 0.1, 0.9), *(0.9, 0.9, 0.1)]
    # abcd -> acd (deleting) -> cad (long) -> cda (short) -> cd[MASK]
    assert noise.add_noise(np.arange(4), how, Scripted(numbers), 99).tolist() == [2, 3, 99]


# ---- the option


@pytest.mark.parametrize(
    ("text", "all_values"),
    [
        ("masking", "masking=0.1"),
        (" masking = 0.2 , ngrams", "ngrams=0.25:5,masking=0.2"),
        ("short-shuffle=0.1:0.05", "short-shuffle=0.1:0.05:0:0"),
        ("long-shuffle=1", "long-shuffle=1:20"),
        ("long-shuffle=.3:.5,deleting=0", "deleting=0,long-shuffle=0.3:0.5"),
    ],
)
def test_what_is_written_with_all_values(text: str, all_values: str) -> None:
    assert noise.to_text(noise.parse(text)) == all_values
    assert noise.to_text(noise.parse(all_values)) == all_values
    assert resolve("SST-2", {"noise": text}, {}).options.noise == all_values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("maskin", "noise has 'maskin'; did you mean masking?"),
        ("drop", "noise has 'drop'; it can be ngrams, deleting, long-shuffle, short-shuffle, masking"),
        ("masking,", "noise has ''; it can be"),
        ("masking,masking=0.2", "noise has masking twice"),
        ("masking=1.1", "noise masking has a probability of 1.1; it must be from 0 to 1"),
        ("deleting=-0.1", "a probability of -0.1"),
        ("deleting=nan", "a probability of nan"),
        ("deleting=", "noise deleting has ''; give a number"),
        ("deleting=a", "noise deleting has 'a'; give a number"),
        ("deleting=0.1:0.1", "noise deleting has 2 values; it takes 1 at most"),
        ("ngrams=0.2:2.5", "noise ngrams has 2.5 pieces; it must be a whole number of 1 or more$"),
        ("long-shuffle=0.1:0", "has 0 pieces; it must be a whole number of 1 or more, or a share below 1"),
        ("long-shuffle=0.1:inf", "has inf pieces"),
        ("short-shuffle=0.5:0.4:0.2", r"add up to 1.1; they must add up to 1 or less"),
    ],
)
def test_mistakes(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resolve("SST-2", {}, {"noise": text})


# ---- rows


def rows(tokenizer: PreTrainedTokenizerFast, *texts: Any) -> Dataset:
    encoded = [tokenizer(*([text] if isinstance(text, str) else text)) for text in texts]
    columns = {name: [each[name] for each in encoded] for name in ("input_ids", "token_type_ids")}
    more = {"length": [len(ids) for ids in columns["input_ids"]], "labels": [i % 2 for i in range(len(texts))]}
    return Dataset.from_dict(columns | more | {"row": list(range(len(texts)))})


LONG = "the film is good and the plot is fine but the score was very bad and awful ."
EVERYTHING = "ngrams=0.5,deleting=0.4,long-shuffle=0.5:4,short-shuffle=0.2:0.2:0.2:0.2,masking=0.3"


@pytest.mark.parametrize("texts", [(LONG, "a plot"), ("good", "bad"), (LONG, LONG), ("", "good"), (LONG,)])
def test_special_pieces_and_segments_stay(tokenizer: PreTrainedTokenizerFast, texts: tuple[str, ...]) -> None:
    data = rows(tokenizer, texts)
    noisy = NoisyDataset(data, EVERYTHING, tokenizer, 1)
    before = data[0]
    seen = set()
    for epoch in range(40):
        noisy.set_epoch(epoch)
        row = noisy[0]
        seen.add(tuple(row["input_ids"]))
        pieces, types = row["input_ids"], row["token_type_ids"]
        assert len(pieces) == len(types)
        assert pieces[0] == CLS
        assert [place for place, piece in enumerate(pieces) if piece == SEP][-1] == len(pieces) - 1
        for segment, text in enumerate(texts):
            of_segment = [piece for piece, kind in zip(pieces, types, strict=True) if kind == segment]
            inner = of_segment[1 - segment : -1]  # [CLS] A [SEP]; B [SEP]
            assert of_segment[-1] == SEP
            words = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert min(len(words), 1) <= len(inner) <= len(words)
            assert not Counter(piece for piece in inner if piece != MASK) - Counter(words)  # of this text alone
        assert sorted(types) == types
        others = ("length", "labels", "row")
        assert {name: row[name] for name in others} == {name: before[name] for name in others}
    assert len(seen) > (20 if texts[0] == LONG else 1)
    assert data[0] == before


def test_words_that_are_unknown_are_words(tokenizer: PreTrainedTokenizerFast) -> None:
    data = rows(tokenizer, "xyz xyz xyz [MASK] xyz")
    assert Counter(data[0]["input_ids"])[PIECES.index("[UNK]")] == 4
    assert NoisyDataset(data, "ngrams=1:1", tokenizer, 0)[0]["length"] == 7
    assert len(NoisyDataset(data, "ngrams=1:1", tokenizer, 0)[0]["input_ids"]) == 3


def test_rows_without_segments_and_with_a_mask(tokenizer: PreTrainedTokenizerFast) -> None:
    data = Dataset.from_dict({"input_ids": [[2, 5, 6, 7, 3]], "attention_mask": [[1] * 5]})
    row = NoisyDataset(data, "ngrams=1:1", tokenizer, 0)[0]
    assert len(row["input_ids"]) == len(row["attention_mask"]) == 3
    assert "token_type_ids" not in row


def test_the_rows_are_read_as_those_of_the_dataset(tokenizer: PreTrainedTokenizerFast) -> None:
    data = rows(tokenizer, *(f"the {word} is very bad ." for word in ("film", "plot", "cast", "score")))
    noisy = NoisyDataset(data, EVERYTHING, tokenizer, 3)
    noisy.set_epoch(2)
    assert len(noisy) == 4
    alone = [noisy[i] for i in range(4)]
    assert noisy.__getitems__([3, 0, 3]) == [alone[3], alone[0], alone[3]]
    assert noisy[-1] == noisy[np.int64(3)] == alone[3]
    assert column(noisy, "length").tolist() == list(data["length"])
    chosen = NoisyDataset(data.select([2, 0]), EVERYTHING, tokenizer, 3)
    assert column(chosen, "row").tolist() == [2, 0]
    again = NoisyDataset(data, EVERYTHING, tokenizer, 3)
    again.set_epoch(2)
    assert [again[i] for i in (2, 1, 3, 0)] == [alone[i] for i in (2, 1, 3, 0)]
    for seed, epoch in ((4, 2), (3, 3)):
        other = NoisyDataset(data, EVERYTHING, tokenizer, seed)
        other.set_epoch(epoch)
        assert [other[i] for i in range(4)] != alone


def test_splits_and_tokenizers_that_allow_none(tokenizer: PreTrainedTokenizerFast) -> None:
    without = make_tokenizer()
    without.mask_token = None
    data = rows(tokenizer, "good")
    with pytest.raises(UserError, match="the tokenizer has no mask"):
        NoisyDataset(data, "masking", without, 0)
    assert NoisyDataset(data, "deleting", without, 0)[0]["labels"] == 0
    with pytest.raises(UserError, match="the column tags has a value for each"):
        NoisyDataset(data.add_column("tags", [[0, 1, 0]]), "deleting", tokenizer, 0)
    several = Features({"input_ids": List(Value("int32")), "labels": List(Value("int8"), length=2)})
    fixed = Dataset.from_dict({"input_ids": [[2, 5, 3]], "labels": [[0, 1]]}, several)
    assert NoisyDataset(fixed, "deleting", tokenizer, 0)[0]["labels"] == [0, 1]


# ---- in training


class Spy:
    """A teacher that notes which pieces it was given of each row, in the order of the epochs."""

    def __init__(self, teacher: LiveTeacher):
        self.teacher = teacher
        self.seen: dict[int, list[tuple[int, ...]]] = {}

    def __call__(self, batch: Mapping[str, Tensor]) -> Any:
        for row, ids, own in zip(batch["row"], batch["input_ids"], batch["attention_mask"], strict=True):
            self.seen.setdefault(int(row), []).append(tuple(ids[own.bool()].tolist()))
        return self.teacher(batch)


TEXTS = [" ".join(words) + " ." for words in permutations(("the", "film", "was", "good"), 4)][:13]


def trained(
    teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, out: Path, resume: str = "", **args: Any
) -> tuple[dict[int, list[tuple[int, ...]]], dict[str, Tensor]]:
    """What the teacher saw of each row in two epochs, and the student's weights."""
    torch.manual_seed(5)
    config = tiny_bert_config(layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    student = BertForSequenceClassification(config)
    objectives = (Objective(feature="logits", loss="soft_cross_entropy", temperature=1.0),)
    spy = Spy(LiveTeacher(teacher, objectives, "float32", torch.device("cpu")))
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "save_strategy": "no"}
    arguments = TrainingArguments(str(out), report_to="none", use_cpu=True, seed=7, **{**settings, **args})
    trainer = DistillationTrainer(
        student,
        spy,
        objectives,
        arguments,
        train_dataset=rows(tokenizer, *TEXTS),
        processing_class=tokenizer,
        noise=EVERYTHING,
    )
    trainer.train(resume_from_checkpoint=resume or None)
    return spy.seen, student.state_dict()


@pytest.fixture(scope="module")
def straight(
    teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: Any
) -> tuple[dict[int, list[tuple[int, ...]]], dict[str, Tensor]]:
    return trained(teacher, tokenizer, tmp_path_factory.mktemp("straight"))


def test_each_epoch_has_its_own_noise(straight: tuple[dict, dict], tokenizer: PreTrainedTokenizerFast) -> None:
    seen, _ = straight
    noisy = NoisyDataset(rows(tokenizer, *TEXTS), EVERYTHING, tokenizer, 7)
    for epoch in range(2):
        noisy.set_epoch(epoch)
        assert {row: ids[epoch] for row, ids in seen.items()} == {
            row: tuple(noisy[row]["input_ids"]) for row in range(len(TEXTS))
        }
    assert sum(first != second for first, second in seen.values()) > 9


@pytest.mark.parametrize(
    ("same_weights", "args"),
    [
        (True, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}),
        (False, {"per_device_train_batch_size": 3}),  # another order of the rows
        (True, {"dataloader_num_workers": 2}),
        (True, {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}),
    ],
)
def test_the_same_noise_however_batches_are_made(
    straight: tuple[dict, dict],
    teacher: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    same_weights: bool,
    args: dict[str, Any],
) -> None:
    seen, weights = trained(teacher, tokenizer, tmp_path, **args)
    assert seen == straight[0]
    if same_weights:
        assert all(torch.allclose(value, straight[1][name], atol=1e-5) for name, value in weights.items())


@pytest.mark.parametrize("step", [2, 4, 6])  # in the first epoch, at its end, in the second
def test_the_same_noise_after_a_resume(
    straight: tuple[dict, dict],
    teacher: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    step: int,
) -> None:
    trained(teacher, tokenizer, tmp_path, save_strategy="steps", save_steps=step)
    seen, weights = trained(teacher, tokenizer, tmp_path, str(tmp_path / f"checkpoint-{step}"))
    assert sum(map(len, seen.values())) == 26 - (13 * (step // 4) + 4 * (step % 4))
    for row, ids in seen.items():
        assert ids == straight[0][row][-len(ids) :]
    assert all(torch.equal(value, straight[1][name]) for name, value in weights.items())


def test_without_a_teacher_that_answers(
    teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    student = BertForSequenceClassification(tiny_bert_config(layers=2))
    labels, logits = (Objective(feature="labels"),), (Objective(feature="logits"),)
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    own: dict[str, Any] = {"train_dataset": rows(tokenizer, *TEXTS), "noise": "masking", "args": arguments}
    for signal, objectives in ((None, labels), (CachedTeachers(), logits)):
        with pytest.raises(UserError, match="noise changes the texts"):
            DistillationTrainer(student, signal, objectives, processing_class=tokenizer, **own)
    with pytest.raises(UserError, match="noise needs processing_class"):
        DistillationTrainer(student, teacher, logits, data_collator=list, **own)


def test_the_command_line(data_dir: Path, chance_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The teacher runs in each step; a phase of gold labels does not take noise."""
    args = [
        "--teacher",
        str(chance_teacher),
        "--allow-weak-teacher",
        "--student",
        "init:layers=1",
        "--noise",
        "masking,deleting=0.2",
    ]
    run("prediction", data_dir, tmp_path, *args, "--max-steps", "2")
    noted = record(tmp_path / "prediction")
    assert noted["settings"]["noise"] == "deleting=0.2,masking=0.1"
    assert "the teachers run in each step, for --noise changes the texts in each epoch" in noted["notes"]
    assert not list((tmp_path / "cache").glob("teacher-logits-*"))
    assert "--phase baseline does not use --noise" in refused(capsys, "baseline", data_dir, tmp_path, *args)
    assert "noise has 'maskin'" in refused(capsys, "prediction", data_dir, tmp_path, "--noise", "maskin")
