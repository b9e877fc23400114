"""Converted BERTs are those that they were written from, with each head, to the last bit."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, BertConfig

from glue_tasks.errors import UserError
from tests.tinydistill.convert.tensorflow_files import write_checkpoint
from tinydistill.__main__ import main
from tinydistill.convert.configs import read_config
from tinydistill.convert.converting import Converted, convert
from tinydistill.encoders.skeleton import load_skeleton
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.encoders.weights import load_model

JSON = {
    "vocab_size": 13,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "directionality": "bidi",  # the published JSONs have such entries, which no code reads
    "pooler_fc_size": 8,
}
USED = [key for key in JSON if key not in ("directionality", "pooler_fc_size")]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "中", "国", "##s", "."]
HEADS = [
    "ForPreTraining",
    "ForMaskedLM",
    "ForNextSentencePrediction",
    "ForSequenceClassification",
    "ForQuestionAnswering",
]


def draw_model(head: str = "ForPreTraining", **changes: Any) -> transformers.PreTrainedModel:
    torch.manual_seed(3)
    config = BertConfig(**({key: JSON[key] for key in USED} | changes))
    model = getattr(transformers, f"Bert{head}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too
            parameter.copy_(torch.randn_like(parameter))
    return model


def tensorflow_name(key: str) -> str:
    """A weight's name in Google's code."""
    if key.startswith(("classifier", "qa_outputs", "cls.seq_relationship")):
        scope = {"classifier": "", "qa_outputs": "cls/squad/", "cls": "cls/seq_relationship/"}[key.partition(".")[0]]
        return scope + ("output_weights" if key.endswith("weight") else "output_bias")
    key = re.sub(r"_embeddings\.weight$", "_embeddings", key)
    key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    key = re.sub(r"\.weight$", ".kernel", re.sub(r"layer\.(\d+)", r"layer_\1", key))
    return key.replace("cls.predictions.bias", "cls.predictions.output_bias").replace(".", "/")


def to_tensorflow(model: transformers.PreTrainedModel) -> dict[str, np.ndarray]:
    found = {}
    for key, tensor in model.state_dict().items():
        if not key.startswith("cls.predictions.decoder"):  # tied
            name = tensorflow_name(key if key.startswith(("bert.", "cls.", "class", "qa_")) else f"bert.{key}")
            found[name] = tensor.numpy().T if name.endswith("/kernel") else tensor.numpy()
    return found


def make(
    folder: Path, variables: dict[str, np.ndarray], changes: dict[str, Any] | None = None, **how: Any
) -> Converted:
    write_checkpoint(folder / "bert_model.ckpt", variables)
    (folder / "bert_config.json").write_text(json.dumps(JSON | (changes or {})))
    return convert(folder, folder / "bert_config.json", folder / "made", **how)


def test_options_of_another_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--lower-case is about a vocabulary, and there is no vocab.txt"):
        make(tmp_path, to_tensorflow(draw_model()), lower_case=True)
    with pytest.raises(UserError, match="--keep-padding-row is of MobileBERT, and .* is of bert"):
        make(tmp_path, to_tensorflow(draw_model()), keep_padding_row=True)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("head", [*HEADS, "Model"])
def test_every_weight_is_its_own(tmp_path: Path, head: str) -> None:
    labels = {"num_labels": 3} if head == "ForSequenceClassification" else {}
    layers = {"num_hidden_layers": 11 if head == "Model" else 2}  # two digits are a number too
    model = draw_model(head, **labels, **layers)
    variables = to_tensorflow(model)
    assert not [name for name in variables if "." in name]
    slots = {f"{name}/adam_{slot}": values * 0 for name, values in variables.items() for slot in "mv"}
    made = make(
        tmp_path, variables | slots | {"global_step": np.array(3, np.int64), "a/b": np.zeros(2, np.float32)}, layers
    )
    assert made.architecture == f"Bert{head}"
    assert made.left_out[0] == f"{2 * len(variables)} slots of the optimiser (adam_m, adam_v and such)"
    assert made.left_out[1:] == ("1 of the training's state (global_step and such)", "a/b")
    again, info = getattr(transformers, made.architecture).from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for key, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key
    assert made.parameters == sum(each.numel() for each in model.parameters())
    assert again.config.num_labels == labels.get("num_labels", 2)
    assert {key: getattr(again.config, key) for key in USED} == {key: JSON[key] for key in USED} | layers
    ids = torch.tensor([[2, 5, 6, 3, 0]])
    with torch.no_grad():
        mask = ids.ne(0).long()
        for ours, given in zip(again(ids, mask).to_tuple(), model(ids, mask).to_tuple(), strict=True):
            torch.testing.assert_close(ours, given)


def test_a_masked_lm_keeps_the_pooler_that_its_class_does_not_have(tmp_path: Path) -> None:
    model = draw_model()
    variables = {name: each for name, each in to_tensorflow(model).items() if "seq_relationship" not in name}
    assert make(tmp_path, variables).architecture == "BertForMaskedLM"
    masked, info = load_model(AutoModelForMaskedLM, str(tmp_path / "made"))
    assert not info["missing_keys"]
    assert torch.equal(masked.cls.predictions.bias, model.cls.predictions.bias)
    classifier, _ = load_model(AutoModelForSequenceClassification, str(tmp_path / "made"))
    assert torch.equal(classifier.bert.pooler.dense.weight, model.bert.pooler.dense.weight)
    load_skeleton(str(tmp_path / "made"))  # `parameters` counts it


def test_a_body_without_a_pooler_is_told(tmp_path: Path) -> None:
    variables = {name: each for name, each in to_tensorflow(draw_model("Model")).items() if "pooler" not in name}
    assert any("no pooler" in note for note in make(tmp_path, variables).notes)
    kept = {name: each for name, each in to_tensorflow(draw_model()).items() if "pooler" not in name}
    with pytest.raises(UserError, match="lacks bert/pooler/dense/kernel, bert/pooler/dense/bias of the model"):
        make(tmp_path, kept, overwrite=True)


def test_the_folder_holds_a_tokenizer_and_no_path(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    made = make(tmp_path, to_tensorflow(draw_model()))
    assert [note for note in made.notes if "in lower case and without accents, as vocab.txt looks" in note]
    assert [note for note in made.notes if "has 11 pieces and the model 13" in note]
    for tokenizer in (AutoTokenizer.from_pretrained(tmp_path / "made"), load_tokenizer(str(tmp_path / "made"))):
        assert tokenizer("Good films.", "中国")["input_ids"] == [2, 5, 6, 9, 10, 3, 7, 8, 3]
        assert tokenizer("Good", "中")["token_type_ids"] == [0, 0, 0, 1, 1]
        assert (tokenizer.model_max_length, tokenizer.pad_token_id) == (10, 0)
    files = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for name in files:
        assert str(tmp_path).encode() not in (tmp_path / "made" / name).read_bytes()
        assert b"_name_or_path" not in (tmp_path / "made" / name).read_bytes()


@pytest.mark.parametrize(
    ("pieces", "changes", "how", "ids"),
    [
        ([], {}, {}, [5, 6]),
        (["Good"], {}, {}, [11, 1]),  # a vocabulary with capitals is of a cased model
        (["Good"], {}, {"lower_case": True}, [5, 6]),
        (["Good"], {"do_lower_case": True}, {}, [5, 6]),
        ([], {"do_lower_case": False}, {}, [1, 1]),
        ([], {"do_lower_case": True}, {"lower_case": False}, [1, 1]),
    ],
)
def test_case(tmp_path: Path, pieces: list[str], changes: dict[str, Any], how: dict[str, Any], ids: list[int]) -> None:
    other = tmp_path / "other.txt"
    other.write_text("\r\n".join(VOCABULARY + pieces), encoding="utf-8")
    make(tmp_path, to_tensorflow(draw_model()), changes, vocab=other, **how)
    tokenizer = load_tokenizer(str(tmp_path / "made"))
    assert tokenizer("Good FILM")["input_ids"] == [2, *ids, 3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n".join([*VOCABULARY, "a", "b", "c"]), "has 14 pieces and the model 13"),
        ("[PAD]\n[UNK]\n[CLS]\ngood", r"has no piece \[SEP\], \[MASK\]"),
        ("", r"has no piece \[PAD\]"),
        (None, "there is no file .*vocab.txt"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "vocab.txt").write_text(text)
    with pytest.raises(UserError, match=told):
        make(tmp_path, to_tensorflow(draw_model()), vocab=tmp_path / "vocab.txt")
    assert not (tmp_path / "made").exists()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "IB-BERT": (
        {"use_bottleneck": True, "trigram_input": True, "intra_bottleneck_size": 16, "embedding_size": 4},
        "is an IB-BERT, MobileBERT's teacher",
    ),
    "no layer between": ({"use_bottleneck": False}, "has no trigram_input"),
    "ALBERT": ({"embedding_size": 4, "num_hidden_groups": 1}, "is the configuration of ALBERT"),
    "another type": ({"model_type": "electra"}, "is the configuration of 'electra'"),
    "heads": ({"num_attention_heads": 3}, "hidden_size in .* is 8, which 3 heads"),
    "no vocabulary": ({"vocab_size": None}, "has no vocab_size"),
    "text": ({"hidden_size": "8"}, "hidden_size in .* is '8'; it is a whole number"),
    "dropout": ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob in .* is 1.5; it is a number from 0 to 1"),
    "a list": ({"hidden_act": ["gelu"]}, "hidden_act in .* it is a name"),
    "activation": ({"hidden_act": "swish"}, "hidden_act in .* is 'swish'; it can be gelu"),
    "norm": ({"trigram_input": True, "normalization_type": "rms"}, "normalization_type in .* is 'rms'"),
    "a word": ({"trigram_input": "yes"}, "trigram_input in .* is 'yes'; it is true or false"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_json_that_cannot_be_converted_is_told(tmp_path: Path, name: str) -> None:
    changes, told = WRONG[name]
    (tmp_path / "c.json").write_text(json.dumps(JSON | changes))
    with pytest.raises(UserError, match=told):
        read_config(tmp_path / "c.json")


def test_absent_keys_are_the_codes_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"vocab_size": 30522}')
    bert = read_config(tmp_path / "c.json")
    assert (bert.model_type, bert.type_vocab_size, bert.hidden_act, bert.hidden_dropout_prob) == (
        "bert",
        16,
        "gelu",
        0.1,
    )
    (tmp_path / "c.json").write_text('{"vocab_size": 30522, "trigram_input": true, "embedding_size": 128}')
    mobile = read_config(tmp_path / "c.json")
    assert (mobile.model_type, mobile.hidden_act, mobile.hidden_size) == ("mobilebert", "gelu_new", 768)
    assert (mobile.num_feedforward_networks, mobile.normalization_type) == (1, "layer_norm")
    assert not mobile.use_bottleneck
    assert not mobile.key_query_shared_bottleneck
    assert mobile.true_hidden_size == 768
    (tmp_path / "c.json").write_text(
        '{"vocab_size": 9, "trigram_input": true, "use_bottleneck": true, "intra_bottleneck_size": 24,'
        ' "use_bottleneck_attention": true, "key_query_shared_bottleneck": true}'
    )
    both = read_config(tmp_path / "c.json")  # the code makes no bottleneck of queries and keys then
    assert (both.use_bottleneck_attention, both.key_query_shared_bottleneck) == (True, False)
    for content, told in (("[]", "holds no object"), ("{", "is not the JSON"), (b"\xff", "is not the JSON")):
        (tmp_path / "c.json").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError, match=told):
            read_config(tmp_path / "c.json")


def test_variables_that_are_no_weights_are_told_and_nothing_is_left(tmp_path: Path) -> None:
    variables = to_tensorflow(draw_model())
    name = "bert/encoder/layer_1/output/dense/bias"
    of_another = {each.replace("bert/", "electra/"): values for each, values in variables.items()}
    for changed, told in (
        (variables | {name: variables[name] * np.nan}, "layer.1.output.dense.bias holds a value that is not finite"),
        (variables | {name: variables[name].astype(np.int32)}, f"{name} in .* holds no floating-point numbers"),
        (variables | {name: variables[name].reshape(2, 4)}, f"{name} in .* is 2 x 4, and 8 by"),
        (of_another, "holds no variables of BERT or MobileBERT, whose names begin with bert/; it has cls, electra"),
        ({each: variables[each] for each in variables if each != name}, f"lacks {name} of the model"),
        (variables | {"bert/embeddings/more": np.zeros(2, np.float32)}, "has bert/embeddings/more, which"),
    ):
        with pytest.raises(UserError, match=told):
            make(tmp_path, changed)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bert_config.json",
        "bert_model.ckpt.data-00000-of-00001",
        "bert_model.ckpt.index",
    ]


def test_what_is_in_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = to_tensorflow(draw_model())
    (tmp_path / "made").mkdir()
    make(tmp_path, variables)  # an empty folder is as good as none
    with pytest.raises(UserError, match=r"holds a model; choose another --output, or replace it with --overwrite"):
        make(tmp_path, variables)
    before = (tmp_path / "made" / "model.safetensors").read_bytes()
    (tmp_path / "made.partial").mkdir()  # as a killed process leaves it
    (tmp_path / "made.partial" / "rest").touch()
    changed = variables | {"cls/predictions/output_bias": np.ones(13, np.float32)}
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(transformers.BertConfig, "save_pretrained", full)
        with pytest.raises(OSError, match="No space"):
            make(tmp_path, changed, overwrite=True)
    assert (tmp_path / "made" / "model.safetensors").read_bytes() == before
    make(tmp_path, changed, overwrite=True)
    assert (tmp_path / "made" / "model.safetensors").read_bytes() != before
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name != "made"]
    (tmp_path / "made" / "notes.txt").touch()
    for overwrite in (True, False):
        with pytest.raises(UserError, match=r"holds something else than a model \(notes\.txt\)"):
            make(tmp_path, variables, overwrite=overwrite)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCABULARY, "a", "b"]), encoding="utf-8")
    write_checkpoint(tmp_path / "bert_model.ckpt", to_tensorflow(draw_model()) | {"global_step": np.array(1, np.int64)})
    (tmp_path / "bert_config.json").write_text(json.dumps(JSON))
    given = ["convert", str(tmp_path / "bert_model.ckpt"), "--config", str(tmp_path / "bert_config.json")]
    given += ["--output", str(tmp_path / "out"), "--lower-case"]
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert not ended.value.code
    count = sum(each.numel() for each in draw_model().parameters())
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'out'}: BertForPreTraining of 2 layers, {count:,} parameters, from 46 variables",
        "not used: 1 of the training's state (global_step and such)",
    ]
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: the folder ")
    assert told.count("\n") == 1
