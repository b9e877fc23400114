"""Products prepared once give what the model's own give."""

import contextlib
import platform

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from tinydistill.encoders.cpu import products
from tinydistill.encoders.cpu.products import PackedLinear, packed_products, prepare_products
from tinydistill.encoders.precision import autocast

X86 = platform.machine().lower() in ("x86_64", "amd64")
CPU = torch.device("cpu")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
needs_bf16 = pytest.mark.skipif(not products._has_bf16(), reason="oneDNN has no bf16 products for this processor")
PACKED = ["float32", pytest.param("bf16", marks=needs_bf16)]


@pytest.fixture(autouse=True)
def avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed products run with AVX2 too, and are tested there; they are only slower."""
    monkeypatch.setattr(products, "_has_avx512", lambda: True)


@pytest.mark.parametrize("precision", PACKED)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 7), (2, 600, 33), (4, 16), (0, 8)])
def test_a_layer_is_the_formula_in_float64(shape: tuple[int, ...], bias: bool, precision: str) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(shape[-1], 19, bias=bias)
    states = torch.randn(shape)
    with torch.no_grad(), autocast(precision, CPU):
        out = PackedLinear(linear, DTYPES[precision])(states)
    assert out.dtype == DTYPES[precision]
    rounded = states.to(out.dtype).double()
    expected = rounded @ linear.weight.to(out.dtype).double().T
    if bias:
        expected += linear.bias.to(out.dtype).double()
    close = {"rtol": 1e-5, "atol": 1e-5} if precision == "float32" else {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(out.double(), expected.detach(), **close)


def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=16, num_labels=3
    )
    return BertForSequenceClassification(config).eval()


@pytest.mark.parametrize("precision", PACKED)
@pytest.mark.parametrize("able", [True, False])
def test_a_model_gives_what_it_gave(precision: str, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed, and where they cannot be packed: in bf16 as autocast casts, in float32 as they are."""
    if not able:
        monkeypatch.setattr(products, "_can_pack", lambda *of: False)
    bert = model()
    ids, mask = torch.randint(5, 60, (3, 7)), torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6])
    with torch.no_grad(), autocast(precision, CPU):
        before = bert(ids, mask, output_hidden_states=True)
        prepare_products(bert, precision)
        after = bert(ids, mask, output_hidden_states=True)
    assert [type(layer) for layer in _layers(bert)] == 14 * [PackedLinear if able else nn.Linear]
    assert bert.bert.embeddings.word_embeddings.weight.dtype == torch.float32
    close = {"rtol": 0, "atol": 0} if not able else {"rtol": 1e-2, "atol": 1e-2} if precision == "bf16" else {}
    for one, other in zip(before.hidden_states, after.hidden_states, strict=True):
        torch.testing.assert_close(one, other, **close)
    torch.testing.assert_close(before.logits, after.logits, **close)


def test_what_is_prepared_stays_as_it_is() -> None:
    bert = model()
    prepare_products(bert, "float32")
    first = bert.bert.encoder.layer[0].intermediate.dense
    prepare_products(bert, "float32")
    assert bert.bert.encoder.layer[0].intermediate.dense is first


@pytest.mark.parametrize("able", [True, False])
def test_embeddings_that_share_a_layers_weights_stay_float32(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not able:
        monkeypatch.setattr(products, "_can_pack", lambda *of: False)
    embedding = nn.Embedding(9, 4)
    holder = nn.Sequential(embedding, nn.Linear(4, 9))
    holder[1].weight = embedding.weight
    prepare_products(holder, "bf16")
    assert embedding.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", PACKED)
def test_for_as_long_as_a_context_lasts(precision: str) -> None:
    bert = model()
    layers, weights = _layers(bert), {name: values.clone() for name, values in bert.state_dict().items()}
    ids = torch.randint(5, 60, (3, 7))
    with torch.inference_mode(), autocast(precision, CPU):
        before = bert(ids).logits
        with contextlib.suppress(KeyboardInterrupt), packed_products(bert, precision):
            inside = bert(ids).logits
            assert {type(layer) for layer in _layers(bert)} == {PackedLinear}
            raise KeyboardInterrupt
    close = {"rtol": 1e-2, "atol": 1e-2} if precision == "bf16" else {}
    torch.testing.assert_close(inside, before, **close)
    assert all(one is other for one, other in zip(_layers(bert), layers, strict=True))
    assert all(torch.equal(values, weights[name]) for name, values in bert.state_dict().items())
    bert.train()(ids).logits.sum().backward()  # can still be trained


@pytest.mark.parametrize("precision", DTYPES)
def test_another_kind_of_processor_packs_nothing(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products.platform, "machine", lambda: "aarch64")
    bert = model()
    with packed_products(bert, precision):
        assert {type(layer) for layer in _layers(bert)} == {nn.Linear}
    prepare_products(bert, precision)
    assert {layer.weight.dtype for layer in _layers(bert)} == {DTYPES[precision]}


@pytest.mark.parametrize(("capability", "packs"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False)])
def test_float32_is_packed_where_that_is_faster(capability: str, packs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    bert = model()
    prepare_products(bert, "float32")
    assert {type(layer) for layer in _layers(bert)} == {PackedLinear if packs and X86 else nn.Linear}


def _layers(bert: nn.Module) -> list[nn.Module]:
    return [module for module in bert.modules() if isinstance(module, nn.Linear | PackedLinear)]
