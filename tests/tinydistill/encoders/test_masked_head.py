"""The head of a masked language model at some pieces gives what the whole model gives there."""

from typing import Any

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    MobileBertConfig,
    ModernBertConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLMConfig,
)

from tinydistill.encoders.masked_head import head_of, is_masked_lm, run_at

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
ALBERT: dict[str, Any] = {**SIZES, "embedding_size": 16}
DISTILBERT: dict[str, Any] = {
    "vocab_size": 50, "dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 32
}  # fmt: skip
MOBILEBERT: dict[str, Any] = {**SIZES, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}
TOKENS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
KNOWN = (
    BertConfig(**SIZES),
    RobertaConfig(**SIZES),
    ElectraConfig(**SIZES, embedding_size=16),
    AlbertConfig(**ALBERT),
    DistilBertConfig(**DISTILBERT),
    MobileBertConfig(**MOBILEBERT),
    ModernBertConfig(**SIZES, **TOKENS),
)
# Its head is known by no name: the whole model runs.
OTHER = XLMConfig(vocab_size=50, emb_dim=24, n_layers=2, n_heads=2, max_position_embeddings=32, use_lang_emb=False)


def inputs() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(3, 50, (3, 7))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[0, 2] = chosen[0, 6] = chosen[2, 0] = True  # of the second row none
    return {"input_ids": ids, "attention_mask": mask}, chosen


@pytest.mark.parametrize("config", [*KNOWN, OTHER], ids=lambda config: config.model_type)
def test_logits_at_some_pieces_are_those_of_the_whole_model(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config).eval()
    given, chosen = inputs()
    assert is_masked_lm(model)
    assert (head_of(model) is None) == (config is OTHER)
    found, output = run_at(model, given, chosen, output_hidden_states=True)
    whole = model(**given, output_hidden_states=True)
    torch.testing.assert_close(found, whole.logits[chosen])
    assert found.shape == (3, 50)
    for own, theirs in zip(output.hidden_states, whole.hidden_states, strict=True):
        torch.testing.assert_close(own, theirs)


@pytest.mark.parametrize("config", KNOWN, ids=lambda config: config.model_type)
def test_gradients_are_those_of_the_whole_model(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config).eval()
    given, chosen = inputs()

    def gradients(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        logits.square().sum().backward()
        return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}

    own = gradients(run_at(model, given, chosen)[0])
    theirs = gradients(model(**given).logits[chosen])
    assert own
    assert own.keys() == theirs.keys()
    for name, gradient in own.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-4)


def test_no_piece_is_chosen() -> None:
    model = AutoModelForMaskedLM.from_config(KNOWN[0]).eval()
    given, chosen = inputs()
    assert run_at(model, given, torch.zeros_like(chosen))[0].shape == (0, 50)


def test_other_models_have_no_such_head() -> None:
    from transformers import AutoModel, AutoModelForSequenceClassification

    for kind in (AutoModel, AutoModelForSequenceClassification):
        model = kind.from_config(KNOWN[0])
        assert not is_masked_lm(model)
        assert head_of(model) is None
    assert not is_masked_lm(torch.nn.Linear(1, 1))
