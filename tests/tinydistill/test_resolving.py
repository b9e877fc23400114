"""What objectives leave open is filled in for two models, and what does not fit is refused."""

from typing import Any

import pytest

from glue_tasks.errors import UserError
from tinydistill import losses
from tinydistill.objectives import Objective
from tinydistill.options import Options
from tinydistill.presets import PRESETS, preset
from tinydistill.resolving import Sizes, resolve
from tinydistill.schedules import Schedule

BASE, SMALL = Sizes(layers=12, width=768, heads=12), Sizes(layers=4, width=312, heads=12)
KIND = {"logits": "soft_cross_entropy", "labels": "gold_cross_entropy"}


def filled(*objectives: Objective, student: Sizes = SMALL, **options: Any) -> tuple[Objective, ...]:
    return resolve(objectives, KIND, student, {"teacher": BASE}, Options(**options))


def test_layers() -> None:
    def layers(**fields: Any) -> tuple:
        return filled(Objective(**fields))[0].layers

    assert layers(loss="hidden_mse") == ((0, 0), (1, 3), (2, 6), (3, 9), (4, 12))
    assert layers(loss="hidden_mse", layers="blocks") == ((1, 3), (2, 6), (3, 9), (4, 12))
    assert layers(loss="attention_mse") == ((0, 2), (1, 5), (2, 8), (3, 11))
    assert layers(loss="hidden_mse", layers="last") == ((4, 12),)
    assert layers(loss="value_relations", layers="last") == ((3, 11),)
    assert layers(loss="hidden_mse", layers=((-1, -2), (0, 0))) == ((4, 11), (0, 0))
    assert layers(loss="gram_mse", layers=(((0, 1), (0, -1)),)) == (((0, 1), (0, 12)),)
    assert layers(loss="neuron_selectivity")[1] == ((1, 1), (3, 3))
    assigned = layers(loss="hidden_mse", assignment="emd")
    assert assigned == tuple((i, j) for i in range(1, 5) for j in range(1, 13))
    assert len(layers(loss="attention_mse", assignment="emd")) == 48
    own = filled(Objective(loss="hidden_mse"), layer_map="0,1,2,11")
    assert own[0].layers == ((0, 0), (1, 1), (2, 2), (3, 3), (4, 12))


def test_projections() -> None:
    def projection(student: Sizes = SMALL, run: str = "auto", **fields: Any) -> str:
        return filled(Objective(**fields), student=student, projection=run)[0].projection

    assert projection(loss="hidden_mse") == "linear"
    assert projection(loss="hidden_mse", projection="tanh") == "tanh"
    assert projection(loss="hidden_mse", run="shared") == "shared"
    assert projection(loss="hidden_mse", student=Sizes(4, 768, 12)) == "none"
    assert projection(loss="hidden_mse", student=Sizes(4, 768, 12), run="per-layer") == "linear"
    # Neuron selectivity compares models of any width; a projection is there if it is asked for.
    assert projection(loss="neuron_selectivity") == "none"
    assert projection(loss="neuron_selectivity", run="shared") == "none"
    assert projection(loss="neuron_selectivity", projection="relu") == "relu"
    assert projection(loss="attention_mse", run="shared") == "none"


def test_relation_heads() -> None:
    (fitted,) = filled(Objective(loss="key_relations", layers="last"))
    assert fitted.relation_heads == 24  # the most, to 48, that divide both 312 and 768
    assert filled(Objective(loss="key_relations", layers="last"), student=Sizes(6, 384, 12))[0].relation_heads == 48
    with pytest.raises(UserError, match="16 relation heads, which do not divide.*312.*768.*divisors of 24"):
        filled(Objective(loss="key_relations", layers="last", relation_heads=16))


def test_names_and_aliases() -> None:
    first, second = filled(Objective(loss="ce", temperature=8.0), Objective(loss="logits_mse"))
    assert (first.loss, first.label, first.temperature) == ("soft_cross_entropy", "logits", 8.0)
    assert second.label == "logits-2"
    assert filled(Objective(loss="pkd"))[0].loss == "cls_direction"


def test_the_run_s_temperature_is_for_classes() -> None:
    value = {"logits": "logits_mse"}
    assert resolve([Objective(feature="logits")], value, options=Options(temperature=2.0))[0].temperature == 1.0
    assert filled(Objective(loss="logits_mse"), temperature=2.0)[0].temperature == 2.0


