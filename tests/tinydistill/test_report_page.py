"""Reports of each kind as pages: what is in them, that it stays text, and how a browser takes them."""

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertForSequenceClassification

import tinydistill.__main__ as tinydistill
from glue_tasks import get_task
from glue_tasks.command_line import _typed
from glue_tasks.task import Task
from tests.tinydistill.conftest import tiny_bert_config
from tests.tinydistill.spans_and_tokens import tagged, tiny_model, write_questions, write_sentences
from tests.tinydistill.test_multi_label import rows as rows_of_aspects
from tinydistill.kinds import kind_of
from tinydistill.latency import Timing
from tinydistill.options import Options
from tinydistill.report import figures, page
from tinydistill.report.html import to_html
from tinydistill.report.measure import beside_teacher
from tinydistill.report.models import describe
from tinydistill.report.text import isolated, visible

ROOT = Path(__file__).resolve().parents[2]
EVIL = '<script>alert("x")</script> & $x^{$ \x00\x1b[31m\x85 \u202eright to left\u2066 \ud800 {{ 7 * 7 }} </svg> |'
ASPECTS = Task("Aspects", "", ("text",), "aspects", ("mood", "praise", "plot"), ("micro_f1", "macro_f1"), "multi-label",
               label_separator="|")  # fmt: skip

pytestmark = pytest.mark.usefixtures("pictures")


