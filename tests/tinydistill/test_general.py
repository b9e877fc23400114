"""General distillation on plain text through the command line: what comes out, and what must not change it."""

import importlib.metadata
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

import run_tinybert
from glue_tasks.jieba_words import jieba_tokenizer
from tests import forked
from tests.tinydistill.conftest import WORDS, make_tokenizer, tiny_bert_config
from tests.tinydistill.runs import NARROW, record, run
from tests.tinydistill.test_interrupted import Stop
from tinydistill import evaluation
from tinydistill.corpus.data import HELD_OUT, load_text
from tinydistill.kinds import kind_of
from tinydistill.options import Options
from tinydistill.text_task import text_task

QUICK = ["--max-length", "16", "--precision", "float32", "--logging-steps", "2", "--held-out", "8", "--max-steps", "6"]
SAME = ["--student", "init:layers=2", "--learning-rate", "1e-3"]  # dropout is drawn alike


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 documents of a few sentences each."""
    draw = random.Random(1)
    words = [*WORDS.split(), "films", "casts"]
    line = lambda: " ".join(draw.choices(words, k=draw.randint(3, 9))) + " ."  # noqa: E731
    documents = ["\n".join(line() for _ in range(draw.randint(1, 6))) for _ in range(40)]
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def still_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model without dropout, whose draws are of a batch."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("still")
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    BertForMaskedLM(tiny_bert_config(initializer_range=0.3, **dropout)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def command(corpus: Path, teacher: Path, out: Path, *args: str) -> list[str]:
    where = ["--corpus", str(corpus), "--teacher", str(teacher), "--output-dir", str(out)]
    return ["--phase", "general", *where, *QUICK, *args]


def general(corpus: Path, teacher: Path, out: Path, *args: str) -> dict[str, Any]:
    """What the run recorded."""
    run_tinybert.main(command(corpus, teacher, out, "--batch-size", "8", *args))
    return record(out / "general")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "general" / "model.safetensors")


def assert_alike(out: Path, usual: Path) -> None:
    """But for the keys' biases, which no softmax sees: their gradient is rounding alone."""
    for name, tensor in weights(out).items():
        if not name.endswith("key.bias"):
            torch.testing.assert_close(tensor, weights(usual)[name], rtol=1e-3, atol=2e-4)


