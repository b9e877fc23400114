import contextlib
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from augment.candidate_options import CandidateOptions
from augment.masked_lm import MaskedLM
from augment.words import find_words
from glue_tasks import UserError
from tinydistill.encoders.cpu import int8


def ask(lm: MaskedLM, *sentences: str, **settings: bool):
    words = [[word for word in find_words(sentence) if word.replaceable] for sentence in sentences]
    return lm.candidates(sentences, words, **settings)


@pytest.fixture(scope="module")
def lm(tiny_mlm):
    return MaskedLM.load(tiny_mlm, device="cpu", precision="float32")


@contextlib.contextmanager
def favouring(lm: MaskedLM, *pieces: str):
    """Make these the likeliest pieces at every place, the first the most."""
    scores = torch.zeros(len(lm.tokenizer))
    scores[lm.tokenizer.convert_tokens_to_ids(list(pieces))] = torch.arange(len(pieces), 0, -1.0)
    hook = lm._model.cls.register_forward_hook(lambda module, inputs, output: scores.expand_as(output))
    yield
    hook.remove()


def test_what_may_not_stand_for_a_word_is_dropped_after_the_top_m(lm, monkeypatch):
    top = ["##s", "[SEP]", "[UNK]", "the", "not", ".", "42", "t", "é", "story", "plot", "film"]
    with favouring(lm, *top):
        monkeypatch.setattr(lm, "m", len(top))
        assert ask(lm, "a Film .") == ([[("story", "plot")]], 0)
        monkeypatch.setattr(lm, "m", len(top) - 2)
        assert ask(lm, "a Film .") == ([[("story",)]], 0)  # fewer than M, and none fetched from further down


def test_words_of_several_pieces_or_none(lm):
    (answers,), _ = ask(lm, "gripping film zebra unreal")
    assert [answer is None for answer in answers] == [True, False, True, True]


def test_nothing_asked(lm):
    assert lm.candidates([], []) == ([], 0)
    assert ask(lm, "", "the 42") == ([[], []], 0)


def test_a_long_sentence_shows_a_window_around_the_masked_word(lm):
    # 64 pieces hold [CLS], [SEP], [SEP] and two windows of 30.
    words = ["good", "bad", "cold", "warm", "dull", "long", "sad"] * 6
    sentence = " ".join(words)
    (answers,), windowed = ask(lm, sentence)
    assert windowed == 1
    assert len(answers) == len(words)
    for position in (0, 5, 15, 16, 26, 27, 28, 41):
        begin = min(max(position - 15, 0), len(words) - 30)
        (of_window,), none = ask(lm, " ".join(words[begin : begin + 30]))
        assert none == 0
        assert answers[position] == of_window[position - begin]
    assert ask(lm, " ".join(words[:30]))[1] == 0
    assert ask(lm, " ".join(words[:31]))[1] == 1


def test_a_window_around_one_mask_for_several_pieces(lm):
    words = ["good", "bad", "cold", "warm", "dull", "long"] * 7
    words[20] = (
        "gripping"  # two pieces: of the 43 the window holds those from 5 to 35, so that the mask is in its middle
    )
    (answers,), windowed = ask(lm, " ".join(words), multi_piece_words=True)
    assert windowed == 1
    (of_window,), _ = ask(lm, " ".join(words[5:34]), multi_piece_words=True)
    assert answers[20] is not None
    assert answers[20] == of_window[15]
    assert ask(lm, "a gripping film")[0][0][0] is None


def test_a_mask_token_in_the_text_is_text(lm):
    (answers,), _ = ask(lm, "[MASK] a good film")
    (other,), _ = ask(lm, "the a good film")
    assert answers[-1] is not None
    assert len(answers) == len(other)  # "[MASK]" is a placeholder, and no word


def test_a_head_of_another_shape(tiny_mlm, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_mlm)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=1, n_heads=2, hidden_dim=64, max_position_embeddings=64,
        initializer_range=0.4,
    )  # fmt: skip
    torch.manual_seed(0)
    DistilBertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(tmp_path)
    (answers,), _ = ask(
        MaskedLM.load(str(tmp_path), CandidateOptions(candidates=5), precision="float32"), "a good film"
    )
    model = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    encoded = tokenizer("a good [MASK]", "a good film", return_tensors="pt")
    top = model(**encoded).logits[0, 3].topk(5).indices.tolist()
    assert answers[1] == tuple(lm_word for lm_word in tokenizer.convert_ids_to_tokens(top) if candidate(lm_word))


def candidate(piece: str) -> bool:
    return any(word.replaceable and word.text == piece and piece != "film" for word in find_words(piece))


def test_bf16_ranks_nearly_as_float32(tiny_mlm, lm):
    sentence = "a good film of an old city and a young actor"
    (exact,), _ = ask(lm, sentence)
    (rounded,), _ = ask(MaskedLM.load(tiny_mlm, device="cpu", precision="bf16"), sentence)
    shared = sum(len(set(a) & set(b)) for a, b in zip(exact, rounded, strict=True))
    assert shared >= 0.8 * sum(map(len, exact))
    assert rounded != [()] * len(rounded)


