"""Published TinyBERT students, taken as they are on disk: loaded to the bit, or refused in a sentence."""

import itertools
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, BertForSequenceClassification

from glue_tasks import TASKS, UserError
from glue_tasks.errors import warn_once
from tests.tinydistill.conftest import PIECES, change_config
from tests.tinydistill.encoders.published import ODD_FIELDS, publish
from tests.tinydistill.encoders.test_weights import in_the_hubs_cache
from tinydistill.encoders.config import load_config
from tinydistill.encoders.skeleton import load_skeleton
from tinydistill.encoders.tokenizer import load_tokenizer
from tinydistill.encoders.weight_files import name_of_today
from tinydistill.encoders.weights import load_model
from tinydistill.models import load_classifier, load_fine_tuned
from tinydistill.students import load_projections

SST2 = TASKS["SST-2"]


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(found[key], tensor) for key, tensor in expected.items())


WAYS = [
    *({"prefix": prefix, "gamma": gamma} for prefix, gamma in itertools.product(["module.", ""], [True, False])),
    {"zipped": True},
    {"safe": True},
    {"safe": True, "prefix": ""},
    {"decoder": False},
    {"projections": "fit_dense", "zipped": True, "decoder": False},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_weights_are_taken_to_the_bit(tmp_path: Path, way: dict[str, Any]) -> None:
    weights = publish(tmp_path, **way)
    body = {key: tensor for key, tensor in weights.items() if key.startswith("bert.")}
    head = {key: tensor for key, tensor in weights.items() if key.startswith("cls.predictions.")}

    masked_lm, info = load_model(AutoModelForMaskedLM, str(tmp_path))
    without_pooler = {key: tensor for key, tensor in body.items() if "pooler" not in key}
    assert same(masked_lm.state_dict(), without_pooler | head)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert masked_lm.cls.predictions.decoder.weight is masked_lm.bert.embeddings.word_embeddings.weight
    assert torch.equal(masked_lm.cls.predictions.decoder.bias, weights["cls.predictions.bias"])
    assert masked_lm.name_or_path == str(tmp_path)

    classifier, info = load_model(AutoModelForSequenceClassification, str(tmp_path))
    assert same(classifier.state_dict(), body)
    assert sorted(info["missing_keys"]) == ["classifier.bias", "classifier.weight"]

    shared = way.get("projections") == "fit_dense"
    places = {"fit_dense.": "0."} if shared else {f"fit_denses.{m}.": f"{m}." for m in range(3)}
    found = load_projections(str(tmp_path))
    assert len(found) == 2 * len(places)
    for theirs, ours in places.items():
        assert all(torch.equal(found[ours + kind], weights[theirs + kind]) for kind in ("weight", "bias"))


@pytest.mark.parametrize("way", [{}, {"safe": True}, {"prefix": "", "zipped": True}], ids=str)
def test_nothing_odd_is_saved_again(tmp_path: Path, way: dict[str, Any]) -> None:
    """transformers itself renames weights back as it saves them, and makes `+bert.` of `module.bert.`."""
    weights = publish(tmp_path / "published", **way)
    model, _ = load_model(AutoModelForMaskedLM, str(tmp_path / "published"))
    model.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["model_type"] == "bert"
    assert config.keys().isdisjoint(ODD_FIELDS)
    again, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert same(again.state_dict(), {key: weights[key] for key in weights if key in model.state_dict()})
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"config.json", "model.safetensors"} | {
        path.name for path in (tmp_path / "saved").glob("generation_config.json")
    }


def test_a_decoder_of_its_own_stays(tmp_path: Path) -> None:
    publish(tmp_path)
    weights = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    own = torch.randn(len(PIECES), 16)
    torch.save({**weights, "module.cls.predictions.decoder.weight": own}, tmp_path / "pytorch_model.bin")
    model, _ = load_model(AutoModelForMaskedLM, str(tmp_path))
    assert torch.equal(model.cls.predictions.decoder.weight, own)
    words = weights["module.bert.embeddings.word_embeddings.weight"]
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, words)


def test_it_is_told_once_what_was_taken_for_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    publish(tmp_path)
    for _ in range(2):
        load_classifier(str(tmp_path), SST2, fresh_head=True)
        assert load_tokenizer(str(tmp_path)).tokenize("Good FILM") == ["good", "film"]
    assert caplog.text.count("has no model_type; its fields are BERT's, and it is taken for one") == 1
    assert caplog.text.count("were saved from inside a wrapper") == 1


