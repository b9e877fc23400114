"""The teacher's outputs on disk: those of the teacher, taken up after a stop, shared by processes."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import BertForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from glue_tasks import TASKS
from glue_tasks.files import open_table
from tests import forked
from tests.tinydistill.of_tasks import encode_table
from tests.tinydistill.runs import NARROW, QUICK, refused, run
from tests.tinydistill.spans_and_tokens import tagged, tiny_model, write_questions, write_sentences
from tinydistill import teacher_logits as module
from tinydistill.data import Collator, counted_outputs
from tinydistill.evaluation import longest_first, predict
from tinydistill.kinds import TaskKind, kind_of
from tinydistill.kinds.kind import Lengths
from tinydistill.models import weights_digest
from tinydistill.runs import PhaseFolder
from tinydistill.teacher_logits import teacher_logits

from .test_processes import start


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """108 rows are 14 batches in 7 shards."""
    monkeypatch.setattr(module, "_BATCH", 8)
    monkeypatch.setattr(module, "_SHARD", 16)


class Counted:
    """Counts the teacher's batches; stops at the one of this number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_at: int = 0):
        self.calls, self.stop_at, self.original = 0, stop_at, module.outputs_of_rows
        monkeypatch.setattr(module, "outputs_of_rows", self)

    def __call__(self, *args: Any) -> np.ndarray:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return self.original(*args)


@pytest.fixture
def data(data_dir: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Dataset:
    return encode_table(open_table(TASKS["SST-2"], data_dir / "SST-2" / "train.tsv"), tokenizer, 16, tmp_path / "cache")


def test_each_row_has_its_own(
    data: Dataset, teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    collate = Collator(tokenizer)
    column = teacher_logits(teacher, weights_digest(teacher), data, collate, "float32", tmp_path)
    assert column.column_names == ["teacher_logits"]
    stored = np.array(column["teacher_logits"], dtype=np.float32)
    expected = predict(teacher, data, collate, "float32", batch_size=8)  # by packed products: equal to rounding
    np.testing.assert_allclose(stored, expected, rtol=0, atol=1e-7)
    assert len(np.unique(stored.round(6), axis=0)) > 10  # or their order would tell nothing
    # "" is the data's cache.
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".arrow", ".json", ".lock"]


@pytest.mark.parametrize("stop_at", [1, 2, 6, 14])
def test_a_stop_loses_a_shard_at_most(
    data: Dataset,
    teacher: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
) -> None:
    """The file is to the byte that of a run that was not stopped, and the bar begins at what is there."""
    collate, bars = Collator(tokenizer), []

    def bar(**settings: Any) -> tqdm:
        bars.append(settings)
        return tqdm(**settings)

    monkeypatch.setattr(module, "tqdm", bar)
    wholes, cuts = tmp_path / "whole", tmp_path / "cut"
    teacher_logits(teacher, weights_digest(teacher), data, collate, "float32", wholes)
    with monkeypatch.context() as patch:
        Counted(patch, stop_at)
        with pytest.raises(KeyboardInterrupt):
            teacher_logits(teacher, weights_digest(teacher), data, collate, "float32", cuts)
    there = (stop_at - 1) // 2  # shards of two batches
    assert len(list(cuts.rglob("*.npy"))) == there
    again = Counted(monkeypatch)
    teacher_logits(teacher, weights_digest(teacher), data, collate, "float32", cuts)
    assert again.calls == 14 - 2 * there
    assert (bars[-1]["initial"], bars[-1]["total"]) == (16 * there, 108)
    whole, cut = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (wholes, cuts))
    assert whole == cut
    teacher_logits(teacher, weights_digest(teacher), data, collate, "float32", cuts)
    assert again.calls == 14 - 2 * there  # and a second start has nothing to do


