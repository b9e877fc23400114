"""Phases as data: those of a recipe, their objectives, and what is said of mistakes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from glue_tasks.errors import UserError
from tests.tinydistill.of_tasks import intermediate, prediction
from tinydistill.layer_map import uniform
from tinydistill.objectives import Objective
from tinydistill.options import Options
from tinydistill.resolving import resolve
from tinydistill.settings import resolve as resolve_settings

from .conftest import fails
from .runs import record, run

OWN = """
run = ["hidden-states", "prediction"]

[phases.hidden-states]
keeps = "last"
epochs = 2
learning_rate = 5e-3
objectives = [{ feature = "hidden", layers = [[0, 0], [2, 4]], weight = 2.0 }]

[prediction]
starts_from = "hidden-states"
epochs = 2
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return path


def test_a_recipe_with_a_phase_of_its_own(
    recipe: Path, data_dir: Path, teacher_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    given = ["--recipe", str(recipe), "--teacher", str(teacher_dir), "--student", "init:layers=2"]
    run("all", data_dir, out, *given)
    first, second = record(out / "hidden-states"), record(out / "prediction")
    assert first["state"] == second["state"] == "finished"
    assert first["settings"]["objectives"][0]["layers"] == [[0, 0], [2, 4]]
    assert [name for name in first["losses"][0] if name.startswith("loss_")] == ["loss_hidden"]
    assert first["best_step"] is None
    assert second["settings"]["student"] == "init:layers=2"
    # The prediction phase began with the first one's student.
    assert f"the student starts from {out / 'hidden-states'}" in second["notes"]
    assert json.loads((out / "report.json").read_text())["phases"].keys() == {"prediction", "hidden-states"}
    capsys.readouterr()
    run("all", data_dir, out, *given)
    assert capsys.readouterr().out.count("already finished") == 2
    run("hidden-states", data_dir, out, *given)
    assert "next: the same command with --phase prediction" in capsys.readouterr().out


@pytest.mark.parametrize("given", [[], ["--no-cache-teacher"]])
def test_outputs_alone_without_a_score(data_dir: Path, teacher_dir: Path, tmp_path: Path, given: list[str]) -> None:
    """A phase that keeps its last student measures losses on dev, with the teacher's outputs there."""
    recipe = tmp_path / "last.toml"
    recipe.write_text('[phases.last]\nkeeps = "last"\nepochs = 1\nobjectives = ["logits"]\n')
    models = ["--teacher", str(teacher_dir), "--student", "init:layers=2"]
    run("last", data_dir, tmp_path / "out", "--recipe", str(recipe), *models, *given)
    assert record(tmp_path / "out" / "last")["dev"]["loss_logits"] > 0


def test_the_same_objectives_give_the_same_student(
    data_dir: Path, teacher_dir: Path, finished: Path, tmp_path: Path
) -> None:
    """TinyBERT's first phase written out in a recipe is TinyBERT's first phase."""
    recipe = tmp_path / "written.toml"
    recipe.write_text(
        '[phases.written]\nkeeps = "last"\nepochs = 12\nlearning_rate = 1e-2\nschedule = "constant"\nwarmup = 0\n'
        'objectives = [{ feature = "attention", loss = "attention_mse" }, '
        '{ feature = "hidden", loss = "hidden_mse" }]\n'
    )
    settings = record(finished / "intermediate")["settings"]
    run(
        "written",
        data_dir,
        tmp_path,
        "--recipe",
        str(recipe),
        "--teacher",
        str(teacher_dir),
        "--student",
        settings["student"],
    )
    ours, theirs = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "written", finished / "intermediate")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