@pytest.mark.parametrize("field", ["embedding_size", "model_type"])
def test_no_other_model_is_taken_for_a_bert(tmp_path: Path, field: str) -> None:
    publish(tmp_path)
    change_config(tmp_path, **{field: 8})
    with pytest.raises(UserError, match="cannot load the configuration"):
        load_config(str(tmp_path))


def test_weights_in_several_files(tmp_path: Path) -> None:
    expected = publish(tmp_path)
    weights = list(torch.load(tmp_path / "pytorch_model.bin", weights_only=True).items())
    (tmp_path / "pytorch_model.bin").unlink()
    parts = {f"pytorch_model-0000{i + 1}-of-00002.bin": dict(weights[i::2]) for i in range(2)}
    for file, part in parts.items():
        torch.save(part, tmp_path / file)
    index = {key: file for file, part in parts.items() for key in part}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    model, _ = load_model(AutoModelForMaskedLM, str(tmp_path))
    assert same(model.state_dict(), {key: expected[key] for key in expected if key in model.state_dict()})
    assert len(load_projections(str(tmp_path))) == 6
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(UserError, match=r"are not complete: there is no pytorch_model-00002-of-00002\.bin"):
        load_model(AutoModelForMaskedLM, str(tmp_path))
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../a.bin"}}')
    with pytest.raises(UserError, match=r"index\.json is damaged"):
        load_model(AutoModelForMaskedLM, str(tmp_path))


def test_sizes_are_counted_without_the_weights(tmp_path: Path) -> None:
    publish(tmp_path, zipped=True)
    weights = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    torch.save({key: tensor.half() for key, tensor in weights.items()}, tmp_path / "pytorch_model.bin")
    skeleton = load_skeleton(str(tmp_path))
    assert skeleton.source == "on disk"
    assert set(skeleton.dtypes.values()) == {torch.float16}
    change_config(tmp_path, hidden_size=18)
    with pytest.raises(UserError, match="word_embeddings.weight is 25 x 16 in the weights and 25 x 18 by config"):
        load_skeleton(str(tmp_path))


def test_a_head_whose_outputs_nobody_counted(tmp_path: Path) -> None:
    """Before transformers a configuration did not say how many labels there are."""
    weights = publish(tmp_path, BertForSequenceClassification, num_labels=3, projections="")
    model, _ = load_fine_tuned(str(tmp_path), TASKS["MNLI"])
    assert torch.equal(model.classifier.weight, weights["classifier.weight"])
    change_config(tmp_path, num_labels=2)
    with pytest.raises(UserError, match="classifier.bias is 3 in the weights and 2 by config.json"):
        load_fine_tuned(str(tmp_path), TASKS["MNLI"])


# What cannot be read


