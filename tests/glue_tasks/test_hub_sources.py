"""Where downloads come from: a hub, its caches, a clone; and what a user without a network is told."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf

from glue_tasks import TASKS, UserError, hub_files
from glue_tasks.files import open_table
from glue_tasks.hub import download
from tests.glue_tasks.hub_repository import Rows, features_of, write_repository
from tests.glue_tasks.hub_server import COMMIT, serve

ROOT = Path(__file__).resolve().parents[2]
WNLI = TASKS["WNLI"]
AX_ROW = {"premise": "p", "hypothesis": "h", "label": -1, "idx": 0}


def pairs(count: int, label: int | None = None, text: str = "a") -> Rows:
    """Rows of WNLI; the label is that of all, or 0 and 1 in turn."""
    return [
        {"sentence1": f"{text}{i}", "sentence2": "b", "label": i % 2 if label is None else label, "idx": i}
        for i in range(count)
    ]


def glue(folder: Path, text: str = "a") -> Path:
    """A repository with WNLI, of as many rows as were published, behind the configuration `ax`."""
    splits = {"train": pairs(635, text=text), "validation": pairs(71, text=text), "test": pairs(146, -1, text)}
    return write_repository(folder, {"ax": {"test": [AX_ROW]}, "wnli": splits})


def run(home: Path, *args: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m glue_tasks download`, with a cache below `home` and no setting of ours but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "glue_tasks", "download", *map(str, args)],
        cwd=ROOT,
        env={**kept, "HF_HOME": str(home / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def assert_wnli(folder: Path) -> None:
    for split, count in {"train": 635, "dev": 71, "test": 146}.items():
        read = list(open_table(WNLI, folder / f"{split}.parquet", split))
        assert [row.texts for row in read] == [(f"a{i}", "b") for i in range(count)]
        assert [row.label for row in read] == [None if split == "test" else i % 2 for i in range(count)]
    assert sorted(path.name for path in folder.iterdir()) == ["dev.parquet", "test.parquet", "train.parquet"]


def assert_one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    (sentence,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert done.stderr.endswith(sentence + "\n")
    assert "Traceback" not in done.stderr
    return sentence


@pytest.fixture
def closed() -> Iterator[str]:
    """The address of a hub that refuses to be reached."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_from_a_mirror_then_from_the_cache_without_it(tmp_path: Path) -> None:
    glue(tmp_path / "repositories" / "nyu-mll" / "glue")
    with serve(tmp_path / "repositories") as (address, asked):
        done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "data", HF_ENDPOINT=address)
        assert done.returncode == 0, done.stderr
        assert_wnli(tmp_path / "data" / "WNLI")
        assert done.stdout.splitlines() == [
            f"{tmp_path}/data/WNLI/train.parquet: 635 rows",
            f"{tmp_path}/data/WNLI/dev.parquet: 71 rows",
            f"{tmp_path}/data/WNLI/test.parquet: 146 rows",
        ]
        assert f"/datasets/nyu-mll/glue/resolve/{COMMIT}/wnli/train-00000-of-00001.parquet" in asked
        assert not [path for path in asked if "/ax/" in path]
        asked.clear()
        done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "data", HF_ENDPOINT=address)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("there already, left alone") == 3
        assert asked == []

    done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "again", HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    assert "the hub does not answer; looking in its cache" in done.stdout
    assert_wnli(tmp_path / "again" / "WNLI")


def test_what_the_hub_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "repositories").mkdir()
    with serve(tmp_path / "repositories") as (address, _):
        done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "data", HF_ENDPOINT=address)
    assert "the hub does not have it, or not for you" in assert_one_sentence(done)
    assert not (tmp_path / "data").exists()


