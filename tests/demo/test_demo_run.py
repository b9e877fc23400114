"""The demo with tiny sizes, from the grammar to the table."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

from demo.__main__ import _run
from demo.commands import Command, preparations, students
from demo.grammar import Grammar
from demo.pretrain import train_tokenizer, train_vectors
from demo.sizes import FULL, QUICK
from glue_tasks import UserError


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    _run(folder, QUICK)
    return folder


def commands(output: Path) -> list[Command]:
    return [*preparations(output, QUICK), *students(output, QUICK)]


def test_every_step_leaves_what_it_says(output: Path) -> None:
    content = json.loads((output / "demo.json").read_text())
    names = [entry["name"] for entry in content["models"]]
    assert names[:2] == ["bag of words", "teacher"]
    assert len(names) == 5
    page = (output / "demo.md").read_text()
    assert all(f"| {name} |" in page for name in names)
    assert all(command.makes.exists() for command in commands(output))
    assert content["masked_lm"]["loss"] < content["masked_lm"]["loss_before"]


def test_run_again_it_does_nothing_anew(output: Path, capsys: pytest.CaptureFixture) -> None:
    steps = commands(output)
    before = [step.makes.stat().st_mtime_ns for step in steps]
    capsys.readouterr()
    _run(output, QUICK)
    assert [step.makes.stat().st_mtime_ns for step in steps] == before
    assert capsys.readouterr().out.count("done already") == len(steps)


def test_a_folder_of_other_sizes_is_refused(output: Path) -> None:
    with pytest.raises(UserError, match="holds a demo of other sizes"):
        _run(output, FULL)


def test_the_masked_lm_loads_as_any_other(output: Path) -> None:
    folder = output / "pretrained" / "masked-lm"
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    assert tokenizer.mask_token_id is not None


def test_some_words_have_several_pieces_and_a_vector(tmp_path: Path) -> None:
    """Those are the words that the augmentation asks the vectors about."""
    reviews = [review.text for review in Grammar(1).reviews(3_000)]
    tokenizer = train_tokenizer(reviews[:1_000], FULL.masked_lm.pieces)
    train_vectors(reviews, tmp_path / "vectors.txt", 8, 1, seed=1)
    words = [line.split()[0] for line in (tmp_path / "vectors.txt").read_text().splitlines()]
    several = [word for word in words if len(tokenizer.tokenize(word)) > 1]
    assert len(several) > 100
    assert len(words) - len(several) > 100  # and those that it asks the masked LM about
