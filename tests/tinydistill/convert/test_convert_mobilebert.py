"""Converted MobileBERTs compute what numpy computes of the same variables, and what TensorFlow computed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    MobileBertForPreTraining,
    PreTrainedModel,
)

from glue_tasks.errors import UserError
from tests.tinydistill.convert.plain_mobilebert import F2, F4, Variables, beside_the_model, draw_variables, forward
from tests.tinydistill.convert.tensorflow_files import write_checkpoint
from tinydistill.convert.converting import Converted, convert
from tinydistill.encoders.weights import load_model

IDS = np.array([[2, 9, 4, 8, 3, 0, 0], [2, 5, 5, 22, 17, 1, 3]])
MASK = (IDS > 0).astype(np.int64)
SEGMENTS = np.array([[0, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1]])


def make(folder: Path, config: dict[str, Any], variables: Variables, **how: Any) -> Converted:
    write_checkpoint(folder / "mobilebert.ckpt", variables, shards=2)
    (folder / "student.json").write_text(json.dumps(config))
    return convert(folder / "mobilebert.ckpt", folder / "student.json", folder / "made", **how)


def assert_close(ours: np.ndarray, plain: np.ndarray) -> None:
    """Equal to the rounding of float32, on the scale of the largest."""
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-5 * np.abs(plain).max())


def compute(model: PreTrainedModel, ids: np.ndarray, mask: np.ndarray, segments: np.ndarray) -> tuple[Any, ...]:
    """States, scores of queries and keys, and logits."""
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    heads = model.config.num_attention_heads
    seen: list[torch.Tensor] = []
    for layer in model.mobilebert.encoder.layer:
        for part in (layer.attention.self.query, layer.attention.self.key):
            part.register_forward_hook(lambda _, __, out: seen.append(out.unflatten(-1, (heads, -1)).transpose(1, 2)))
    with torch.no_grad():
        out = model.eval()(
            **{name: torch.tensor(each).long() for name, each in inputs.items()}, output_hidden_states=True
        )
    scores = [q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 for q, k in zip(seen[::2], seen[1::2], strict=True)]
    logits = out.prediction_logits if isinstance(model, MobileBertForPreTraining) else out.logits
    return [each.numpy() for each in out.hidden_states], [each.numpy() for each in scores], logits.numpy()


@pytest.mark.filterwarnings("error:Initializing zero-element tensors")  # f2 has an empty weight
@pytest.mark.parametrize("config", [F2, F4], ids=["f2", "f4"])
def test_states_scores_and_logits_are_those_of_numpy(tmp_path: Path, config: dict[str, Any]) -> None:
    variables = draw_variables(config)
    made = make(tmp_path, config, variables | beside_the_model(variables), keep_padding_row=True)
    assert made.architecture == "MobileBertForMaskedLM"
    assert made.variables == len(variables)
    assert made.left_out == (
        f"{len(variables)} of a teacher (teacher/)",
        f"{2 * len(variables)} slots of the optimiser (adam_m, adam_v and such)",
        "1 of the training's state (global_step and such)",
    )
    model, info = load_model(AutoModelForMaskedLM, str(tmp_path / "made"))
    assert not info["missing_keys"]
    assert made.parameters == sum(each.numel() for each in model.parameters())
    expected = forward(config, variables, IDS, MASK, SEGMENTS)
    for ours, plain in zip(compute(model, IDS, MASK, SEGMENTS)[:2], expected[:2], strict=True):
        assert len(ours) == len(plain)
        for each, other in zip(ours, plain, strict=True):
            assert_close(each, other)
    assert_close(compute(model, IDS, MASK, SEGMENTS)[2], expected[2])


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["mobilebert_f2", "mobilebert_f4"])
def test_states_scores_and_logits_are_those_of_tensorflow(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "reference" / "tensorflow_checkpoints" / name
    convert(folder, folder / "student.json", tmp_path / "made", keep_padding_row=True)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "made").eval()  # our loader would zero the kept row
    with np.load(folder / "ref.npz") as saved:
        ref = dict(saved)
    states, scores, logits = compute(model, ref["ids"], ref["mask"], ref["seg"])
    np.testing.assert_allclose(states, ref["hidden"], atol=1e-6)
    valid = np.broadcast_to(ref["mask"][None, :, None, None, :] > 0, ref["scores"].shape)
    np.testing.assert_allclose(np.array(scores)[valid], ref["scores"][valid], atol=1e-7)
    at = np.take_along_axis(logits, ref["pos"][..., None], axis=1)  # (B, P, V)
    np.testing.assert_allclose(at.reshape(ref["logits"].shape), ref["logits"], atol=2e-6)
    assert np.abs(ref["logits"]).max() > 0.1  # nor are they all near zero


def test_outputs_do_not_depend_on_padding_unless_its_row_is_kept(tmp_path: Path) -> None:
    variables = draw_variables(F4)
    short = (IDS[:1, :5], MASK[:1, :5], SEGMENTS[:1, :5])
    for keep, name in ((False, "zero"), (True, "kept")):
        (tmp_path / name).mkdir()
        made = make(tmp_path / name, F4, variables, keep_padding_row=keep)
        model = AutoModelForMaskedLM.from_pretrained(tmp_path / name / "made").eval()
        alone, padded = compute(model, *short)[0], compute(model, IDS, MASK, SEGMENTS)[0]
        moved = max(
            np.abs(each - other[:1, :5]).max() / np.abs(each).max() for each, other in zip(alone, padded, strict=True)
        )
        rows = model.get_input_embeddings().weight.detach().numpy()
        np.testing.assert_array_equal(rows[1:], variables["bert/embeddings/word_embeddings"][1:])
        assert any("row 0" in note for note in made.notes) is not keep
        assert rows[0].any() == keep
        assert (moved > 0.01) if keep else (moved < 1e-5)


def test_next_sentence_and_a_pooler_are_kept(tmp_path: Path) -> None:
    config = F4 | {"classifier_activation": True}
    variables = draw_variables(config)
    draw = np.random.default_rng(5)
    more = {"bert/pooler/dense/kernel": (12, 12), "bert/pooler/dense/bias": (12,)}
    more |= {"cls/seq_relationship/output_weights": (2, 12), "cls/seq_relationship/output_bias": (2,)}
    variables |= {name: draw.normal(size=shape).astype(np.float32) for name, shape in more.items()}
    made = make(tmp_path, config, variables, keep_padding_row=True)
    assert made.architecture == "MobileBertForPreTraining"
    model = MobileBertForPreTraining.from_pretrained(tmp_path / "made")
    states, _, logits = compute(model, IDS, MASK, SEGMENTS)
    plain = forward(config, variables, IDS, MASK, SEGMENTS)
    assert_close(logits, plain[2])
    pooled = np.tanh(plain[0][-1][:, 0] @ variables["bert/pooler/dense/kernel"] + variables["bert/pooler/dense/bias"])
    follows = (
        pooled @ variables["cls/seq_relationship/output_weights"].T + variables["cls/seq_relationship/output_bias"]
    )
    with torch.no_grad():
        ours = model.cls.seq_relationship(model.mobilebert.pooler(torch.tensor(states[-1])))
    np.testing.assert_allclose(ours, follows, atol=1e-4)
    # Every other phase takes the same folder.
    assert not load_model(AutoModelForMaskedLM, str(tmp_path / "made"))[1]["missing_keys"]
    classifier, info = load_model(AutoModelForSequenceClassification, str(tmp_path / "made"))
    assert set(info["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    np.testing.assert_array_equal(
        classifier.mobilebert.pooler.dense.weight.detach(), variables["bert/pooler/dense/kernel"].T
    )


def test_the_settings_are_those_of_the_json_and_its_codes_defaults(tmp_path: Path) -> None:
    make(tmp_path, F2, draw_variables(F2))
    written = json.loads((tmp_path / "made" / "config.json").read_text())
    assert written.items() >= F2.items()
    assert written["key_query_shared_bottleneck"] is False
    assert (written["architectures"], written["model_type"]) == (["MobileBertForMaskedLM"], "mobilebert")
    assert (written["classifier_dropout"], written["attention_probs_dropout_prob"]) == (0.1, 0.1)
    model, info = load_model(AutoModelForSequenceClassification, str(tmp_path / "made"))
    assert set(info["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert not [name for name, _ in model.named_parameters() if "bottleneck.attention" in name]


@pytest.mark.parametrize("config", [F2, F4], ids=["f2", "f4"])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_hidden_layers": 3}, "lacks bert/encoder/layer_2/.* and .* more of the model"),
        ({"num_hidden_layers": 1}, "has bert/encoder/layer_1/.*, which the model .* does not"),
        ({"num_feedforward_networks": 3}, "(lacks|has) bert/encoder/layer_0/ffn_layer_"),
        ({"intermediate_size": 11}, r"is 8 x 10, and 8 x 11 by .*student\.json"),
        ({"normalization_type": "layer_norm"}, "lacks bert/embeddings/LayerNorm/gamma"),
        ({"classifier_activation": True, "vocab_size": 24}, "word_embeddings in .* is 23 x"),
        ({"num_attention_heads": 3}, "which 3 heads .* cannot share evenly"),
    ],
)
def test_a_json_of_another_model_is_told(
    tmp_path: Path, config: dict[str, Any], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        make(tmp_path, config | changes, draw_variables(config))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []
