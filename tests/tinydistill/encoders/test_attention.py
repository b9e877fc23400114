"""Attention scores against the hooked query and key projections, for each family of models."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    T5Config,
    XLMRobertaConfig,
)

from glue_tasks.errors import UserError
from tinydistill.encoders import attention
from tinydistill.encoders.attention import ScoreReader
from tinydistill.encoders.cpu import attention as cpu
from tinydistill.encoders.precision import autocast

WIDE = {"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 16}
CONFIGS = {
    "bert": BertConfig(**WIDE),
    "roberta": RobertaConfig(**WIDE, max_position_embeddings=40),
    "xlm-roberta": XLMRobertaConfig(**WIDE, max_position_embeddings=40),
    "electra": ElectraConfig(**WIDE, embedding_size=12),
    "albert": AlbertConfig(**WIDE, embedding_size=12, attention_probs_dropout_prob=0.1),
    "distilbert": DistilBertConfig(vocab_size=60, dim=24, n_layers=3, n_heads=4, hidden_dim=16),
}
QUERY = {"distilbert": "q_lin"}
KEY = {"distilbert": "k_lin"}
VALUE = {"distilbert": "v_lin"}


def model_of(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(CONFIGS[family]).eval()


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6])
    return {"input_ids": torch.where(mask == 1, torch.randint(5, 60, mask.shape), 1), "attention_mask": mask}


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("blocks", [(0, 1, 2), (1,)])
def test_scores_are_the_scaled_product_of_queries_and_keys(family: str, blocks: tuple[int, ...]) -> None:
    model = model_of(family)
    seen: dict[str, list[torch.Tensor]] = {"query": [], "key": []}
    for name, module in model.named_modules():
        for kind, names in (("query", QUERY), ("key", KEY)):
            if name.endswith("." + names.get(family, kind)):
                module.register_forward_hook(lambda _m, _i, out, kind=kind: seen[kind].append(out.detach()))
    reader = ScoreReader(model, blocks)
    seen["query"].clear(), seen["key"].clear()
    inputs = batch()
    scores = reader.read(model(**inputs, output_attentions=True).attentions)
    assert set(scores) == set(blocks)
    for block in blocks:
        queries, keys = (
            seen[kind][block].double().view(3, 7, 4, 6).transpose(1, 2) for kind in ("query", "key")
        )  # (B, H, L, d)
        expected = torch.einsum("bhid,bhjd->bhij", queries, keys) / 6**0.5
        query, key, scale, value = scores[block]
        assert value is None
        assert torch.allclose((query @ key.transpose(-1, -2) * scale).double(), expected, atol=1e-6)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_output_is_that_of_the_models_own_attention(family: str) -> None:
    """With padding: a mask function that was not registered would be lost without an error."""
    model, plain = model_of(family), model_of(family)
    plain.set_attn_implementation("eager")
    ScoreReader(model, [1])
    inputs = batch()
    with torch.no_grad():
        assert torch.allclose(model(**inputs, output_attentions=True).logits, plain(**inputs).logits, atol=1e-6)
        assert torch.allclose(model(**inputs).logits, plain(**inputs).logits, atol=1e-6)


def test_the_gradient_reaches_queries_and_keys() -> None:
    model = model_of("bert").train()
    reader = ScoreReader(model, [2])
    query, key = reader.read(model(**batch(), output_attentions=True).attentions)[2][:2]
    (query @ key.transpose(-1, -2)).square().sum().backward()
    attention = model.bert.encoder.layer[2].attention.self
    assert attention.query.weight.grad.abs().sum() > 0
    assert attention.key.weight.grad.abs().sum() > 0
    assert model.training


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("values", [True, False, (1,), ()])
def test_values_of_the_blocks_that_were_asked_for(family: str, values: bool | tuple[int, ...]) -> None:
    """As the model's own projection gives them, in padded places too; queries and keys are as without."""
    model = model_of(family)
    seen: list[torch.Tensor] = []
    for name, module in model.named_modules():
        if name.endswith("." + VALUE.get(family, "value")):
            module.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    inputs = batch()
    reader = ScoreReader(model, (0, 1))
    without = reader.read(model(**inputs, output_attentions=True).attentions)
    reader = ScoreReader(model, (0, 1), values=values)
    seen.clear()
    got = reader.read(model(**inputs, output_attentions=True).attentions)
    asked = {True: (0, 1), False: ()}[values] if isinstance(values, bool) else values
    assert set(got) == {0, 1}
    for block, of in got.items():
        assert torch.equal(of.query, without[block].query)
        assert torch.equal(of.key, without[block].key)
        assert without[block].value is None
        if block in asked:
            assert of.value is not None
            torch.testing.assert_close(of.value, seen[block].view(3, 7, 4, 6).transpose(1, 2))
            assert of.value.requires_grad
        else:
            assert of.value is None
    assert got[0].mean_over_heads().value is None