def snapshot(home: Path, parts: tuple[str, ...] = ("ax", "wnli")) -> None:
    """The hub's cache as `hf download` leaves it: blobs, and links to them in the snapshot of a commit."""
    cache = home / "hf" / "hub" / "datasets--nyu-mll--glue"
    made = glue(home / "made")
    for path in [made / "README.md", *(path for part in parts for path in (made / part).iterdir())]:
        blob = cache / "blobs" / str(abs(hash(path.name + path.parent.name)))
        link = cache / "snapshots" / COMMIT / path.relative_to(made)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(blob)
        link.symlink_to(blob)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)


@pytest.mark.parametrize("parts", [("ax", "wnli"), ("wnli",)], ids=["whole", "part"])
@pytest.mark.parametrize(
    ("option", "environment"),
    [(["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"}), ([], {"HF_DATASETS_OFFLINE": "1"})],
    ids=["--offline", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"],
)
def test_from_the_cache_of_the_hub(
    tmp_path: Path, option: list[str], environment: dict[str, str], parts: tuple[str, ...]
) -> None:
    snapshot(tmp_path, parts)
    done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "data", *option, **environment)
    assert done.returncode == 0, done.stderr
    assert_wnli(tmp_path / "data" / "WNLI")


def test_a_cache_without_the_task_is_no_cache(tmp_path: Path) -> None:
    snapshot(tmp_path, parts=("ax",))
    done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "data", "--offline")
    assert "its cache does not have WNLI" in assert_one_sentence(done)


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_both_ways_out_are_told(tmp_path: Path, closed: str, offline: bool) -> None:
    start = time.monotonic()
    options = ["--offline"] if offline else []
    done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "data", *options, HF_ENDPOINT=closed)
    assert time.monotonic() - start < 60  # its client alone would take half a minute more for each request
    assert assert_one_sentence(done) == (
        "error: the hub cannot be reached, and its cache does not have WNLI: put train.tsv, dev.tsv, test.tsv from "
        f"https://gluebenchmark.com/tasks into {tmp_path}/data/WNLI, or fetch them where there is a network "
        "(`hf download nyu-mll/glue --repo-type dataset --local-dir DIR/nyu-mll/glue`) and run this again with "
        "--source DIR"
    )
    assert "Retrying" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_all_tasks_without_a_network_are_one_sentence(tmp_path: Path, closed: str) -> None:
    done = run(tmp_path, "--task", "all", "--data-dir", tmp_path / "data", HF_ENDPOINT=closed)
    sentence = assert_one_sentence(done)
    for name, task in TASKS.items():
        if task.hub:
            assert name in sentence
            assert task.hub.repository in sentence
    assert done.stdout == "the hub does not answer; looking in its cache\n"
    assert not (tmp_path / "data").exists()


def test_an_address_that_is_none(tmp_path: Path) -> None:
    done = run(tmp_path, "--task", "wnli", "--data-dir", tmp_path / "data", HF_ENDPOINT="my-mirror")
    assert "HF_ENDPOINT is 'my-mirror', which is no web address" in assert_one_sentence(done)


