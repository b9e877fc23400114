"""Encoding, batches and their order."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from glue_tasks import TASKS, Task
from glue_tasks.digests import code_digest
from glue_tasks.errors import UserError
from glue_tasks.files import open_table
from tests.tinydistill.of_tasks import encode_table
from tinydistill import data as data_module
from tinydistill.data import Collator, LengthBucketSampler, ShareOfSteps, column

from .conftest import PIECES, WORDS, make_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_encode_is_what_the_tokenizer_says(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "sentence\tlabel\nthe film is good .\t1\nvery very very very bad\t0\n")
    data = encode_table(open_table(TASKS["SST-2"], path), tokenizer, 6, tmp_path / "cache")
    assert data["labels"][:] == [1, 0]
    assert data["input_ids"][:] == [
        tokenizer(text, truncation=True, max_length=6)["input_ids"]
        for text in ("the film is good .", "very very very very bad")
    ]
    assert data["length"][:] == [6, 6]
    assert data["cut"][:] == [True, True]


def test_a_row_of_just_the_maximum_length_is_whole(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "sentence\tlabel\nthe film is good\t1\nthe film is good .\t1\nbad\t0\n")
    data = encode_table(open_table(TASKS["SST-2"], path), tokenizer, 6, tmp_path / "cache")
    assert data["length"][:] == [6, 6, 3]
    assert data["cut"][:] == [False, True, False]


def test_a_pair_is_cut_at_its_longer_text(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    header = "index\tsentence1\tsentence2\tlabel"
    path = write(tmp_path / "train.tsv", f"{header}\n0\tgood\tbad bad bad bad bad bad\tentailment\n")
    row = encode_table(open_table(TASKS["RTE"], path), tokenizer, 7, tmp_path / "cache")[0]
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", "good", "[SEP]", "bad", "bad", "bad", "[SEP]"]
    assert row["token_type_ids"] == [0, 0, 0, 1, 1, 1, 1]


def test_the_cache_follows_the_file_the_tokenizer_and_the_length(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path, cache = tmp_path / "train.tsv", tmp_path / "cache"
    write(path, "sentence\tlabel\ngood\t1\n")
    for _ in range(2):
        encode_table(open_table(TASKS["SST-2"], path), tokenizer, 8, cache)
    assert len(list(cache.glob("*.arrow"))) == 1
    encode_table(open_table(TASKS["SST-2"], path), tokenizer, 9, cache)
    assert len(list(cache.glob("*.arrow"))) == 2
    write(path, "sentence\tlabel\nbad\t0\n")
    assert encode_table(open_table(TASKS["SST-2"], path), tokenizer, 8, cache)["labels"][:] == [0]
    assert len(list(cache.glob("*.arrow"))) == 3


def test_the_cache_follows_the_columns_that_the_tokenizer_gives(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """BERT's and DistilBERT's tokenizers differ in nothing else."""
    path = write(tmp_path / "train.tsv", "sentence\tlabel\ngood\t1\n")
    without = make_tokenizer()
    without.model_input_names = ["input_ids", "attention_mask"]
    for one, columns in ((without, 0), (tokenizer, 1), (without, 0)):
        data = encode_table(open_table(TASKS["SST-2"], path), one, 8, tmp_path / "cache")
        assert data.column_names.count("token_type_ids") == columns


def test_only_what_was_changed_is_tokenised_again(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's bytes, the tokenizer and the length; not the file's time, nor another reading of the same."""
    begun = []
    columns = data_module._columns
    monkeypatch.setattr(data_module, "_columns", lambda *args: begun.append(args) or columns(*args))
    path = write(tmp_path / "train.tsv", "sentence\tlabel\ngood\t1\n")

    def tokenises(one: PreTrainedTokenizerFast, max_length: int) -> bool:
        begun.clear()
        assert len(encode_table(open_table(TASKS["SST-2"], path), one, max_length, tmp_path / "cache")) == 1
        return bool(begun)

    assert tokenises(tokenizer, 8)
    os.utime(path, (0, 0))
    tokenizer("a longer text", padding="max_length", max_length=20)  # which the backend remembers
    assert not tokenises(tokenizer, 8)
    assert tokenises(tokenizer, 9)
    assert tokenises(make_tokenizer([*PIECES, "more"]), 8)
    write(path, "sentence\tlabel\ngood\t0\n")
    assert tokenises(tokenizer, 8)
    write(path, "sentence\tlabel\ngood\t1\n")
    assert not tokenises(tokenizer, 8)


