"""A user's mistake: one sentence, exit code 2, nothing written over."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

import run_tinybert

from .conftest import PIECES, make_tokenizer, tiny_bert_config


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
    return [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.suffix != ".arrow"]


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


def test_augmented_data_that_is_not_there(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    error = fails(capsys, "--phase", "all", "--task", "SST-2", "--data-dir", str(data_dir), "--augmented")
    assert "train_aug.tsv; write it with `python -m augment --task SST-2`" in error


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"sentence\tlabel\ngood\t1\nbad\n", "train.tsv, line 3: 1 columns where 2 are expected"),
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
