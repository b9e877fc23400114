"""A folder belongs to one run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glue_tasks.errors import UserError
from glue_tasks.writers import write_json
from tinydistill.runs import PhaseFolder

SETTINGS = {"seed": 1, "blocks": (1, 3)}


def claim(folder: PhaseFolder, settings: dict | None = None, resume: bool = False, overwrite: bool = False) -> str:
    state = folder.compare(settings or SETTINGS, resume, overwrite)
    if state == "new":
        folder.begin(settings or SETTINGS)
    return state


def add_checkpoint(folder: PhaseFolder, step: int = 1, best: int | None = None) -> Path:
    path = folder.checkpoints / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    (path / "model.safetensors").write_text(f"weights {step}")
    folder.seal_checkpoint(step)
    return path


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


def test_options_that_a_former_run_did_not_know_had_their_defaults(tmp_path: Path) -> None:
    """Intervals were whole numbers then."""
    now = {**SETTINGS, "eval_steps": 50.0, "patience": 0, "gradient_checkpointing": False}
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder, {**SETTINGS, "eval_steps": 50})
    add_checkpoint(folder)
    assert claim(folder, now, resume=True) == "continue"
    with pytest.raises(UserError, match=r"\(eval_steps was 50 and is now 0.5, patience was 0 and is now 3\)"):
        claim(folder, {**now, "patience": 3, "eval_steps": 0.5}, resume=True)
    with pytest.raises(UserError, match="gradient_checkpointing was False and is now True"):
        claim(folder, {**now, "gradient_checkpointing": True}, resume=True)
    folder.finish({})
    assert claim(folder, {**now, "gradient_checkpointing": True}) == "finished"


def test_names_are_told_and_not_compared(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder, {**SETTINGS, "teacher": "t", "teacher_weights": "1"})
    add_checkpoint(folder)
    assert claim(folder, {**SETTINGS, "teacher": "./t", "teacher_weights": "1"}, resume=True) == "continue"
    with pytest.raises(UserError, match=r"other settings \(other teacher weights\)"):
        claim(folder, {**SETTINGS, "teacher": "t", "teacher_weights": "2"}, resume=True)


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    one, other = PhaseFolder(tmp_path, "prediction"), PhaseFolder(tmp_path, "prediction")
    with one.locked():
        claim(one)
        add_checkpoint(one)
        for resume, overwrite in ((False, False), (True, False), (False, True)):
            with pytest.raises(UserError, match=r"another process is at work in .*prediction; wait for it"):
                claim(other, resume=resume, overwrite=overwrite)
        claim(PhaseFolder(tmp_path, "baseline"))
    assert claim(other, resume=True) == "continue"


def test_a_model_in_the_folder_that_would_be_deleted(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "teacher")
    folder.check_inputs("bert-base-uncased", "", str(tmp_path / "other"))
    for name in (tmp_path / "teacher", tmp_path / "teacher" / "checkpoints", tmp_path / "x" / ".." / "teacher"):
        with pytest.raises(UserError, match=r"the model .* lies in the folder that this phase writes"):
            folder.check_inputs(str(name))


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "prediction").mkdir()
    (tmp_path / "prediction" / "thesis.doc").write_text("")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds something else"):
            claim(PhaseFolder(tmp_path, "prediction"), overwrite=overwrite)
    assert (tmp_path / "prediction" / "thesis.doc").exists()


def names(folder: PhaseFolder) -> list[str]:
    return sorted((path.name for path in folder.checkpoints.iterdir()), key=lambda name: int(name.split("-")[1]))


def test_two_checkpoints_are_kept_and_the_best_up_to_each(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder)
    for step, best in ((10, 10), (20, 10), (30, 10), (40, 40), (50, 40), (60, 40), (70, 40)):
        add_checkpoint(folder, step, best)
        if step == 40:  # were this one damaged, that of step 30 would need its own best
            assert names(folder) == ["checkpoint-10", "checkpoint-30", "checkpoint-40"]
    assert names(folder) == ["checkpoint-40", "checkpoint-60", "checkpoint-70"]


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["trainer_state.json", "model.safetensors", "files.json"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, name: str, damage: Callable[[Path], Any], capsys: pytest.CaptureFixture
) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder)
    last = [add_checkpoint(folder, step, best=10) for step in (10, 20, 30)][-1]
    damage(last / name)
    folder = PhaseFolder(tmp_path, "prediction")
    assert claim(folder, resume=True) == "continue"
    checkpoint = folder.last_checkpoint()
    assert checkpoint == folder.checkpoints / "checkpoint-20"
    folder.go_back_to(checkpoint)
    told = capsys.readouterr().out
    assert "the checkpoint of step 30 is not used" in told
    assert name in told
    assert names(folder) == ["checkpoint-10", "checkpoint-20"]


def test_a_checkpoint_whose_best_one_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Without its best checkpoint a run would end with another student: it starts over."""
    folder = PhaseFolder(tmp_path, "prediction")
    with folder.locked():
        claim(folder)
        for step in (10, 20, 30):
            add_checkpoint(folder, step, best=10)
    (folder.checkpoints / "checkpoint-10" / "model.safetensors").unlink()
    assert claim(PhaseFolder(tmp_path, "prediction"), resume=True) == "new"
    assert "with no whole checkpoint the run starts over" in capsys.readouterr().out


def test_a_kill_amid_the_removal_of_the_run_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    with folder.locked():
        claim(folder)
        folder.finish({})
        (folder.path / "onnx").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", interrupted)
            with pytest.raises(KeyboardInterrupt):
                claim(folder, {"seed": 2}, overwrite=True)
    assert claim(PhaseFolder(tmp_path, "prediction"), {"seed": 3}) == "new"


def interrupted(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


def test_a_kill_while_the_record_is_first_written(tmp_path: Path) -> None:
    (tmp_path / "prediction").mkdir()
    (tmp_path / "prediction" / "run.json.17-42.partial").write_text('{"sta')
    assert claim(PhaseFolder(tmp_path, "prediction")) == "new"
    assert [path.name for path in (tmp_path / "prediction").iterdir()] == ["run.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "running"}', "\0" * 40])
def test_a_damaged_record_can_be_overwritten(tmp_path: Path, content: str) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder)
    (folder.path / "run.json").write_text(content)
    with pytest.raises(
        UserError, match="no record of a run, or is damaged; remove it, or start the run over with --overwrite"
    ):
        claim(folder, resume=True)
    assert claim(folder, overwrite=True) == "new"


def test_a_finished_run_does_not_depend_on_the_machine(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    here, there = ({**SETTINGS, "precision": how, "processes": many} for how, many in (("bf16", 1), ("float32", 2)))
    claim(folder, here)
    add_checkpoint(folder)
    with pytest.raises(UserError, match=r"precision was 'bf16' and is now 'float32', processes was 1 and is now 2"):
        claim(folder, there, resume=True)
    folder.finish({})
    assert claim(folder, there) == "finished"
    with pytest.raises(UserError, match="seed was 1 and is now 2"):
        claim(folder, {**there, "seed": 2})


def test_a_folder_that_is_deleted_under_the_run(tmp_path: Path) -> None:
    folder = PhaseFolder(tmp_path, "prediction")
    claim(folder)
    shutil.rmtree(folder.path)
    with pytest.raises(UserError, match="was deleted while the run was at work; start it again"):
        add_checkpoint(folder)
    assert not folder.path.exists()


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": "é"})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": "é"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
