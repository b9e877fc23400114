"""python -m tinydistill latency: each model at each setting, in turns."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch

from glue_tasks import TASKS
from tests.tinydistill.predictions import save_model
from tinydistill import latency, latency_table
from tinydistill.__main__ import main
from tinydistill.latency_table import Measured, laid_out

TINY = "shape:layers=1,hidden=8,heads=2,ffn=16"


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["latency", *map(str, args)])
    return int(stop.value.code or 0)


def test_folders_and_shapes_at_each_setting(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = save_model(tmp_path / "model", TASKS["SST-2"])
    before = torch.get_num_threads()
    settings = ("--batch-sizes", "1,3", "--lengths", "4", "--threads", "1,2")
    assert run("--models", model, TINY, *settings, "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    found = [(row["threads"], row["length"], row["batch_size"], row["model"]) for row in rows]
    assert found == [(t, n, b, str(m)) for t in (1, 2) for n in (4,) for b in (1, 3) for m in (model, TINY)]
    assert torch.get_num_threads() == before
    for row in rows:
        assert row["passes"] >= 5
        assert 0 < row["median_per_batch"] <= row["p95_per_batch"]
        assert row["median_per_sentence"] == row["median_per_batch"] / row["batch_size"]
    assert [row["times_faster"] for row in rows if row["model"] == str(model)] == 4 * [1.0]


def test_figures_are_those_of_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1 to 21 ms the median is 11 and the 95th percentile 20."""
    times = {"a": [i / 1000 for i in range(1, 22)], "b": [0.0055] * 5}
    monkeypatch.setattr(latency, "take_turns", lambda models, batch_size, length: times)
    first, second = latency_table._rows({"a": torch.nn.Identity(), "b": torch.nn.Identity()}, 1, 4, 16)
    assert (first.median_per_batch, first.p95_per_batch) == pytest.approx((11, 20))
    assert (first.median_per_sentence, first.p95_per_sentence) == pytest.approx((2.75, 5))
    assert (first.times_faster, second.times_faster) == pytest.approx((1, 2))
    assert (first.passes, second.passes) == (21, 5)


def test_layouts() -> None:
    row = Measured("a|b", "torch", 1, 8, 64, 30, 12.0, 15.5, 1.5, 1.9375, 1.0)
    cells = " ".join(laid_out([row], "text").splitlines()[1].split())
    assert cells == "a|b torch 1 8 64 12.00 15.50 1.50 1.94 1.0x"
    assert laid_out([row], "markdown").count("\n") == 2
    (read,) = csv.DictReader(io.StringIO(laid_out([row], "csv")))
    assert (read["model"], float(read["p95_per_batch"])) == ("a|b", 15.5)


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for args, message in (
        ([], "latency needs models"),
        (["--models", TINY, "--lengths", "513", "--batch-sizes", "1"], "is more than the model"),
        (["--models", TINY, "--threads", "0"], "--threads is '0'; give whole numbers above 0"),
        (["--models", TINY, "--batch-sizes", "1;2"], "--batch-sizes is '1;2'"),
        (["--models", TINY, "--format", "html"], "--format is 'html'; it can be text, markdown, csv, json"),
        (["--models", f"{TINY}@tflite"], "asks for the format 'tflite'"),
        (["--models", "./nowhere"], "there is no model folder ./nowhere"),
    ):
        assert run(*args) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_shape_is_exported_for_the_measurement(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    settings = ("--batch-sizes", "2", "--lengths", "5", "--threads", "1", "--format", "csv")
    assert run("--models", TINY, f"{TINY}@onnx-int8", *settings) == 0
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["runs_on"], second["runs_on"]) == ("torch", "ONNX Runtime")
