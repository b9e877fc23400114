"""The demo with tiny sizes, from the grammar to the table."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

import demo.__main__
from demo import pretrain, side_by_side
from demo.__main__ import _claim, _run
from demo.commands import Command, preparations, students
from demo.grammar import Grammar
from demo.pretrain import Learnt, train_tokenizer, train_vectors
from demo.side_by_side import run_side_by_side
from demo.sizes import FULL, QUICK
from glue_tasks import UserError
from glue_tasks.writers import write_json
from tests import forked


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")

    def start(command: Command, log: Path) -> forked.Forked:
        return forked.start([command.program, *command.arguments], log=log)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_by_side, "_start", start)
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


def test_a_teacher_counts_as_made_when_its_phase_is_finished(tmp_path: Path) -> None:
    command = next(preparations(tmp_path, QUICK))
    folder = command.makes.parent
    assert not command.is_done
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        write_json(folder / name, {})
    write_json(folder / "run.json", {"state": "running", "settings": {}})
    assert not command.is_done
    write_json(folder / "run.json", {"state": "finished", "settings": {}})
    assert command.is_done


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("record", ["sizes.json", "pretrained/learnt.json"])
def test_a_kill_leaves_no_half_record(record: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Saved:
        save_pretrained = staticmethod(lambda folder: None)

    def kill(*args: object) -> None:
        raise _Killed

    monkeypatch.setattr(pretrain, "train_vectors", lambda *args, **kwargs: None)
    monkeypatch.setattr(pretrain, "train_tokenizer", lambda *args: Saved())
    monkeypatch.setattr(pretrain, "train_masked_lm", lambda *args, **kwargs: (Saved(), Learnt(1.0, 0.5, 2.0, 3.0)))
    monkeypatch.setattr(Path, "replace", kill)
    writes = {
        "sizes.json": lambda: _claim(tmp_path, QUICK),
        "pretrained/learnt.json": lambda: pretrain.pretrain([], tmp_path, QUICK.masked_lm, 8, 1),
    }
    with pytest.raises(_Killed):
        writes[record]()
    assert not (tmp_path / record).exists()


def test_a_stop_is_told_by_the_demos_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A command within advises --resume, which the demo has not."""

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("run_tinybert._run", stop)
    monkeypatch.setattr(demo.__main__, "_run", lambda output, sizes: next(preparations(output, sizes)).run())
    with pytest.raises(SystemExit) as end:
        demo.__main__.main(tmp_path, quick=True)
    assert end.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped; to go on, run the same command again"


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_failure_is_told_with_what_to_do(
    side_by_side: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    command = Command("run_tinybert.py", ("--phase", "prediction", "--augment"), tmp_path / "student" / "report.json")

    def fail(*args: object) -> None:
        if side_by_side:
            run_side_by_side([command], tmp_path / "logs")
        else:
            command.run()

    monkeypatch.setattr(demo.__main__, "_run", fail)
    with pytest.raises(SystemExit) as end:
        demo.__main__.main(tmp_path, quick=True)
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert "error: a command of the demo failed with exit code 2: python run_tinybert.py --phase prediction" in told
    assert "error: --phase prediction does not use --augment" in told
    assert "run the same command again: `python -m demo`" in told.splitlines()[-1]


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
    assert len(tokenizer) <= FULL.masked_lm.pieces
    assert len(several) > 100
    assert len(words) - len(several) > 100  # and those that it asks the masked LM about
