"""python -m tinydistill parameters: the counts against plain sums over storages, and what is shown of them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    MobileBertForMaskedLM,
    MobileBertForSequenceClassification,
    MobileBertModel,
)

from glue_tasks.errors import UserError
from tinydistill import parameter_table
from tinydistill.__main__ import main
from tinydistill.models import with_shared_weights
from tinydistill.parameters import Row, Tree, pairs, tree, trees
from tinydistill.shapes import mobilebert_config, parse

from .conftest import change_config, tiny_bert_config


def by_hand(model: nn.Module) -> int:
    """Values over the distinct memory of all parameters."""
    sizes = {
        p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() // p.element_size() for p in model.parameters()
    }
    return sum(sizes.values())


def row(told: Tree, name: str) -> Row:
    return next(each for each in told.rows if each.name == name)


def albert() -> AlbertForMaskedLM:
    sizes = {"vocab_size": 27, "embedding_size": 8, "hidden_size": 24, "intermediate_size": 32}
    return AlbertForMaskedLM(AlbertConfig(**sizes, num_attention_heads=2, num_hidden_layers=5))


MODELS = {
    "classifier": lambda: BertForSequenceClassification(tiny_bert_config()),
    "tied": lambda: BertForMaskedLM(tiny_bert_config()),
    "untied": lambda: BertForMaskedLM(tiny_bert_config(tie_word_embeddings=False)),
    "albert": albert,
    "one linear": lambda: nn.Linear(3, 2),
    "nothing": lambda: nn.Dropout(),
}


@pytest.mark.parametrize("depth", [1, 2, 9])
@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_by_hand(name: str, depth: int) -> None:
    model = MODELS[name]()
    told = tree(model, depth)
    assert told.whole.parameters == told.whole.trained == by_hand(model)
    assert told.whole.bytes == 4 * by_hand(model)
    assert max(each.depth for each in told.rows) <= depth
    for above in told.rows:  # what a row counts is what the rows right below it count
        inner = [each for each in told.rows if each.name.rpartition(".")[0] == above.name and each.name]
        if inner:
            assert sum(each.parameters for each in inner) == above.parameters
            assert sum(each.bytes for each in inner) == above.bytes
        modules = dict(model.named_modules())
        if above.name in modules and not above.shared_with:
            assert above.parameters == by_hand(modules[above.name])


def test_tied_weights_are_marked_and_counted_once() -> None:
    model = BertForMaskedLM(tiny_bert_config())
    told = tree(model, 4)
    words = model.bert.embeddings.word_embeddings.weight
    decoder = row(told, "cls.predictions.decoder.weight")
    assert (decoder.parameters, decoder.shared) == (0, words.numel())
    assert decoder.shared_with == ("bert.embeddings.word_embeddings.weight",)
    head = row(told, "cls")
    assert (head.shared, head.shared_with) == (words.numel(), decoder.shared_with)  # its two biases are one, within it
    assert told.whole.shared_with == row(told, "bert").shared_with == ()


def test_a_module_used_twice_is_named_as_one() -> None:
    layer = nn.Linear(3, 3)
    told = tree(nn.Sequential(layer, nn.ReLU(), layer), 2)
    assert (told.whole.parameters, row(told, "2").parameters) == (12, 0)
    assert (row(told, "2").shared, row(told, "2").shared_with) == (12, ("0",))
    assert row(told, "2.bias").shared_with == ("0.bias",)


def test_other_parameters_over_the_same_memory() -> None:
    model = BertForSequenceClassification(tiny_bert_config())
    twin = with_shared_weights(model)
    twin.requires_grad_(False)
    both = nn.ModuleDict({"frozen": twin, "trained": model})
    told = tree(both, 1)
    assert told.whole.parameters == told.whole.trained == by_hand(model)  # they are trained by their other name
    assert row(told, "trained").shared_with == ("frozen",)


def test_frozen_parameters() -> None:
    model = BertForSequenceClassification(tiny_bert_config())
    model.bert.embeddings.requires_grad_(False)
    told = tree(model)
    frozen = by_hand(model.bert.embeddings)
    assert (told.whole.frozen, row(told, "bert.embeddings").frozen, row(told, "bert").frozen) == (frozen,) * 3
    assert row(told, "classifier").frozen == row(told, "bert.embeddings").trained == 0
    text = shown([told])
    assert f"{frozen:,} of them frozen" in text
    assert line(text, "embeddings").split()[-1] == "frozen"
    assert line(text, "classifier").split()[-1] == "yes"
    assert line(text, "all").split()[-1] == f"{1 - frozen / by_hand(model):.1%}"


def test_buffers_are_named_and_not_counted() -> None:
    model = BertForSequenceClassification(tiny_bert_config())
    told = tree(model)
    assert [(each.name, each.values, each.bytes) for each in told.buffers] == [
        ("bert.embeddings.position_ids", 32, 256),
        ("bert.embeddings.token_type_ids", 32, 256),
    ]
    assert "buffers, which are no parameters: bert.embeddings.position_ids (32)" in shown([told])


def test_albert_shares_its_blocks() -> None:
    told = tree(albert(), 9)
    assert told.notes == ("its 5 blocks share the weights of 1, which is counted once",)
    assert told.notes[0] in shown([told])
    assert row(told, "predictions.decoder.weight").shared_with == ("albert.embeddings.word_embeddings.weight",)


@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertModel, BertForSequenceClassification])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_folder_is_counted_as_the_loaded_model(
    model_class: type[nn.Module], dtype: torch.dtype, tmp_path: Path
) -> None:
    model = model_class(tiny_bert_config()).to(dtype)
    model.save_pretrained(tmp_path, max_shard_size="20kB")  # in several files
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    (told,) = trees(str(tmp_path), depth=3)
    loaded = tree(model, 3)
    assert (told.rows, told.dtypes, told.buffers) == (loaded.rows, loaded.dtypes, loaded.buffers)
    assert (told.where, loaded.where, told.model) == ("on disk", "in memory", model_class.__name__)
    assert told.whole.bytes == model.dtype.itemsize * by_hand(model)


def test_each_weight_has_its_own_dtype_on_disk(tmp_path: Path) -> None:
    model = BertForSequenceClassification(tiny_bert_config()).half()
    model.classifier.float()
    model.save_pretrained(tmp_path)
    (told,) = trees(str(tmp_path))
    assert told.dtypes == ("float16", "float32")
    assert row(told, "classifier").bytes == 4 * by_hand(model.classifier)
    assert row(told, "bert").bytes == 2 * by_hand(model.bert)
    assert "MB in float16 and float32, on disk" in shown([told])


def test_without_weights_the_configuration_tells_the_dtype(tmp_path: Path) -> None:
    tiny_bert_config(architectures=["BertForSequenceClassification"], dtype="bfloat16").save_pretrained(tmp_path)
    (told,) = trees(str(tmp_path))
    assert (told.dtypes, told.where) == (("bfloat16",), "as its configuration says")
    change_config(tmp_path, dtype=None, architectures=None)
    (told,) = trees(str(tmp_path))
    assert (told.model, told.dtypes) == ("BertModel", ("float32",))


def test_teacher_and_student_beside_each_other() -> None:
    teacher = tree(BertForMaskedLM(tiny_bert_config()), 4)
    student = tree(BertForSequenceClassification(tiny_bert_config(layers=2, hidden_size=12)), 4)
    told = {pair.name: pair for pair in pairs(teacher, student)}
    assert set(told) == {each.name for each in (*teacher.rows, *student.rows)}
    assert told[""].times_smaller == teacher.whole.parameters / student.whole.parameters
    assert told["bert.encoder.layer.3"].second is None
    assert told["classifier"].first is None
    assert told["cls"].times_smaller is told["classifier"].times_smaller is None
    names = list(told)
    for name in names[1:]:  # each stands in the part of what holds it
        above = name.rpartition(".")[0]
        between = names[names.index(above) + 1 : names.index(name)]
        assert all(each.startswith(f"{above}." if above else "") for each in between)
    text = shown([teacher, student])
    assert line(text, "bert").split()[1:4] == [
        f"{told['bert'].first.parameters:,}",
        f"{told['bert'].second.parameters:,}",
        f"{told['bert'].times_smaller:.2f}",
    ]
    assert line(text, "classifier").split() == [
        "classifier",
        "26",
        f"{26 / student.whole.parameters:.1%}",
        "0.00",
        "yes",
    ]


def test_a_body_alone_aligns_with_one_under_a_head(tmp_path: Path) -> None:
    BertModel(tiny_bert_config()).save_pretrained(tmp_path / "body")
    BertForMaskedLM(tiny_bert_config()).save_pretrained(tmp_path / "headed")
    told = {pair.name: pair for pair in pairs(*trees(str(tmp_path / "body"), str(tmp_path / "headed")))}
    assert told["bert.encoder"].times_smaller == told["bert.embeddings"].times_smaller == 1.0
    assert told["bert.pooler"].second is None
    alone = trees(str(tmp_path / "body"))[0]
    assert "encoder" in {each.name for each in alone.rows}
    # Both without a head: as they are.
    assert "encoder" in {each.name for each in trees(str(tmp_path / "body"), str(tmp_path / "body"))[1].rows}


def test_a_student_that_is_not_built_yet(tmp_path: Path) -> None:
    BertForSequenceClassification(tiny_bert_config()).save_pretrained(tmp_path)
    _, told = trees(str(tmp_path), "shape:layers=2,hidden=16,heads=2,ffn=20")
    config = tiny_bert_config(layers=2, hidden_size=16, intermediate_size=20)
    assert told.rows == tree(BertForSequenceClassification(config)).rows
    assert told.where == "as it is built"
    _, told = trees(str(tmp_path), "init:layers=3")
    assert told.rows == tree(BertForSequenceClassification(tiny_bert_config(layers=3))).rows


@pytest.mark.parametrize(
    ("of", "made"),
    [
        (BertForSequenceClassification, MobileBertForSequenceClassification),
        (BertForMaskedLM, MobileBertForMaskedLM),
        (BertModel, MobileBertModel),
    ],
)
def test_a_mobilebert_beside_a_bert(tmp_path: Path, of: Any, made: Any) -> None:
    of(tiny_bert_config()).save_pretrained(tmp_path)
    _, told = trees(str(tmp_path), "shape:layers=2,hidden=32,bottleneck=16,heads=2,ffn=24")
    config = mobilebert_config(parse("layers=2,hidden=32,bottleneck=16,heads=2,ffn=24"), tiny_bert_config())
    assert told.model == made.__name__
    assert told.whole.parameters == made(config).num_parameters()


def test_json_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    BertForMaskedLM(tiny_bert_config()).save_pretrained(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["parameters", str(tmp_path), "init:layers=2", "--json", "--depth", "1"])
    assert stop.value.code == 0
    told = json.loads(capsys.readouterr().out)
    expected = trees(str(tmp_path), "init:layers=2", 1)
    assert [each["parameters"] for each in told["models"]] == [each.whole.parameters for each in expected]
    assert [each["name"] for each in told["models"][0]["rows"]] == ["", "bert", "cls"]
    assert told["models"][0]["rows"][2]["shared_with"] == ["bert.embeddings.word_embeddings.weight"]
    assert told["pairs"][0]["times_smaller"] == pairs(*expected)[0].times_smaller
    assert told["models"][0]["bytes_are"] == "on disk"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{model}", "--depth", "0"], "a depth of 0 shows no module; give --depth 1 or more"),
        (["./no-such"], "there is no model folder ./no-such"),
        (["{model}", "./no-such"], "there is no model folder ./no-such"),
        (["tinybert-4l-312d"], "tinybert-4l-312d is the form of a student"),
        (["{model}", "shape:layers=2"], "'shape:layers=2' cannot be read"),
    ],
)
def test_mistakes(arguments: list[str], sentence: str, checkpoint: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["parameters", *(each.format(model=checkpoint) for each in arguments)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_damaged_models(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:500])
    with pytest.raises(UserError, match="are damaged or cut off"):
        trees(str(checkpoint))
    weights.write_bytes(whole)
    change_config(checkpoint, intermediate_size=33)
    with pytest.raises(UserError, match="is 32 x 24 in the weights and 33 x 24 by config.json"):
        trees(str(checkpoint))
    change_config(checkpoint, intermediate_size=32, num_attention_heads=5)
    with pytest.raises(UserError, match="cannot build the model of"):
        trees(str(checkpoint))


def test_an_incomplete_copy(tmp_path: Path) -> None:
    BertModel(tiny_bert_config()).save_pretrained(tmp_path, max_shard_size="20kB")
    next(iter(sorted(tmp_path.glob("*.safetensors")))).unlink()
    with pytest.raises(UserError, match=r"are not complete: there is no model-00001"):
        trees(str(tmp_path))


def test_code_of_a_models_own_is_not_run(checkpoint: Path) -> None:
    (checkpoint / "own.py").write_text("raise SystemExit('it ran')")
    change_config(checkpoint, auto_map={"AutoModel": "own.Own"}, architectures=["Own"])
    assert trees(str(checkpoint))[0].model == "BertModel"


def test_nothing_is_cut_off_on_a_narrow_terminal() -> None:
    told = [tree(BertForMaskedLM(tiny_bert_config()), 4)] * 2
    assert "…" not in shown(told, width=40)
    assert "bert.embeddings.word_embeddings.weight" in shown(told, width=40)


def shown(told: list[Tree], width: int = 80) -> str:
    file = io.StringIO()
    parameter_table.show(told, Console(file=file, width=width, highlight=False))
    return file.getvalue()


def line(text: str, name: str) -> str:
    return next(each for each in text.splitlines() if each.split()[:1] == [name])
