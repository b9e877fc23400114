"""Rows of a corpus as a dataset: their pieces, columns and lengths; epochs; other processes."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from glue_tasks.errors import UserError
from tests.tinydistill.conftest import make_tokenizer
from tests.tinydistill.corpus.corpora import corpus_of, ids_of, made_up
from tinydistill.corpus.dataset import CorpusRows, Format, load_rows
from tinydistill.corpus.store import Corpus
from tinydistill.data import LengthBucketSampler

TEXTS = made_up(40, 8, 7, seed=5)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("corpus"), TEXTS, tokenizer)


def plain(row: dict[str, object]) -> dict[str, object]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in row.items()}


def all_of(rows: CorpusRows) -> list[dict[str, object]]:
    return [plain(row) for row in rows.__getitems__(range(len(rows)))]


def test_packed_rows_hold_all_text_once(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    train, validation = load_rows(corpus, tokenizer, Format(max_length=16), held_out=0.2, seed=0)
    assert validation
    documents = ids_of(TEXTS, tokenizer)
    held = set(np.concatenate(list(validation.part.documents())).tolist())
    assert held
    for rows, of in ((validation, held), (train, set(range(len(documents))) - held)):
        found: list[int] = []
        for row in all_of(rows):
            ids = row["input_ids"]
            assert isinstance(ids, list)
            pieces = tokenizer.convert_ids_to_tokens(ids)
            assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
            assert row["token_type_ids"] == [0] * len(ids)
            assert row["special_tokens_mask"] == [True, *[False] * (len(ids) - 2), True]
            begins = [not piece.startswith("##") for piece in pieces]
            begins[1] = True  # of a word that is cut
            assert row["begins_word"] == begins
            found += ids[1:-1]
        assert found == [piece for at in sorted(of) for line in documents[at] for piece in line]
        assert rows.lengths.tolist() == [len(row["input_ids"]) for row in rows]
        assert max(rows.lengths) <= 16
        assert rows.describe() == {"rows": len(rows), "pieces": len(found)}
    assert plain(train[-1]) == plain(train[len(train) - 1])
    with pytest.raises(IndexError):
        train[len(train)]


def test_rows_have_the_columns_of_the_tokenizer(corpus: Corpus) -> None:
    without = make_tokenizer()
    without.model_input_names = ["input_ids", "attention_mask"]
    rows, none = load_rows(corpus, without, Format(16, mix_documents=True), held_out=0, seed=0)
    assert none is None
    assert "token_type_ids" not in rows[0]
    assert int((rows.lengths > 9).sum()) > 0.9 * len(rows)  # no line is longer than seven


def test_pairs_are_two_texts_between_special_pieces(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    train, validation = load_rows(corpus, tokenizer, Format(16, pairs=True), held_out=0.2, seed=0)
    assert validation
    text = {at: tuple(map(tuple, document)) for at, document in enumerate(ids_of(TEXTS, tokenizer))}
    for rows in (train, validation):
        own = {piece for part in rows.part.documents() for at in part.tolist() for line in text[at] for piece in line}
        randoms = 0
        for row in all_of(rows):
            ids, types = row["input_ids"], row["token_type_ids"]
            assert isinstance(ids, list)
            assert isinstance(types, list)
            first = types.index(1) - 1
            a, b = ids[1:first], ids[first + 1 : -1]
            assert a
            assert b
            assert ids == [2, *a, 3, *b, 3]
            assert types == [0] * (first + 1) + [1] * (len(b) + 1)
            assert row["special_tokens_mask"] == [at in (0, first, len(ids) - 1) for at in range(len(ids))]
            assert own >= {*a, *b}
            assert len(ids) <= 16
            randoms += bool(row["is_random_next"])
        assert randoms > 0
        assert rows.lengths.tolist() == [len(row["input_ids"]) for row in rows]


def test_an_epoch_has_other_pairs_and_as_many(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    rows, _ = load_rows(corpus, tokenizer, Format(16, pairs=True), held_out=0, seed=0)
    sampler = LengthBucketSampler(rows.lengths, 4, seed=0)
    stale, sent = copy.copy(rows), pickle.loads(pickle.dumps(rows))  # in a worker that is, and one that will be
    seen = []
    for epoch in (0, 1, 2, 1, 0):
        rows.set_epoch(epoch)
        seen.append(all_of(rows))
        assert len(seen[-1]) == len(seen[0])
        assert rows.lengths.tolist() == [len(row["input_ids"]) for row in rows]
        assert sampler.lengths is rows.lengths
        assert all_of(stale) == seen[-1]
    assert seen[0] != seen[1] != seen[2]
    assert (seen[3], seen[4]) == (seen[1], seen[0])
    assert all_of(sent) == seen[0]
    again, _ = load_rows(corpus, tokenizer, Format(16, pairs=True), held_out=0, seed=0)
    again.set_epoch(2)  # as in a run that goes on
    assert all_of(again) == seen[2]
    assert all_of(load_rows(corpus, tokenizer, Format(16, pairs=True), 0, seed=1)[0]) != seen[0]


def test_packed_rows_stay_and_are_sent_without_pieces(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    rows, _ = load_rows(corpus, tokenizer, Format(8), held_out=0.1, seed=0)
    before = all_of(rows)
    rows.set_epoch(3)
    assert all_of(rows) == before
    sent = pickle.dumps(rows)
    assert all_of(pickle.loads(sent)) == before
    assert corpus.pieces.tobytes()[:64] not in sent


def test_the_places_of_rows_are_kept(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in corpus.folder.glob("rows-*")}

    first = all_of(load_rows(corpus, tokenizer, Format(9), 0.1, seed=0)[0])
    before = files()
    load_rows(corpus, tokenizer, Format(9), 0.1, seed=0)
    assert files() == before
    path = max(before, key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-7])
    assert all_of(load_rows(corpus, tokenizer, Format(9), 0.1, seed=0)[0]) == first
    load_rows(corpus, tokenizer, Format(10), 0.1, seed=0)
    assert len(files()) == len(before) + 4  # train and validation, each with its record


def test_what_rows_cannot_be(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="leaves room for 1; use a longer"):
        load_rows(corpus, tokenizer, Format(3), 0.1, seed=0)
    with pytest.raises(UserError, match="leave mixing documents out"):
        load_rows(corpus, tokenizer, Format(30, pairs=True, mix_documents=True), 0.1, seed=0)
