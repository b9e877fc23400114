"""A user's mistake: one sentence, exit code 2, nothing written over."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

import run_tinybert

from .conftest import PIECES, make_tokenizer, tiny_bert_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def teacher_dir(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A teacher that answers from its bias: at chance."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    model = BertForSequenceClassification(tiny_bert_config())
    model.classifier.weight.data.zero_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fails(capsys: pytest.CaptureFixture, *args: str) -> str:
    """The sentence on standard error."""
    with pytest.raises(SystemExit) as stop:
        run_tinybert.main(list(args))
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def written(out: Path) -> list[str]:
    """What a run left but the tokenised splits, which are whole or not there."""
    return [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.parent.name != "cache"]


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
    teacher_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    flags = {
        "--phase": "intermediate",
        "--task": "SST-2",
        "--data-dir": str(data_dir),
        "--output-dir": str(tmp_path / "out"),
        "--teacher": str(teacher_dir),
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
    missing: str, message: str, data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = {"--task": "SST-2", "--data-dir": str(data_dir), "--output-dir": str(tmp_path)}
    flags |= {"--teacher": str(teacher_dir), "--student": "init:layers=2"}
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
        ("baseline", ["--several-pieces", "vectors"], "--phase baseline does not use --several-pieces"),
        ("evaluate", ["--N", "0"], "--phase evaluate does not use --N"),
        (
            "baseline",
            ["--pretrained", "m"],
            "--phase baseline does not use --pretrained; leave it out, or choose --phase t",
        ),
        ("teacher", ["--teacher", "m"], "--phase teacher does not use --teacher"),
        ("all", ["--mlm", "m"], "--mlm is for --augment, which is not given"),
        ("all", ["--vectors", "v.txt"], "--vectors is for --augment"),
        ("all", ["--several-pieces", "mask"], "--several-pieces is for --augment"),
        ("all", ["--N", "3"], "--N is for --augment"),
        ("all", ["--augment", "--augmented"], "--augmented takes one that is there; give one of them"),
    ],
)
def test_flags_that_would_be_ignored(phase: str, flags: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert message in fails(capsys, "--phase", phase, "--task", "SST-2", "--dry-run", *flags)


@pytest.mark.parametrize("phase", run_tinybert.Phase)
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


def teach(capsys: pytest.CaptureFixture, data_dir: Path, out: Path, teacher: Path, *args: str) -> str:
    where = ["--data-dir", str(data_dir), "--output-dir", str(out), "--teacher", str(teacher), "--max-length", "16"]
    return fails(capsys, "--phase", "intermediate", "--task", "SST-2", *where, *args)


def test_a_teacher_that_is_no_classifier(
    data_dir: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    error = teach(capsys, data_dir, tmp_path / "out", masked_lm_dir, "--student", "init:layers=2")
    assert "is not a fine-tuned sequence classifier" in error
    assert "--phase teacher --task SST-2 --pretrained" in error


def test_a_teacher_of_another_task(
    data_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture
) -> None:
    BertForSequenceClassification(tiny_bert_config(num_labels=3)).save_pretrained(tmp_path / "t")
    tokenizer.save_pretrained(tmp_path / "t")
    error = teach(capsys, data_dir, tmp_path / "out", tmp_path / "t", "--student", "init:layers=2")
    assert "has 3 outputs, SST-2 has 2 labels (negative, positive)" in error


def test_a_student_of_another_vocabulary(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    BertForSequenceClassification(tiny_bert_config(layers=2)).save_pretrained(tmp_path / "s")
    make_tokenizer([*PIECES[:5], *reversed(PIECES[5:])]).save_pretrained(tmp_path / "s")
    error = teach(capsys, data_dir, tmp_path / "out", teacher_dir, "--student", str(tmp_path / "s"))
    assert "has another vocabulary" in error


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


def cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def of_another_width(folder: Path) -> None:
    tiny_bert_config(intermediate_size=48).save_pretrained(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut_off, "the weights of {} are damaged or cut off; copy or make them again"),
        (
            of_another_width,
            "the weights of {} do not fit its configuration: bert.encoder.layer.0.intermediate.dense.bias ",
        ),
    ],
)
@pytest.mark.parametrize("who", ["teacher", "student", "pretrained"])
def test_damaged_models(
    who: str,
    harm: Callable[[Path], None],
    message: str,
    data_dir: Path,
    teacher_dir: Path,
    masked_lm_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(masked_lm_dir if who == "pretrained" else teacher_dir, model)
    harm(model)
    out = tmp_path / "out"
    if who == "pretrained":
        where = ["--data-dir", str(data_dir), "--output-dir", str(out), "--max-length", "16"]
        error = fails(capsys, "--phase", "teacher", "--task", "SST-2", *where, "--pretrained", str(model))
    elif who == "teacher":
        error = teach(capsys, data_dir, out, model, "--student", "init:layers=2")
    else:
        error = teach(capsys, data_dir, out, teacher_dir, "--student", str(model))
    assert message.format(model) in error
    assert written(out) == []


def test_a_damaged_pickle_is_no_full_disk(teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """torch.load tells a file that was cut off in the words of its writer."""
    shutil.copytree(teacher_dir, tmp_path / "t", ignore=shutil.ignore_patterns("model.safetensors"))
    weights = tmp_path / "t" / "pytorch_model.bin"
    torch.save(BertForSequenceClassification(tiny_bert_config()).state_dict(), weights)
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "are damaged or cut off" in teach(
        capsys, tmp_path, tmp_path / "out", tmp_path / "t", "--student", "init:layers=2"
    )


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