class TestInThisProcess:
    """With the library as if the network were allowed."""

    @pytest.fixture(autouse=True)
    def online(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def test_a_hub_that_swallows_requests_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_files, "_SECONDS_TO_ANSWER", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
            start = time.monotonic()
            with pytest.raises(UserError, match="the hub cannot be reached"):
                download([WNLI], tmp_path / "data")
            assert time.monotonic() - start < 20

    def test_a_hub_that_fails_later_is_asked_no_more(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def fail(_: object, name: str, **__: Any) -> None:
            asked.append(name)
            raise huggingface_hub.errors.OfflineModeIsEnabled("no route")

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
        said: list[str] = []
        with pytest.raises(UserError, match="does not have WNLI, RTE"):
            download([WNLI, TASKS["RTE"]], tmp_path / "data", say=said.append)
        assert asked == ["nyu-mll/glue"]
        assert said == ["the hub does not answer; looking in its cache"]

    @pytest.mark.parametrize("error", [ZeroDivisionError("ours"), TypeError("ours")])
    @pytest.mark.parametrize("where", ["dataset_info", "snapshot_download"])
    def test_a_fault_of_the_program_stays_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            if where == "dataset_info":
                raise error

        def fail_later(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail_later)
        with pytest.raises(type(error)):
            download([WNLI], tmp_path / "data")


@pytest.mark.parametrize("below", ["", "glue", "nyu-mll/glue"])
def test_from_a_clone_or_a_folder_of_clones(tmp_path: Path, below: str) -> None:
    glue(tmp_path / "copies" / below)
    done = run(tmp_path, "--task", "WNLI", "--data-dir", tmp_path / "data", "--source", tmp_path / "copies")
    assert done.returncode == 0, done.stderr
    assert_wnli(tmp_path / "data" / "WNLI")


@pytest.mark.parametrize("has_readme", [True, False])
def test_from_a_part_of_a_clone(tmp_path: Path, has_readme: bool) -> None:
    """The files name their labels themselves."""
    source = glue(tmp_path / "glue")
    for path in (source / "ax").iterdir():
        path.unlink()
    if not has_readme:
        (source / "README.md").unlink()
    done = run(tmp_path, "--task", "WNLI", "--data-dir", tmp_path / "data", "--source", source)
    assert done.returncode == 0, done.stderr
    assert_wnli(tmp_path / "data" / "WNLI")


def test_a_clone_that_changed_is_read_anew(tmp_path: Path) -> None:
    glue(tmp_path / "glue", text="old ")
    old = run(tmp_path, "--task", "WNLI", "--data-dir", tmp_path / "old", "--source", tmp_path / "glue")
    assert old.returncode == 0, old.stderr
    glue(tmp_path / "glue")
    new = run(tmp_path, "--task", "WNLI", "--data-dir", tmp_path / "new", "--source", tmp_path / "glue")
    assert new.returncode == 0, new.stderr
    assert_wnli(tmp_path / "new" / "WNLI")


def test_features_are_declared_for_all() -> None:
    assert features_of("wnli")["label"].names == list(WNLI.labels)


def test_what_the_hub_converts_comes_from_its_branch(tmp_path: Path) -> None:
    """Datasets that have a script of their own, and no Parquet on their main branch."""
    names = [label for label in TASKS["Weibo"].labels if label != "O"]
    features = Features({"tokens": ListOf(Value("string")), "ner_tags": ListOf(ClassLabel(names=names))})
    rows = {"train": 1_350, "validation": 270, "test": 270}
    for split, count in rows.items():
        folder = tmp_path / "repositories" / "hltcoe" / "weibo_ner" / "default" / split
        folder.mkdir(parents=True)
        columns = {"tokens": [["a"]] * count, "ner_tags": [[0]] * count}
        Dataset.from_dict(columns, features=features).to_parquet(folder / "0000.parquet")
    with serve(tmp_path / "repositories") as (address, asked):
        done = run(tmp_path, "--task", "Weibo", "--data-dir", tmp_path / "data", HF_ENDPOINT=address)
        assert done.returncode == 0, done.stderr
        assert [path for path in asked if "revision/refs%2Fconvert%2Fparquet" in path]
    assert sorted(path.name for path in (tmp_path / "data" / "Weibo").iterdir()) == [
        "dev.parquet",
        "test.parquet",
        "train.parquet",
    ]
    task = TASKS["Weibo"]
    labels = [row.label for row in open_table(task, tmp_path / "data" / "Weibo" / "dev.parquet", "dev")]
    assert labels == [(task.labels.index(names[0]),)] * 270


def test_a_user_without_a_network_is_told_of_the_branch(tmp_path: Path, closed: str) -> None:
    done = run(tmp_path, "--task", "Weibo", "--data-dir", tmp_path / "data", HF_ENDPOINT=closed)
    assert (
        "`hf download hltcoe/weibo_ner --repo-type dataset --revision refs/convert/parquet --local-dir "
        "DIR/hltcoe/weibo_ner`"
    ) in assert_one_sentence(done)
