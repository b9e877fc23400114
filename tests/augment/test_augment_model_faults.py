"""Masked LMs that are not what they seem: told before the work, or taken for what they are."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
)

from augment import Augmenter, CandidateOptions
from augment.masked_lm import MaskedLM
from augment.words import is_content_word
from glue_tasks import UserError
from glue_tasks.errors import warn_once
from tinydistill.encoders.limits import accepted_inputs

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def model(tiny_mlm: str, tmp_path: Path) -> Path:
    shutil.copytree(tiny_mlm, tmp_path / "model")
    warn_once.cache_clear()
    return tmp_path / "model"


def slots(folder: Path, sentence: str = "a good film of an old city") -> list:
    augmenter = Augmenter(
        str(folder), None, CandidateOptions(multi_piece_words="mask"), device="cpu", precision="float32"
    )
    return augmenter.slots([sentence])[0]


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    weights = change(load_file(folder / "model.safetensors"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_without_a_place_are_told(model):
    edit_config(model, num_hidden_layers=1)
    with pytest.raises(UserError, match=r"bert.encoder.layer.1.attention.* and 15 more have no place"):
        MaskedLM.load(str(model))


def test_a_head_of_another_size_is_no_trained_one(model):
    edit_config(model, vocab_size=200)
    with pytest.raises(UserError, match="no trained masked-LM head"):
        MaskedLM.load(str(model))


def test_a_value_that_is_not_finite_is_told(model):
    def damage(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["bert.embeddings.word_embeddings.weight"][-1, 0] = torch.nan
        return weights

    edit_weights(model, damage)
    with pytest.raises(UserError, match="word_embeddings.weight holds a value that is not finite"):
        MaskedLM.load(str(model))


def test_a_config_without_its_type_and_weights_under_module_are_taken(model, caplog):
    expected = slots(model)
    edit_config(model, model_type=None, architectures=None)
    edit_weights(model, lambda weights: {f"module.{name}": weight for name, weight in weights.items()})
    with caplog.at_level(logging.WARNING):
        assert slots(model) == expected
    assert "has no model_type" in caplog.text
    assert "saved from inside a wrapper; module. before their names is left out" in caplog.text


def test_code_beside_the_weights_is_never_run(model):
    edit_config(model, model_type="mine", auto_map={"AutoConfig": "mine.Mine"})
    (model / "mine.py").write_text("raise SystemExit('was run')")
    with pytest.raises(UserError, match="needs code of its own"):
        MaskedLM.load(str(model))


def test_a_cased_vocabulary_alone_keeps_its_case(tmp_path, caplog):
    warn_once.cache_clear()
    words = ["the", "film", "story", "Paris", "London", "city", "Good", "good", "Bad", "bad", "of", "a"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertForMaskedLM(BertConfig(vocab_size=len(vocabulary), **SIZES)).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        lm = MaskedLM.load(str(tmp_path))
    assert lm.tokenizer.tokenize("Paris") == ["Paris"]
    assert "they are kept" in caplog.text


def test_a_model_of_one_segment_gets_no_second(model):
    """RoBERTa with BERT's tokenizer, which numbers the copy of the sentence as segment 1."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    RobertaForMaskedLM(
        RobertaConfig(vocab_size=len(tokenizer), type_vocab_size=1, pad_token_id=0, max_position_embeddings=64, **SIZES)
    ).save_pretrained(model)
    assert slots(model)


@pytest.mark.parametrize("exactly_m", [False, True])
def test_a_vocabulary_rounded_up_is_never_chosen_beyond_its_pieces(model, exactly_m):
    """Embeddings for a multiple of 64 pieces or of 8; the scores beyond the tokenizer's are of nothing."""
    tokenizer = BertTokenizer.from_pretrained(model)
    torch.manual_seed(0)
    rounded = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer) + 40, max_position_embeddings=64, **SIZES))
    with torch.no_grad():
        rounded.cls.predictions.bias[len(tokenizer) :] = 50.0  # the likeliest
        rounded.cls.predictions.bias[: len(tokenizer)] = 0.0
    rounded.save_pretrained(model)
    choices = CandidateOptions(multi_piece_words="fill,mask", candidates=60, exactly_m=exactly_m)
    (found,) = Augmenter(str(model), None, choices, device="cpu", precision="float32").slots(
        ["a good film of an actor"]
    )
    assert found
    assert all(candidate for slot in found for candidate in slot.candidates)


def test_a_tokenizer_with_more_pieces_than_the_model(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["[person]", "[place]"])
    tokenizer.save_pretrained(model)
    with pytest.raises(UserError, match="gives .* pieces, and the model has embeddings for"):
        MaskedLM.load(str(model))


@pytest.mark.parametrize("masking", ["exact", "joint"])
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("fnet", {"tpu_short_seq_length": 64}),  # takes no attention mask
        ("longformer", {"attention_window": [8, 8]}),  # its head looks for more than the last states
        ("ibert", {}),  # embeddings of a class of its own
        ("modernbert", {"local_attention": 16, "global_attn_every_n_layers": 2}),
        ("electra", {"embedding_size": 16}),
        ("mpnet", {}),
        ("deberta-v2", {}),
    ],
)
def test_other_architectures_answer_as_a_plain_pass_in_any_batch(model, name, sizes, masking):
    tokenizer = BertTokenizer.from_pretrained(model)
    special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    config = CONFIG_MAPPING[name](
        vocab_size=len(tokenizer), max_position_embeddings=80, initializer_range=0.4, **SIZES, **special, **sizes
    )
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config).save_pretrained(model)
    sentences = ["a good film", "films of an old city and a young actor by the river", "story"]

    def of_batch(size: int) -> list:
        choices = CandidateOptions(multi_piece_words="mask", masking=masking, candidates=9)
        augmenter = Augmenter(str(model), None, choices, batch_size=size, device="cpu", precision="float32")
        return augmenter.slots(sentences)

    assert of_batch(64) == of_batch(1)
    plain = AutoModelForMaskedLM.from_pretrained(model).eval()
    encoded = tokenizer("[MASK]", "story", return_tensors="pt")
    encoded = {key: value for key, value in encoded.items() if key in accepted_inputs(plain)}
    with torch.inference_mode():
        top = tokenizer.convert_ids_to_tokens(plain(**encoded).logits[0, 1].topk(9).indices.tolist())
    (slot,) = of_batch(64)[2]
    assert set(slot.candidates) == {piece for piece in top if is_content_word(piece) and piece != "story"}


def test_a_model_that_cannot_be_asked_is_told_before_the_work(model, monkeypatch):
    def forward(*_, **__):
        raise AttributeError("'BaseModelOutput' object has no attribute 'image_hidden_states'")

    monkeypatch.setattr(BertForMaskedLM, "forward", forward)
    with pytest.raises(UserError, match="a BertForMaskedLM, cannot be asked for words: 'BaseModelOutput' object"):
        MaskedLM.load(str(model))