class Run:
    """Runs something as it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def cut(file: Path, by: int) -> None:
    file.write_bytes(file.read_bytes()[:-by])


def zip_of_something(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("notes.txt", "hello")


def zip_alike(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", "hello")
        made.writestr("archive/version", "3")


def one_value_changed(file: Path) -> None:
    with zipfile.ZipFile(file) as made:
        tensors = [part for part in made.infolist() if "/data/" in part.filename]
        largest = max(tensors, key=lambda part: part.file_size)
    held = bytearray(file.read_bytes())
    held[largest.header_offset + largest.file_size // 2] ^= 1
    file.write_bytes(held)


DAMAGED = "are damaged or cut off; copy or make them again"
HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut a little": (lambda file: cut(file, 100), DAMAGED),
    "cut in half": (lambda file: cut(file, file.stat().st_size // 2), DAMAGED),
    "one value changed": (one_value_changed, DAMAGED),
    "empty": (lambda file: file.write_bytes(b""), DAMAGED),
    "a page": (lambda file: file.write_text("<html>Not found</html>"), DAMAGED),
    "zip of something": (zip_of_something, DAMAGED),
    "zip alike": (zip_alike, DAMAGED),
    "runs": (lambda file: torch.save({"a": Run(file.with_name("ran"))}, file), "a pickle of something else than"),
    "plain pickle": (lambda file: file.write_bytes(pickle.dumps({"a": Path("x")})), "a pickle of something else"),
    "list": (lambda file: torch.save([torch.ones(2)], file), r"holds no weights .*\(list\); save them alone"),
    "tensor": (lambda file: torch.save(torch.ones(2), file), r"holds no weights .*\(Tensor\); save them alone"),
    "nothing": (lambda file: torch.save({}, file), r"holds no weights .*\(dict\); save them alone"),
    "nested": (lambda file: torch.save({"model": {"a": torch.ones(2)}, "epoch": 3}, file), r"\(model\); save them"),
    "numbered": (lambda file: torch.save({3: torch.ones(2)}, file), r"more than those \(3\); save them alone"),
    "pointer": (lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n"), "pointer of Git LFS"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, harm: str) -> None:
    publish(tmp_path, zipped=True)
    change, told = HARMS[harm]
    change(tmp_path / "pytorch_model.bin")
    for load in (
        lambda name: load_classifier(name, SST2, fresh_head=True),
        lambda name: load_model(AutoModelForMaskedLM, name),
        load_projections,
        load_skeleton,
    ):
        if (load, harm) == (load_skeleton, "one value changed"):  # which reads no values
            continue
        with pytest.raises(UserError, match=told) as error:
            load(str(tmp_path))
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("by", [100, 40_000])
def test_a_file_of_the_older_format_that_is_cut_off(tmp_path: Path, by: int) -> None:
    publish(tmp_path)
    cut(tmp_path / "pytorch_model.bin", by)
    for load in (lambda name: load_classifier(name, SST2, fresh_head=True), load_projections):
        with pytest.raises(UserError, match=DAMAGED):
            load(str(tmp_path))


def test_sums_that_were_never_written_are_no_damage(tmp_path: Path) -> None:
    publish(tmp_path, zipped=True)
    weights = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    with_sums = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(weights, tmp_path / "pytorch_model.bin")
    finally:
        torch.serialization.set_crc32_options(with_sums)
    assert load_classifier(str(tmp_path), SST2, fresh_head=True).num_labels == 2


def test_a_weight_with_two_names(tmp_path: Path) -> None:
    publish(tmp_path)
    weights = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    torch.save({**weights, "bert.embeddings.LayerNorm.weight": torch.ones(16)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"hold bert\.embeddings\.LayerNorm\.weight twice, under two names"):
        load_classifier(str(tmp_path), SST2, fresh_head=True)


def test_checkpoints_of_general_distillation_are_named(tmp_path: Path) -> None:
    publish(tmp_path)
    weights = (tmp_path / "pytorch_model.bin").rename(tmp_path / "step_900_pytorch_model.bin")
    (tmp_path / "step_1000_pytorch_model.bin").write_bytes(weights.read_bytes())
    (tmp_path / "training_args.bin").write_bytes(b"")
    told = (
        r"holds no model.safetensors or pytorch_model.bin, but step_900_pytorch_model.bin and "
        r"step_1000_pytorch_model.bin; rename the one to be used to pytorch_model.bin"
    )
    with pytest.raises(UserError, match=told):
        load_classifier(str(tmp_path), SST2, fresh_head=True)
    assert load_projections(str(tmp_path)) == {}
    for path in tmp_path.glob("step_*"):
        path.unlink()
    with pytest.raises(UserError, match=r"holds no model.safetensors or pytorch_model.bin; copy them there too"):
        load_classifier(str(tmp_path), SST2, fresh_head=True)


def test_names_that_only_look_odd_stay() -> None:
    for key in ("encoder.layer.0.gamma", "my_module.weight", "LayerNorm.gamma_1", "LayerNorm.weight"):  # fmt: skip
        assert name_of_today(key) == key


# From the hub


def test_a_published_student_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken from the hub's cache, offline, and nobody is asked to convert it."""
    weights = publish(tmp_path / "made")
    monkeypatch.setattr("transformers.modeling_utils.auto_conversion", lambda *_, **__: pytest.fail("a request"))
    name = in_the_hubs_cache(monkeypatch, tmp_path / "hub", "someone/TinyBERT_General_4L_312D", tmp_path / "made")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model, info = load_model(AutoModelForMaskedLM, name)
    assert not info["missing_keys"]
    assert model.name_or_path == model.config.name_or_path == name
    assert same(model.state_dict(), {key: weights[key] for key in weights if key in model.state_dict()})
    assert load_classifier(name, SST2, fresh_head=True).num_labels == 2
    assert len(load_projections(name)) == 6
    assert load_tokenizer(name).tokenize("GOOD films") == ["good", "film", "##s"]
    assert load_skeleton(name).source == "on disk"
