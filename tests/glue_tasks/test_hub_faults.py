"""Downloads that cannot be: each is one sentence, and leaves no half of a file."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet
import pytest
from datasets import ClassLabel, Features, Value
from typer.testing import CliRunner

from glue_tasks import TASKS, UserError
from glue_tasks.__main__ import app
from glue_tasks.files import open_table
from glue_tasks.hub import download
from tests.glue_tasks.hub_repository import features_of, publish, with_rows, write_repository
from tests.glue_tasks.hub_server import serve

ROOT = Path(__file__).resolve().parents[2]


def reviews(count: int, **changed: Any) -> list[dict[str, Any]]:
    return [{"sentence": f"review {i}", "label": i % 2, "idx": i, **changed} for i in range(count)]


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_other_row_counts_than_published_write_nothing(tmp_path: Path) -> None:
    task = with_rows("SST-2", train=4, dev=3)
    source = publish(tmp_path / "copy", task, {"train": reviews(4), "dev": reviews(2)})
    with pytest.raises(UserError, match=r"nyu-mll/glue \(sst2\) has 2 rows in validation where 3 are published"):
        download([task], tmp_path / "data", source)
    assert not (tmp_path / "data").exists()


def test_only_what_is_missing_is_written_beside_what_is_there(tmp_path: Path) -> None:
    task = with_rows("SST-2", train=4, dev=3, test=2)
    source = publish(tmp_path / "copy", task, {"train": reviews(4), "dev": reviews(3), "test": reviews(2, label=-1)})
    mine = tmp_path / "data" / "sst-2" / "train.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("sentence,label\nmine,1\n")
    said: list[str] = []
    download([task], tmp_path / "data", source, say=said.append)
    assert mine.read_text() == "sentence,label\nmine,1\n"
    assert files_below(tmp_path / "data") == ["sst-2/dev.parquet", "sst-2/test.parquet", "sst-2/train.csv"]
    assert said == [
        f"{mine}: there already, left alone",
        f"{mine.parent / 'dev.parquet'}: 3 rows",
        f"{mine.parent / 'test.parquet'}: 2 rows",
    ]


def test_the_folder_of_the_task_itself_is_no_data_folder(tmp_path: Path) -> None:
    task = with_rows("SST-2", train=4)
    source = publish(tmp_path / "copy", task, {"train": reviews(4)})
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "train.tsv").write_text("sentence\tlabel\nmine\t1\n")
    with pytest.raises(UserError, match="give the folder above it"):
        download([task], tmp_path / "SST-2", source)
    assert files_below(tmp_path / "SST-2") == ["train.tsv"]


def test_changed_cells_are_counted(tmp_path: Path) -> None:
    task = with_rows("SST-2", train=3)
    rows = [{**row, "sentence": text} for row, text in zip(reviews(3), ["a\tb", "c", "d\r\ne"], strict=True)]
    said: list[str] = []
    source = publish(tmp_path / "copy", task, {"train": rows})
    download([task], tmp_path / "data", source, say=said.append, format="tsv")
    path = tmp_path / "data" / "SST-2" / "train.tsv"
    assert said[:1] == [f"{path}: 3 rows; tabs and line breaks inside 2 cells became spaces"]
    assert [row.texts for row in open_table(task, path)] == [("a b",), ("c",), ("d e",)]


def test_labels_in_another_order_are_told_by_name(tmp_path: Path) -> None:
    task = with_rows("SST-2", train=3)
    features = Features({**features_of("sst2"), "label": ClassLabel(names=["positive", "negative"])})
    download([task], tmp_path / "data", publish(tmp_path / "copy", task, {"train": reviews(3)}, features))
    read = open_table(task, tmp_path / "data" / "SST-2" / "train.parquet")
    assert [row.label for row in read] == [1, 0, 1]


def labels(*names: str) -> Features:
    return Features({**features_of("sst2"), "label": ClassLabel(names=list(names))})


@pytest.mark.parametrize(
    ("features", "changed", "message"),
    [
        (labels("bad", "good"), {}, "the labels are bad, good, those of SST-2 are negative, positive"),
        (labels("negative", "neutral", "positive"), {}, "the labels are negative, neutral, positive"),
        (
            Features({**features_of("sst2"), "label": Value("string")}),
            {"label": "good"},
            "the label 'good' is not one of 0, 1",
        ),
        (Features({**features_of("sst2"), "label": Value("int32")}), {"label": 2}, "the label '2' is not one of 0, 1"),
        (Features({"review": Value("string"), "label": Value("int32")}), {"review": "x"}, "no column named 'sentence'"),
        (Features({"sentence": Value("string"), "score": Value("int32")}), {"score": 1}, "no column named 'label'"),
        (None, {"label": -1}, "a row has no label"),
        (None, {"label": None}, "a row has no label"),
        (None, {"sentence": None}, "a row has nothing in column 'sentence'"),
    ],
)
def test_rows_that_are_not_of_the_task(
    tmp_path: Path, features: Features | None, changed: dict[str, Any], message: str
) -> None:
    task = with_rows("SST-2", train=2000)
    rows = [*reviews(1999), *reviews(1, **changed)]
    if features is not None and "label" in changed:
        rows = reviews(2000, **changed)
    rows = [{**dict.fromkeys(features or {}, 0), **changed, **row} for row in rows]
    source = publish(tmp_path / "copy", task, {"train": rows}, features)
    with pytest.raises(UserError) as told:
        download([task], tmp_path / "data", source)
    assert str(told.value).startswith("nyu-mll/glue (sst2), train: ")
    assert message in str(told.value)
    assert str(told.value).endswith("get the files of SST-2 from https://gluebenchmark.com/tasks")
    assert not (tmp_path / "data").exists()


def test_a_value_that_is_no_number(tmp_path: Path) -> None:
    task = with_rows("STS-B", train=1)
    row = {"sentence1": "a", "sentence2": "b", "label": float("nan"), "idx": 0}
    with pytest.raises(UserError, match="the label 'nan' is not a number"):
        download([task], tmp_path / "data", publish(tmp_path / "copy", task, {"train": [row]}))


def test_a_test_split_with_some_labels_is_not_guessed_at(tmp_path: Path) -> None:
    task = with_rows("SST-2", test=2)
    source = publish(tmp_path / "copy", task, {"test": [*reviews(1, label=-1), *reviews(1, label=1)]})
    with pytest.raises(UserError, match="a row has the label 1, another has none"):
        download([task], tmp_path / "data", source)
    assert not (tmp_path / "data").exists()


def to_pointer(copy: Path) -> None:
    next((copy / "sst2").glob("train*")).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )


def cut(copy: Path) -> None:
    path = next((copy / "sst2").glob("train*"))
    path.write_bytes(path.read_bytes()[:-100])


def to_script(copy: Path) -> None:
    next((copy / "sst2").iterdir()).unlink()
    (copy / f"{copy.name}.py").write_text("raise SystemExit('run')")


def lose_rows(copy: Path) -> None:
    write_repository(copy.parent / "other", {"sst2": {"train": reviews(2)}})
    next((copy.parent / "other" / "sst2").iterdir()).replace(next((copy / "sst2").glob("train*")))


def lose_split(copy: Path) -> None:
    next((copy / "sst2").iterdir()).rename(copy / "sst2" / "validation-00000-of-00001.parquet")


def rename(copy: Path) -> None:
    (copy / "sst2").rename(copy / "sst5")


def spoil_readme(copy: Path) -> None:
    file = next((copy / "sst2").iterdir())
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(file).replace_schema_metadata(None), file)
    (copy / "README.md").write_text("---\nconfigs: [}\n---\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (to_pointer, "Parquet magic bytes not found"),
        (cut, "Parquet"),
        (to_script, "there is no file sst2/train-*.parquet"),
        (lose_rows, "has 2 rows in train where 4 are published"),
        (lose_split, "there is no file sst2/train-*.parquet"),
        (rename, "there is no file sst2/train-*.parquet"),
        (spoil_readme, "README.md is not the YAML it should begin with"),
        (lambda copy: None, ""),
    ],
)
def test_copies_that_are_not_whole(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    task = with_rows("SST-2", train=4)
    source = publish(tmp_path / "copy", task, {"train": reviews(4)})
    spoil(source)
    if not message:  # the test itself: a whole one is read
        download([task], tmp_path / "data", source)
        return
    with pytest.raises(UserError) as told:
        download([task], tmp_path / "data", source)
    assert message in str(told.value)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "data").exists()


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder .*nowhere; --source takes a local clone of nyu-mll/glue"):
        download([TASKS["SST-2"]], tmp_path / "data", tmp_path / "nowhere")


def test_a_folder_that_is_no_clone_is_not_searched_for_data(tmp_path: Path) -> None:
    """The library would read any parquet below it; a README.md that is not the hub's does not make it a clone."""
    write_repository(tmp_path / "copies" / "nyu-mll" / "glue", {"sst2": {"train": reviews(4)}})
    (tmp_path / "copies" / "README.md").write_text("# My copies\n")
    tasks = [with_rows(name, train=4) for name in ("LCQMC", "TNEWS", "CSL")]
    said: list[str] = []
    with pytest.raises(UserError, match="3 of 3 tasks"):
        download(tasks, tmp_path / "data", tmp_path / "copies", say=said.append)
    assert [line.partition(":")[2].split(":")[0] for line in said] == [
        f" {tmp_path}/copies has no whole clone of {repository}"
        for repository in ("C-MTEB/LCQMC", "clue/clue", "clue/clue")
    ]
    assert not (tmp_path / "data").exists()


