"""A folder belongs to one run."""

import json
from pathlib import Path

import pytest

from glue_tasks.errors import UserError
from glue_tasks.writers import write_json
from tinydistill.runs import PhaseFolder

SETTINGS = {"seed": 1, "blocks": (1, 3)}


def claim(folder: PhaseFolder, settings: dict | None = None, resume: bool = False, overwrite: bool = False) -> str:
    state = folder.look(settings or SETTINGS, resume, overwrite)
    if state == "new":
        folder.begin(settings or SETTINGS)
    return state


def add_checkpoint(folder: PhaseFolder) -> None:
    (folder.checkpoints / "checkpoint-1").mkdir(parents=True)
    (folder.checkpoints / "checkpoint-1" / "trainer_state.json").write_text("{}")


def test_the_life_of_a_run(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    assert folder.read() is None
    assert claim(folder) == "new"
    assert not folder.is_finished
    assert claim(folder, {"seed": 2}) == "new"  # nothing to lose yet
    assert claim(folder) == "new"
    add_checkpoint(folder)
    with pytest.raises(UserError, match="unfinished run with the same settings; continue it with --resume"):
        claim(folder)
    assert claim(folder, resume=True) == "continue"
    folder.finish({"dev": {"accuracy": 1.0}})
    assert not folder.checkpoints.exists()
    assert claim(folder) == claim(folder, resume=True) == "finished"
    record = folder.read()
    assert record is not None
    assert record["settings"] == {"seed": 1, "blocks": [1, 3]}
    assert record["versions"]["torch"]


def test_other_settings_are_named_and_nothing_is_touched(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder)
    add_checkpoint(folder)
    before = (folder.path / "run.json").read_bytes()
    for resume in (False, True):
        with pytest.raises(UserError, match=r"other settings \(seed was 1 and is now 2\)"):
            claim(folder, {**SETTINGS, "seed": 2}, resume)
    assert (folder.path / "run.json").read_bytes() == before
    assert claim(folder, {**SETTINGS, "seed": 2}, overwrite=True) == "new"


def test_names_are_told_and_not_compared(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder, {**SETTINGS, "teacher": "t", "teacher_weights": "1"})
    add_checkpoint(folder)
    assert claim(folder, {**SETTINGS, "teacher": "./t", "teacher_weights": "1"}, resume=True) == "continue"
    with pytest.raises(UserError, match=r"other settings \(other teacher weights\)"):
        claim(folder, {**SETTINGS, "teacher": "t", "teacher_weights": "2"}, resume=True)


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    one, other = PhaseFolder(tmp_path, "prediction"), PhaseFolder(tmp_path, "prediction")
    with one.held():
        claim(one)
        add_checkpoint(one)
        for resume, overwrite in ((False, False), (True, False), (False, True)):
            with pytest.raises(UserError, match=r"another process is at work in .*prediction; wait for it"):
                claim(other, resume=resume, overwrite=overwrite)
        claim(PhaseFolder(tmp_path, "baseline"))
    assert claim(other, resume=True) == "continue"


def test_a_model_in_the_folder_that_would_be_deleted(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "teacher")
    folder.check_inputs(pretrained="bert-base-uncased", teacher="", student=str(tmp_path / "other"))
    for name in (tmp_path / "teacher", tmp_path / "teacher" / "checkpoints", tmp_path / "x" / ".." / "teacher"):
        with pytest.raises(UserError, match=r"the pretrained .* lies in the folder that this phase writes"):
            folder.check_inputs(pretrained=str(name))


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "prediction").mkdir()
    (tmp_path / "prediction" / "thesis.doc").write_text("")
    with pytest.raises(UserError, match="holds something else"):
        claim(PhaseFolder(tmp_path, "prediction"))


def test_the_last_whole_checkpoint(tmp_path: Path) -> None:
    """A checkpoint that a kill cut off has no state, or half of one."""
    folder = PhaseFolder(tmp_path, "prediction")
    for step, state in ((9, '{"global_step": 9}'), (10, '{"global_step": 10}'), (100, '{"glob'), (200, None)):
        (folder.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
        if state:
            (folder.checkpoints / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert folder.last_checkpoint() == folder.checkpoints / "checkpoint-10"
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["checkpoint-10", "checkpoint-9"]


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": "é"})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": "é"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
