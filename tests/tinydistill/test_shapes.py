"""Shapes by name and as text: sizes, parameters, and MobileBERTs."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    MobileBertConfig,
    RobertaConfig,
)

from glue_tasks import TASKS
from glue_tasks.errors import UserError
from tinydistill.__main__ import main
from tinydistill.encoders.skeleton import build_on_meta
from tinydistill.shapes import SHAPES, Shape, parse, published_config
from tinydistill.students import StudentSpec, student_config

SST2 = TASKS["SST-2"]

# Masked LMs with tied embeddings: counted by others with the sizes of the published configurations.
MOBILEBERTS = {
    "mobilebert-base-f2": 26_260_424,
    "mobilebert-base-f4": 32_232_584,
    "mobilebert-large-f2": 40_683_144,
    "mobilebert-large-f4": 52_925_064,
    "mobilebert": 36_596_538,
    "mobilebert-tiny": 27_500_346,
}
BODIES = {  # of theirs
    "mobilebert-base-f2": 25_647_168,
    "mobilebert-base-f4": 31_619_328,
    "mobilebert-large-f2": 39_610_368,
    "mobilebert-large-f4": 51_852_288,
}


def parameters(name: str, kind: type) -> int:
    return build_on_meta(published_config(name), name, kind.from_config).num_parameters()


@pytest.mark.parametrize("name", MOBILEBERTS)
def test_mobileberts_have_their_parameters(name: str) -> None:
    assert parameters(name, AutoModelForMaskedLM) == MOBILEBERTS[name]
    if name in BODIES:
        assert parameters(name, AutoModel) == BODIES[name]


def test_a_mobilebert_with_two_classes_has_its_parameters() -> None:
    teacher = BertConfig(vocab_size=21128)
    config = student_config(StudentSpec.parse("mobilebert-base-f2"), teacher, SST2)
    built = build_on_meta(config, "student", AutoModelForSequenceClassification.from_config)
    assert built.num_parameters() == 25_648_706


# The published figures, and the numbers they are rounded from (TextBrewer cuts off: 65.8 is its 65M).
MASKED_LM = {"minirbt-h256": 10.4, "minirbt-h288": 12.3, "rbt3": 38.5, "rbt4-h312": 11.4, "rbt6": 59.76}
BODY = {"t3": 44, "t3-small": 17, "t4-tiny": 14, "t6": 65, "t12-nano": 17}
BODY |= {"minilm-6l-384d": 22, "minilm-12l-384d": 33, "tinybert-6l-768d": 67}


@pytest.mark.parametrize("name", MASKED_LM)
def test_masked_lms_have_their_parameters(name: str) -> None:
    places = len(str(MASKED_LM[name]).partition(".")[2])
    assert round(parameters(name, AutoModelForMaskedLM) / 1e6, places) == MASKED_LM[name]
    assert SHAPES[name].published == f"{MASKED_LM[name]}M"


@pytest.mark.parametrize("name", BODY)
def test_bodies_have_their_parameters(name: str) -> None:
    assert BODY[name] in (int(parameters(name, AutoModel) / 1e6), round(parameters(name, AutoModel) / 1e6))
    assert float(SHAPES[name].published.removesuffix("M")) == BODY[name]


def test_tinybert_4l_is_published_with_its_shared_projection() -> None:
    projection = 312 * 768 + 768
    assert int((parameters("tinybert-4l-312d", AutoModel) + projection) / 1e5) / 10 == 14.5


def test_bert_base_is_published_in_round_figures() -> None:
    assert parameters("bert-base", AutoModel) == 109_482_240  # of bert-base-uncased's configuration
    assert SHAPES["bert-base"].published == "110M"


def test_every_shape_is_counted() -> None:
    assert {*MOBILEBERTS, *MASKED_LM, *BODY, "tinybert-4l-312d", "bert-base"} == SHAPES.keys()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_as_text(name: str) -> None:
    shape = SHAPES[name].shape
    assert parse(str(shape)) == shape
    assert StudentSpec.parse(f"shape:{shape}") == StudentSpec.parse(name.upper())


def test_entries_of_a_bottleneck_alone() -> None:
    with pytest.raises(UserError, match="has networks= without bottleneck="):
        parse("layers=1,hidden=4,heads=1,ffn=8,networks=2")
    assert parse("layers=1,hidden=4,heads=1,ffn=8,bottleneck=2") == Shape(1, 4, 1, 8, bottleneck=2)


@pytest.mark.parametrize("teacher", [BertConfig, RobertaConfig, DistilBertConfig, ElectraConfig, MobileBertConfig])
def test_a_mobilebert_has_the_teachers_vocabulary_and_the_tasks_head(teacher: type) -> None:
    config = teacher(vocab_size=50, max_position_embeddings=40, pad_token_id=1, num_labels=5)
    made = student_config(StudentSpec.parse("mobilebert"), config, TASKS["MNLI"])
    assert isinstance(made, MobileBertConfig)
    assert (made.vocab_size, made.pad_token_id, made.num_labels) == (50, 1, 3)
    assert made.max_position_embeddings == (38 if teacher is RobertaConfig else 40)
    assert (made.true_hidden_size, made.key_query_shared_bottleneck) == (128, True)
    tiny = student_config(StudentSpec.parse("mobilebert-tiny"), config, TASKS["MNLI"])
    assert (tiny.key_query_shared_bottleneck, tiny.use_bottleneck_attention) == (False, True)
    assert (tiny.num_feedforward_networks, tiny.normalization_type, tiny.hidden_act) == (2, "no_norm", "relu")


def test_all_weights_of_a_mobilebert_are_used() -> None:
    """A bottleneck that no forward pass uses would have no gradient."""
    for shared in ("yes", "no"):
        text = f"shape:layers=2,hidden=12,heads=2,ffn=8,bottleneck=6,networks=2,shared={shared}"
        config = student_config(StudentSpec.parse(text), BertConfig(vocab_size=30, max_position_embeddings=20), SST2)
        model = AutoModelForSequenceClassification.from_config(config)
        model(input_ids=torch.arange(10).reshape(2, 5)).logits.square().sum().backward()
        assert [name for name, each in model.named_parameters() if each.grad is None] == []


def test_heads_divide_the_bottleneck() -> None:
    spec = StudentSpec.parse("shape:layers=2,hidden=12,heads=4,ffn=8,bottleneck=6")
    with pytest.raises(UserError, match="bottleneck of 6 does not divide into 4 heads; take one of 4 or 8"):
        student_config(spec, BertConfig(), SST2)


def test_embeddings_of_their_own_width() -> None:
    spec = StudentSpec.parse("shape:layers=2,hidden=12,heads=4,ffn=8,embedding=6")
    assert student_config(spec, ElectraConfig(), SST2).embedding_size == 6
    with pytest.raises(UserError, match="'bert' have word embeddings as wide as their hidden states"):
        student_config(spec, BertConfig(), SST2)


def test_the_listing(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["shapes"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(SHAPES) + 1]] == list(SHAPES)
    row = next(line.split() for line in lines if line.startswith("minirbt-h288"))
    assert row[:9] == ["minirbt-h288", "6", "288", "12", "1,152", "21,128", "12,311,136", "12,332,840", "12.3M"]


def test_a_folder_that_is_called_like_a_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rbt3").mkdir()
    assert StudentSpec.parse("rbt3").shape  # without a model it is none
    (tmp_path / "rbt3" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"a folder with a model here; write \./rbt3 for the folder"):
        StudentSpec.parse("rbt3")
    assert StudentSpec.parse("./rbt3").path == "./rbt3"