MISTAKES = [
    ('run = ["x"]', "run lists 'x', which is no phase"),
    ("run = 3", "the recipe sets run to 3"),
    ("[phases.own]\nepochs = 1", "'own' has no objectives"),
    ("[phases.all]\nepochs = 1", "has a phase 'all'; take another name"),
    ("[phases.own]\nobjectives = [{}]", "the feature None; it can be hidden, attention, relations, logits, labels"),
    ('[phases.own]\nobjectives = [{feature = "hidden", lose = "x"}]', "'lose', which is no field.*did you mean 'loss'"),
    (
        '[phases.own]\nobjectives = [{feature = "hidden", loss = "gold_mse"}]',
        "the loss 'gold_mse' for hidden; for that there are",
    ),
    ('[phases.own]\nobjectives = [{feature = "hidden", layers = [1]}]', "a list of pairs such as"),
    ('[phases.own]\nobjectives = [{feature = "hidden", weight = 0}]', "weight to 0; it is a number above 0"),
    ('[phases.own]\nobjectives = [{feature = "hidden", heads = "all"}]', "heads to 'all'; it can be match, mean"),
    ('[phases.own]\nobjectives = "hidden"', "sets objectives to 'hidden'; it is a list"),
    ('[phases.own]\nkeeps = "first"\nobjectives = [{feature = "labels"}]', 'it can be "best" or "last"'),
    ('[phases.own]\nstarts_from = "x"\nobjectives = [{feature = "labels"}]', "starts from 'x', which is no phase"),
    ('[intermediate]\nstarts_from = "prediction"', "would start from itself"),
    ('[teacher_phase]\nobjectives = [{feature = "logits"}]', "makes the teacher and has objectives that compare"),
    ("[prediction]\nepoch = 3", "sets 'epoch'.*did you mean 'epochs'"),
    ("phases = 3", "write .phases.NAME."),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes_in_a_recipe(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import re

    path = tmp_path / "r.toml"
    path.write_text(f'task = "SST-2"\n{text}\n')
    assert re.search(message, fails(capsys, "--phase", "all", "--recipe", str(path), "--dry-run"))


def test_an_unknown_phase(capsys: pytest.CaptureFixture) -> None:
    assert "there is no phase 'predictoin'" in fails(capsys, "--phase", "predictoin", "--task", "SST-2")


def test_layers_that_are_not_there(data_dir: Path, teacher_dir: Path, tmp_path: Path) -> None:
    from tinydistill.run import run as run_phases

    plan = resolve_settings(
        "SST-2",
        {"phases": {"own": {"objectives": [{"feature": "attention", "layers": [[1, 4]]}]}}},
        {"teacher": str(teacher_dir), "student": "init:layers=2", "data_dir": str(data_dir), "max_length": 16}
        | {"output_dir": str(tmp_path)},
    )
    with pytest.raises(UserError, match="compares attention 4 of the teacher; there are 0 to 3"):
        run_phases([plan.phases["own"]], plan.task, plan.options)


def test_dry_run_prints_own_phases(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    import run_tinybert

    run_tinybert.main(["--phase", "all", "--task", "SST-2", "--recipe", str(recipe), "--dry-run"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["hidden-states"]["objectives"][0]["weight"] == 2.0
    assert printed["prediction"]["starts_from"] == "hidden-states"
    assert printed["intermediate"].keys() == {"epochs", "learning_rate", "schedule", "warmup"}


def test_what_objectives_leave_open_is_filled_in() -> None:
    attention, hidden = intermediate(uniform(4, 2), projection="shared", heads="mean", loss_scale="reference")
    assert (attention.loss, attention.layers, attention.heads) == (
        "attention_mse_in_original_code",
        ((0, 1), (1, 3)),
        "mean",
    )
    assert (hidden.loss, hidden.layers) == ("hidden_mse_in_original_code", ((0, 0), (1, 2), (2, 4)))
    assert hidden.projection == "shared"
    (logits,) = prediction(temperature=3.0)
    assert (logits.loss, logits.temperature, logits.layers) == ("soft_cross_entropy", 3.0, ())
    own = Objective(feature="logits", temperature=2.0)
    assert [
        each.temperature for each in resolve([own], {"logits": "soft_cross_entropy"}, options=Options(temperature=3.0))
    ] == [2.0]
    twice = resolve([Objective(feature="hidden", layers=((0, 0),)), Objective(feature="hidden", layers=((1, 1),))], {})
    assert [each.label for each in twice] == ["hidden", "hidden-2"]
