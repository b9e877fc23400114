"""Runs side by side: a table, and a page with pictures."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tinydistill.test_report_page import EVIL, Reader, called

pytestmark = pytest.mark.usefixtures("pictures")


def report(seed: int, score: float, **settings: Any) -> dict[str, Any]:
    """What a comparison reads of a report."""
    of = {"dev": {"dev": {"accuracy": 0.9}}, "parameters": 4_000_000, "bytes": 16_000_000}
    student = {
        "dev": {"dev": {"accuracy": score}},
        "parameters": 1_000_000,
        "bytes": 4_000_000,
        "title": "distilled, small",
    }
    student["ratios"] = {"score_kept": score / 0.9, "times_smaller": 4.0, "times_faster_batch_1": 5.0}
    times = {"teacher": 10.0, "half/prediction": 2.0}
    timing = {"batch_size": 1, "ms_per_batch": times, "ms_per_sentence": times, "precision": "float32", "device": "cpu"}
    same = {"epochs": 3, "task": "SST-2", "student_weights": f"{seed}" * 64}
    return {
        "task": "SST-2",
        "versions": {},
        "settings": {"half/prediction": {"seed": seed, **same, **settings}},
        "teacher": of,
        "students": {"half/prediction": student},
        "latency": [timing],
    }


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    made = {"a": report(1, 0.81), "b": report(2, 0.855, noise="x" * 50)}
    for name, content in made.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(content))
    return [str(tmp_path / name) for name in made]


def test_settings_that_differ_and_results(runs: list[str], capsys: pytest.CaptureFixture) -> None:
    status, out, _ = called(["compare", *runs, "--format", "csv"], capsys)
    header, *rows = csv.reader(out.splitlines())
    assert status == 0
    first = [*("run", "model", "seed", "noise", "dev accuracy", "kept", "parameters", "smaller", "size")]
    assert header == [*first, "ms, batch 1", "faster"]
    assert rows == [
        [runs[0], "teacher", "", "", "0.9000", "", "4.00 M", "", "16.0 MB", "10.00", ""],
        [runs[0], "distilled, small", "1", "", "0.8100", "90.0%", "1.00 M", "4.0x", "4.0 MB", "2.00", "5.0x"],
        [runs[1], "teacher", "", "", "0.9000", "", "4.00 M", "", "16.0 MB", "10.00", ""],
        [runs[1], "distilled, small", "2", "x" * 50, "0.8550", "95.0%", "1.00 M", "4.0x", "4.0 MB", "2.00", "5.0x"],
    ]
    lines = called(["compare", *runs, "--format", "markdown"], capsys)[1].splitlines()
    assert lines[0] == f"| {' | '.join(header)} |"
    assert f"| {'x' * 31}… |" in lines[5]
    text = called(["compare", *runs], capsys)[1].splitlines()
    assert len({len(line) for line in text}) == 1
    assert text[4].split()[-7:] == ["1.00", "M", "4.0x", "4.0", "MB", "2.00", "5.0x"]


def test_the_page_has_a_picture_of_size_and_one_of_latency(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content = report(3, 0.5)
    content["students"]["half/prediction"]["title"] = EVIL
    (tmp_path / "b" / "report.json").write_text(json.dumps(content))
    out = called(["compare", *runs, "--html", str(tmp_path / "c.html")], capsys)[1]
    assert out.endswith(f"page: {tmp_path / 'c.html'}\n")
    read = Reader((tmp_path / "c.html").read_text(encoding="utf-8"))
    assert read.open == []
    assert "script" not in read.tags
    assert read.tags.count("svg") == 2
    assert "million parameters" in read.text
    assert "ms for a batch of 1" in read.text
    assert "0.8100" in read.text
    named = [value for name, value in read.attributes if name == "id"]
    assert len(named) == len(set(named))


def test_tasks_and_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    several = report(1, 0.81)
    own = {name: several.pop(name) for name in ("teacher", "students", "latency")}
    several |= {"tasks": {"SST-2": own | {"task": "SST-2"}, "RTE": own | {"task": "RTE"}}, "mean": {}}
    student = {
        "title": "by way",
        "held_out": {"masked_accuracy": 0.25},
        "settings": {"seed": 5},
        "parameters": 10,
        "bytes": 40,
    }
    for name, content in (("several", several), ("text", {"students": {"general": student}, "versions": {}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(content))
    out = called(["compare", str(tmp_path / "several"), str(tmp_path / "text"), "--format", "csv"], capsys)[1]
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["task"] for row in rows] == ["SST-2", "SST-2", "RTE", "RTE", "plain text"]
    assert rows[-1]["masked_accuracy"] == "0.2500"
    assert (rows[1]["seed"], rows[-1]["seed"]) == ("1", "5")


def test_mistakes_are_one_sentence(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for args, said in (
        ([str(tmp_path)], "has no report.json"),
        ([runs[0], runs[0]], "is named twice"),
        ([runs[0], "--format", "tex"], "--format is 'tex'; it can be text, markdown or csv"),
    ):
        status, _, error = called(["compare", *args], capsys)
        assert (status, error.count("\n")) == (2, 1)
        assert said in error
    (tmp_path / "a" / "report.json").write_text('{"versions": {}, "students": {"x": {}}, "teacher": {"dev": {}}}')
    assert "lacks a part that a comparison needs" in called(["compare", runs[0]], capsys)[2]
