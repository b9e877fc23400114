"""A user's mistake: one sentence, exit code 2, nothing written over."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import run_tinybert
from tinydistill.phases import PHASES

from .conftest import fails, written

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--task": "SST2x"}, "there is no task named 'SST2x'; did you mean SST-2"),
        ({"--data-dir": "nowhere"}, "there is no folder nowhere"),
        ({"--teacher": "./nowhere"}, "there is no model folder ./nowhere"),
        ({"--student": "init:layers=3"}, "3 layers do not divide the teacher's 4"),
        ({"--student": "shape:layers=2,hidden=20,heads=5,ffn=8"}, "student has 5 heads, the teacher 2"),
        ({"--student": "init:three"}, "a student is a folder"),
        ({"--projection": "none", "--student": "shape:layers=2,hidden=16,heads=2,ffn=8"}, "16 wide, the teacher 24"),
        ({"--projection": "some"}, "projection is 'some'; it can be"),
        ({"--layer-map": "1,9"}, "names block 9"),
        ({"--max-length": "64"}, "--max-length 64 is more than the student's 32 positions"),
        ({"--epochs": "0"}, "epochs is 0.0; it must be more than 0"),
        ({"--recipe": "none.toml"}, "there is no recipe none.toml"),
        ({"--recipe": "."}, "the recipe . is a folder"),
        ({"--teacher-precision": "int4"}, "teacher_precision is 'int4'; it can be auto, int8"),
        ({"--seed": "5000000000"}, "seed is 5000000000; it must be 4294967295 or less"),
        (
            {"--teacher": "run/techer"},
            "there is no folder run/techer here, and the model of that name could not be had",
        ),
        ({"--student": "init:layers=5"}, "choose a student of 1, 2, 4 layers\n"),
        ({}, "no better than chance"),
    ],
)
def test_flags(
    change: dict[str, str],
    message: str,
    data_dir: Path,
    chance_teacher: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    flags = {
        "--phase": "intermediate",
        "--task": "SST-2",
        "--data-dir": str(data_dir),
        "--output-dir": str(tmp_path / "out"),
        "--teacher": str(chance_teacher),
        "--student": "init:layers=2",
        "--max-length": "16",
        **change,
    }
    error = fails(capsys, *(part for pair in flags.items() for part in pair))
    assert message in error
    assert written(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("--student", "no student is named"),
        ("--teacher", "no teacher is named"),
        ("--data-dir", "--phase intermediate needs --data-dir"),
        ("--output-dir", "--phase intermediate needs --output-dir"),
        ("--task", "no task is named"),
    ],
)
def test_missing_flags(
    missing: str, message: str, data_dir: Path, chance_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = {"--task": "SST-2", "--data-dir": str(data_dir), "--output-dir": str(tmp_path)}
    flags |= {"--teacher": str(chance_teacher), "--student": "init:layers=2"}
    del flags[missing]
    assert message in fails(capsys, "--phase", "intermediate", *(x for pair in flags.items() for x in pair))


@pytest.mark.parametrize(
    ("phase", "flags", "message"),
    [
        (
            "intermediate",
            ["--augment"],
            "--phase intermediate does not use --augment; leave it out, or choose --phase all",
        ),
        ("teacher", ["--mlm", "m"], "--phase teacher does not use --mlm"),
        ("prediction", ["--glove", "v.txt"], "--phase prediction does not use --vectors"),
        ("baseline", ["--several-pieces", "vectors"], "--phase baseline does not use --multi-piece-words"),
        (
            "teacher",
            ["--teacher-precision", "int8"],
            "--phase teacher does not use --teacher-precision; leave it out, or choose --phase general or",
        ),
        ("baseline", ["--teacher-precision", "int8"], "--phase baseline does not use --teacher-precision"),
        ("evaluate", ["--N", "0"], "--phase evaluate does not use --N"),
        (
            "baseline",
            ["--pretrained", "m"],
            "--phase baseline does not use --pretrained; leave it out, or choose --phase t",
        ),
        ("teacher", ["--teacher", "m"], "--phase teacher does not use --teacher"),
        ("all", ["--mlm", "m"], "--mlm is for --augment, which is not given"),
        ("all", ["--vectors", "v.txt"], "--vectors is for --augment"),
        ("all", ["--several-pieces", "mask"], "--multi-piece-words is for --augment"),
        ("all", ["--N", "3"], "--N is for --augment"),
        ("all", ["--augment", "--augmented"], "--augmented takes one that is there; give one of them"),
    ],
)
def test_flags_that_would_be_ignored(phase: str, flags: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert message in fails(capsys, "--phase", phase, "--task", "SST-2", "--dry-run", *flags)


@pytest.mark.parametrize("phase", [*PHASES, "evaluate", "all"])
def test_a_recipe_may_serve_every_phase(phase: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('task = "SST-2"\npretrained = "m"\nteacher = "t"\n')
    run_tinybert.main(["--phase", phase, "--recipe", str(recipe), "--dry-run"])
    assert capsys.readouterr().err == ""


def test_augmented_data_that_is_not_there(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    error = fails(capsys, "--phase", "all", "--task", "SST-2", "--data-dir", str(data_dir), "--augmented")
    assert "train_aug.tsv; write it with `python -m augment --task SST-2`" in error


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"sentence\tlabel\ngood\t1\nbad\n", "train.tsv, line 3: 1 column where 2 are expected"),
        (b"sentence\tlabel\ngood\t1\nbad\t2\n", "train.tsv, line 3: unknown label '2'"),
        (b"sentence\tlabel\ngood\t1\nb\xe4d\t0\n", "train.tsv, line 3: byte 2"),
        (b"text\tlabel\ngood\t1\n", "no column named 'sentence'"),
        (b"", "train.tsv has no rows"),
        (None, "there is no file"),
    ],
)
def test_data(
    rows: bytes | None, message: str, data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(data_dir, tmp_path / "data")
    path = tmp_path / "data" / "SST-2" / "train.tsv"
    path.unlink() if rows is None else path.write_bytes(rows)
    out = tmp_path / "out"
    where = ["--data-dir", str(tmp_path / "data"), "--output-dir", str(out), "--max-length", "16"]
    error = fails(capsys, "--phase", "teacher", "--task", "SST-2", *where, "--pretrained", str(masked_lm_dir))
    assert message in error
    assert written(out) == []


def test_an_output_folder_with_another_run(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    common = ["--phase", "teacher", "--task", "SST-2", "--data-dir", str(data_dir), "--output-dir", str(tmp_path)]
    common += ["--pretrained", str(masked_lm_dir), "--max-length", "16", "--max-steps", "2"]
    run_tinybert.main(common)
    before = {path: path.read_bytes() for path in (tmp_path / "teacher").iterdir()}
    capsys.readouterr()
    error = fails(capsys, *common, "--seed", "5")
    assert "holds a run with other settings (seed was 42 and is now 5, other pretrained weights)" in error
    assert {path: path.read_bytes() for path in (tmp_path / "teacher").iterdir()} == before
    run_tinybert.main([*common, "--seed", "5", "--overwrite"])


def test_vectors_of_the_wrong_kind(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    common = ["--phase", "all", "--task", "SST-2", "--data-dir", str(data_dir), "--output-dir", str(tmp_path / "out")]
    common += [
        "--pretrained",
        str(masked_lm_dir),
        "--student",
        "init:layers=2",
        "--max-length",
        "16",
        "--max-steps",
        "2",
    ]
    common += ["--augment"]
    assert "name a file with --vectors, or" in fails(capsys, *common)
    error = fails(capsys, *common, "--vectors", str(data_dir / "SST-2" / "train.tsv"), "--resume")
    assert "train.tsv" in error


@pytest.mark.parametrize("below", ["", "runs/one"])
def test_an_output_folder_that_is_a_file(
    below: str, data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    where = ["--data-dir", str(data_dir), "--output-dir", str(file / below), "--max-length", "16"]
    error = fails(capsys, "--phase", "teacher", "--task", "SST-2", *where, "--pretrained", str(masked_lm_dir))
    assert f"{file} is a file where a folder is needed" in error
    assert file.read_text() == "mine"


def test_ctrl_c_while_the_imports_run(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "run_tinybert.py", "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr == "\nstopped; to go on, run the same command with --resume\n"


def test_ctrl_c_while_the_command_line_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(typer.core.TyperCommand, "make_context", stop)
    with pytest.raises(SystemExit) as end:
        run_tinybert.main(["--phase", "all"])
    assert end.value.code == 130
    assert capsys.readouterr().err == "\nstopped; to go on, run the same command with --resume\n"
