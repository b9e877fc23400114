"""Several processes that augment one file: none destroys what another has begun."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from augment import pipeline
from augment.blocks import Blocks, Plan
from augment.pipeline import Settings, Shard, augment_file, merge_file
from glue_tasks import UserError, get_task

ROWS = ["a good film\t1", "a dull story of a city\t0", "a gripping tale\t1", "people find the actor funny\t1"]


@pytest.fixture
def settings(tmp_path: Path, tiny_mlm: str, tiny_vectors: Path) -> Settings:
    train_file = tmp_path / "SST-2" / "train.tsv"
    train_file.parent.mkdir()
    train_file.write_text("\n".join(["sentence\tlabel", *ROWS]) + "\n")
    return Settings(
        get_task("SST-2"), train_file, train_file.with_name("train_aug.tsv"), tiny_mlm, tiny_vectors, 4,
        device="cpu", precision="float32", block_rows=1,
    )  # fmt: skip


def remove_output(settings: Settings) -> None:
    settings.output.unlink()
    settings.output.with_suffix(".json").unlink()


def in_between(monkeypatch: pytest.MonkeyPatch, act) -> None:
    """Do something once, while the next run loads its models."""
    original = pipeline.Augmenter

    def load(*args):
        monkeypatch.setattr(pipeline, "Augmenter", original)
        act()
        return original(*args)

    monkeypatch.setattr(pipeline, "Augmenter", load)


def test_a_shard_that_begins_while_another_loads_its_models_loses_nothing(settings, monkeypatch):
    augment_file(settings)
    expected = settings.output.read_bytes()
    remove_output(settings)
    in_between(monkeypatch, lambda: augment_file(settings, shard=Shard(1, 2)))
    augment_file(settings, shard=Shard(2, 2))
    merge_file(settings.output)
    assert settings.output.read_bytes() == expected


def test_a_shard_of_other_settings_is_refused_though_it_began_at_the_same_time(settings, monkeypatch):
    in_between(monkeypatch, lambda: augment_file(settings, shard=Shard(1, 2)))
    with pytest.raises(UserError, match=r"other settings or files \(seed\)"):
        augment_file(replace(settings, seed=5), shard=Shard(2, 2))
    assert Blocks(settings.output).finished(range(4)) == 2


@pytest.mark.parametrize("has_links", [True, False])
def test_of_many_plans_made_at_once_one_counts(tmp_path, monkeypatch, has_links):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    blocks = Blocks(tmp_path / "train_aug.tsv")
    processes = 8 if has_links else 1  # without links they are made one after another
    ready = threading.Barrier(processes)

    def begin(number: int) -> Plan:
        ready.wait()
        return blocks.begin(Plan({"seed": number}, {}, {"block_rows": 1}, None, 3))

    with ThreadPoolExecutor(processes) as pool:
        plans = list(pool.map(begin, range(processes)))
    assert len({plan.settings["seed"] for plan in plans}) == 1
    assert [path.name for path in blocks.folder.iterdir()] == ["run.json"]
    assert blocks.begin(Plan({"seed": 99}, {}, {"block_rows": 1}, None, 3)) == plans[0]


def test_two_processes_on_all_blocks_do_not_write_the_same_files(settings, monkeypatch):
    blocks = Blocks(settings.output)
    original = pipeline._work

    def work(*args):
        for change in ({"resume": True}, {"overwrite": True}, {"shard": Shard(1, 2)}):
            with pytest.raises(UserError, match="another process is at work"):
                augment_file(settings, **change)
        original(*args)

    monkeypatch.setattr(pipeline, "_work", work)
    augment_file(settings)
    assert settings.output.exists()
    assert not blocks.folder.exists()


def test_a_shard_started_twice_is_done_once(settings, monkeypatch):
    original = pipeline._work

    def work(*args):
        monkeypatch.setattr(pipeline, "_work", original)
        with pytest.raises(UserError, match="another process is at work.*a --shard of its own"):
            augment_file(settings, shard=Shard(1, 2), resume=True)
        augment_file(settings, shard=Shard(2, 2))
        original(*args)

    monkeypatch.setattr(pipeline, "_work", work)
    augment_file(settings, shard=Shard(1, 2))
    assert merge_file(settings.output).rows_in == len(ROWS)
