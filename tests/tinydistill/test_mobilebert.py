"""MobileBERT as student and as teacher in every phase: what is compared, what comes out, and what padding changes."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertForSequenceClassification,
    MobileBertConfig,
    MobileBertForMaskedLM,
    MobileBertForPreTraining,
    MobileBertModel,
)

import run_tinybert
from augment.models import load_masked_lm
from glue_tasks import TASKS
from tests.tinydistill.conftest import PIECES, WORDS, fails, make_tokenizer, tiny_bert_config
from tests.tinydistill.runs import record, run
from tinydistill.distiller import Distiller
from tinydistill.encoders.limits import depends_on_padding
from tinydistill.encoders.padding_row import keep_padding_row_zero, zero_padding_row
from tinydistill.features import FeatureReader
from tinydistill.models import load_classifier
from tinydistill.objectives import Objective
from tinydistill.presets import preset
from tinydistill.resolving import Sizes, resolve
from tinydistill.shapes import published_config

F2: dict[str, Any] = {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False}
SIZES: dict[str, Any] = {
    "vocab_size": len(PIECES),
    "max_position_embeddings": 32,
    "hidden_size": 24,
    "embedding_size": 10,
    "intermediate_size": 20,
    "intra_bottleneck_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_feedforward_networks": 2,
    "classifier_activation": False,
    "pad_token_id": 0,
    "initializer_range": 0.1,
}
STUDENT = "shape:layers=1,hidden=20,heads=2,ffn=12,embedding=10,bottleneck=8,networks=2,shared=no"
QUICK = ["--max-length", "16", "--precision", "float32", "--logging-steps", "2", "--held-out", "8", "--max-steps", "2"]


def mobilebert(auto_class: Any = MobileBertForMaskedLM, **changes: Any) -> Any:
    torch.manual_seed(0)
    return auto_class(MobileBertConfig(**{**SIZES, **changes})).eval()


def saved(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def with_padding_row(model: Any, value: float = 1.0) -> Any:
    model.get_input_embeddings().weight.data[0] = value
    return model


def a_batch(length: int = 8, seed: int = 0) -> dict[str, Tensor]:
    """Three rows of 8, 5 and 2 pieces."""
    draw = torch.Generator().manual_seed(seed)
    mask = (torch.arange(length) < torch.tensor([[8], [5], [2]])).long()
    ids = torch.randint(5, len(PIECES), (3, length), generator=draw) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


# What is compared


def plain_states(model: Any, ids: Tensor, segments: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """States (L, D) of the embeddings and each block, and scores (H, L, L), of one row, from its weights alone."""
    config, weights = model.config, {name: each.detach().double() for name, each in model.state_dict().items()}

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def no_norm(name: str, x: Tensor) -> Tensor:
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    words = weights["embeddings.word_embeddings.weight"][ids]
    nothing = torch.zeros(1, words.shape[1], dtype=torch.float64)
    trigrams = torch.cat([torch.cat([words[1:], nothing]), words, torch.cat([nothing, words[:-1]])], 1)
    x = linear("embeddings.embedding_transformation", trigrams)
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = no_norm("embeddings.LayerNorm", x + weights["embeddings.token_type_embeddings.weight"][segments])
    states, scores = [x], []
    heads = config.num_attention_heads
    for i in range(config.num_hidden_layers):
        block = f"encoder.layer.{i}"

        def bottleneck(name: str, x: Tensor = x, block: str = block) -> Tensor:
            return no_norm(f"{block}.bottleneck.{name}.LayerNorm", linear(f"{block}.bottleneck.{name}.dense", x))

        inner = bottleneck("input")
        both = inner if config.use_bottleneck_attention else bottleneck("attention")
        reads = {"query": both, "key": both, "value": inner if config.use_bottleneck_attention else x}
        query, key, value = (
            linear(f"{block}.attention.self.{name}", of).unflatten(1, (heads, -1)).transpose(0, 1)
            for name, of in reads.items()
        )
        scores.append(query @ key.transpose(1, 2) / math.sqrt(config.intra_bottleneck_size / heads))
        chances = scores[-1].masked_fill(mask == 0, -math.inf).softmax(-1)
        y = linear(f"{block}.attention.output.dense", (chances @ value).transpose(0, 1).flatten(1))
        y = no_norm(f"{block}.attention.output.LayerNorm", y + inner)
        for name in (f"{block}.ffn.0", block):
            inside = linear(f"{name}.intermediate.dense", y).relu()
            y = no_norm(f"{name}.output.LayerNorm", linear(f"{name}.output.dense", inside) + y)
        out = linear(f"{block}.output.bottleneck.dense", y)
        x = no_norm(f"{block}.output.bottleneck.LayerNorm", out + x)
        states.append(x)
    return states, scores


@pytest.mark.parametrize("changes", [F2, {}], ids=["f2", "f4"])
def test_the_preset_against_plain_float64(changes: dict[str, Any]) -> None:
    """Block outputs of the full width, normalised, and the attention of the bottleneck's heads; padding left out."""
    student = mobilebert(MobileBertModel, **changes, intra_bottleneck_size=8)
    teacher = mobilebert(MobileBertModel, **changes, num_attention_heads=2, hidden_dropout_prob=0.0)
    for model in (student, teacher):
        for parameter in model.parameters():  # biases and NoNorm's weights too
            parameter.data += 0.1 * torch.randn(parameter.shape)
        model.get_input_embeddings().weight.data[0] = 0.0
    sizes = Sizes.of(student.config), {"teacher": Sizes.of(teacher.config)}
    objectives = resolve(preset("mobilebert"), {}, *sizes)
    assert [each.projection for each in objectives] == ["none", "none"]
    batch = a_batch()
    with torch.no_grad():
        theirs = FeatureReader(teacher, objectives, side=1)(teacher, batch)
        found = Distiller(student, objectives).eval()(batch, {"teacher": theirs})
    for row, count in enumerate((8, 5, 2)):  # without padding at all
        args = [batch[name][row, :count] for name in ("input_ids", "token_type_ids", "attention_mask")]
        (own, own_scores), (others, other_scores) = (plain_states(model, *args) for model in (student, teacher))
        maps, attention = 0.0, 0.0
        for s, t in zip(own[1:], others[1:], strict=True):
            assert s.shape == t.shape == (count, 24)
            s, t = ((x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True)).sqrt() for x in (s, t))
            maps += float((s - t).square().mean())
        for s, t in zip(own_scores, other_scores, strict=True):
            assert s.shape == t.shape == (2, count, count)
            t = t.softmax(-1)
            attention += float((t * (t.log() - s.log_softmax(-1))).sum(-1).mean())
        assert found["hidden"][row].item() == pytest.approx(maps, rel=2e-4)
        assert found["attention"][row].item() == pytest.approx(attention, rel=2e-3)


