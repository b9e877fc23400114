"""The answer to a question about a file."""

from pathlib import Path

import pytest

from glue_tasks import get_task
from glue_tasks.errors import UserError
from tests.tinydistill.spans_and_tokens import tiny_model
from tinydistill.__main__ import main
from tinydistill.answer import answer
from tinydistill.kinds.spans import THRESHOLD

TEXT = "the film is good . the plot was very bad and the cast is fine . " * 8


@pytest.fixture
def model(tokenizer, tmp_path: Path) -> Path:
    made = tiny_model(get_task("SQuAD1.1"))
    made.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "page.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "model"


def test_answers_are_parts_of_the_text(model: Path, tmp_path: Path) -> None:
    found = answer(str(model), "how is the film", tmp_path / "page.txt", max_length=24, doc_stride=6, n_best=4)
    assert len(found) == 4
    for each in found:
        assert TEXT[each["start"] : each["end"]] == each["text"] != ""
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert sum(each["probability"] for each in found) == pytest.approx(1)


def test_a_model_that_may_say_none_says_so(model: Path, tmp_path: Path) -> None:
    made = tiny_model(get_task("SQuAD2.0"))
    for threshold, text in ((-1e3, ""), (1e3, None)):
        setattr(made.config, THRESHOLD, threshold)
        made.save_pretrained(model)
        (best,) = answer(str(model), "how is the film", tmp_path / "page.txt", max_length=24, doc_stride=6)
        assert best["text"] == "" if text == "" else best["text"] in TEXT and best["text"]


def test_the_command(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = ["predict", "--model", str(model), "--max-length", "24", "--question", "how is it"]
    with pytest.raises(SystemExit) as stop:
        main([*given, "--text", str(tmp_path / "page.txt"), "--n-best", "2"])
    assert stop.value.code == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("\t")[0] in TEXT
    assert "characters" in second
    for wrong, why in (
        ([], "give both, or neither"),
        (["--text", str(tmp_path / "none.txt")], "there is no file"),
        (["--text", str(tmp_path)], "is a folder"),
        (["--text", str(tmp_path / "page.txt"), "--task", "SST-2"], "SST-2 has others"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*given, *wrong])
        assert stop.value.code == 2
        assert why in capsys.readouterr().err


def test_empty_files_and_questions(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UserError, match="has no text"):
        answer(str(model), "how", tmp_path / "empty.txt")
    with pytest.raises(UserError, match="the question is empty"):
        answer(str(model), " ", tmp_path / "page.txt")
