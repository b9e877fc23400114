"""Checkpoints that are not what they seem: loaded as they were meant, or refused in a sentence."""

import builtins
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertForSequenceClassification,
    BertModel,
    EuroBertConfig,
    FNetConfig,
    FNetForSequenceClassification,
    MobileBertConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from glue_tasks import TASKS, UserError
from glue_tasks.describe import piece_counter
from tests.tinydistill.conftest import change_config, fails, make_tokenizer, tiny_bert_config
from tinydistill.encoders.config import load_config
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.kinds import kind_of
from tinydistill.models import load_classifier
from tinydistill.students import StudentSpec, load_projections, student_config

SST2 = TASKS["SST-2"]
IDS = torch.tensor([[2, 5, 8, 6, 3]])


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def outputs(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return load_classifier(str(folder), SST2, fresh_head=False).eval()(IDS).logits


def test_weights_without_a_place(checkpoint: Path, data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    change_config(checkpoint, num_hidden_layers=2)
    told = "bert.encoder.layer.2.attention.output.LayerNorm.bias and 31 more have no place in the Bert.* of 2 layers"
    for fresh_head in (False, True):
        with pytest.raises(UserError, match=told):
            load_classifier(str(checkpoint), SST2, fresh_head)
    data = ["--task", "SST-2", "--data-dir", str(data_dir)]
    assert "31 more have no place" in fails(capsys, "--phase", "evaluate", *data, "--student", str(checkpoint))


@pytest.mark.parametrize(
    "key",
    [
        "bert.encoder.layer.0.attention.self.query.lora_A.weight",
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",  # relative positions, which are no more
        "lstm.weight_ih_l0",  # between body and head, in a model of someone's own
        "bert.embeddings.classifier.weight",
    ],
)
def test_one_weight_without_a_place(checkpoint: Path, key: str) -> None:
    change_weights(checkpoint, lambda weights: {**weights, key: torch.ones(2)})
    with pytest.raises(UserError, match=f"{key} has no place"):
        load_classifier(str(checkpoint), SST2, fresh_head=True)


@pytest.mark.parametrize(
    "key",
    ["cls.predictions.bias", "cls.seq_relationship.weight", "fit_denses.0.weight", "bert.embeddings.position_ids",
     "qa_outputs.weight", "lm_head.decoder.weight"],
)  # fmt: skip
def test_heads_and_buffers_may_stay_unused(checkpoint: Path, key: str, teacher: BertForSequenceClassification) -> None:
    change_weights(checkpoint, lambda weights: {**weights, key: torch.ones(2)})
    torch.testing.assert_close(outputs(checkpoint), teacher(IDS).logits)


def test_a_weight_that_is_not_finite(checkpoint: Path) -> None:
    def harm(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["bert.embeddings.word_embeddings.weight"][-1, 3] = float("nan")  # of a piece that hardly ever comes
        return weights

    change_weights(checkpoint, harm)
    with pytest.raises(UserError, match="damaged: bert.embeddings.word_embeddings.weight holds a value that is not"):
        load_classifier(str(checkpoint), SST2, fresh_head=True)


def test_projections_that_are_not_finite(tmp_path: Path) -> None:
    save_file({"0.weight": torch.full((2, 2), torch.inf)}, tmp_path / "projections.safetensors")
    with pytest.raises(UserError, match=r"0\.weight.* not finite"):
        load_projections(str(tmp_path))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_saved_from_inside_a_wrapper(
    checkpoint: Path, prefix: str, teacher: BertForSequenceClassification, caplog: pytest.LogCaptureFixture
) -> None:
    change_weights(checkpoint, lambda weights: {prefix + key: value for key, value in weights.items()})
    torch.testing.assert_close(outputs(checkpoint), teacher(IDS).logits)
    assert f"{prefix} before their names is left out" in caplog.text


def test_a_body_saved_from_inside_a_wrapper(checkpoint: Path, teacher: BertForSequenceClassification) -> None:
    change_weights(
        checkpoint, lambda weights: {f"module.{key.removeprefix('bert.')}": value for key, value in weights.items()}
    )
    model = load_classifier(str(checkpoint), SST2, fresh_head=True)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, teacher.bert.embeddings.word_embeddings.weight)


def shard(folder: Path, model: BertForSequenceClassification) -> Path:
    """The weights in several files; returns one of them."""
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return sorted(folder.glob("model-*.safetensors"))[1]


def test_weights_in_several_files(checkpoint: Path, teacher: BertForSequenceClassification) -> None:
    part = shard(checkpoint, teacher)
    torch.testing.assert_close(outputs(checkpoint), teacher(IDS).logits)
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(UserError, match="are damaged or cut off"):
        outputs(checkpoint)
    part.unlink()
    with pytest.raises(UserError, match=f"are not complete: there is no {part.name}"):
        outputs(checkpoint)
    shutil.rmtree(checkpoint)
    teacher.save_pretrained(checkpoint)
    shard(checkpoint, teacher)
    change_config(checkpoint, num_hidden_layers=2)
    with pytest.raises(UserError, match="31 more have no place"):
        outputs(checkpoint)


def test_a_configuration_without_a_type(
    checkpoint: Path, teacher: BertForSequenceClassification, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the published TinyBERT archives, weights as DataParallel saves them."""
    change_config(checkpoint, model_type=None, architectures=None, transformers_version=None, cell={}, pre_trained="")
    change_weights(checkpoint, lambda weights: {f"module.{key}": value for key, value in weights.items()})
    torch.testing.assert_close(outputs(checkpoint), teacher(IDS).logits)
    assert load_tokenizer(str(checkpoint)).tokenize("good film") == ["good", "film"]
    assert "has no model_type; its fields are BERT's, and it is taken for one" in caplog.text


def test_a_configuration_without_a_type_that_is_no_bert(checkpoint: Path) -> None:
    change_config(checkpoint, model_type=None, architectures=["RobertaForMaskedLM"])
    with pytest.raises(UserError, match="cannot load the configuration"):
        outputs(checkpoint)


def test_code_beside_the_weights_is_never_run(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("a question"))
    ran = checkpoint / "ran"
    (checkpoint / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    code = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    change_config(checkpoint, model_type="own", auto_map=code)
    for load in (load_config, load_tokenizer, lambda name: load_classifier(name, SST2, fresh_head=False)):
        with pytest.raises(UserError, match="needs code of its own .* which is never run; choose a model"):
            load(str(checkpoint))
    assert piece_counter(str(checkpoint))([("good film",)]) == [4]  # by tokenizer.json
    change_config(checkpoint, model_type="bert")  # which transformers has itself
    assert outputs(checkpoint).shape == (1, 2)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"is quantised \(gptq\).* made from"),
        ({"pad_token_id": 500}, "cannot load the model of .*Padding_idx must be within"),
        ({"num_attention_heads": 0}, "cannot load the model of"),
        ({"vocab_size": -1}, "cannot load the model of"),
        ({"hidden_act": "swish9"}, "cannot load the model of .*swish9"),
    ],
)
def test_configurations_that_cannot_be(checkpoint: Path, entries: dict, message: str) -> None:
    change_config(checkpoint, **entries)
    with pytest.raises(UserError, match=message):
        outputs(checkpoint)


def test_a_config_json_that_is_a_list(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"the config\.json of .* is no configuration"):
        outputs(checkpoint)


def test_an_adapter_is_not_forgotten(checkpoint: Path) -> None:
    (checkpoint / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UserError, match="holds an adapter beside its weights; merge it"):
        outputs(checkpoint)


def test_a_pickle_of_something_else(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({"anything": Path("x")}, checkpoint / "pytorch_model.bin")
    with pytest.raises(UserError, match="a pickle of something else than tensors, which is not read"):
        outputs(checkpoint)


@pytest.mark.parametrize(
    "entries",
    [
        {"return_dict": False},
        {"output_attentions": True, "output_hidden_states": True},
        {"attn_implementation": "flash_attention_2"},
        {"chunk_size_feed_forward": 4},  # which does not divide the pieces of a batch
    ],
    ids=str,
)
def test_how_a_model_was_run_is_no_part_of_it(
    checkpoint: Path, entries: dict, teacher: BertForSequenceClassification
) -> None:
    change_config(checkpoint, **entries)
    torch.testing.assert_close(outputs(checkpoint), teacher(IDS).logits)


def test_outputs_that_change_with_the_padding_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = FNetConfig(
        vocab_size=30, hidden_size=16, intermediate_size=16, num_hidden_layers=1, **kind_of(SST2).head()
    )
    torch.manual_seed(0)
    FNetForSequenceClassification(config).save_pretrained(tmp_path)
    load_classifier(str(tmp_path), SST2, fresh_head=False)
    assert f"the outputs of {tmp_path} change with the padding of a batch" in caplog.text


# Ids of the hub


def in_the_hubs_cache(monkeypatch: pytest.MonkeyPatch, cache: Path, name: str, made: Path) -> str:
    """The folder as `hf download` leaves it: a snapshot of a commit, and what `main` is."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    shutil.move(made, repository / "snapshots" / "c0ffee")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    return name


@pytest.mark.parametrize("kind", ["ours", "safetensors", "pickled"])
def test_projections_of_a_hub_id(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    weight, bias = torch.randn(24, 16), torch.randn(24)
    if kind == "ours":
        save_file({"0.weight": weight, "0.bias": bias}, checkpoint / "projections.safetensors")
    else:
        change_weights(checkpoint, lambda w: {**w, "fit_denses.0.weight": weight, "fit_denses.0.bias": bias})
    if kind == "pickled":
        torch.save(load_file(checkpoint / "model.safetensors"), checkpoint / "pytorch_model.bin")
        (checkpoint / "model.safetensors").unlink()
    name = in_the_hubs_cache(monkeypatch, tmp_path / "hub", "someone/a-tinybert", checkpoint)
    found = load_projections(name)
    assert found.keys() == {"0.weight", "0.bias"}
    assert torch.equal(found["0.weight"], weight)
    assert load_classifier(name, SST2, fresh_head=False).num_parameters() > 0
    assert load_tokenizer(name).tokenize("good") == ["good"]


# A student of another shape


def of_mobilebert(**changes: object) -> MobileBertConfig:
    sizes = {"hidden_size": 24, "embedding_size": 16, "true_hidden_size": 16, "intra_bottleneck_size": 16}
    return MobileBertConfig(**sizes, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, **changes)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (of_mobilebert(), {"use_bottleneck": False, "intra_bottleneck_size": 36, "true_hidden_size": 36}),
        (tiny_bert_config(intermediate_size=24), {"intermediate_size": 24, "hidden_size": 36}),
        (EuroBertConfig(hidden_size=24, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=1, head_dim=6),
         {"num_key_value_heads": 3, "head_dim": 12}),
        (RobertaConfig(hidden_size=24, num_hidden_layers=4, num_attention_heads=2, auto_map={"AutoConfig": "a.B"}),
         {"_name_or_path": "", "auto_map": None}),
    ],
)  # fmt: skip
def test_only_what_a_shape_leaves_open_is_the_teachers(config: PreTrainedConfig, expected: dict) -> None:
    config._name_or_path = "/home/someone/teacher"
    made = student_config(StudentSpec.parse("shape:layers=2,hidden=36,heads=3,ffn=24"), config, SST2)
    assert {name: getattr(made, name, None) for name in expected} == expected
    assert (made.num_hidden_layers, made.num_attention_heads, made.intermediate_size) == (2, 3, 24)


def test_weights_of_a_body_alone_are_no_classifier(tmp_path: Path) -> None:
    BertModel(tiny_bert_config()).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert load_classifier(str(tmp_path), SST2, fresh_head=True).num_labels == 2
    with pytest.raises(UserError, match="is not a fine-tuned sequence classifier"):
        outputs(tmp_path)