def test_relation_heads_divide_the_width_of_the_bottleneck() -> None:
    base = Sizes.of(tiny_bert_config(heads=12, hidden_size=768))
    f2 = Sizes.of(published_config("mobilebert-base-f2"))
    assert (f2.width, f2.attention, f2.heads) == (768, 144, 12)
    relations = [Objective(loss="key_relations", layers="last")]
    assert resolve(relations, {}, f2, {"teacher": base})[0].relation_heads == 48
    narrow = Sizes.of(MobileBertConfig(**SIZES))
    assert resolve(relations, {}, narrow, {"teacher": narrow})[0].relation_heads == 16


# Padding


def outputs_alone_and_padded(model: Any) -> list[tuple[Tensor, Tensor]]:
    """Of each row the last states by itself and in a batch."""
    batch = a_batch()
    with torch.no_grad():
        padded = model.base_model(**batch).last_hidden_state
        return [
            (model.base_model(**{k: v[i : i + 1, :n] for k, v in batch.items()}).last_hidden_state[0], padded[i, :n])
            for i, n in enumerate((8, 5, 2))
        ]


def test_a_row_of_padding_is_zero_when_a_model_is_loaded(tmp_path: Path) -> None:
    """Then a text has the outputs that it has by itself, as transformers gives them with the row as trained."""
    folder = saved(tmp_path / "trained", with_padding_row(mobilebert(initializer_range=0.3)))
    trained = AutoModelForMaskedLM.from_pretrained(folder).eval()
    assert depends_on_padding(trained)
    loaded = load_classifier(str(folder), TASKS["SST-2"], fresh_head=True).eval()
    assert not depends_on_padding(loaded)
    assert not depends_on_padding(load_masked_lm(str(folder))[0])  # as augmentation has it
    own, before = outputs_alone_and_padded(loaded), outputs_alone_and_padded(trained)
    for (alone, padded), (of_transformers, changed) in zip(own, before, strict=True):
        assert torch.equal(alone, of_transformers)
        torch.testing.assert_close(alone, padded, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))
        assert len(alone) == 8 or not torch.allclose(changed, of_transformers, rtol=1e-2)
    for name, tensor in loaded.base_model.state_dict().items():
        expected = trained.base_model.state_dict()[name].clone()
        if name.endswith("word_embeddings.weight"):
            expected[0] = 0.0
        assert torch.equal(tensor, expected), name


def test_the_rows_of_other_models_stay() -> None:
    bert = with_padding_row(BertForMaskedLM(tiny_bert_config()))
    assert zero_padding_row(bert) == (False, False)
    assert bert.get_input_embeddings().weight[0].eq(1).all()
    bert.get_input_embeddings().weight.data[0] = 0.0
    keep_padding_row_zero(bert)
    bert(**a_batch(), labels=a_batch()["input_ids"]).loss.backward()
    assert bert.get_input_embeddings().weight.grad[0].any()  # by the decoder, and no text reads it
    without = with_padding_row(mobilebert(trigram_input=False))
    assert zero_padding_row(without) == (False, False)
    assert mobilebert().train().training
    training = with_padding_row(mobilebert().train())
    assert zero_padding_row(training) == (True, False)
    assert training.training