def test_layers_alone_make_a_bare_encoder(
    corpus: Path, masked_lm_dir: Path, data_dir: Path, teacher_dir: Path, tmp_path: Path
) -> None:
    """Which every other phase takes as its student."""
    done = general(corpus, masked_lm_dir, tmp_path / "text", "--student", NARROW, "--max-steps", "40",
                   "--learning-rate", "5e-3")  # fmt: skip
    assert done["data"]["corpus"]["documents"] == 40
    assert set(done["dev"]) == {"loss_attention", "loss_hidden"}
    assert done["losses"][-1]["loss_hidden"] < 0.9 * done["losses"][0]["loss_hidden"]
    student = tmp_path / "text" / "general"
    config = json.loads((student / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertModel"]
    _, info = AutoModel.from_pretrained(student, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    run("intermediate", data_dir, tmp_path / "task", "--teacher", str(teacher_dir), "--student", str(student),
        "--max-steps", "2", "--learning-rate", "1e-12")  # fmt: skip
    assert (
        f"the projections start from those saved with {student}" in record(tmp_path / "task" / "intermediate")["notes"]
    )
    shared = load_file(student / "projections.safetensors")
    own = load_file(tmp_path / "task" / "intermediate" / "projections.safetensors")
    assert len(own) == 3 * len(shared)  # of the embeddings and two blocks, from one
    for name, tensor in own.items():
        torch.testing.assert_close(tensor, shared[f"0.{name.partition('.')[2]}"])
    run("prediction", data_dir, tmp_path / "task", "--teacher", str(teacher_dir), "--max-steps", "2")
    assert record(tmp_path / "task" / "prediction")["steps"] == 2


def test_outputs_make_a_masked_lm_and_are_measured(corpus: Path, masked_lm_dir: Path, tmp_path: Path) -> None:
    """The held-out figures against plain loops over the whole model's logits."""
    done = general(corpus, masked_lm_dir, tmp_path, "--objectives", "general-minirbt", "--student", NARROW,
                   "--allow-weak-teacher")  # fmt: skip
    student = tmp_path / "general"
    model = AutoModelForMaskedLM.from_pretrained(student).eval()
    tokenizer = AutoTokenizer.from_pretrained(student)
    options = Options(corpus=(str(corpus),), output_dir=str(tmp_path), max_length=16, held_out=8, masking="word")
    held_out = load_text(options, tokenizer, kind_of(text_task(True))).dev[HELD_OUT]
    nats, hits, count = 0.0, 0, 0
    for row in held_out:
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0].double().numpy()
        for place, label in zip(row["places"], row["labels"], strict=True):
            chances = np.exp(logits[place] - logits[place].max())
            nats -= math.log(chances[label] / chances.sum())
            hits += int(chances.argmax() == label)
            count += 1
    assert count > len(held_out) >= 4
    measured = done["dev"]
    assert measured["masked_loss"] == pytest.approx(nats / count, rel=1e-4)
    assert measured["masked_accuracy"] == pytest.approx(hits / count)
    assert measured["pseudo_perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-3)
    assert {"loss_logits", "loss_hidden"} < set(measured)
    card = ModelCard.load(student / "README.md")
    assert card.data.pipeline_tag == "fill-mask"
    assert f"| masked_loss | {measured['masked_loss']:.4f} |" in card.text


def test_rows_of_which_nothing_can_be_masked(corpus: Path, still_teacher: Path, tmp_path: Path) -> None:
    """Documents of a word that the tokenizer does not know, enough of them to fill batches."""
    text = tmp_path / "text.txt"
    text.write_text(corpus.read_text(encoding="utf-8") + "\n\nไทย" * 60, encoding="utf-8")
    args = ["--objectives", "general-minirbt", "--student", NARROW, "--allow-weak-teacher", "--batch-size", "4"]
    done = general(text, still_teacher, tmp_path / "out", *args, "--max-steps", "45")
    assert done["epochs"] >= 1
    assert all(math.isfinite(value) for value in done["dev"].values())
    assert "of the pieces are unknown to the tokenizer" in "".join(done["notes"])


def test_a_tokenizer_that_knows_nothing_of_the_text(
    still_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("ไทย\n\n" * 100, encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        general(text, still_teacher, tmp_path, "--objectives", "general-minirbt", "--student", NARROW)
    assert stop.value.code == 2
    assert "the corpus: 100% of the pieces are unknown to the tokenizer" in caplog.text
    error = capsys.readouterr().err
    assert "rows held out can be masked: the tokenizer knows none of their characters" in error


def test_a_narrowed_student(corpus: Path, still_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr("tinydistill.general.load_text", lambda *args: read.append(args) or load_text(*args))
    done = general(corpus, still_teacher, tmp_path, "--student", "init:layers=2,hidden=16", "--max-steps", "2")
    assert done["settings"]["student"] == "init:layers=2,hidden=16"
    assert AutoModel.from_pretrained(tmp_path / "general").config.hidden_size == 16
    assert len(read) == 1  # whose files are known by their digests, which takes as long as to read them


def test_guesses_are_made_of_a_few_rows_at_a_time(
    corpus: Path, still_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where 64 rows of masked pieces by the vocabulary are too much memory; the guesses are the same."""
    kind, tokenizer = kind_of(text_task()), AutoTokenizer.from_pretrained(still_teacher)
    options = Options(corpus=(str(corpus),), output_dir=str(tmp_path), max_length=16, held_out=8, masking="word")
    data, model = load_text(options, tokenizer, kind), AutoModelForMaskedLM.from_pretrained(still_teacher)
    sizes: list[int] = []

    def guesses() -> np.ndarray:
        sizes.clear()
        collate = lambda rows: sizes.append(len(rows)) or data.collate(rows)  # noqa: E731
        return evaluation.predict(model, data.main_dev, collate, "float32", kept=kind.outputs)

    expected = guesses()
    assert max(sizes) > 2
    most = max(len(row["places"]) for row in data.main_dev)
    monkeypatch.setattr(evaluation, "_MOST_GUESSES", 2 * most * model.config.vocab_size)
    np.testing.assert_allclose(guesses(), expected, atol=1e-5)
    assert max(sizes) == 2
    monkeypatch.setattr(evaluation, "_MOST_GUESSES", 1)
    np.testing.assert_allclose(guesses(), expected, atol=1e-5)
    assert max(sizes) == 1


PRESETS = ["general-minirbt", "general-mobilebert", "minilm", "labels"]


@pytest.mark.parametrize(
    ("objectives", "rows"),
    [*((preset, "packed") for preset in PRESETS), ("general-tinybert", "mixed"), ("general-minirbt", "pairs")],
)
def test_presets_and_rows(objectives: str, rows: str, corpus: Path, masked_lm_dir: Path, tmp_path: Path) -> None:
    done = general(corpus, masked_lm_dir, tmp_path, "--objectives", objectives, "--student", NARROW, "--corpus-rows",
                   rows, "--max-steps", "2", "--allow-weak-teacher")  # fmt: skip
    assert all(math.isfinite(value) for value in done["dev"].values())


VARIANTS = [["--batch-size", "4", "--accumulate", "2"], ["--padding", "max_length"]]


@pytest.mark.parametrize("objectives", ["general-tinybert", "general-minirbt"])
def test_what_does_not_change_the_student(objectives: str, corpus: Path, still_teacher: Path, tmp_path: Path) -> None:
    same = [*SAME, "--objectives", objectives, "--allow-weak-teacher"]
    usual = general(corpus, still_teacher, tmp_path / "usual", *same)
    for number, variant in enumerate(VARIANTS):
        out = tmp_path / str(number)
        other = general(corpus, still_teacher, out, *same, *variant)
        for entry, expected in zip(other["losses"], usual["losses"], strict=True):
            assert entry["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert_alike(out, tmp_path / "usual")


@pytest.mark.parametrize("rows", ["packed", "pairs"])
def test_a_resumed_run(
    rows: str, corpus: Path, still_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the second epoch, whose masks (and pairs) are others, to the bit."""
    args = [*SAME, "--objectives", "general-minirbt", "--allow-weak-teacher", "--eval-steps", "8", "--max-steps", "20"]
    args += ["--corpus-rows", rows]
    usual = general(corpus, still_teacher, tmp_path / "usual", *args)
    assert usual["epochs"] > 1
    monkeypatch.setattr(Stop, "at", 18)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit):
            general(corpus, still_teacher, tmp_path / "again", *args)
    resumed = general(corpus, still_teacher, tmp_path / "again", *args, "--resume")
    assert resumed["resumed"]
    assert all(
        torch.equal(tensor, weights(tmp_path / "usual")[name]) for name, tensor in weights(tmp_path / "again").items()
    )
    assert resumed["dev"] == usual["dev"]


@pytest.mark.slow
def test_two_processes(corpus: Path, still_teacher: Path, tmp_path: Path) -> None:
    same = [*SAME, "--objectives", "general-minirbt", "--allow-weak-teacher"]
    usual = general(corpus, still_teacher, tmp_path / "usual", *same)
    out = tmp_path / "two"
    given = command(corpus, still_teacher, out, *same, "--batch-size", "4")
    done = forked.run_together(2, ["run_tinybert.py", *given])
    assert [process.returncode for process in done] == [0, 0], done[0].stderr
    assert record(out / "general")["dev"] == pytest.approx(usual["dev"], rel=1e-3)
    assert_alike(out, tmp_path / "usual")


MISTAKES: list[tuple[list[str], str]] = [
    (["--task", "SST-2"], "--phase general does not use --task"),
    (["--data-dir", "data"], "--phase general does not use --data-dir"),
    (["--masking", "none", "--objectives", "general-minirbt"], "--masking none leaves nothing to guess"),
    (["--noise", "masking"], "--phase general does not use --noise"),
    (["--segmenter", "ltp", "--masking", "word"], "pip install ltp"),
    (["--corpus", "nowhere.txt"], "there is no file or folder nowhere.txt"),
    (["--objectives", "general-minirbt"], "no better than chance"),
    (["--mask-share", "1"], "mask_share is 1.0; it must be 0.9 or less"),
    (["--augment"], "--phase general does not use --augment"),
    (["--mask-share", "0.3"], "mask_share is for masks, and the phase general masks nothing with these objectives"),
    (["--segmenter", "none"], "masks nothing with these objectives; choose --masking word"),
    (["--segmenter", "none", "--masking", "piece"], "masks single pieces; choose --masking word"),
    (["--teacher-weights", "dev"], "--teacher-weights dev weighs teachers by their guesses at masked pieces"),
    (["--student", "init:layers=1,hidden=13"], "a hidden size of 13 does not divide into"),
    (["--student", "init:layers=1,hidden=320"], "320"),
    (["--max-length", "2"], "leaves room for 0; use a longer --max-length"),
    (["--segmenter", "words", "--masking", "word"], "there is no Chinese segmenter 'words'"),
    (["--segmenter", "ltp:folder", "--masking", "word"], "pip install ltp"),
]


@pytest.mark.parametrize(("args", "message"), MISTAKES)
def test_mistakes(
    args: list[str],
    message: str,
    corpus: Path,
    masked_lm_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        general(corpus, masked_lm_dir, tmp_path, "--student", NARROW, *args)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "general" / "model.safetensors").exists()
    if message != "no better than chance":
        assert not list(tmp_path.rglob("*.bin")), "the text was tokenised first"


@pytest.mark.parametrize("flag", ["--output-dir", "--cache-dir"])
def test_a_run_writes_nothing_into_its_corpus(
    flag: str, corpus: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose files would be text to the next reading; also by way of a link."""
    texts = tmp_path / "texts"
    texts.mkdir()
    shutil.copy(corpus, texts / "a.txt")
    (tmp_path / "link").symlink_to(texts)
    for folder, place in ((texts, texts / "below" / "run"), (texts, tmp_path / "link"), (tmp_path / "link", texts)):
        with pytest.raises(SystemExit) as stop:
            general(folder, masked_lm_dir, tmp_path / "out", "--student", NARROW, flag, str(place))
        assert stop.value.code == 2
        assert f"error: {flag} {place} lies in the corpus {folder}" in capsys.readouterr().err
    assert [path.name for path in texts.iterdir()] == ["a.txt"]
    general(texts, masked_lm_dir, tmp_path / "texts-run", "--student", NARROW, "--max-steps", "1")


def test_what_is_missing(corpus: Path, masked_lm_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = ["--phase", "general", "--output-dir", str(tmp_path), "--student", NARROW]
    for args, message in (
        (["--teacher", str(masked_lm_dir)], "--phase general needs --corpus"),
        (["--corpus", str(corpus)], "--phase general needs --teacher, a pretrained encoder"),
    ):
        with pytest.raises(SystemExit) as stop:
            run_tinybert.main([*where, *args])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_other_phases_read_no_text(
    corpus: Path, teacher_dir: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(
            "prediction",
            data_dir,
            tmp_path,
            "--teacher",
            str(teacher_dir),
            "--student",
            NARROW,
            "--corpus",
            str(corpus),
        )
    assert "--phase prediction does not use --corpus" in capsys.readouterr().err


def test_a_dry_run_fills_in_the_objectives(
    corpus: Path, masked_lm_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for preset, count in (("general-tinybert", 2), ("general-minirbt", 2), ("general-mobilebert", 6)):
        run_tinybert.main(
            command(corpus, masked_lm_dir, tmp_path, "--student", NARROW, "--objectives", preset, "--dry-run")
        )
        found = json.loads(capsys.readouterr().out)
        assert len(found["resolved_objectives"]["general"]) == count
        assert all(each["loss"] for each in found["resolved_objectives"]["general"])


def test_a_list_of_phases_of_a_task_has_none_of_text(
    data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('run = ["general", "prediction"]\n', encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        run(
            "all",
            data_dir,
            tmp_path / "out",
            "--teacher",
            str(teacher_dir),
            "--student",
            NARROW,
            "--recipe",
            str(recipe),
        )
    assert stop.value.code == 2
    assert "the phase general learns from text and not from a task" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_chinese_words_are_masked_together(masked_lm_dir: Path, tmp_path: Path) -> None:
    """By a segmenter, in processes of their own, wherever they stand, and with no change to the pieces."""
    tokenizer = make_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"我们在大学生活得很好"])
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(["我们在大学生活"] * 30), encoding="utf-8")
    english = tmp_path / "a.txt"
    english.write_text("好\n" * 2_000, encoding="utf-8")  # what is read first has no words of several characters
    options = Options(
        corpus=(str(english), str(text)), output_dir=str(tmp_path), max_length=16, masking="word", mask_share=0.3
    )
    data = load_text(options, tokenizer, kind_of(text_task()))
    assert data.words_by == f"jieba {importlib.metadata.version('jieba')}"
    pieces = [tokenizer.convert_ids_to_tokens(int(piece)) for piece in data.corpus.pieces[2_000:2_007]]
    assert pieces == list("我们在大学生活")
    words = "".join(
        "|" * bool(begins) + piece for piece, begins in zip(pieces, data.corpus.begins_word(2_000, 2_007), strict=True)
    )
    assert words == "".join("|" + word for word in jieba_tokenizer().lcut("我们在大学生活"))