def test_several_teachers() -> None:
    """Layers are compared with each, by its own layer map and projection; outputs with their mean."""
    teachers = {"deep": Sizes(24, 1024, 16), "base": BASE}
    goals = [
        Objective(loss="hidden_mse", weight=2.0),
        Objective(feature="logits"),
        Objective(loss="cos", teacher="base"),
    ]
    found = resolve(goals, KIND, SMALL, teachers, Options(), {"deep": 0.75, "base": 0.25})
    assert [each.label for each in found] == ["hidden-deep", "hidden-base", "logits", "hidden"]
    assert [each.weight for each in found] == [1.5, 0.5, 1.0, 1.0]
    assert found[0].layers[1] == (1, 6)
    assert found[1].layers[1] == (1, 3)
    assert found[2].teacher == "*"
    with pytest.raises(UserError, match="names the teacher 'bass'; there are deep, base; did you mean 'base'"):
        resolve([Objective(feature="logits", teacher="bass")], KIND, SMALL, teachers)
    # One that counts nothing is not compared with; a schedule is scaled as a whole.
    falling = Objective(loss="hidden_mse", weight=Schedule(schedule="linear_decay", value=2.0))
    (only,) = resolve([falling], KIND, SMALL, teachers, Options(), {"deep": 0.0, "base": 1.0})
    assert only.weight == falling.weight
    first, _ = resolve([falling], KIND, SMALL, teachers, Options())
    assert first.weight == Schedule(schedule="linear_decay", value=1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "hidden_mse", "layers": ((9, 9),)}, "compares hidden 9 of the student; there are 0 to 4"),
        ({"loss": "attention_mse", "layers": ((0, 12),)}, "compares attention 12 of the teacher; there are 0 to 11"),
        ({"loss": "hidden_mse", "projection": "none"}, "312 wide, the teacher 768: without a projection"),
        ({"loss": "gram_mse", "projection": "none"}, "312 wide, the teacher 768: without a projection"),
        ({"loss": "gram_mse", "layers": ((0, 0),)}, "its loss takes two layers of each model"),
        ({"loss": "hidden_mse", "layers": (((0, 0), (1, 1)),)}, "its loss takes one layer of each model"),
        ({"loss": "gram_mse", "assignment": "emd"}, "assigns all layers; leave out"),
        ({"loss": "hidden_mse", "assignment": "emd", "layers": "last"}, "assigns all layers; leave out"),
        ({"loss": "hidden_mse", "probability_shift": True}, "has probability_shift, which is for logits"),
        ({"loss": "hidden_mse", "temperature_squared": True}, "has temperature_squared, which is for logits"),
        (
            {"loss": "hidden_mse", "temperature": Schedule(schedule="flsw")},
            "has temperature, which is for logits",
        ),
        ({"loss": "hidden_mse", "temperature": 2.0}, "has temperature, which is for logits"),
        ({"feature": "logits", "assignment": "emd"}, "has assignment, which is for hidden, attention, relations"),
        ({"feature": "logits", "layers": ((0, 0),)}, "has layers, which is for hidden, attention, relations"),
        ({"loss": "attention_kl", "projection": "tanh"}, "has projection, which is for hidden"),
        ({"loss": "hidden_mse", "relation_heads": 4}, "has relation_heads, which is for relations"),
        ({"loss": "hidden_mse", "heads": "mean"}, "has heads, which is for attention"),
        ({"feature": "logits", "one_by_one": (0.0, 0.2)}, "has one_by_one, which is for hidden, attention, relations"),
        ({"feature": "labels", "one_by_one": (0.0, 0.2)}, "has one_by_one, which is for hidden, attention, relations"),
        ({"loss": "hidden_mse", "one_by_one": (0.0, 1.0), "assignment": "emd"}, "one_by_one and assigns all layers"),
        ({"loss": "hidden_mse", "one_by_one": (0.2, 0.2)}, "hidden sets one_by_one to .0.2, 0.2.; it is two shares"),
        ({"loss": "hidden_mse", "one_by_one": (0.0, 0.2)}, "no objective counts from 0.2 of the training on"),
        ({"loss": "hidden_mse", "one_by_one": (0.1, 1.0)}, "no objective counts from 0 of the training on"),
        ({"loss": "hidden_mse", "update_every": 2}, "has update_every, which is for an assignment"),
        ({"feature": "labels", "teacher": "teacher"}, "has teacher, which is for"),
        ({"feature": "logits", "teacher": "another"}, "names the teacher 'another'; there is one, 'teacher'"),
        ({"loss": "hidden_mse", "student_layers": 6}, "is for a student of 6 layers, and it has 4"),
        ({"feature": "relations"}, "names no loss; for relations there is none by default"),
        ({}, "has neither a loss nor a feature"),
        ({"loss": lambda *_: None}, "say which feature it compares"),
    ],
)
def test_what_does_not_fit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        filled(Objective(**fields))


def test_layers_one_by_one_leave_no_gap() -> None:
    def windows(*given: tuple[float, float]) -> None:
        filled(*(Objective(loss="hidden_mse", one_by_one=each) for each in given))

    windows((0.5, 1.0), (0.0, 0.3), (0.2, 0.5))
    with pytest.raises(UserError, match="no objective counts from 0.4 of the training on.*an objective without it"):
        windows((0.5, 1.0), (0.0, 0.3), (0.2, 0.4))
    filled(Objective(loss="hidden_mse", one_by_one=(0.1, 0.2)), Objective(feature="logits"))


