"""Text that a tokenizer does not know is told before training, and in the report."""

import json
from pathlib import Path

import pytest
from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast

from glue_tasks import TASKS
from glue_tasks.files import Table, open_table
from tests.tinydistill.runs import record, run
from tinydistill.known_words import doubts_about_words

from .conftest import PIECES, make_tokenizer


def table_of(folder: Path, texts: list[str]) -> Table:
    path = folder / "train.tsv"
    lines = [f"{text}\t{i % 2}" for i, text in enumerate(texts)]
    path.write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    return open_table(TASKS["SST-2"], path)


def cased() -> PreTrainedTokenizerFast:
    """Paris and London are in the vocabulary, and its tokenizer takes the capitals away."""
    return make_tokenizer([*PIECES, "Paris", "London"])


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["good film .", "a very bad plot", "the cast is great"], []),
        (["the film and the plot"] * 49 + ["the film and 電 影"], []),  # 1 of 50 texts has a word that is unknown
        (["這 電 影", "good film"], ["60% of the pieces are unknown"]),
        # Without its capital the word is unknown too.
        (
            ["good Paris", "bad film"],
            ["25% of the pieces are unknown", "capitals or accents away from 25% of the words"],
        ),
    ],
)
def test_shares(texts: list[str], told: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = table_of(tmp_path, texts)
    found = doubts_about_words(table, cased())
    assert len(found) == len(told)
    for sentence, part in zip(found, told, strict=True):
        assert part in sentence
        assert sentence in caplog.text
        assert str(table.path) in sentence


def test_capitals_that_the_vocabulary_does_not_have_are_no_loss(tmp_path: Path) -> None:
    assert doubts_about_words(table_of(tmp_path, ["GOOD Film", "The bad Plot"]), make_tokenizer()) == []


def test_a_tokenizer_that_keeps_capitals_under_a_vocabulary_without(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    (sentence,) = doubts_about_words(table_of(tmp_path, ["Good film", "The bad plot"]), tokenizer)
    assert "40% of the pieces are unknown" in sentence


def test_told_once_before_training_and_in_the_report(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data" / "SST-2"
    folder.mkdir(parents=True)
    for split in ("train", "dev"):
        text = (data_dir / "SST-2" / f"{split}.tsv").read_text(encoding="utf-8")
        (folder / f"{split}.tsv").write_text(text.replace("film", "電影"), encoding="utf-8")
    data = tmp_path / "data"
    run("teacher", data, tmp_path / "out", "--pretrained", str(masked_lm_dir), "--max-steps", "1")
    notes = json.dumps(record(tmp_path / "out" / "teacher")["notes"])
    assert "train.tsv: " in notes
    assert "of the pieces are unknown to the tokenizer" in notes
    assert caplog.text.count(f"{folder / 'train.tsv'}: ") == 1
    assert caplog.text.count(f"{folder / 'dev.tsv'}: ") == 1
