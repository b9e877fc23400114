"""Files that were damaged since they were written: told, and not used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinydistill.runs import PhaseFolder

from .runs import NARROW, record, refused, run
from .test_interrupted import Stop
from .test_runs import DAMAGES

FEW_STEPS = ["--student", NARROW, "--max-steps", "8", "--eval-steps", "2", "--learning-rate", "1e-2"]


@pytest.fixture(scope="module")
def cut(data_dir: Path, teacher_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that was stopped at step 7 of 8, and one that was not."""
    whole, stopped = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("stopped")
    args = ["--teacher", str(teacher_dir), *FEW_STEPS]
    run("prediction", data_dir, whole, *args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stop, "at", 7)
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit):
            run("prediction", data_dir, stopped, *args)
    return whole, stopped


def same(one: Path, other: Path) -> None:
    """The student and what is saved with it, to the byte; and the losses."""
    files = [sorted(path for path in folder.iterdir() if path.name != "run.json") for folder in (one, other)]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    for left, right in zip(*files, strict=True):
        assert left.read_bytes() == right.read_bytes(), left.name
    losses = [
        [entry["loss"] for entry in record(folder)["losses"]] + [record(folder)["best_step"]] for folder in (one, other)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
@pytest.mark.parametrize("how", ["zeroed", "gone"])
def test_the_run_goes_on_from_the_checkpoint_before(
    data_dir: Path,
    teacher_dir: Path,
    cut: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    name: str,
    how: str,
) -> None:
    """To the same student."""
    whole, stopped = cut
    out = shutil.copytree(stopped, tmp_path / "out")
    last = PhaseFolder(out, "prediction").last_checkpoint()
    assert last
    assert last.name == "checkpoint-6"
    DAMAGES[how](last / name)
    run("prediction", data_dir, out, "--teacher", str(teacher_dir), *FEW_STEPS, "--resume")
    assert "the checkpoint of step 6 is not used" in capsys.readouterr().out
    same(whole / "prediction", out / "prediction")


def test_a_run_that_was_moved(data_dir: Path, teacher_dir: Path, cut: tuple[Path, Path], tmp_path: Path) -> None:
    """It keeps its best checkpoint, of which the Trainer notes the path; the place where it lay is empty."""
    whole, stopped = cut
    between = shutil.copytree(stopped, tmp_path / "between")
    state = next(between.rglob("checkpoint-6/trainer_state.json"))
    assert json.loads(state.read_text())["best_model_checkpoint"]
    out = between.rename(tmp_path / "moved")
    hidden = stopped.rename(tmp_path / "hidden")
    try:
        run("prediction", data_dir, out, "--teacher", str(teacher_dir), *FEW_STEPS, "--resume")
    finally:
        hidden.rename(stopped)
    same(whole / "prediction", out / "prediction")


CACHED = {
    "rows": lambda cache: next(path for path in cache.glob("train-*.arrow")),
    "their record": lambda cache: next(path for path in cache.glob("train-*.json")),
    "rows of dev": lambda cache: next(path for path in cache.glob("dev-*.arrow")),
    "teacher's outputs": lambda cache: next(path for path in cache.glob("teacher-logits-*.arrow")),
}


@pytest.mark.parametrize("find", CACHED.values(), ids=CACHED)
@pytest.mark.parametrize("how", ["cut", "zeroed", "gone"])
def test_cached_files_are_made_anew(
    data_dir: Path,
    teacher_dir: Path,
    cut: tuple[Path, Path],
    tmp_path: Path,
    find: Callable[[Path], Path],
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole, stopped = cut
    out = shutil.copytree(stopped, tmp_path / "out")
    path = find(out / "cache")
    DAMAGES[how](path)
    (path.parent / f"{path.name}.12345-1.partial").write_text("left by a kill")
    run("prediction", data_dir, out, "--teacher", str(teacher_dir), *FEW_STEPS, "--resume")
    if how != "gone":
        assert any(path.name in told and "it is made anew" in told for told in caplog.messages)
    same(whole / "prediction", out / "prediction")
    assert path.read_bytes() == (whole / "cache" / path.name).read_bytes()
    assert not list((out / "cache").glob("*.partial"))


@pytest.mark.parametrize("how", ["cut", "emptied", "zeroed"])
def test_a_damaged_record_of_the_run(
    data_dir: Path, teacher_dir: Path, cut: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture, how: str
) -> None:
    whole, stopped = cut
    out = shutil.copytree(stopped, tmp_path / "out")
    DAMAGES[how](out / "prediction" / "run.json")
    args = ["--teacher", str(teacher_dir), *FEW_STEPS]
    capsys.readouterr()
    told = refused(capsys, "prediction", data_dir, out, *args, "--resume")
    assert "run.json is no record of a run, or is damaged; remove it, or start the run over with --overwrite" in told
    run("prediction", data_dir, out, *args, "--overwrite")
    same(whole / "prediction", out / "prediction")


@pytest.mark.parametrize("name", ["model.safetensors", "projections.safetensors"])
def test_the_weights_of_a_finished_phase(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    """Zeros in the place of one weight are finite, and load."""
    args = ["--teacher", str(teacher_dir), *FEW_STEPS]
    run("intermediate", data_dir, tmp_path, *args)
    path = tmp_path / "intermediate" / name
    content = path.read_bytes()
    path.write_bytes(content[:-64] + b"\0" * 64)
    told = refused(capsys, "prediction", data_dir, tmp_path, *args)
    assert f"{name} is damaged: it is not what was written, by the record" in told
    path.write_bytes(content)
    run("prediction", data_dir, tmp_path, *args)


def test_variants_that_were_cut(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """At a line's end a file of rows looks whole; its record tells."""
    from glue_tasks.seals import seal

    rows = (data_dir / "SST-2" / "train.tsv").read_text()
    path = tmp_path / "train_aug.tsv"
    path.write_text(rows)
    seal(tmp_path / "train_aug.json", path, counts={})
    args = ["--teacher", str(teacher_dir), *FEW_STEPS, "--train-file", str(path)]
    path.write_text("".join(rows.splitlines(keepends=True)[:20]))
    told = refused(capsys, "prediction", data_dir, tmp_path / "out", *args)
    assert "train_aug.tsv is damaged: it has" in told
    assert "make it anew, or remove" in told
    (tmp_path / "train_aug.json").unlink()
    run("prediction", data_dir, tmp_path / "out", *args)


def test_an_output_folder_that_is_deleted_under_the_run(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Delete(Stop):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                shutil.rmtree(tmp_path / "out")

    monkeypatch.setattr("tinydistill.phase_run.Progress", Delete)
    args = ["--teacher", str(teacher_dir), *FEW_STEPS]
    with pytest.raises(SystemExit) as stop:
        run("prediction", data_dir, tmp_path / "out", *args)
    assert stop.value.code == 2
    assert "was deleted while the run was at work; start it again" in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.undo()
    run("prediction", data_dir, tmp_path / "out", *args)


@pytest.fixture(scope="module", params=["intermediate", "prediction"])
def with_labels(
    data_dir: Path, teacher_dir: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A phase of four steps."""
    out = tmp_path_factory.mktemp("with-labels")
    run(request.param, data_dir, out, "--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "4")
    return out / request.param


@pytest.mark.parametrize("labels", ["no column", "empty", "-1"])
def test_phases_that_need_no_labels(
    data_dir: Path, teacher_dir: Path, with_labels: Path, tmp_path: Path, labels: str, capsys: pytest.CaptureFixture
) -> None:
    """The student is the same as with labels, which it never sees."""
    lines = (data_dir / "SST-2" / "train.tsv").read_text().splitlines()
    ends = {"no column": ("", ""), "empty": ("\tlabel", "\t"), "-1": ("\tlabel", "\t-1")}[labels]
    texts = [line.split("\t")[0] for line in lines]
    path = tmp_path / "unlabelled.tsv"
    path.write_text("\n".join(text + ends[i > 0] for i, text in enumerate(texts)) + "\n")
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "4"]
    run(with_labels.name, data_dir, tmp_path, *args, "--train-file", str(path))
    same(with_labels, tmp_path / with_labels.name)
    capsys.readouterr()
    told = refused(capsys, "baseline", data_dir, tmp_path / "baseline", *args, "--train-file", str(path))
    assert "label" in told


def test_results_do_not_depend_on_where_a_run_lies(cut: tuple[Path, Path]) -> None:
    """No path of the machine is left in what is saved."""
    whole, _ = cut
    for path in (whole / "prediction").iterdir():
        if path.name != "run.json":
            assert str(whole).encode() not in path.read_bytes()