def test_heads_that_do_not_match() -> None:
    eight = Sizes(4, 768, 8)
    with pytest.raises(UserError, match="has 8 heads, the teacher 12; .*--heads mean, or relations"):
        filled(Objective(loss="attention_kl"), student=eight)
    assert filled(Objective(loss="attention_kl"), student=eight, heads="mean")[0].heads == "mean"
    filled(Objective(loss="attention_mse_sum"), Objective(loss="attention_ce_mean"), student=eight)
    filled(*preset("minilm"), student=eight)


# Presets


def test_textbrewers_presets() -> None:
    """As its examples/matches have them for 12 blocks; attention there counts blocks from 1."""
    (mse,) = filled(*preset("L4t_hidden_mse"))
    assert (mse.layers, mse.projection) == (((0, 0), (1, 3), (2, 6), (3, 9), (4, 12)), "linear")
    (smmd,) = filled(*preset("L4_hidden_smmd"))
    assert (smmd.loss, smmd.layers[:2]) == ("neuron_selectivity", (((0, 0), (0, 0)), ((1, 1), (3, 3))))
    three = Sizes(3, 768, 12)
    assert filled(*preset("L3_attention_ce"), student=three)[0].layers == ((0, 3), (1, 7), (2, 11))
    assert filled(*preset("L3n_hidden_mse"), student=Sizes(3, 384, 12))[0].projection == "linear"
    small = filled(*preset("small_hidden_mse"), *preset("small_attention_mse"), student=Sizes(12, 256, 12))
    assert small[0].layers == tuple((i, i) for i in range(0, 13, 2))
    assert small[1].layers == tuple((i, i) for i in range(1, 12, 2))
    recipe = filled(*preset("textbrewer-l4t"))
    assert [each.loss for each in recipe] == ["soft_cross_entropy", "hidden_mse", "neuron_selectivity"]
    assert recipe[0].temperature == 8.0
    # By rule, of any depth.
    deep = resolve(preset("L8_hidden_mse"), KIND, Sizes(8, 1024, 16), {"teacher": Sizes(24, 1024, 16)})
    assert deep[0].layers == tuple((i, 3 * i) for i in range(9))


def test_mobilebert() -> None:
    """Blocks with blocks; then the recipe of Chinese-MobileBERT, of equal depth and width."""
    equal = Sizes(12, 768, 12)
    hidden, attention = filled(*preset("mobilebert"), student=equal)
    assert (hidden.loss, hidden.projection) == ("feature_map_mse", "none")
    assert hidden.layers == tuple((i, i) for i in range(1, 13))
    assert (attention.loss, attention.layers) == ("attention_kl", tuple((i, i) for i in range(12)))

    found = {each.label: each for each in filled(*preset("general-mobilebert"), student=equal, temperature=4.0)}
    warm_up = {"feature_map": 100.0, "feature_mean": 5000.0, "feature_variance": 5.0, "attention": 1.0}
    for name, weight in warm_up.items():
        assert (found[name].weight, found[name].one_by_one, found[name].projection) == (weight, (0.0, 0.2), "none")
        assert found[name].layers == (attention if name == "attention" else hidden).layers
        # One block at a time, and the same one for all four.
        assert [found[name].place_at(step / 60) for step in range(13)] == [*range(12), -1]
    assert [each for each in found if each not in warm_up] == ["labels", "logits"]
    for name in ("labels", "logits"):
        assert found[name].weight.at_share(11 / 60) == 0
        assert found[name].weight.at_share(12 / 60) == found[name].weight.at_share(1.0) == 0.5
    assert found["logits"].temperature == 1.0
    for name in ("mobilebert", "general-mobilebert"):
        with pytest.raises(UserError, match="has 8 heads, the teacher 12"):
            filled(*preset(name), student=Sizes(12, 768, 8))


def test_every_preset_fits_two_models() -> None:
    for name in PRESETS:
        for each in filled(*preset(name)):
            assert each.loss in losses.LOSSES
            assert each.layers or not each.compares_layers
    for name in {*losses.LOSSES, *losses.ALIASES} - PRESETS.keys():  # "pkd" is the whole method
        assert preset(name)[0].feature == losses.FEATURES[losses.ALIASES.get(name, name)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minilmm", "'minilmm', which is no preset and no loss; did you mean 'minilm'"),
        ("L4t_hiden_mse", "the preset 'L4t_hiden_mse', which there is not; did you mean 'L4t_hidden_mse'"),
        ("hidden_msee", "did you mean 'hidden_mse'"),
    ],
)
def test_no_such_preset(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preset(name, "--objectives")


def test_a_preset_of_another_depth() -> None:
    with pytest.raises(UserError, match="for a student of 3 layers, and it has 4; take the preset of 4 layers"):
        filled(*preset("L3_hidden_mse"))
