"""Benchmarks: `make bench` runs each, and without real data one says so in a sentence."""

import itertools
import json
import mmap
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from transformers import BertModel

from benchmarks import augmentation, corpus, distillation, step_profile, teacher_precision, textbrewer, training_data
from benchmarks.distillation import Case, Setup, measure_ours, measure_reference
from benchmarks.machine import MemoryWatch, ProcessesWatch, alone
from benchmarks.plain_distillation import PlainReference
from tests.tinydistill.conftest import WORDS, make_tokenizer, tiny_bert_config
from tinydistill.data import counted_outputs

ROOT = Path(__file__).resolve().parent.parent
_ROWS = 256  # as many as the steps to warm up see


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_runs_each_as_a_module() -> None:
    done = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = (
        "attention_loss augmentation corpus distillation frozen_products general objectives serving step_parts "
        "step_profile step_shares teacher_precision textbrewer training_data"
    )
    assert f"for name in {names};" in done.stdout
    assert "python -m benchmarks.$name" in done.stdout


@pytest.mark.parametrize(
    "benchmark", [augmentation, distillation, step_profile, teacher_precision, textbrewer, training_data]
)
def test_without_real_data(
    benchmark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        benchmark.main()
    assert stop.value.code == 2
    told = "error: there is no ../shared/data/glue, on which this is measured; name another with --data-dir\n"
    assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_memory_that_comes_and_goes_is_seen(tmp_path: Path) -> None:
    size = 100 << 20
    with MemoryWatch() as memory:
        # From the system itself: the heap may have as much left over from other tests.
        held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        held.write(bytes(size))
        time.sleep(0.2)
        held.close()
    assert memory.anonymous_mb >= 95
    with open(tmp_path / "file", "wb") as file:
        file.write(bytes(size))
    with MemoryWatch() as memory:
        mapped = np.memmap(tmp_path / "file", dtype=np.uint8)
        assert mapped.sum() == 0
        time.sleep(0.2)
        del mapped
    assert memory.mapped_mb >= 95
    assert memory.anonymous_mb < 50


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_memory_of_other_processes_is_seen() -> None:
    holds = "import sys; held = b'1' * (80 << 20); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    before = subprocess.Popen([sys.executable, "-c", holds.replace("80", "200")], **pipes)  # type: ignore[call-overload]
    before.stdout.readline()
    with ProcessesWatch(every=0.02) as memory:
        others = [subprocess.Popen([sys.executable, "-c", holds], **pipes) for _ in range(2)]  # type: ignore[call-overload]
        for other in others:
            other.stdout.readline()
        time.sleep(1.0)  # of a busy machine
        for other in others:
            other.communicate()
    before.communicate()
    assert 80 <= memory.largest_worker_mb < 120
    assert 160 <= memory.workers_anonymous_mb < 240
    assert memory.anonymous_mb < 50


def test_what_is_measured_alone_may_start_processes() -> None:
    assert alone(alone, dict, [("measured", True)]) == {"measured": True}


def test_the_training_file_is_repeated(tmp_path: Path) -> None:
    own = tmp_path / "glue" / "SST-2"
    own.mkdir(parents=True)
    for split in ("train", "dev"):
        (own / f"{split}.tsv").write_text("sentence\tlabel\na\t0\nb\t1\n", encoding="utf-8")
    file = training_data._write_rows(tmp_path / "glue", tmp_path / "data", 5)
    assert file.read_text(encoding="utf-8") == "sentence\tlabel\na\t0\nb\t1\na\t0\nb\t1\na\t0\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, questions about contexts of 3 to 20 words, and sentences of 1 to 20 characters with tags."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    BertModel(tiny_bert_config(layers=6)).save_pretrained(folder / "model")
    make_tokenizer().save_pretrained(folder / "model")
    random, words = np.random.default_rng(0), np.array(WORDS.split())
    questions, sentences = [], []
    for number in range(_ROWS):
        context = " ".join(random.choice(words, 3 + number % 18))
        answer = {"text": context.split()[0], "answer_start": 0}
        asked = {"id": str(number), "question": "what was good", "answers": [answer]}
        questions.append({"title": "", "paragraphs": [{"context": context, "qas": [asked]}]})
        sentences.append("新 B-LOC\n" + "片 O\n" * (number % 20))
    for task in ("SQuAD1.1", "MSRA"):
        (folder / task).mkdir()
    (folder / "SQuAD1.1" / "train-v1.1.json").write_text(json.dumps({"data": questions}), encoding="utf-8")
    (folder / "MSRA" / "train.txt").write_text("\n".join(sentences), encoding="utf-8")
    return folder


def case_of(small: Path, task: str, phase: str) -> Case:
    return Case("minilm-3l", task, phase, "float32", _ROWS, 1, str(small), str(small / "model"), max_length=32)


@pytest.mark.parametrize("phase", ["intermediate", "prediction"])
@pytest.mark.parametrize("task", ["SQuAD1.1", "MSRA"])
def test_spans_and_tokens_are_measured(task: str, phase: str, small: Path) -> None:
    case = case_of(small, task, phase)
    rows = Setup(case).rows
    plain, ours = measure_reference(case), measure_ours(case)
    assert (plain["rows"], ours["rows"]) == (32, _ROWS * (distillation.EPOCHS if phase == "prediction" else 1))
    assert ours["tokens"] * _ROWS == sum(rows["length"]) * ours["rows"]
    run = distillation._compared("run", plain, ours, peak=1.0)
    assert run["times_the_reference"] > 0
    assert (" KB |" in distillation._table([run])) == (phase == "prediction")
    if phase == "prediction":  # 2 bytes for each output that counts, and Arrow's places and headers
        outputs = counted_outputs(rows).mean() * Setup(case).teacher.config.num_labels * 2
        assert outputs < ours["kept"] < outputs + 24


@pytest.mark.parametrize("task", ["SQuAD1.1", "MSRA"])
def test_the_reference_compares_attended_outputs(task: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(case_of(small, task, "prediction"))
    student = setup.student.eval()
    for model in (setup.teacher, student):
        list(model.parameters())[-2].data *= 100  # of the head, or all outputs would be nearly alike
    reference = PlainReference(setup.teacher, student, setup.maps, setup.kind.outputs)
    found: list[torch.Tensor] = []
    monkeypatch.setattr(reference, "_update", found.append)
    rows = setup.rows.__getitems__(list(range(7)))
    for padded in (True, False):
        reference.distil_outputs(setup.collate(padded)(rows))
    losses = []
    for row in rows:  # each alone, without padding
        pieces = {name: torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids")}
        with torch.no_grad():
            theirs, own = setup.teacher(**pieces), student(**pieces)
        if task == "MSRA":
            of_each = list(zip(theirs.logits[0], own.logits[0], strict=True))  # (L, C)
        else:
            of_each = [(theirs[name][0], own[name][0]) for name in ("start_logits", "end_logits")]  # (L,)
        losses += [
            -(softmax(t) @ log_softmax(s)) for t, s in ((t.double().numpy(), s.double().numpy()) for t, s in of_each)
        ]
    assert [loss.item() for loss in found] == pytest.approx([float(np.mean(losses))] * 2, rel=1e-5)


def test_a_pair_and_a_task_name_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for chosen, told in (
        ({"pairs": "e5-4l"}, "there is no ../shared/data/ner, on which this is measured; name another with --ner-dir"),
        ({"pairs": "minilm-3l", "data": "SQuAD1.1", "mrc_dir": tmp_path}, "name another with --minilm"),
        ({"pairs": "e5-4l", "ner_dir": tmp_path}, "name another with --e5"),
        ({"pairs": "minilm-4l"}, "--pairs has 'minilm-4l'; it is of base-4l, base-6l, minilm-3l, e5-4l"),
    ):
        with pytest.raises(SystemExit):
            distillation.main(**chosen)
        assert told in capsys.readouterr().err


def test_a_text_is_repeated_up_to_its_size(tmp_path: Path) -> None:
    lines = [("a b", True), ("c", False), ("d", True), ("", True)]
    corpus.write_text(itertools.cycle(lines), tmp_path / "text.txt", 1)
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == "This is copy 1 of the text.\n"
    corpus.write_text(itertools.cycle(lines), tmp_path / "text.txt", 90)
    text = (tmp_path / "text.txt").read_text(encoding="utf-8")
    assert text.startswith("This is copy 1 of the text.\n\na b\nc\n\nd\n\nThis is copy 2 of the text.\n\na b\nc\n")
    assert 90 <= len(text) < 130


def test_a_corpus_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Through the command, whose processes are its own."""
    make_tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("the good film\nbad plot\n\nthe film was good\n", encoding="utf-8")
    monkeypatch.setattr(corpus, "alone", lambda measure, *args: measure(*args))
    monkeypatch.setattr(corpus, "BATCHES", 3)
    output = tmp_path / "out" / "corpus.json"
    corpus.main(corpus=tmp_path / "texts", model=tmp_path / "model", sizes="0.05,0.02", output=output)
    runs = json.loads(output.read_text(encoding="utf-8"))
    assert [run["text_mb"] for run in runs] == [0.0, 0.1]  # rounded
    assert "reference" in runs[0]
    assert "reference" not in runs[1]
    for run in runs:
        assert run["first"]["pieces"] == run["second"]["pieces"] > 0
        assert run["first"]["pass"]["rows"] == run["second"]["pass"]["rows"] > 0
        assert run["first"]["disk_mb_per_million_pieces"] > 2.125  # two bytes and a bit for each
    assert runs[0]["first"]["pieces"] == runs[0]["reference"]["pieces"]
    said = capsys.readouterr().out
    assert corpus.table(runs) in said
    monkeypatch.chdir(tmp_path)
    for given, told in (
        ({"corpus": tmp_path / "none"}, f"there is no {tmp_path / 'none'}, on which this is measured; name another "),
        ({}, "there is no ../shared/data/mrc, on which this is measured; name another with --mrc-dir"),
    ):
        with pytest.raises(SystemExit):
            corpus.main(**given)
        assert told in capsys.readouterr().err
    (tmp_path / "texts" / "a.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        corpus.main(corpus=tmp_path / "texts", model=tmp_path / "model")
    assert "holds no text; name another with --corpus" in capsys.readouterr().err