def test_values_alone_ask_for_a_block() -> None:
    model = model_of("bert")
    reader = ScoreReader(model, [0], values=[2])
    got = reader.read(model(**batch(), output_attentions=True).attentions)
    assert {block: of.value is not None for block, of in got.items()} == {0: False, 2: True}


def test_a_later_reader_asks_anew() -> None:
    model = model_of("bert")
    ScoreReader(model, [0, 1], values=True)
    reader = ScoreReader(model, [1])
    assert [of.value for of in reader.read(model(**batch(), output_attentions=True).attentions).values()] == [None]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_keys_and_values_that_heads_share(dropout: float) -> None:
    """4 heads of queries, 2 of keys and values: each is given to its two heads."""
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 5, 3), torch.randn(2, 2, 5, 3), torch.randn(2, 2, 5, 3)
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    module.num_key_value_groups = 2  # type: ignore[assignment]
    module.returns_scores = module.returns_values = True  # type: ignore[assignment]
    _, of = attention.sdpa_with_scores(module, query, key, value, None, output_attentions=True, dropout=dropout)
    assert of is not None
    assert of.value is not None
    for head in range(4):
        assert torch.equal(of.key[:, head], key[:, head // 2])
        assert torch.equal(of.value[:, head], value[:, head // 2])


def test_nothing_of_it_is_saved(tmp_path: Path) -> None:
    model = model_of("bert")
    ScoreReader(model, [0])
    model.save_pretrained(tmp_path)
    assert "sdpa_with_scores" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(
    "config",
    [
        T5Config(vocab_size=60, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=4),
        DebertaV2Config(**WIDE),
    ],
)
def test_a_model_without_the_interface(config: PreTrainedConfig) -> None:
    with pytest.raises(UserError, match=f"{config.model_type!r} do not give their attention scores"):
        ScoreReader(AutoModelForSequenceClassification.from_config(config), [0])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_with_dropout_is_the_softmax_with_some_of_its_chances_dropped(
    masked: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the dropped places known; in float64 by the formula."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4).to(dtype).requires_grad_() for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()[:, None, None, :].expand(2, 1, 5, 5)
    factors = (torch.rand(2, 3, 5, 5) > 0.3) / 0.7
    monkeypatch.setattr(cpu, "drop_out", lambda chances, p: chances * factors)
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    given = mask if masked else None
    with autocast("bf16", torch.device("cpu")):  # casts no product in it
        output, _ = attention.sdpa_with_scores(module, query, key, value, given, scaling=0.5, dropout=0.3)
    weights = torch.randn_like(output, dtype=torch.float64)
    (output.double() * weights).sum().backward()

    twins = [x.detach().double().requires_grad_() for x in (query, key, value)]
    scores = 0.5 * twins[0] @ twins[1].transpose(-1, -2)
    if masked:
        scores = scores.masked_fill(~mask, -torch.inf)
    expected = ((scores.softmax(-1) * factors.double()) @ twins[2]).transpose(1, 2)
    (expected * weights).sum().backward()
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(output.double(), expected, **close)
    for own, twin in zip((query, key, value), twins, strict=True):
        assert own.grad is not None
        torch.testing.assert_close(own.grad.double(), twin.grad, **close)


@pytest.mark.parametrize("mask", [None, "bool", "row", "float"])
@pytest.mark.parametrize("length", [1, 7, 8, 13, 15, 16, 17, 23, 24, 31, 32, 47])
def test_any_number_of_keys(length: int, mask: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filled up or not; by the formula in float64, value and gradient."""
    torch.manual_seed(length)
    query, key, value = (torch.randn(3, 2, length, 5).requires_grad_() for _ in range(3))
    seen = torch.ones(3, 1, 1 if mask == "row" else length, length, dtype=torch.bool)
    if mask:
        seen[1, :, :, length // 2 + 1 :] = False
    added = torch.randn(seen.shape).masked_fill(~seen, -torch.inf) if mask == "float" else torch.zeros(seen.shape)
    given = {None: None, "float": added}.get(mask, seen)
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    keys: list[int] = []
    plain = attention.sdpa_attention_forward
    monkeypatch.setattr(
        attention, "sdpa_attention_forward", lambda *of, **more: keys.append(of[2].shape[2]) or plain(*of, **more)
    )
    output, made_of = attention.sdpa_with_scores(module, query, key, value, given, output_attentions=True)
    weights = torch.randn_like(output, dtype=torch.float64)
    (output.double() * weights).sum().backward()
    assert keys == [{8: 16, 13: 16, 15: 16, 24: 32, 31: 32}.get(length, length)]
    assert made_of is None

    twins = [x.detach().double().requires_grad_() for x in (query, key, value)]
    scores = (twins[0] @ twins[1].transpose(-1, -2)) / 5**0.5 + added.double()
    expected = (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ twins[2]).transpose(1, 2)
    (expected * weights).sum().backward()
    torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    for own, twin in zip((query, key, value), twins, strict=True):
        assert own.grad is not None
        torch.testing.assert_close(own.grad.double(), twin.grad, rtol=1e-4, atol=1e-5)


def test_the_scores_are_those_of_the_keys_that_are_there() -> None:
    query, key, value = (torch.randn(1, 2, 13, 4) for _ in range(3))
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    module.returns_scores = True  # type: ignore[assignment]
    _, made_of = attention.sdpa_with_scores(module, query, key, value, None, output_attentions=True)
    assert made_of is not None
    assert torch.equal(made_of.key, key)


@pytest.mark.parametrize("family", CONFIGS)
def test_training_takes_our_dropout_and_padding_stays_unseen(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands in padded places: with equal draws, the outputs are equal."""
    model = model_of(family)
    attention.replace_attention(model)
    calls = []
    drawn = cpu.drop_out
    monkeypatch.setattr(cpu, "drop_out", lambda *args: calls.append(args) or drawn(*args))
    outputs = []
    for filler in (1, 7):
        inputs = batch()
        inputs["input_ids"][inputs["attention_mask"] == 0] = filler
        if family in ("roberta", "xlm-roberta"):  # count their positions by the ids
            inputs["position_ids"] = torch.arange(2, 9).expand(3, 7)
        torch.manual_seed(3)
        outputs.append(model.train()(**inputs).logits)
    assert len(calls) == 2 * 3
    torch.testing.assert_close(outputs[0], outputs[1])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_scores_lose_nothing_to_bf16(dropout: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of a hundred, which bf16 would round to the next half: chances would be off by a third."""
    torch.manual_seed(0)
    monkeypatch.setattr(cpu, "drop_out", lambda chances, p: chances)
    query, key, value = (torch.randn(2, 3, 6, 16).to(dtype) for _ in range(3))
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    with autocast("bf16", torch.device("cpu")):
        output, _ = attention.sdpa_with_scores(module, query, key, value, None, scaling=20.0, dropout=dropout)
    assert output.dtype == dtype
    chances = (20.0 * query.double() @ key.double().transpose(-1, -2)).softmax(-1)
    expected = (chances @ value.double()).transpose(1, 2)
    close = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(output.double(), expected, rtol=close, atol=close)
