"""Which architectures work in which phase, as README's table says: looked at ahead, and trained for two steps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from glue_tasks import TASKS, UserError
from tests.tinydistill.of_tasks import intermediate, prediction
from tests.tinydistill.runs import refused, run
from tinydistill import phase_run, probe
from tinydistill.checks import check_positions
from tinydistill.encoders.config import load_config
from tinydistill.encoders.limits import accepted_inputs, depends_on_padding, position_limit
from tinydistill.kinds import kind_of
from tinydistill.layer_map import uniform
from tinydistill.narrowing import BERT_LIKE
from tinydistill.phases import PHASES
from tinydistill.students import StudentSpec, student_config

from .conftest import PIECES, fails

SST2 = TASKS["SST-2"]
LENGTH = 40  # of the table of positions

SIZES = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 4}
SIZES |= {"num_attention_heads": 2, "max_position_embeddings": LENGTH, "hidden_dropout_prob": 0.1}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
BOTTLENECK = {"true_hidden_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 4}
OWN_SIZES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16, "num_hidden_groups": 2},
    "convbert": {"embedding_size": 24},
    "distilbert": {"dim": 24, "hidden_dim": 32, "n_layers": 4, "n_heads": 2},
    "electra": {"embedding_size": 16},
    "eurobert": {"num_key_value_heads": 1, "head_dim": 12},
    "longformer": {"attention_window": [4, 4, 4, 4]},
    "mobilebert": {"embedding_size": 16, **BOTTLENECK},
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 3},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": {"type_vocab_size": 1},
    "squeezebert": {"embedding_size": 24, **dict.fromkeys(("q_groups", "k_groups", "v_groups"), 1),
                    **dict.fromkeys(("post_attention_groups", "intermediate_groups", "output_groups"), 1)},
}  # fmt: skip
WORKS = {
    "both": "albert bert camembert data2vec-text distilbert electra ernie eurobert gte mobilebert modernbert "
    "nomic_bert roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl",
    "prediction": "big_bird convbert deberta deberta-v2 fnet ibert longformer megatron-bert mpnet nystromformer "
    "rembert roformer squeezebert yoso",
}
BOTH, PREDICTION = WORKS["both"].split(), WORKS["prediction"].split()
COPIED_TEXT, FRESH_TEXT = "init:layers=2", "shape:layers=2,hidden=16,heads=2,ffn=20"
COPIED, FRESH = StudentSpec.parse(COPIED_TEXT), StudentSpec.parse(FRESH_TEXT)


def config_of(model_type: str, **changes: object) -> PreTrainedConfig:
    config = AutoConfig.for_model(model_type, **{**SIZES, **TOKENS, **OWN_SIZES.get(model_type, {}), **changes})
    config.update(kind_of(SST2).head())
    return config


def check(phase: str, spec: StudentSpec, teacher: PreTrainedConfig, **how: bool) -> None:
    maps = uniform(4, 2)
    compared = intermediate(maps, projection="per-layer") if phase == "intermediate" else prediction(SST2)
    copied = spec.copied(maps)
    student = student_config(spec, teacher, SST2, copied or maps.blocks)
    models = (student, {"teacher": teacher})
    probe.check_phase(PHASES[phase], kind_of(SST2), compared, *models, LENGTH // 2, copied, **how)


@pytest.mark.parametrize("spec", [COPIED, FRESH], ids=["init", "shape"])
@pytest.mark.parametrize("model_type", BOTH)
def test_both_phases(model_type: str, spec: StudentSpec) -> None:
    for phase in ("intermediate", "prediction"):
        check(phase, spec, config_of(model_type))


@pytest.mark.parametrize("model_type", BERT_LIKE)
def test_narrowed_blocks_in_both_phases(model_type: str) -> None:
    for phase in ("intermediate", "prediction"):
        check(phase, StudentSpec.parse("init:layers=1,3,hidden=12"), config_of(model_type))


def test_a_mobilebert_of_a_teacher_of_any_type() -> None:
    text = "shape:layers=2,hidden=24,heads=2,ffn=12,embedding=10,bottleneck=8,networks=2,shared=no"
    for model_type in ("bert", "roberta", "distilbert", "mobilebert"):
        for phase in ("intermediate", "prediction"):
            check(phase, StudentSpec.parse(text), config_of(model_type))


def test_what_cannot_be_computed_again_is_told_ahead() -> None:
    check("prediction", COPIED, config_of("bert"), recompute=True)
    with pytest.raises(UserError, match="'albert' cannot compute their activations again"):
        check("prediction", COPIED, config_of("albert"), recompute=True)


@pytest.mark.parametrize("model_type", PREDICTION)
def test_the_prediction_phase_alone(model_type: str) -> None:
    for spec in (COPIED, FRESH):
        check("prediction", spec, config_of(model_type))
    with pytest.raises(UserError, match=r"do not give their attention scores .*--phase prediction alone"):
        check("intermediate", COPIED, config_of(model_type))


@pytest.mark.parametrize("model_type", [*BOTH, *PREDICTION])
def test_every_position_can_be_taken(model_type: str) -> None:
    config = config_of(model_type)
    limit = position_limit(config)
    assert limit is not None
    assert 0 <= LENGTH - limit <= 2  # RoBERTa and its kin begin behind the padding
    ids = torch.full((1, limit), 5)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.isfinite().all()
    check_positions(model, "model", limit)
    with pytest.raises(UserError, match=f"more than the model's {limit} positions"):
        check_positions(model, "model", limit + 1)


@pytest.mark.parametrize("model_type", ["t5", "xmod"])
def test_what_no_phase_can_do(model_type: str) -> None:
    """A decoder, and a model of languages that are to be chosen: told, whatever they end in."""
    for phase in ("intermediate", "prediction"):
        with pytest.raises(UserError, match=f"phase does not work with models of type '{model_type}'|do not give"):
            check(phase, COPIED, config_of(model_type))


def test_a_student_that_is_not_saved_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that is lost on the way, and initialised again when the student is loaded."""
    save = BertForSequenceClassification.save_pretrained

    def lose(self: Any, folder: str) -> None:
        save(self, folder, state_dict={k: v for k, v in self.state_dict().items() if "layer.1" not in k})

    monkeypatch.setattr(BertForSequenceClassification, "save_pretrained", lose)
    with pytest.raises(UserError, match=r"is another one: bert\.encoder\.layer\.1\."):
        check("prediction", COPIED, config_of("bert"))