@pytest.mark.skipif(not int8.steps(), reason="8-bit products need an x86 processor and oneDNN")
def test_8_bits_rank_nearly_as_float32(tiny_mlm, lm):
    """And a sentence's answers depend on no other sentence."""
    sentences = ["a good film of an old city and a young actor", "the plot", "bad scene"]
    exact, _ = ask(lm, *sentences)
    asked = MaskedLM.load(tiny_mlm, device="cpu", precision="int8")
    rounded, _ = ask(asked, *sentences)
    pairs = [(set(a), set(b)) for of, by in zip(exact, rounded, strict=True) for a, b in zip(of, by, strict=True)]
    assert sum(len(a & b) for a, b in pairs) >= 0.8 * sum(len(a) for a, _ in pairs)
    assert [ask(asked, sentence)[0][0] for sentence in sentences] == rounded


class TestRefusals:
    def test_folder_that_is_not_there(self):
        for name in ("./nowhere", "/nowhere/at/all", "a/b/c"):
            with pytest.raises(UserError, match=f"there is no model folder {name}"):
                MaskedLM.load(name, CandidateOptions(candidates=5))

    def test_folder_without_a_model(self, tmp_path):
        with pytest.raises(UserError, match="no config.json") as error:
            MaskedLM.load(str(tmp_path), CandidateOptions(candidates=5))
        assert "\n" not in str(error.value)

    def test_hub_id_out_of_reach(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match="there is no folder nobody/no-such-model here, and") as error:
            MaskedLM.load("nobody/no-such-model", CandidateOptions(candidates=5))
        assert "\n" not in str(error.value)

    def test_damaged_weights(self, tiny_mlm, tmp_path):
        shutil.copytree(tiny_mlm, tmp_path / "model")
        (tmp_path / "model" / "model.safetensors").write_bytes(b"half a file")
        with pytest.raises(UserError, match="model are damaged or cut off"):
            MaskedLM.load(str(tmp_path / "model"), CandidateOptions(candidates=5))

    def test_a_classifier_has_no_masked_lm_head(self, tiny_mlm, tmp_path):
        shutil.copytree(tiny_mlm, tmp_path / "model")
        config = BertConfig.from_pretrained(tiny_mlm)
        BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
        with pytest.raises(UserError, match=r"no trained masked-LM head \(missing: cls.predictions"):
            MaskedLM.load(str(tmp_path / "model"), CandidateOptions(candidates=5))

    def test_a_model_of_another_kind(self, tiny_mlm, tmp_path):
        shutil.copytree(tiny_mlm, tmp_path / "model")
        GPT2LMHeadModel(GPT2Config(vocab_size=90, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path / "model")
        with pytest.raises(UserError, match="is no masked LM, which transformers does not have for the type gpt2"):
            MaskedLM.load(str(tmp_path / "model"), CandidateOptions(candidates=5))

    def test_device_and_precision(self, tiny_mlm):
        with pytest.raises(UserError, match="no device 'abacus'"):
            MaskedLM.load(tiny_mlm, CandidateOptions(candidates=5), device="abacus")
        with pytest.raises(UserError, match="--precision is one of auto, bf16, fp16, float32, int8, not 'half'"):
            MaskedLM.load(tiny_mlm, CandidateOptions(candidates=5), precision="half")
        with pytest.raises(UserError, match="precision fp16 is for GPUs; take bf16 or float32"):
            MaskedLM.load(tiny_mlm, CandidateOptions(candidates=5), device="cpu", precision="fp16")

    def test_8_bits_where_there_are_no_such_products(self, tiny_mlm, monkeypatch):
        monkeypatch.setattr("tinydistill.encoders.cpu.int8.steps", lambda: 0)
        with pytest.raises(UserError, match="which are not here; choose another precision than int8"):
            MaskedLM.load(tiny_mlm, CandidateOptions(candidates=5), device="cpu", precision="int8")

    def test_a_model_without_its_tokenizer(self, tiny_mlm, tmp_path):
        """transformers would make one to which every word is unknown."""
        shutil.copytree(tiny_mlm, tmp_path / "model", ignore=shutil.ignore_patterns("token*", "vocab*"))
        with pytest.raises(UserError, match="model holds no tokenizer beside its model; copy there that of the model"):
            MaskedLM.load(str(tmp_path / "model"))


def test_weights_stored_in_half_precision_are_read_as_float32(tiny_mlm, tmp_path):
    shutil.copytree(tiny_mlm, tmp_path / "model")
    AutoModelForMaskedLM.from_pretrained(tiny_mlm, dtype=torch.float16).save_pretrained(tmp_path / "model")
    loaded = MaskedLM.load(str(Path(tmp_path / "model")), CandidateOptions(candidates=5), precision="float32")
    assert {parameter.dtype for parameter in loaded._model.parameters()} == {torch.float32}


def test_a_head_that_looks_for_the_embeddings_of_its_encoder(tiny_mlm, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_mlm)
    config = DebertaV2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        legacy=False,
    )  # fmt: skip
    DebertaV2ForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (answers,), _ = ask(MaskedLM.load(str(tmp_path), precision="float32"), "a good film")
    assert all(answers)
