import dataclasses
from pathlib import Path

import pytest

from glue_tasks.errors import UserError
from tinydistill.settings import Plan, read_recipe, resolve


def training(plan: Plan, phase: str) -> tuple:
    return dataclasses.astuple(plan.phases[phase].training)


RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))


def test_defaults_are_the_tasks() -> None:
    plan = resolve("cola", {}, {})
    assert plan.task.name == plan.options.task == "CoLA"
    assert plan.options.max_length == 64
    assert training(plan, "intermediate") == (50, 5e-5, "constant", 0.0)
    assert training(plan, "prediction") == (3, 3e-5, "linear", 0.1)
    assert training(plan, "teacher") == (3, 2e-5, "linear", 0.1)
    assert training(plan, "baseline")[0] == 53  # as long as both phases


def test_learning_rates_are_the_tasks() -> None:
    plan = resolve("CSL", {}, {})
    assert training(plan, "teacher") == (5, 1e-5, "linear", 0.1)
    assert training(plan, "intermediate") == (20, 1e-4, "constant", 0.0)
    assert training(plan, "prediction") == (10, 1e-4, "linear", 0.1)
    assert training(plan, "baseline") == (30, 1e-4, "linear", 0.1)
    plan = resolve("CSL", {"prediction": {"learning_rate": 3e-5}}, {"baseline": {"learning_rate": 1e-5}})
    assert (training(plan, "prediction")[1], training(plan, "baseline")[1]) == (3e-5, 1e-5)


@pytest.fixture
def task_file(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "Mine"\ntext_columns = ["text"]\nlabel_column = "label"\nlabels = ["no", "yes"]\n'
        "prediction_epochs = 7\nteacher_learning_rate = 1e-3\n"
    )
    return str(path)


def test_a_task_of_ones_own(task_file: str) -> None:
    for plan in (
        resolve(None, {}, {}, task_file),
        resolve(None, {"task_file": task_file}, {}),
        resolve(None, {"task": "SST-2"}, {}, task_file),  # flags win over the recipe
    ):
        assert plan.task.name == plan.options.task == "Mine"
        assert plan.options.task_file == task_file
        assert (training(plan, "prediction")[0], training(plan, "teacher")[1]) == (7, 1e-3)
    plan = resolve("SST-2", {"task_file": task_file}, {})
    assert (plan.task.name, plan.options.task, plan.options.task_file) == ("SST-2", "SST-2", "")


def test_a_task_made_in_python(task_file: str) -> None:
    own = resolve(None, {}, {}, task_file).task
    plan = resolve(own, {"task": "SST-2"}, {})
    assert plan.task is own
    assert (plan.options.task, plan.options.task_file, training(plan, "prediction")[0]) == ("Mine", "", 7)
    with pytest.raises(UserError, match="the task Mine names no metrics"):
        resolve(dataclasses.replace(own, metrics=()), {}, {})


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "no task is named"),
        ({"task": 3}, "the recipe sets task to 3, which is not of type str"),
        ({"task_file": ["a"]}, "the recipe sets task_file to"),
        ({"task": "SST-2", "task_file": "mine.toml"}, "are both named"),
        ({"task_file": "nowhere.toml"}, "there is no task file nowhere.toml"),
    ],
)
def test_a_recipe_that_names_no_task(recipe: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(None, recipe, {})


def test_flags_win_over_the_recipe_and_the_recipe_over_the_task() -> None:
    recipe = {"seed": 1, "max_length": 32, "intermediate": {"epochs": 4, "learning_rate": 1e-4}}
    plan = resolve("SST-2", recipe, {"seed": 2, "batch_size": None, "intermediate": {"epochs": 2.0}})
    assert (plan.options.seed, plan.options.max_length, plan.options.batch_size) == (2, 32, 32)
    assert training(plan, "intermediate") == (2.0, 1e-4, "constant", 0.0)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"sead": 1}, "'sead', which is no setting; did you mean 'seed'"),
        ({"prediction": {"epoch": 1}}, r"in \[prediction\], sets 'epoch'.*did you mean 'epochs'"),
        ({"seed": "one"}, "sets seed to 'one', which is not of type int"),
        ({"seed": True}, "not of type int"),
        ({"prediction": 3}, "sets prediction to 3"),
        ({"teacher": {"epochs": 7.0}}, r"has a table \[teacher\].*did you mean \[teacher_phase\]"),
        ({"seed": {"epochs": 7.0}}, r"has a table \[seed\], but seed is a single value"),
        ({"prediction": {"epochs": {"x": 1}}}, r"has a table \[epochs\]"),
        ({"projection": "both"}, "projection is 'both'; it can be auto, per-layer, shared, none"),
        ({"loss_scale": "reference"}, "loss_scale reference counts padding.*set padding to max_length"),
        ({"cache_teacher": 1}, "sets cache_teacher to 1, which is not of type bool"),
        ({"seed": 2**32}, "seed is 4294967296; it must be 4294967295 or less"),
        ({"batch_size": 0}, "batch_size is 0; it must be more than 0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"prediction": {"epochs": 0}}, "epochs is 0"),
        ({"prediction": {"learning_rate": float("nan")}}, "learning_rate is nan"),
        ({"prediction": {"schedule": "cosin"}}, "schedule is 'cosin'; it can be linear, cosine,"),
        (
            {"prediction": {"schedule": "polynomial", "learning_rate": 1e-7}},
            "polynomial ends at a learning rate of 1e-07",
        ),
        ({"eval_steps": 1.5}, "eval_steps is 1.5; from 1 on it must be a whole number of steps"),
        ({"eval_steps": float("inf")}, "eval_steps is inf"),
        ({"patience": -1}, "patience is -1; it must be 0 or more"),
    ],
)
def test_what_cannot_be_is_said(recipe: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve("SST-2", recipe, {})


def test_the_task_is_named_in_one_way() -> None:
    assert resolve("sst2", {"task": "RTE"}, {}).options.task == "SST-2"


def test_recipe_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no recipe"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(UserError, match="is a folder; give --recipe a TOML file"):
        read_recipe(tmp_path)
    (tmp_path / "bad.toml").write_text("seed: 1")
    with pytest.raises(UserError, match="is not TOML"):
        read_recipe(tmp_path / "bad.toml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_resolves(path: Path) -> None:
    recipe = read_recipe(path)
    assert resolve(recipe["task"], recipe, {}).options.student
    assert "run_tinybert.py" in path.read_text().partition("\n\n")[0]  # its header names the commands


def test_there_are_recipes() -> None:
    assert RECIPES


def test_a_plan_is_plain() -> None:
    found = resolve("SST-2", {}, {}).to_dict()
    assert found["prediction"] == {"epochs": 3, "learning_rate": 3e-5, "schedule": "linear", "warmup": 0.1}
    assert found["seed"] == 42
