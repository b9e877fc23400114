"""Exported graphs answer as transformers' models do, whatever the head, the batch, the length and the padding."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForTokenClassification,
    MobileBertConfig,
    MobileBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from glue_tasks import TASKS, get_task
from glue_tasks.errors import UserError
from tests.tinydistill.conftest import PIECES, make_tokenizer, tiny_bert_config
from tests.tinydistill.predictions import predict, read_tsv, save_model, write_split
from tinydistill.__main__ import main
from tinydistill.encoders.limits import accepted_inputs
from tinydistill.export import INT8, exported, quantise, write_graph
from tinydistill.models import load_as_saved, load_fine_tuned
from tinydistill.onnx_model import OnnxModel, read_record

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

SIZES = {"vocab_size": len(PIECES), "initializer_range": 0.5}
WIDE = {"layers": 1, "initializer_range": 0.5}


def bert(**changes: object) -> PreTrainedModel:
    return BertForSequenceClassification(tiny_bert_config(**{**WIDE, **changes}))  # type: ignore[arg-type]


def distilbert() -> PreTrainedModel:
    config = DistilBertConfig(
        **SIZES, max_position_embeddings=32, dim=24, n_layers=1, n_heads=2, hidden_dim=32, num_labels=5
    )
    return DistilBertForTokenClassification(config)


def roberta() -> PreTrainedModel:
    """Its positions begin behind that of the padding: 34 rows are 32 places."""
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return RobertaForQuestionAnswering(
        RobertaConfig(**SIZES, **sizes, max_position_embeddings=34, type_vocab_size=1, pad_token_id=1)
    )


def mobilebert() -> PreTrainedModel:
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    own = {"embedding_size": 24, "intra_bottleneck_size": 16, "true_hidden_size": 16, "max_position_embeddings": 32}
    return MobileBertForMaskedLM(MobileBertConfig(**SIZES, **sizes, **own))


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "pairs with several labels": lambda: bert(num_labels=6, problem_type="multi_label_classification"),
    "tokens": distilbert,
    "spans": roberta,
    "masked LM": mobilebert,
    "encoder": lambda: BertModel(tiny_bert_config(**WIDE)),
    "regression": lambda: bert(num_labels=1, problem_type="regression"),
}
OUTPUTS = {"spans": ["start_logits", "end_logits"], "encoder": ["last_hidden_state"]}


def batch_of(model: PreTrainedModel, rows: int, length: int) -> dict[str, torch.Tensor]:
    """Each row three pieces shorter than the one before it, as far as that goes."""
    random = torch.Generator().manual_seed(rows * 100 + length)
    ids = torch.randint(5, len(PIECES), (rows, length), generator=random)
    mask = (torch.arange(length) < (length - 3 * torch.arange(rows)).clamp(min=1)[:, None]).long()
    ids = ids.where(mask.bool(), model.config.pad_token_id)
    types = (torch.arange(length) >= length // 2).long().repeat(rows, 1) * mask
    columns = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: columns[name] for name in accepted_inputs(model)}


@pytest.mark.parametrize("kind", MODELS)
def test_every_head_answers_as_in_torch(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = MODELS[kind]().eval()
    reference = copy.deepcopy(model)  # with the attention that transformers chooses
    write_graph(model, accepted_inputs(model), tmp_path / "onnx")
    quantise(tmp_path / "onnx", tmp_path / "int8")
    for folder in ("onnx", "int8"):
        model.config.save_pretrained(tmp_path / folder)
    whole, eighth = OnnxModel(str(tmp_path / "onnx")), OnnxModel(str(tmp_path / "int8"))
    assert whole.inputs == accepted_inputs(model)
    assert whole.outputs == OUTPUTS.get(kind, ["logits"])
    for rows, length in ((1, 2), (1, 7), (2, 7), (3, 13), (5, 32)):
        batch = batch_of(model, rows, length)
        with torch.no_grad():
            expected = reference(**batch)
        real = batch["attention_mask"].bool()
        for name in whole.outputs:
            wanted, own, near = (getattr(each, name) for each in (expected, whole(**batch), eighth(**batch)))
            assert own.shape == wanted.shape
            torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)
            assert near.isfinite().all()
            if wanted.ndim > 1 and wanted.shape[:2] == real.shape:  # what padding gives is no answer
                near, wanted = near[real], wanted[real]
            assert (near - wanted).norm() <= 0.3 * wanted.norm()


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), TASKS["SST-2"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, rows in (("dev", 40), ("test", 23)):
        write_split(folder, TASKS["SST-2"], split, rows)
    return folder


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in args])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def made(model_dir: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    options = ("--task", "SST-2", "--data-dir", data, "--max-length", 16, "--batch-size", 7)
    assert run("export", "--model", model_dir, "--formats", "onnx,onnx-int8", *options, "--output", out) == 0
    return out


def test_a_folder_stands_alone_and_says_what_it_is(made: Path, model_dir: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == ["onnx", "onnx-int8"]
    for each in ("onnx", "onnx-int8"):
        names = {path.name for path in (made / each).iterdir()}
        assert names == {"model.onnx", "config.json", "export.json", "tokenizer.json", "tokenizer_config.json"}
        record = read_record(str(made / each))
        assert record["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]
        assert (record["outputs"], record["opset"], record["format"]) == (["logits"], 18, each)
        assert record["bytes"] == (made / each / "model.onnx").stat().st_size
        assert str(model_dir) not in json.dumps(record) + (made / each / "config.json").read_text()
        parity = record["parity"]
        own = parity["dev"]["dev"]
        assert own["rows"] == 40
        assert own["metrics"].keys() == {"torch", each}
        assert [timing["ms_per_batch"].keys() for timing in parity["latency"]] == 2 * [{"torch", "onnx", "onnx-int8"}]
    assert read_record(str(made / "onnx"))["parity"]["dev"]["dev"]["equal_predictions"] == 1.0
    assert read_record(str(made / "onnx"))["parity"]["dev"]["dev"]["largest_logit_difference"] < 1e-4
    assert (made / "onnx-int8" / "model.onnx").stat().st_size < (made / "onnx" / "model.onnx").stat().st_size


def test_predictions_are_those_of_torch(made: Path, model_dir: Path, data: Path, tmp_path: Path) -> None:
    """A label or a probability may part in the last digit alone."""
    for name, folder in (("torch", model_dir), ("onnx", made / "onnx")):
        for split in ("dev", "test"):
            out = tmp_path / f"{name}-{split}.tsv"
            predict(folder, "SST-2", data, "--split", split, "--output", out, "--max-length", 16)
    for split in ("dev", "test"):
        (head, *ours), (_, *theirs) = (read_tsv(tmp_path / f"{name}-{split}.tsv") for name in ("onnx", "torch"))
        assert [row[:2] for row in ours] == [row[:2] for row in theirs]
        if len(head) > 2:
            chances = [np.array([row[2:] for row in rows], dtype=float) for rows in (ours, theirs)]
            np.testing.assert_allclose(*chances, atol=1e-4)


def test_outputs_are_put_into_the_order_of_a_task(made: Path, tmp_path: Path) -> None:
    """As those of a torch model are, by their names."""
    task = TASKS["SST-2"]
    ids = {"input_ids": torch.arange(5, 12)[None]}
    expected = load_fine_tuned(str(made / "onnx"), task)[0](**ids).logits
    turned = tmp_path / "turned"
    turned.mkdir()
    for path in (made / "onnx").iterdir():
        (turned / path.name).write_bytes(path.read_bytes())
    config = json.loads((turned / "config.json").read_text())
    config["id2label"] = {"0": task.labels[1], "1": task.labels[0]}
    config["label2id"] = {task.labels[1]: 0, task.labels[0]: 1}
    (turned / "config.json").write_text(json.dumps(config))
    model, (note,) = load_fine_tuned(str(turned), task)
    assert "its outputs were put into the order of SST-2" in note
    torch.testing.assert_close(model(**ids).logits, expected.flip(-1))


def test_what_does_not_fit_is_told(
    made: Path, model_dir: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def told(*args: object) -> str:
        capsys.readouterr()
        assert run(*args) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    export = ("export", "--model", model_dir)
    assert "onnx is there already; choose another --output, or write over it" in told(*export, "--output", made)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "mine").write_text("")
    assert "holds something else" in told(*export, "--output", tmp_path, "--overwrite")
    assert "--formats has 'tflite'; it can be onnx, onnx-int8" in told(*export, "--output", made, "--formats", "tflite")
    assert "is exported already" in told("export", "--model", made / "onnx", "--output", tmp_path / "o")
    assert "give both, or neither" in told(*export, "--output", tmp_path / "o", "--task", "SST-2")
    assert "there is no model folder" in told("export", "--model", "./nowhere", "--output", tmp_path / "o")
    with pytest.raises(UserError, match="is no fine-tuned model for questions|is no fine-tuned"):
        load_fine_tuned(str(made / "onnx"), get_task("SQuAD1.1"))
    (tmp_path / "broken").mkdir()
    for path in (made / "onnx").iterdir():
        (tmp_path / "broken" / path.name).write_bytes(path.read_bytes()[: 200 if path.suffix == ".onnx" else None])
    with pytest.raises(UserError, match="cannot be loaded; export the model again"):
        load_as_saved(str(tmp_path / "broken"))
    long = ("--data-dir", data, "--task", "SST-2", "--output", tmp_path / "p.tsv", "--max-length", 64)
    assert "--max-length 64 is more than the model" in told("predict", "--model", made / "onnx", *long)


def test_an_export_that_fails_leaves_nothing(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinydistill.export.write_graph", lambda model, inputs, folder: folder.mkdir(parents=True))
    out = tmp_path / "out"

    def stopped() -> None:
        with exported(str(model_dir), out) as formats:
            assert list(formats) == ["onnx"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not list(out.iterdir())


def test_a_package_that_is_missing_is_named(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with (
        pytest.raises(
            UserError, match=r'the package onnxscript, which is not installed; pip install "tinydistill\[onnx'
        ),
        exported(str(model_dir), tmp_path / "out", [INT8]),
    ):
        pass
    assert not (tmp_path / "out").exists()


def test_a_fall_of_the_metric_is_told() -> None:
    from tinydistill.parity import _warning

    task = TASKS["SST-2"]
    scores = {"torch": {"accuracy": 0.9}, "onnx-int8": {"accuracy": 0.894}, "onnx": {"accuracy": 0.896}}
    assert "accuracy on dev falls by 0.60 points in onnx-int8, from 0.9000 to 0.8940" in _warning(task, INT8, scores)
    assert _warning(task, "onnx", scores) == ""


def test_the_tokenizer_decides_on_segment_ids(tmp_path: Path) -> None:
    """A BERT whose tokenizer gives none is exported without them."""
    from tinydistill.export import inputs_of

    tokenizer = make_tokenizer()
    model = bert()
    assert inputs_of(model, tokenizer) == ["input_ids", "attention_mask", "token_type_ids"]
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert inputs_of(model, tokenizer) == ["input_ids", "attention_mask"]
    assert inputs_of(distilbert(), make_tokenizer()) == ["input_ids", "attention_mask"]