def write_dev(task: Task, folder: Path) -> None:
    path = folder / task.name / task.files["dev"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if task.kind == "spans":
        write_questions(path, 8, seed=1)
    elif task.kind == "tokens":
        write_sentences(path, tagged(8, seed=1))
    elif task.kind == "multi-label":
        path.write_text("\n".join(["text\taspects", *("\t".join(row) for row in rows_of_aspects(24, 2))]) + "\n")
    else:
        words = ("good", "bad", "fine", "poor", "great", "awful")
        rows = [
            (f"the film is {a}", f"the plot is {'very ' * i}{b}", str(i / 2))
            for i, a in enumerate(words)
            for b in words
        ]
        columns = task.text_columns if task.kind == "regression" else ("sentence",)
        cells = [
            (*row[: len(columns)], row[2] if task.kind == "regression" else str(i % 2)) for i, row in enumerate(rows)
        ]
        lines = ["\t".join((*columns, task.label_column)), *("\t".join(each) for each in cells)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def model_of(task: Task, seed: int) -> Any:
    if task.kind in ("spans", "tokens"):
        return tiny_model(task, seed)
    torch.manual_seed(seed)
    config = tiny_bert_config(layers=1, initializer_range=0.5)
    config.update(kind_of(task).head())
    return BertForSequenceClassification(config).eval()


TIMES = {"teacher": 12.5, "prediction": 2.5, "baseline": 2.25}
RUN: dict[str, Any] = {
    "data": {"train": {"rows": 1234}},
    "notes": ["a note"],
    "steps": 20,
    "seconds": 3.0,
    "best_step": 10,
    "dev": {"accuracy": 0.5},
    "losses": [
        {"step": step, "loss": 3 / step, "loss_hidden": 2 / step, "loss_attention": 1 / step, "learning_rate": 1e-4}
        for step in (5, 10, 15, 20)
    ],
    "evaluations": [{"step": 10, "accuracy": 0.25}, {"step": 20, "accuracy": 0.5}],
}


def report_of(task: Task, folder: Path, tokenizer: Any) -> dict[str, Any]:
    """Of a teacher, a student and a floor, none of which was trained."""
    write_dev(task, folder)
    models, paths = {}, {}
    for seed, name in enumerate(TIMES, 1):
        models[name] = model_of(task, seed)
        paths[name] = str(folder / task.name / name)
        models[name].save_pretrained(paths[name])
        tokenizer.save_pretrained(paths[name])
    options = Options(
        data_dir=str(folder),
        output_dir=str(folder / "run"),
        max_length=24,
        teacher=(paths["teacher"],),
        precision="float32",
    )
    entries = describe(task, options, models, paths, floor="baseline")
    entries["prediction"]["title"] = "distilled student"
    timing = Timing(
        1, 24, 1, "cpu", "float32", dict(TIMES), dict(TIMES), {name: ms + 1 for name, ms in TIMES.items()}, 9
    )
    found = {
        "task": task.name,
        "seed": {"prediction": 1},
        "settings": {"prediction": {"seed": 1}},
        "versions": {"torch": "2"},
    }
    found |= {**beside_teacher(task, options, entries, [timing]), "phases": {"prediction": RUN}}
    return json.loads(json.dumps(found, allow_nan=False))


TASKS = [get_task("SST-2"), get_task("STS-B"), ASPECTS, get_task("CoNLL2003"), get_task("SQuAD1.1")]


@pytest.fixture(scope="module")
def report_for(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[str], dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}

    def get(name: str) -> dict[str, Any]:
        if name not in made:
            task = next(each for each in TASKS if each.name == name)
            made[name] = report_of(task, tmp_path_factory.mktemp("kinds"), tokenizer)
        return copy.deepcopy(made[name])

    return get


class Reader(HTMLParser):
    """The text, the tags that are open at the end, and all attributes of a page."""

    EMPTY = ("meta", "br", "path", "use", "rect")

    def __init__(self, text: str):
        super().__init__()
        self.text, self.open, self.attributes, self.tags = "", [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if not self.open or self.open[-1] != "style" else ""


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_report_of_each_kind_has_its_figures(task: Task, report_for: Callable[[str], dict[str, Any]]) -> None:
    report = report_for(task.name)
    read = Reader(to_html(report))
    assert read.open == []
    for entry in (report["teacher"], *report["students"].values()):
        for metric in task.metrics:
            low, high = entry["intervals"]["dev"][metric]
            assert low <= high
            assert f"{entry['dev']['dev'][metric]:.4f} ({low:.4f} to {high:.4f})" in read.text
        assert sum(entry["parts"].values()) == entry["parameters"]
        assert f"{entry['parts']['blocks']:,}" in read.text
        assert sum(part["rows"] for part in entry["by_length"]["parts"]) == entry["drawn"]["units"]
    tested = report["students"]["prediction"]["against_teacher"]
    assert tested["to"] == "teacher"
    assert report["students"]["prediction"]["against_floor"]["to"] == "baseline"
    assert "against_floor" not in report["students"]["baseline"]
    assert "against_teacher" not in report["teacher"]
    assert f"{tested['difference']:+.4f}" in read.text
    assert "13.50" in read.text  # the teacher's 95th percentile
    assert "5.0 times faster at a batch of 1" in read.text
    assert ("gold labels down" in read.text) == (task.kind in ("classification", "tokens"))
    assert ("By label" in read.text) == (task.kind not in ("regression", "spans"))
    assert ("disagree most confidently" in read.text) == (task.kind != "regression")
    for row in report["students"]["prediction"].get("disagreements", []):
        assert row["student"]["answer"] != row["teacher"]["answer"]
        assert row["student"]["answer"] in read.text
    markdown = page.to_markdown(report)
    assert f"{tested['difference']:+.4f}" in markdown
    assert "5.0 times faster at a batch of 1" in markdown


def test_what_differs_of_classes(report_for: Callable[[str], dict[str, Any]]) -> None:
    report = report_for("SST-2")
    student = report["students"]["prediction"]
    matrix = student["confusion"]["matrix"]
    assert sum(map(sum, matrix)) == 36
    assert (matrix[0][0] + matrix[1][1]) / 36 == pytest.approx(student["dev"]["dev"]["accuracy"])
    rows = student["disagreements"]
    assert 0 < len(rows) <= 20
    assert all(row["student"]["answer"] != row["teacher"]["answer"] for row in rows)
    sentences = [f"the film is {a}" for a in ("good", "bad", "fine", "poor", "great", "awful") for _ in range(6)]
    assert all(row["texts"] == [sentences[row["row"] - 1]] for row in rows)
    assert all(row["gold"] == ("negative", "positive")[(row["row"] - 1) % 2] for row in rows)
    if len(rows) < 20:
        assert student["agreement"] == pytest.approx(1 - len(rows) / 36)


def evil_report(report: dict[str, Any]) -> dict[str, Any]:
    """With text that would break a page in each place where text can be."""
    student = report["students"].pop("prediction")
    student |= {"title": EVIL, "path": EVIL}
    student["disagreements"][0] |= {"texts": [EVIL], "gold": EVIL, "token": EVIL}
    student["confusion"]["labels"] = [EVIL, "positive"]
    for entry in (student, report["teacher"], report["students"]["baseline"]):
        entry["by_class"] = {EVIL: entry["by_class"]["positive"]}
    report["students"][EVIL] = student
    for timing in report["latency"]:
        for times in (timing["ms_per_batch"], timing["ms_per_sentence"], timing["p95_ms_per_batch"]):
            times[EVIL] = times.pop("prediction")
    report["task"] = EVIL
    report["settings"] = {EVIL: {EVIL: EVIL}}
    losses = {**RUN["losses"][0], **{f"{what}{EVIL}": 1.0 for what in ("loss_", "layer_hidden_", "layer_")}}
    report["phases"] = {EVIL: {**RUN, "notes": [EVIL], "losses": [losses], "command": EVIL}}
    example = {"texts": [EVIL], "variant": [[["the ", False], [EVIL, True]]]}
    report["augmentation"] = {
        "variants": 3,
        "probability": 0.4,
        "counts": {"rows_in": 5, EVIL: 7},
        "examples": [example],
    }
    return report


def test_all_text_is_escaped(report_for: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    text = to_html(evil_report(report_for("SST-2")))
    read = Reader(text)
    assert read.open == []
    assert "script" not in read.tags
    assert text.encode("utf-8")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert "␀␛[31m[U+0085]" in read.text
    assert read.text.count("{{ 7 * 7 }}") > 10
    for place in re.finditer("\u202e", text):
        assert text.rfind("<bdi>", 0, place.start()) > text.rfind(
            "</bdi>", 0, place.start()
        ) or place.start() < text.index(
            "<style>"  # the title of the window
        )
    assert isolated("a\u202e<b>") == "<bdi>a\u202e&lt;b&gt;</bdi>"
    assert visible("a\tb\x7f\n") == "a␉b␡␊"


def test_nothing_is_asked_for_and_no_name_is_there_twice(report_for: Callable[[str], dict[str, Any]]) -> None:
    text = to_html(report_for("SST-2"))
    read = Reader(text)
    named = [value for name, value in read.attributes if name == "id"]
    assert len(named) == len(set(named)) > 50
    for name, value in read.attributes:
        if name in ("href", "xlink:href"):
            assert value[0] == "#"
            assert value[1:] in named
        for found in re.findall(r"url\(([^)]*)\)", value or ""):
            assert found[1:] in named
    assert not {"src", "srcset", "data", "action"} & {name for name, _ in read.attributes}
    assert not {"link", "script", "img", "iframe", "object"} & set(read.tags)
    assert "@import" not in text
    assert not re.findall(r"https?://(?!www\.w3\.org)", text)


def test_a_page_drawn_again_is_the_same(report_for: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    """By another process, which needs neither PyTorch nor a window for it."""
    page.save(report_for("SST-2"), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in page.FILES}
    for name in ("report.md", "report.html"):
        (tmp_path / name).unlink()
    code = f"""
import sys
from tinydistill.__main__ import main
try:
    main(["report", {str(tmp_path)!r}])
except SystemExit as stop:
    assert not stop.code
assert not {{"torch", "matplotlib.pyplot"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "".join(f"report: {tmp_path / name}\n" for name in page.FILES[:2])
    assert {name: (tmp_path / name).read_bytes() for name in page.FILES} == before


def test_pictures_change_no_state_of_matplotlib(report_for: Callable[[str], dict[str, Any]]) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 31.0, "axes.grid": False, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        drawn = figures.scores(report_for("SST-2"), "a")
        assert dict(matplotlib.rcParams) == before
    assert drawn == figures.scores(report_for("SST-2"), "a")
    assert "<text" in drawn


def test_an_older_report_is_drawn_too(report_for: Callable[[str], dict[str, Any]]) -> None:
    """One without what came later."""
    report = report_for("SST-2")
    for name in ("main", "bootstrap"):
        del report[name]
    kept = ("path", "title", "parameters", "bytes", "layers", "hidden_size", "dev", "dev_rows", "ratios")
    for entry in (report["teacher"], *report["students"].values()):
        for name in [name for name in entry if name not in kept]:
            del entry[name]
    for timing in report["latency"]:
        del timing["p95_ms_per_batch"], timing["passes"]
    del report["phases"]["prediction"]["evaluations"]
    assert "distilled student" in Reader(to_html(report)).text
    assert "distilled student" in page.to_markdown(report)


def test_a_run_of_the_command_line_has_a_page(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert text == to_html(report)
    history = report["phases"]["prediction"]["evaluations"]
    assert [each["step"] for each in history] == sorted({each["step"] for each in history})
    assert max(each["accuracy"] for each in history) == report["phases"]["prediction"]["dev"]["accuracy"]
    assert any(each["step"] == report["phases"]["prediction"]["best_step"] for each in history)
    for timing in report["latency"]:
        assert timing["passes"] >= 5
        assert all(timing["p95_ms_per_batch"][name] >= ms for name, ms in timing["ms_per_batch"].items())
    command = report["phases"]["prediction"]["command"]
    assert command.startswith("python run_tinybert.py --phase ")
    assert f"--output-dir {finished}" in command
    for drawn in (Reader(text).text, (finished / "report.md").read_text(encoding="utf-8")):
        assert drawn.count(json.dumps(command)) == 1
    assert "attention of each layer" in text


def test_the_command_line_in_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    args = ["--data-dir", "my glue", "--train-file", "caf\udce9.tsv"]
    wanted = "--data-dir 'my glue' --train-file 'caf\\udce9.tsv'"
    assert _typed("run_tinybert.py", args) == f"python run_tinybert.py {wanted}"
    assert _typed("run-tinybert", args) == f"run-tinybert {wanted}"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert _typed("run_tinybert.py", args) == f"torchrun --nproc-per-node 2 run_tinybert.py {wanted}"


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for content, said in (
        (None, "has no report.json, which a run writes when its last phase is finished"),
        ("{", "is no report of a run, or is damaged"),
        ("[]", "is no report of a run"),
        ('{"students": {}, "versions": {}, "teacher": {}}', "lacks a part that the page needs"),
    ):
        if content is not None:
            (tmp_path / "report.json").write_text(content)
        status, _, error = called(["report", str(tmp_path)], capsys)
        assert (status, error.count("\n")) == (2, 1)
        assert said in error
    assert "there is no folder" in called(["report", str(tmp_path / "none")], capsys)[2]


def called(args: list[str], capsys: pytest.CaptureFixture) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        tinydistill.main(args)
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err  # type: ignore[return-value]


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), "")


@pytest.mark.skipif(not BROWSER, reason="there is no Chromium")
def test_a_browser_opens_it_without_an_error_or_a_request(
    report_for: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    report = report_for("SST-2")
    report["students"]["prediction"]["disagreements"][0]["texts"] = [EVIL]
    (tmp_path / "report.html").write_text(to_html(report), encoding="utf-8")
    quiet = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync"]
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *quiet]
    command += [
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        f"--log-net-log={tmp_path / 'net.json'}",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", (tmp_path / "report.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    asked = json.loads((tmp_path / "net.json").read_text(encoding="utf-8"))["events"]
    told = [event["params"] for event in asked if "params" in event]
    own = [params.get("url", "") for params in told if str(params.get("initiator", "")).startswith(("file:", "null"))]
    assert [url for url in own if not url.startswith("file:")] == []
    read = Reader(done.stdout)
    assert "script" not in read.tags
    for entry in (report["teacher"], *report["students"].values()):
        assert f"{entry['dev']['dev']['accuracy']:.4f}" in read.text
        assert f"{entry['parameters']:,}" in read.text