def test_a_task_that_the_hub_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the hub does not have demo; its files come from `make demo`"):
        download([TASKS["demo"]], tmp_path / "data")


def test_one_task_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    first, second, third = with_rows("SST-2", train=4), with_rows("CoLA", train=5), with_rows("RTE", train=1)
    rows = {"sst2": {"train": reviews(4)}, "cola": {"train": reviews(3)}}
    source = write_repository(tmp_path / "copy", rows)
    said: list[str] = []
    with pytest.raises(UserError, match="2 of 3 tasks are not complete, as said above: CoLA, RTE"):
        download([second, first, third], tmp_path / "data", source, say=said.append)
    assert files_below(tmp_path / "data") == ["SST-2/train.parquet"]
    assert [line for line in said if line.startswith("error: nyu-mll/glue (cola) has 3 rows in train where 5")]
    assert [line for line in said if line.startswith("error: ") and "rte" in line]


def test_a_split_that_the_hub_lacks_is_said(tmp_path: Path) -> None:
    task = with_rows("AX", test=1)
    row = {"premise": "a", "hypothesis": "b", "label": -1, "idx": 0}
    said: list[str] = []
    download([task], tmp_path / "data", publish(tmp_path / "copy", task, {"test": [row]}), say=said.append)
    assert said[1:] == ["diagnostic-full.tsv of AX is not on the hub; https://gluebenchmark.com/diagnostics has it"]


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"train": reviews(4), "dev": reviews(3)}
    task = with_rows("SST-2", train=4, dev=3)
    source = publish(tmp_path / "copy", task, splits)
    monkeypatch.setitem(TASKS, "SST-2", task)
    copy = shutil.copyfileobj

    def interrupted(source: BinaryIO, to: BinaryIO, length: int) -> None:
        to.write(source.read(100))
        if "validation" in source.name:
            raise KeyboardInterrupt
        copy(source, to, length)

    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    command = ["download", "--task", "SST-2", "--data-dir", str(tmp_path / "data"), "--source", str(source)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 130
    assert files_below(tmp_path / "data") == ["SST-2/train.parquet"]
    monkeypatch.setattr(shutil, "copyfileobj", copy)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
    assert files_below(tmp_path / "data") == ["SST-2/dev.parquet", "SST-2/train.parquet"]


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files by RLIMIT_FSIZE")
@pytest.mark.parametrize("what", ["the cache", "Parquet", "text"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, what: str) -> None:
    rows = [
        {"sentence1": hashlib.sha256(b"%d" % i).hexdigest(), "sentence2": "b" * 50, "label": i % 2, "idx": i}
        for i in range(635)
    ]
    more = {"validation": rows[:71], "test": [{**row, "label": -1} for row in rows[:146]]}
    source = write_repository(tmp_path / "hub" / "nyu-mll" / "glue", {"wnli": {"train": rows, **more}})
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000)); "

    def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.run(
            # The libraries first: they write compiled code.
            [
                sys.executable,
                "-c",
                "import sys, huggingface_hub; from huggingface_hub import snapshot_download; from glue_tasks import "
                f"hub; from glue_tasks.__main__ import main; {limit} main(sys.argv[1:])",
                *("download", "--task", "WNLI", "--data-dir", str(tmp_path / "data"), *options),
            ],
            cwd=ROOT,
            env={**kept, "HF_HOME": str(tmp_path / "hf"), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    if what == "the cache":
        with serve(tmp_path / "hub") as (address, _):
            done = run(HF_ENDPOINT=address)
    else:
        done = run("--source", str(source), *(["--as", "tsv"] if what == "text" else []))
    assert done.returncode == 2, done.stderr
    (sentence,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    where = {
        "the cache": tmp_path / "hf" / "hub",
        "Parquet": tmp_path / "data" / "WNLI" / "train.parquet",
        "text": tmp_path / "data" / "WNLI" / "train.tsv",
    }[what]
    assert sentence.startswith(f"error: the disk is full while writing {where}")
    assert sentence.endswith("; free some space, then run the same command again")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_command_knows_its_tasks(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["download", "--task", "SST", "--data-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert "did you mean SST-2" in done.stderr


def test_hub_entries_agree_with_their_tasks() -> None:
    for task in TASKS.values():
        if task.hub:
            assert set(task.hub.rows) == set(task.hub.splits) <= set(task.files)
            assert dataclasses.asdict(task.hub)["repository"].count("/") == 1