def test_another_teacher_or_precision_has_its_own(
    data: Dataset, teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    collate, out = Collator(tokenizer), tmp_path / "out"
    other = BertForSequenceClassification(teacher.config)
    for count, (one, precision) in enumerate([(teacher, "float32"), (teacher, "bf16"), (other, "float32")], start=1):
        for _ in range(2):
            teacher_logits(one, weights_digest(one), data, collate, precision, out)
        assert len(list(out.glob("*.arrow"))) == count


_KILLED = """
import os, signal, sys
import run_tinybert
from tinydistill import teacher_logits as module

module._BATCH, module._SHARD = 8, 16
calls, original = 0, module.outputs_of_rows

def outputs_of_rows(*args):
    global calls
    calls += 1
    if calls == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args)

module.outputs_of_rows = outputs_of_rows
run_tinybert.main(sys.argv[1:])
"""


def test_a_killed_run_goes_on(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ["--teacher", str(teacher_dir), "--student", NARROW, "--max-steps", "4"]
    command = ["--phase", "prediction", "--task", "SST-2", "--data-dir", str(data_dir), *QUICK, *args]
    killed = forked.run(["-c", _KILLED, *command, "--output-dir", tmp_path / "cut"])
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "cut" / "cache").rglob("*.npy"))) == 3
    counted = Counted(monkeypatch)
    run("prediction", data_dir, tmp_path / "cut", *args)
    assert counted.calls == 14 - 6
    run("prediction", data_dir, tmp_path / "whole", *args)
    for name in ("cache/teacher-logits-*.arrow", "prediction/model.safetensors"):
        (whole,), (cut,) = ((tmp_path / out).glob(name) for out in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()
    assert not list((tmp_path / "cut" / "cache").rglob("*.npy"))


def test_two_runs_do_not_work_on_the_same_outputs(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = PhaseFolder(tmp_path, "prediction")
    other.take_lock()
    with other.locked():
        error = refused(capsys, "prediction", data_dir, tmp_path, "--teacher", str(teacher_dir), "--student", NARROW)
    assert f"another process is at work in {tmp_path / 'prediction'}" in error


_SHARED = """
import sys
from pathlib import Path
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from glue_tasks import TASKS
from glue_tasks.files import open_table
from tinydistill import processes, teacher_logits as module
from tests import forked
from tests.tinydistill.of_tasks import encode_table
from tinydistill.data import Collator
from tinydistill.models import weights_digest

module._BATCH, module._SHARD = 8, 16
folder, file, out = sys.argv[1:]
teacher, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
with processes.together():
    make = lambda: encode_table(open_table(TASKS["SST-2"], Path(file)), tokenizer, 16, Path(out) / "data")
    weights, data = weights_digest(teacher), processes.after_first(make)
    column = module.teacher_logits(teacher, weights, data, Collator(tokenizer), "float32", Path(out))
    print(len(column))
"""


def test_two_processes_take_up_what_one_began(
    data: Dataset,
    data_dir: Path,
    teacher_dir: Path,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = BertForSequenceClassification.from_pretrained(teacher_dir)
    teacher_logits(teacher, weights_digest(teacher), data, Collator(tokenizer), "float32", tmp_path / "whole")
    with monkeypatch.context() as patch:
        Counted(patch, stop_at=6)
        with pytest.raises(KeyboardInterrupt):
            teacher_logits(teacher, weights_digest(teacher), data, Collator(tokenizer), "float32", tmp_path / "cut")
    file = data_dir / "SST-2" / "train.tsv"
    ended = start("-c", _SHARED, str(teacher_dir), str(file), str(tmp_path / "cut"))
    assert [(code, out) for code, out, _ in ended] == [(0, "108\n")] * 2
    (whole,), (cut,) = ((tmp_path / out).glob("*.arrow") for out in ("whole", "cut"))
    assert (whole.name, whole.read_bytes()) == (cut.name, cut.read_bytes())
    assert not list((tmp_path / "cut").rglob("*.npy"))


# ---- of several outputs an example, in half precision

TASKS_WITH_PLACES = ("CoNLL2003", "SQuAD2.0")


@dataclass(frozen=True)
class Places:
    """A task whose examples have several outputs: its kind, encoded rows, and a teacher."""

    kind: TaskKind
    data: Dataset
    model: PreTrainedModel
    collate: Any

    def __call__(self, out: Path) -> Dataset:
        weights = weights_digest(self.model)
        return teacher_logits(self.model, weights, self.data, self.collate, "float32", out, self.kind.outputs)


@pytest.fixture(params=TASKS_WITH_PLACES)
def places(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Places:
    task = TASKS[request.param]
    if task.kind == "spans":
        write_questions(tmp_path / "train.json", 40, seed=0, unanswerable=0.3)
    else:
        write_sentences(tmp_path / "train.txt", tagged(30, seed=0))
    (path,) = tmp_path.glob("train.*")
    kind = kind_of(task)
    data = kind.encode(open_table(task, path), tokenizer, Lengths(20, 5), tmp_path / "cache")
    return Places(kind, data, tiny_model(task), kind.collate(tokenizer))


def test_outputs_that_count_are_kept_in_half_precision(places: Places, tmp_path: Path) -> None:
    """2 bytes for each class of each, in the order of the rows: what the teacher gave, rounded."""
    column = places(tmp_path / "out")
    classes, counts = places.model.config.num_labels, counted_outputs(places.data)
    assert [len(value) for value in column["teacher_logits"]] == (2 * classes * counts).tolist()
    found = [np.frombuffer(value, dtype=np.float16).reshape(-1, classes) for value in column["teacher_logits"]]
    expected: dict[int, np.ndarray] = {}
    order = longest_first(places.data)
    for first in range(0, len(order), 8):
        rows = order[first : first + 8]
        given = module.outputs_of_rows(places.model, places.data, rows, places.collate, "float32", places.kind.outputs)
        ends = np.cumsum(counts[rows])
        expected.update(zip(rows.tolist(), np.split(given, ends[:-1]), strict=True))
    for row, values in enumerate(found):
        assert (values == expected[row].astype(np.float16)).all()
    live = predict(places.model, places.data, places.collate, "float32", kept=places.kind.outputs)
    np.testing.assert_allclose(np.concatenate(found), live, rtol=1e-3, atol=1e-3)
    (file,) = (tmp_path / "out").glob("*.arrow")
    assert file.stat().st_size < 2 * classes * counts.sum() + 16 * len(counts) + 2_000
    assert not list((tmp_path / "out").rglob("*.npy"))

    rows = places.data.add_column("teacher_logits", column["teacher_logits"])
    batch = places.collate(rows.__getitems__([3, 0, 5]))
    given, counted = batch["teacher_logits"], batch["counted"]
    assert given.shape == (*counted.shape, classes)
    assert not given[~counted].any()
    assert torch.equal(given[counted], torch.from_numpy(np.concatenate([found[i] for i in (3, 0, 5)])).float())


@pytest.mark.parametrize("stop_at", [1, 6])
def test_a_stop_in_half_precision(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """The file is to the byte that of a run that was not stopped, whichever shards were made first."""
    wholes, cuts = tmp_path / "whole", tmp_path / "cut"
    places(wholes)
    with monkeypatch.context() as patch:
        Counted(patch, stop_at)
        with pytest.raises(KeyboardInterrupt):
            places(cuts)
    shards = sorted(cuts.rglob("*.npy"))
    assert len(shards) == (stop_at - 1) // 2
    if shards:
        np.save(shards[0], np.zeros(3))  # harmed: it is made again, behind the second
    places(cuts)
    whole, cut = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (wholes, cuts))
    assert whole == cut


def test_logits_that_half_precision_does_not_hold_are_its_largest(places: Places, tmp_path: Path) -> None:
    with torch.no_grad():
        places.model.get_submodule("qa_outputs" if places.kind.task.kind == "spans" else "classifier").weight *= 1e6
    values = np.frombuffer(b"".join(places(tmp_path / "out")["teacher_logits"]), dtype=np.float16)
    assert np.isfinite(values).all()
    assert np.abs(values).max() == np.finfo(np.float16).max
