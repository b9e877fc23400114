"""Encoding, batches and their order."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from tinydistill.data import Collator, LengthBucketSampler, ShareOfSteps, encode

from .conftest import make_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_encode_is_what_the_tokenizer_says(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "sentence\tlabel\nthe film is good .\t1\nvery very very very bad\t0\n")
    data = encode(open_table(TASKS["SST-2"], path), tokenizer, 6, tmp_path / "cache")
    assert data["labels"][:] == [1, 0]
    assert data["input_ids"][:] == [
        tokenizer(text, truncation=True, max_length=6)["input_ids"]
        for text in ("the film is good .", "very very very very bad")
    ]
    assert data["length"][:] == [6, 6]
    assert data["cut"][:] == [True, True]


def test_a_row_of_just_the_maximum_length_is_whole(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "sentence\tlabel\nthe film is good\t1\nthe film is good .\t1\nbad\t0\n")
    data = encode(open_table(TASKS["SST-2"], path), tokenizer, 6, tmp_path / "cache")
    assert data["length"][:] == [6, 6, 3]
    assert data["cut"][:] == [False, True, False]


def test_a_pair_is_cut_at_its_longer_text(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    header = "index\tsentence1\tsentence2\tlabel"
    path = write(tmp_path / "train.tsv", f"{header}\n0\tgood\tbad bad bad bad bad bad\tentailment\n")
    row = encode(open_table(TASKS["RTE"], path), tokenizer, 7, tmp_path / "cache")[0]
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", "good", "[SEP]", "bad", "bad", "bad", "[SEP]"]
    assert row["token_type_ids"] == [0, 0, 0, 1, 1, 1, 1]


def test_the_cache_follows_the_file_the_tokenizer_and_the_length(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path, cache = tmp_path / "train.tsv", tmp_path / "cache"
    write(path, "sentence\tlabel\ngood\t1\n")
    for _ in range(2):
        encode(open_table(TASKS["SST-2"], path), tokenizer, 8, cache)
    assert len(list(cache.glob("*.arrow"))) == 1
    encode(open_table(TASKS["SST-2"], path), tokenizer, 9, cache)
    assert len(list(cache.glob("*.arrow"))) == 2
    write(path, "sentence\tlabel\nbad\t0\n")
    assert encode(open_table(TASKS["SST-2"], path), tokenizer, 8, cache)["labels"][:] == [0]
    assert len(list(cache.glob("*.arrow"))) == 3


def test_the_cache_follows_the_columns_that_the_tokenizer_gives(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """BERT's and DistilBERT's tokenizers differ in nothing else."""
    path = write(tmp_path / "train.tsv", "sentence\tlabel\ngood\t1\n")
    without = make_tokenizer()
    without.model_input_names = ["input_ids", "attention_mask"]
    for one, columns in ((without, 0), (tokenizer, 1), (without, 0)):
        data = encode(open_table(TASKS["SST-2"], path), one, 8, tmp_path / "cache")
        assert data.column_names.count("token_type_ids") == columns


_ENCODE = """
import sys
from pathlib import Path
from transformers import AutoTokenizer
from glue_tasks import TASKS
from glue_tasks.files import open_table
from tinydistill.data import encode

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for name, file in zip(sys.argv[3::2], sys.argv[4::2]):
    encode(open_table(TASKS[name], Path(file)), tokenizer, 8, Path(sys.argv[2]))
"""


def test_another_process_finds_the_cache(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Also of tasks with a function of their own, and whatever the order of sets and the addresses there."""
    span = '"target": {"span1_text": "a", "span1_index": 0, "span2_text": "b", "span2_index": 2}'
    files = {
        "SST-2": write(tmp_path / "train.tsv", "sentence\tlabel\ngood\t1\n"),
        "CLUEWSC2020": write(tmp_path / "wsc.json", f'{{{span}, "text": "a b", "label": "true"}}\n'),
        "CSL": write(tmp_path / "csl.json", '{"id": 1, "abst": "a", "keyword": ["b", "c"], "label": "1"}\n'),
    }
    tokenizer.save_pretrained(tmp_path / "model")
    given = [str(tmp_path / "model"), str(tmp_path / "cache"), *(str(x) for pair in files.items() for x in pair)]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", _ENCODE, *given], env=environment, check=True)
        assert len(list((tmp_path / "cache").glob("*.arrow"))) == len(files)


def test_a_bad_row_leaves_no_cache(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "sentence\tlabel\n" + "good\t1\n" * 1500 + "good\t7\n")
    with pytest.raises(UserError, match="line 1502: unknown label '7'"):
        encode(open_table(TASKS["SST-2"], path), tokenizer, 8, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_collator_pads_to_the_longest(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [
        {"input_ids": [2, 6, 3], "token_type_ids": [0, 0, 0], "labels": 1, "teacher_logits": [0.5, 1.0]},
        {"input_ids": [2, 7, 8, 9, 3], "token_type_ids": [0, 0, 1, 1, 1], "labels": 0, "teacher_logits": [2.0, 1.0]},
    ]
    batch = Collator(tokenizer)(rows)
    expected = tokenizer.pad([{k: r[k] for k in ("input_ids", "token_type_ids")} for r in rows], return_tensors="pt")
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        assert torch.equal(batch[name], expected[name])
    assert batch["labels"].tolist() == [1, 0]
    assert batch["teacher_logits"].tolist() == [[0.5, 1.0], [2.0, 1.0]]
    assert Collator(tokenizer, pad_to=9)(rows)["input_ids"].shape == (2, 9)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=400), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_has_every_example_once(lengths: list[int], batch_size: int, epoch: int) -> None:
    sampler = LengthBucketSampler(np.array(lengths), batch_size, seed=1)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(lengths)))
    assert order == list(sampler)  # by seed and epoch alone


def test_batches_are_of_like_length_and_epochs_differ() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 60, 10_000)
    sampler = LengthBucketSampler(lengths, 32, seed=0)
    order = np.array(list(sampler))
    batches = lengths[order[: len(order) // 32 * 32]].reshape(-1, 32)
    padded = (batches.max(1, keepdims=True) - batches).sum() / batches.sum()
    assert padded < 0.05
    shuffled = random.permutation(lengths)[: batches.size].reshape(-1, 32)
    assert (shuffled.max(1, keepdims=True) - shuffled).sum() / shuffled.sum() > 0.5  # what it would be otherwise
    assert abs(np.corrcoef(np.arange(len(batches)), batches.mean(1))[0, 1]) < 0.2  # the order of batches is random
    sampler.set_epoch(1)
    assert not np.array_equal(order, list(sampler))


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_processes_share_the_steps_of_one(rows: int, batch_size: int, accumulate: int, count: int) -> None:
    order = LengthBucketSampler(np.arange(rows), batch_size * accumulate * count, seed=1)
    shares = [ShareOfSteps(order, batch_size, accumulate, index, count) for index in range(count)]
    batches = [list(share) for share in shares]
    assert {len(own) for own in batches} == {len(shares[0])}  # all make as many, or the others would wait for ever
    assert all(len(batch) <= batch_size for own in batches for batch in own)
    whole = list(order)
    for i, start in enumerate(range(0, rows, batch_size * accumulate * count)):
        step = [x for own in batches for batch in own[i * accumulate : (i + 1) * accumulate] for x in batch]
        assert sorted(step) == sorted(whole[start : start + batch_size * accumulate * count])
