"""Where a split's file is looked for: folders and files by other names, and in other formats."""

import logging
from pathlib import Path

import pytest

from glue_tasks import TASKS, UserError
from glue_tasks.errors import exit_on_user_error
from glue_tasks.files import open_table
from glue_tasks.places import find_file, find_folder, present_splits

SST2 = TASKS["SST-2"]
OCNLI = TASKS["OCNLI"]


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("")


@pytest.mark.parametrize("folder", ["SST-2", "sst-2", "Sst-2"])
@pytest.mark.parametrize("end", ["tsv", "csv", "json", "jsonl", "parquet", "tsv.gz", "csv.gz", "json.gz", "jsonl.gz"])
def test_a_folder_in_any_case_and_a_file_of_any_format(tmp_path: Path, folder: str, end: str) -> None:
    put(tmp_path / folder, f"train.{end}", "train_aug.tsv", "train.txt", "labels.txt")
    put(tmp_path / "sst2", "train.tsv")  # of other letters
    assert find_file(SST2, tmp_path, "train") == tmp_path / folder / f"train.{end}"
    assert present_splits(SST2, tmp_path) == ["train"]
    missing = (
        f"there is no file {tmp_path / folder / 'dev.tsv'}; get SST-2 from .*it holds labels.txt, train.{end}, tra"
    )
    with pytest.raises(UserError, match=missing):
        find_file(SST2, tmp_path, "dev")


@pytest.mark.parametrize(
    ("task", "split", "name", "rows"),
    [
        ("SST-2", "dev", "dev.txt", "sentence\tlabel\nfine\t1\n"),
        ("SST-2", "train", "train.txt", "fine\t1\nbad\t0\n"),
        ("RTE", "dev", "validation.csv", "sentence1,sentence2,label\na,b,entailment\n"),
        ("MNLI", "dev", "validation_matched-00000-of-00001.parquet", ""),
        ("MNLI", "dev_mismatched", "dev_mismatched.txt", "sentence1\tsentence2\tgold_label\na\tb\tneutral\n"),
    ],
)
def test_names_under_which_sets_are_passed_around(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, task: str, split: str, name: str, rows: str
) -> None:
    put(tmp_path / task, name)
    (tmp_path / task / name).write_text(rows)
    with caplog.at_level(logging.WARNING):
        path = find_file(TASKS[task], tmp_path, split)
    assert path == tmp_path / task / name
    assert f"{path} is read as {split} of {task}, with tabs" in caplog.text or not name.endswith(".txt")
    if rows:
        assert [row.label is None for row in open_table(TASKS[task], path, split)] == [False] * len(
            [line for line in rows.splitlines() if "sentence" not in line]
        )


def test_links_that_lead_back_to_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(tmp_path / "back")
    (tmp_path / "back").symlink_to(loop)
    with pytest.raises(UserError, match=f"^{loop} is a link that leads nowhere, or back to itself"):
        find_file(SST2, loop, "train")
    with pytest.raises(UserError, match=f"no folder {loop / 'more'}"):
        find_file(SST2, loop / "more", "train")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "SST-2").symlink_to(tmp_path / "data" / "SST-2")
    with pytest.raises(UserError, match="SST-2 is a link that leads nowhere, or back to itself"):
        find_file(SST2, tmp_path / "data", "train")
    gone = tmp_path / "gone"
    gone.symlink_to(tmp_path / "nowhere")
    for link, fail in ((loop, loop.read_bytes), (loop, loop.resolve), (gone, lambda: gone.mkdir(exist_ok=True))):
        with pytest.raises(SystemExit) as stopped, exit_on_user_error():  # wherever else one is met
            fail()
        assert stopped.value.code == 2
        assert f"error: {link} is a link that leads " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (("train.50k.json", "train.10k.json", "train.json"), "train.50k.json"),
        (("train.10k.json",), "train.10k.json"),
        (("train.50k.jsonl.gz",), "train.50k.jsonl.gz"),
        (("train.10k.tsv",), "train.10k.tsv"),
        (("train.parquet",), "train.parquet"),
    ],
)
def test_the_official_name_comes_first(tmp_path: Path, there: tuple[str, ...], found: str) -> None:
    put(tmp_path / "OCNLI_public", *there)
    assert find_file(OCNLI, tmp_path, "train").name == found


def test_several_others_are_named(tmp_path: Path) -> None:
    put(tmp_path / "ocnli", "train.10k.json", "train.json", "train.50k.csv")
    with pytest.raises(
        UserError, match="3 files that could be train of OCNLI: train.json, train.10k.json, train.50k.csv"
    ):
        find_file(OCNLI, tmp_path, "train")


def test_several_folders_are_named_and_the_official_one_wins(tmp_path: Path) -> None:
    put(tmp_path / "ocnli", "dev.json")
    put(tmp_path / "ocnli_public", "dev.json")
    with pytest.raises(UserError, match=f"2 folders could be that of OCNLI: {tmp_path}/ocnli, {tmp_path}/ocnli_public"):
        find_file(OCNLI, tmp_path, "dev")
    put(tmp_path / "OCNLI", "dev.json")
    assert find_file(OCNLI, tmp_path, "dev") == tmp_path / "OCNLI" / "dev.json"
    assert find_folder(OCNLI, tmp_path) == tmp_path / "OCNLI"


@pytest.mark.parametrize("name", ["SST-2", "sst-2"])
def test_the_folder_of_the_task_itself_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    put(tmp_path / name, "train.csv")
    with pytest.raises(UserError, match=f"{tmp_path / name} is the folder of SST-2 itself; give the folder above it"):
        find_file(SST2, tmp_path / name, "train")
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(UserError, match=f"^. is the folder of SST-2 itself; give the folder above it, {tmp_path}$"):
        find_file(SST2, Path(), "train")
