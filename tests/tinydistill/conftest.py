"""Tiny models and a tiny task, made in the test run."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from markupsafe import Markup
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainingArguments,
)

import run_tinybert
from glue_tasks import TASKS
from tests.tinydistill.runs import NARROW, both_phases, run
from tests.tinydistill.sentiment import dataset
from tinydistill import DistillationTrainer, Objective, latency
from tinydistill.report import figures, svg

WORDS = "good great fine bad awful poor film plot cast score very not a the is was and but"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), "##s", "."]
TINY = {"vocab_size": len(PIECES), "max_position_embeddings": 32, "hidden_size": 24, "intermediate_size": 32}


def make_tokenizer(pieces: list[str] | None = None) -> PreTrainedTokenizerFast:
    pieces = pieces or PIECES
    backend = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def tiny_bert_config(layers: int = 4, heads: int = 2, num_labels: int = 2, **changes: object) -> BertConfig:
    labels = TASKS["SST-2"].labels if num_labels == 2 else [f"label_{i}" for i in range(num_labels)]
    return BertConfig(
        **(TINY | changes),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_labels=num_labels,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )


@pytest.fixture(scope="session", autouse=True)
def short_measurements() -> None:
    """Of the latencies in a report, which no test looks at closely; and no pictures, which take half a second a report,
    but where they are asked for (`pictures`)."""
    latency.SECONDS = 0.02
    figures.draw = _no_picture  # type: ignore[assignment]


def _no_picture(*args: object, **kwargs: object) -> Markup:
    return Markup()


@contextlib.contextmanager
def with_pictures() -> Iterator[None]:
    before, figures.draw = figures.draw, svg.draw
    yield
    figures.draw = before


@pytest.fixture(scope="module")
def pictures() -> Iterator[None]:
    """Reports have them."""
    with with_pictures():
        yield


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def teacher(tokenizer: PreTrainedTokenizerFast) -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(tiny_bert_config()).eval()


@pytest.fixture(scope="session")
def masked_lm_dir(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A pretrained model: a masked LM without a classification head."""
    folder = tmp_path_factory.mktemp("masked-lm")
    torch.manual_seed(0)
    BertForMaskedLM(tiny_bert_config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2's layout with sentences that one word decides."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "SST-2").mkdir()
    positive, negative = ("good", "great", "fine"), ("bad", "awful", "poor")
    rows = [
        f"the {noun} {verb} {extra}{word} .\t{label}"
        for noun in ("film", "plot", "cast", "score")
        for verb in ("is", "was")
        for extra in ("", "very ", "a very ")
        for label, words in (("1", positive), ("0", negative))
        for word in words
    ]
    header = "sentence\tlabel"
    (folder / "SST-2" / "train.tsv").write_text("\n".join([header, *rows[::2], *rows[1::4]]) + "\n", encoding="utf-8")
    (folder / "SST-2" / "dev.tsv").write_text("\n".join([header, *rows[3::4]]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def teacher_dir(data_dir: Path, masked_lm_dir: Path, made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    def train(out: Path) -> None:
        run("teacher", data_dir, out, "--pretrained", str(masked_lm_dir), "--epochs", "30", "--learning-rate", "5e-3")

    return made_once("teacher", train) / "teacher"


@pytest.fixture(scope="session")
def finished(data_dir: Path, teacher_dir: Path, made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    def distil(out: Path) -> None:
        with with_pictures():
            run("all", data_dir, out, "--teacher", str(teacher_dir), "--student", NARROW, *both_phases("12", "1e-2"))

    return made_once("all", distil)


@pytest.fixture(scope="session")
def chance_teacher(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A teacher that answers from its bias: at chance."""
    folder = tmp_path_factory.mktemp("chance-teacher")
    torch.manual_seed(0)
    model = BertForSequenceClassification(tiny_bert_config())
    model.classifier.weight.data.zero_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path, teacher: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A checkpoint of 4 blocks with its tokenizer, to be harmed."""
    teacher.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **entries: object) -> None:
    """None takes an entry out."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **entries}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def fails(capsys: pytest.CaptureFixture, *args: str) -> str:
    """The sentence on standard error."""
    with pytest.raises(SystemExit) as stop:
        run_tinybert.main(list(args))
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def written(out: Path) -> list[str]:
    """What a run left but the tokenised splits, which are whole or not there."""
    return [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.parent.name != "cache"]


@pytest.fixture(scope="module")
def trained(
    tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> BertForSequenceClassification:
    """A teacher that has learnt the task."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(tiny_bert_config())
    arguments = TrainingArguments(
        str(tmp_path_factory.mktemp("t")), max_steps=60, learning_rate=5e-3, use_cpu=True, report_to="none"
    )
    labels = [Objective(feature="labels")]
    trainer = DistillationTrainer(
        model, objectives=labels, args=arguments, train_dataset=dataset(), processing_class=tokenizer
    )
    trainer.train()
    return model.eval()
