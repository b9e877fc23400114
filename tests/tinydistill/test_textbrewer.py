"""TextBrewer's settings, read as objectives."""

import contextlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_tasks.errors import UserError
from tinydistill.objectives import Objective
from tinydistill.presets import read_objectives
from tinydistill.schedules import Schedule
from tinydistill.textbrewer import _DEFAULTS, from_textbrewer

L4T = {
    "temperature": 8,
    "intermediate_matches": [
        {
            "layer_T": 3 * i,
            "layer_S": i,
            "feature": "hidden",
            "loss": "hidden_mse",
            "weight": 1,
            "proj": ["linear", 312, 768],
        }
        for i in range(5)
    ]
    + [
        {"layer_T": [3 * i, 3 * i], "layer_S": [i, i], "feature": "hidden", "loss": "mmd", "weight": 1}
        for i in range(5)
    ],
}


def test_the_settings_of_t4_tiny() -> None:
    logits, hidden, selectivity = from_textbrewer(L4T).objectives
    assert logits == Objective(feature="logits", loss="soft_cross_entropy", temperature=8.0)
    assert (hidden.loss, hidden.projection) == ("hidden_mse", "linear")
    assert hidden.layers == ((0, 0), (1, 3), (2, 6), (3, 9), (4, 12))
    assert (selectivity.loss, selectivity.layers[1]) == ("neuron_selectivity", ((1, 1), (3, 3)))


def test_all_else() -> None:
    found = from_textbrewer(
        {
            "hard_label_weight": 0.5,
            "hard_label_weight_scheduler": "linear_growth",
            "kd_loss_type": "mse",
            "kd_loss_weight": 0.7,
            "temperature_scheduler": ["flsw", 1, 2],
            "probability_shift": True,
            "is_caching_logits": True,
            "custom_matches": [{}],
            "intermediate_matches": [
                {"layer_T": 12, "layer_S": 3, "feature": "attention", "loss": "attention_ce", "weight": 0.2},
                {"layer_T": 4, "layer_S": 1, "feature": "attention", "loss": "attention_mse"},
                {
                    "layer_T": 1,
                    "layer_S": 1,
                    "feature": "hidden",
                    "loss": "cos",
                    "proj": ["tanh", 8, 16, {"lr": 1e-3, "weight_decay": 0.1}],
                },
                {"layer_T": 2, "layer_S": 2, "feature": "hidden", "loss": "cos", "weight": 0},
            ],
        }
    )
    logits, labels, entropy, scores, cosine = found.objectives
    assert (logits.loss, logits.weight, logits.probability_shift) == ("logits_mse", 0.7, True)
    assert logits.temperature == Schedule(schedule="flsw", value=4.0, beta=1.0, gamma=2.0)
    assert (labels.feature, labels.weight) == ("labels", Schedule(schedule="linear_growth"))
    assert (entropy.loss, entropy.layers, entropy.weight) == ("attention_cross_entropy", ((2, 11),), 0.2)
    assert scores.layers == ((0, 3),)
    assert (cosine.projection, cosine.projection_learning_rate) == ("tanh", 1e-3)
    notes = "\n".join(found.notes)
    for part in (
        "weighs all tokens of a batch alike",
        "custom_matches is left out: it ends in a KeyError",
        "schedules replace the weight 0.5",
        "no temperature falls below 0.1",
        "attention layers count from 1",
        "weight_decay of the projection are left out",
        "kept on disk",
        "probability_shift: TextBrewer's fails with a logits_mask",
    ):
        assert part in notes


def test_attention_that_counts_from_0() -> None:
    matches = [
        {"layer_T": i, "layer_S": i, "feature": "attention", "loss": "attention_mse", "weight": 1} for i in range(2)
    ]
    (_, attention) = from_textbrewer({"intermediate_matches": matches}).objectives
    assert attention.layers == ((0, 0), (1, 1))


def test_what_is_printed_is_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from tinydistill.__main__ import main

    path = tmp_path / "config.json"
    settings = L4T | {"temperature_scheduler": ["cwsm", 2]}
    path.write_text(json.dumps(settings))
    with pytest.raises(SystemExit) as stop:
        main(["from-textbrewer", str(path), "--phase", "mine"])
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert printed.startswith("# ")
    tables = tomllib.loads(printed)["mine"]["objectives"]
    assert read_objectives(tables, "") == from_textbrewer(path).objectives


MATCH = {"layer_T": 1, "layer_S": 1, "feature": "hidden", "loss": "hidden_mse", "weight": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 8}, "'temprature' is no setting.*did you mean 'temperature'"),
        ({"temperature": "8"}, "temperature is '8'; it is a number"),
        ({"kd_loss_type": "kl"}, "kd_loss_type is 'kl'; in TextBrewer it is ce or mse"),
        ({"temperature_scheduler": "warm"}, "temperature_scheduler is 'warm'"),
        ({"kd_loss_weight_scheduler": "cosine"}, "kd_loss_weight_scheduler is 'cosine'"),
        ({"kd_loss_weight": 0}, "the settings leave no loss"),
        ({"intermediate_matches": [1]}, r"intermediate_matches\[0\] is 1; it needs layer_T"),
        (
            {"intermediate_matches": [MATCH | {"los": 1}]},
            "sets 'los', which is nothing of a match; did you mean 'loss'",
        ),
        ({"intermediate_matches": [MATCH | {"loss": "attention_ce"}]}, "the loss 'attention_ce' for 'hidden'"),
        ({"intermediate_matches": [MATCH | {"layer_T": -1}]}, "names the layer -1"),
        ({"intermediate_matches": [MATCH | {"proj": ["gelu", 1, 2]}]}, "the projection 'gelu'"),
        ({"intermediate_matches": [MATCH | {"proj": ["linear", 1, 2, 1e-3]}]}, "the options 0.001 of its projection"),
        ({"intermediate_matches": [MATCH | {"proj": ["linear", 1, 2, {"lr": "x"}]}]}, "the learning rate of .* is 'x'"),
        ({"intermediate_matches": 3}, "intermediate_matches is 3; it is a list of matches"),
        ("nowhere.json", "there is no file nowhere.json"),
    ],
)
def test_mistakes(settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_textbrewer(settings)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.sampled_from([0, 1, "linear", "flsw", "hidden", "cos", "attention_ce"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["lr", *MATCH, "proj"]), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(_DEFAULTS)), JSON, st.sampled_from([*MATCH, "proj"]), JSON)
def test_any_value_is_read_or_is_one_sentence(setting: str, value: Any, part: str, of_match: Any) -> None:
    for settings in ({setting: value}, {"intermediate_matches": [MATCH | {part: of_match}]}):
        with contextlib.suppress(UserError):
            tomllib.loads(from_textbrewer(settings).to_toml())


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    for text in ("{", "[1]"):
        path = tmp_path / "config.json"
        path.write_text(text)
        with pytest.raises(UserError, match="is not the JSON of a DistillationConfig"):
            from_textbrewer(path)