def test_blocks_that_attend_to_all_stay_so() -> None:
    config = config_of("modernbert")
    assert config.layer_types == ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    made = student_config(COPIED, config, SST2, [0, 2])
    assert made.layer_types == ["full_attention", "sliding_attention"]
    assert student_config(FRESH, config, SST2).layer_types == ["sliding_attention", "full_attention"]


def test_segments_are_left_out_where_a_model_has_one() -> None:
    for types, taken in ((1, False), (2, True)):
        model = AutoModelForSequenceClassification.from_config(config_of("roberta", type_vocab_size=types))
        assert ("token_type_ids" in accepted_inputs(model)) == taken


@pytest.mark.parametrize("model_type", [*BOTH, *PREDICTION])
def test_outputs_that_change_with_the_padding_are_known(model_type: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config_of(model_type, initializer_range=0.3))
    assert depends_on_padding(model) == (model_type in ("convbert", "fnet", "nystromformer", "yoso"))
    assert model.training


# Trained

TRAINED = {  # model type -> phase, student
    "bert": ("intermediate", COPIED_TEXT),
    "ernie": ("intermediate", "init:layers=0,2,hidden=16"),  # narrowed by the training rows
    "roberta": ("intermediate", COPIED_TEXT),  # one segment type under a BERT tokenizer, at full length
    "modernbert": ("intermediate", FRESH_TEXT),
    "nomic_bert": ("intermediate", COPIED_TEXT),  # shares storage
    "eurobert": ("intermediate", COPIED_TEXT),  # several heads of queries to one of keys
    "albert": ("intermediate", COPIED_TEXT),  # several groups
    "mobilebert": ("intermediate", COPIED_TEXT),  # as many blocks as networks in a block
    "data2vec-text": ("intermediate", FRESH_TEXT),
    "mpnet": ("prediction", FRESH_TEXT),
}


def teacher_of(model_type: str, folder: Path, tokenizer: PreTrainedTokenizerFast, **changes: object) -> Path:
    torch.manual_seed(0)
    config = config_of(model_type, vocab_size=len(PIECES), **changes)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model_type", TRAINED)
def test_two_steps_saved_and_loaded(
    model_type: str,
    data_dir: Path,
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phase, student = TRAINED[model_type]
    teacher = teacher_of(model_type, tmp_path / "teacher", tokenizer)
    at_most = min(position_limit(load_config(str(teacher))) or LENGTH, 32)
    kept: list[tuple[Any, torch.Tensor]] = []
    ids = torch.tensor([[2, 5, 8, 6, 3], [2, 9, 3, 0, 0]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    save = phase_run.save_student

    def look_and_save(distiller: Any, *args: Any) -> None:
        with torch.no_grad():
            kept.append((distiller.student, distiller.student.eval()(**batch).logits))
        save(distiller, *args)

    monkeypatch.setattr(phase_run, "save_student", look_and_save)
    args = ["--teacher", str(teacher), "--student", student, "--allow-weak-teacher", "--max-steps", "2"]
    args += ["--padding", "max_length", "--max-length", str(at_most), "--eval-steps", "1", "--learning-rate", "1e-3"]
    run(phase, data_dir, tmp_path / "out", *args)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / phase).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, kept[0][1])
    assert json.loads((tmp_path / "out" / phase / "run.json").read_text())["steps"] == 2


@pytest.mark.parametrize("model_type", ["gte", "nomic_bert"])
def test_parts_of_one_weight_in_the_file_can_be_saved(
    model_type: str, data_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Queries, keys and values lie in one tensor of the checkpoint, and share its storage when they are loaded."""
    pretrained = teacher_of(model_type, tmp_path / "pretrained", tokenizer, num_hidden_layers=1)
    run("teacher", data_dir, tmp_path / "out", "--pretrained", str(pretrained), "--max-steps", "1")
    assert (tmp_path / "out" / "teacher" / "model.safetensors").is_file()


def test_a_precision_that_an_architecture_cannot_do(
    data_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture
) -> None:
    model = str(teacher_of("deberta", tmp_path / "model", tokenizer))
    data = ["--task", "SST-2", "--data-dir", str(data_dir), "--max-length", "16", "--precision", "bf16"]
    error = fails(capsys, "--phase", "teacher", *data, "--output-dir", str(tmp_path / "out"), "--pretrained", model)
    assert "does not work with models of type 'deberta'" in error
    assert "--precision float32 may work" in error
    assert "use --precision float32" in fails(capsys, "--phase", "evaluate", *data, "--student", model)


def test_what_cannot_be_is_told_before_the_teacher_is_trained(
    data_dir: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture
) -> None:
    pretrained = teacher_of("deberta-v2", tmp_path / "pretrained", tokenizer)
    args = ["--pretrained", str(pretrained), "--student", "init:layers=2"]
    error = refused(capsys, "all", data_dir, tmp_path / "out", *args)
    assert "do not give their attention scores" in error
    assert "--phase prediction" in error
    assert not (tmp_path / "out" / "teacher" / "run.json").exists()