def test_a_tied_decoder_does_not_train_the_row() -> None:
    """All other gradients are those of plain backpropagation."""
    grads = []
    for held in (False, True):
        model = mobilebert()
        if held:
            keep_padding_row_zero(model)
        model(**a_batch(), labels=a_batch()["input_ids"]).loss.backward()
        grads.append({name: each.grad for name, each in model.named_parameters()})
    plain, own = grads
    for name, gradient in own.items():
        expected = plain[name].clone()
        if name.endswith("word_embeddings.weight"):
            assert expected[0].any()  # what would make outputs depend on padding
            expected[0] = 0.0
        assert torch.equal(gradient, expected), name
    assert sum(name.endswith("word_embeddings.weight") for name in own) == 1
    frozen = mobilebert().requires_grad_(False)
    keep_padding_row_zero(frozen)  # nothing to hold


# Phases


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(1)
    line = lambda: " ".join(draw.choices(WORDS.split(), k=draw.randint(3, 9))) + " ."  # noqa: E731
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join("\n".join(line() for _ in range(3)) for _ in range(30)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Google's: with a next-sentence head beside that of masked pieces, and a trained row of padding."""
    model = with_padding_row(mobilebert(MobileBertForPreTraining, num_hidden_layers=2))
    return saved(tmp_path_factory.mktemp("pretrained"), model)


def general(corpus: Path, teacher: Path, out: Path, *args: str) -> dict[str, Any]:
    where = ["--corpus", str(corpus), "--teacher", str(teacher), "--output-dir", str(out), *QUICK, "--batch-size", "8"]
    run_tinybert.main(["--phase", "general", *where, "--allow-weak-teacher", *args])
    return record(out / "general")


@pytest.fixture(scope="module")
def on_text(corpus: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MobileBERT taught by a MobileBERT on text, first by its blocks and then by its outputs."""
    out = tmp_path_factory.mktemp("text")
    args = ["--student", STUDENT, "--objectives", "general-mobilebert", "--learning-rate", "1e-2", "--max-steps", "6"]
    done = general(corpus, pretrained, out, *args)
    assert all(math.isfinite(value) for value in done["dev"].values())
    return out / "general"


def test_a_student_taught_on_text_does_not_depend_on_padding(on_text: Path) -> None:
    weights = load_file(on_text / "model.safetensors")["mobilebert.embeddings.word_embeddings.weight"]
    assert not weights[0].any()
    assert weights[1:].any(1).all()
    for alone, padded in outputs_alone_and_padded(AutoModelForMaskedLM.from_pretrained(on_text).eval()):
        torch.testing.assert_close(alone, padded, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_phases_of_a_task(on_text: Path, pretrained: Path, data_dir: Path, tmp_path: Path) -> None:
    """A MobileBERT is fine-tuned, and teaches another together with a BERT; then it teaches a BERT."""
    run("teacher", data_dir, tmp_path / "t", "--pretrained", str(pretrained), "--max-steps", "2")
    bert = str(saved(tmp_path / "bert", BertForSequenceClassification(tiny_bert_config(layers=2))))
    fine_tuned, few = str(tmp_path / "t" / "teacher"), ["--max-steps", "2", "--allow-weak-teacher"]
    several = ["--teacher", f"m={fine_tuned}", "--teacher", f"b={bert}"]
    run("all", data_dir, tmp_path / "task", *several, "--student", str(on_text), *few)
    assert record(tmp_path / "task" / "prediction")["steps"] == 2
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "task" / "prediction")
    assert loaded.config.model_type == "mobilebert"
    assert not loaded.get_input_embeddings().weight[0].any()
    student = str(saved(tmp_path / "small", BertForMaskedLM(tiny_bert_config(layers=1))))
    run("intermediate", data_dir, tmp_path / "b", "--teacher", fine_tuned, "--student", student, *few, "--objectives",
        "mobilebert", "--gradient-checkpointing")  # fmt: skip
    assert AutoModel.from_pretrained(tmp_path / "b" / "intermediate").config.model_type == "bert"


def test_unequal_heads(corpus: Path, pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--corpus", str(corpus), "--teacher", str(pretrained), "--output-dir", str(tmp_path), *QUICK]
    args = ["--phase", "general", *where, "--student", STUDENT.replace("heads=2", "heads=4")]
    error = fails(capsys, *args, "--objectives", "mobilebert")
    assert "the student has 4 heads, the teacher 2" in error
    assert "--heads mean" in error
    run_tinybert.main([*args, "--objectives", "mobilebert", "--heads", "mean"])
    assert record(tmp_path / "general")["steps"] == 2