def test_the_cache_follows_what_decides_the_reading(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """And nothing else of the task: how long it is trained, or what it says of itself."""
    task = TASKS["SST-2"]
    path = write(tmp_path / "train.jsonl", '{"sentence": "good", "label": 1}\n')

    def labels(of: Task) -> list[int]:
        return list(encode_table(open_table(of, path), tokenizer, 8, tmp_path / "cache")["labels"])

    def as_it_is(record: Any) -> Any:
        return record

    assert labels(task) == [1]
    for other in ({"prediction_epochs": 99}, {"summary": "another"}, {"variants": 3}, {"max_length": 9}):
        assert labels(replace(task, **other)) == [1]
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == 1
    assert labels(replace(task, label_codes=("1", "0"))) == [0]
    assert labels(replace(task, from_record=as_it_is)) == [1]
    as_it_is.__code__ = turned.__code__  # the same name, another body
    assert labels(replace(task, from_record=as_it_is)) == [0]
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == 4


def turned(record: Any) -> Any:
    return {**record, "label": other_label(record["label"])}


def other_label(label: int) -> int:
    return 1 - label


def test_a_function_is_told_by_what_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest(turned)
    assert before == code_digest(turned)
    monkeypatch.setitem(globals(), "other_label", lambda label: 2 - label)
    assert code_digest(turned) != before


_TEXT = st.lists(st.sampled_from([*WORDS.split(), "goods", "xyz", ".", "[SEP]"]), min_size=1, max_size=9).map(" ".join)


@given(st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=8), st.integers(5, 12), st.booleans())
def test_rows_in_blocks_are_those_one_by_one(rows: list[tuple[str, str]], max_length: int, of_pairs: bool) -> None:
    """Against the tokenizer's own call for each row, with and without a limit."""
    tokenizer = make_tokenizer()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_module, "_ROWS_AT_ONCE", 3)
        folder = Path(name)
        header = "index\tsentence1\tsentence2\tlabel" if of_pairs else "sentence\tlabel"
        lines = [f"0\t{a}\t{b}\tentailment" if of_pairs else f"{a}\t1" for a, b in rows]
        path = write(folder / "train.tsv", "\n".join([header, *lines]) + "\n")
        data = encode_table(open_table(TASKS["RTE" if of_pairs else "SST-2"], path), tokenizer, max_length, folder)
        assert len(data) == len(rows)
        for row, texts in zip(data, rows, strict=True):
            given_ = texts if of_pairs else texts[:1]
            alone = tokenizer(*given_, truncation="longest_first", max_length=max_length)
            assert row["input_ids"] == alone["input_ids"]
            assert row["token_type_ids"] == alone["token_type_ids"]
            assert row["length"] == len(alone["input_ids"])
            assert row["cut"] == (len(tokenizer(*given_)["input_ids"]) > max_length)


def test_columns_are_small_and_batches_are_of_int64(tmp_path: Path) -> None:
    """Also of a vocabulary that two bytes do not hold."""
    large = [*PIECES, *(f"w{i}" for i in range(1 << 16))]
    path = write(tmp_path / "train.tsv", f"sentence\tlabel\ngood\t1\nthe {large[-1]}\t0\n")
    for pieces, of_piece in ((PIECES, "uint16"), (large, "int32")):
        tokenizer = make_tokenizer(pieces)
        data = encode_table(open_table(TASKS["SST-2"], path), tokenizer, 8, tmp_path / "cache")
        types = {name: getattr(feature, "feature", feature).dtype for name, feature in data.features.items()}
        assert types == {
            "input_ids": of_piece,
            "token_type_ids": "int8",
            "length": "int32",
            "cut": "bool",
            "labels": "int32",
        }
        batch = Collator(tokenizer)(data.__getitems__([0, 1]))
        assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
        assert batch["input_ids"][1, 2] == tokenizer.convert_tokens_to_ids(large[-1])
    path = write(tmp_path / "sts.tsv", "sentence1\tsentence2\tscore\ngood\tfine\t0.1\n")
    data = encode_table(open_table(TASKS["STS-B"], path), make_tokenizer(), 8, tmp_path / "cache")
    assert column(data, "labels").tolist() == [0.1]  # in double precision
    assert Collator(make_tokenizer())(data.__getitems__([0]))["labels"].dtype == torch.float32


def test_a_column_is_that_of_the_rows(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Of several blocks, and of rows that were chosen."""
    path = write(tmp_path / "train.tsv", "sentence\tlabel\n" + "good\t1\nvery bad\t0\n" * 700)
    data = encode_table(open_table(TASKS["SST-2"], path), tokenizer, 8, tmp_path / "cache")
    for rows in (data, data.select([1399, 4, 4, 1001]), data.select(range(3, 1300))):
        for name in ("length", "labels", "cut"):
            assert column(rows, name).tolist() == list(rows[name])


_ENCODE = """
import sys
import tempfile
from pathlib import Path
from transformers import AutoTokenizer
from glue_tasks import TASKS
from glue_tasks.files import open_table
from tests.tinydistill.of_tasks import encode_table

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for name, file in zip(sys.argv[3::2], sys.argv[4::2]):
    encode_table(open_table(TASKS[name], Path(file)), tokenizer, 8, Path(sys.argv[2]))
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
    for name, file in files.items():
        encode_table(open_table(TASKS[name], file), tokenizer, 8, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == len(files)
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _ENCODE, *given], env=environment, check=True)
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == len(files)


def test_a_bad_row_leaves_no_cache(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "sentence\tlabel\n" + "good\t1\n" * 1500 + "good\t7\n")
    with pytest.raises(UserError, match="line 1502: unknown label '7'"):
        encode_table(open_table(TASKS["SST-2"], path), tokenizer, 8, tmp_path / "cache")
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


@given(st.lists(st.integers(1, 64), min_size=1, max_size=400), st.integers(1, 3), st.integers(0, 3))
def test_the_order_is_as_it_is_described(lengths: list[int], batch_size: int, epoch: int) -> None:
    """Against lists: shuffle, sort fifty batches at a time by length, shuffle the batches; what is left stays last."""
    random = np.random.default_rng((7, epoch))
    order = random.permutation(len(lengths)).tolist()
    whole = len(order) // batch_size * batch_size
    rows, last = order[:whole], order[whole:]
    near = [sorted(rows[i : i + 50 * batch_size], key=lengths.__getitem__) for i in range(0, whole, 50 * batch_size)]
    rows = [row for group in near for row in group]
    batches = [rows[i : i + batch_size] for i in range(0, whole, batch_size)]
    expected = [row for i in random.permutation(len(batches)) for row in batches[i]] + last
    sampler = LengthBucketSampler(np.array(lengths, dtype=np.int32), batch_size, seed=7)
    sampler.set_epoch(epoch)
    assert list(sampler) == sampler.order().tolist() == expected
    assert sampler.order().dtype == np.int32


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
