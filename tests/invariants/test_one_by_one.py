"""Layers that are trained one after another: batches, padding, processes and a resume do not change the student."""

from pathlib import Path

import pytest

from tests import forked
from tests.tinydistill.runs import record
from tests.tinydistill.test_interrupted import Stop

from .conftest import Command, Result

# No step reaches all layers, and every logged one has its pairs.
RECIPE = """
[intermediate]
objectives = [
  { loss = "feature_map_mse", layers = "blocks", one_by_one = [0.0, 0.6], projection = "tanh" },
  { loss = "feature_mean_mse", layers = "blocks", one_by_one = [0.0, 0.6], name = "mean" },
  { loss = "feature_variance_difference", layers = "blocks", one_by_one = [0.0, 0.6], name = "variance" },
  { loss = "attention_kl", one_by_one = [0.5, 1.0] },
]
"""
# Of states and probabilities, which do not change with them: their gradient is rounding alone.
KEY_BIASES = [f"bert.encoder.layer.{block}.attention.self.key.bias" for block in (0, 1)]


@pytest.fixture(scope="session")
def args(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    recipe = tmp_path_factory.mktemp("one-by-one") / "own.toml"
    recipe.write_text(RECIPE)
    return ["--recipe", str(recipe)]


@pytest.fixture(scope="session")
def usual(command: Command, args: list[str], data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    out = tmp_path_factory.mktemp("usual-one-by-one")
    command(out, *args)
    return Result.read(out, data_dir)


def test_what_is_logged(usual: Result) -> None:
    """28 steps: 17 of the two blocks' states, then their scores, from the 15th on."""
    entries = {entry["step"]: entry for entry in record(usual.folder / "intermediate")["losses"]}
    for step, hidden, attention in ((2, 1, 0), (8, 1, 0), (10, 2, 0), (16, 2, 1), (18, 0, 1), (22, 0, 2), (28, 0, 2)):
        assert (entries[step]["pair_hidden"], entries[step]["pair_attention"]) == (hidden, attention), step
        for name in ("hidden", "mean", "variance"):
            assert (entries[step][f"loss_{name}"] > 0) == (step <= 17 or step == 18), (name, step)
        assert (entries[step]["loss_attention"] > 0) == (step > 14)


def test_the_same_student(command: Command, args: list[str], usual: Result, data_dir: Path, tmp_path: Path) -> None:
    command(tmp_path, *args, "--batch-size", "4", "--accumulate", "2", "--padding", "max_length")
    Result.read(tmp_path, data_dir).agrees_with(usual, but=KEY_BIASES)


def test_a_resumed_run(
    command: Command, args: list[str], usual: Result, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the checkpoint of the first epoch, in the middle of the second block."""
    monkeypatch.setattr(Stop, "at", 16)
    with monkeypatch.context() as patch:
        patch.setattr("tinydistill.phase_run.Progress", Stop)
        with pytest.raises(SystemExit) as stop:
            command(tmp_path, *args)
        assert stop.value.code == 130
    command(tmp_path, *args, "--resume")
    assert record(tmp_path / "intermediate")["resumed"]
    Result.read(tmp_path, data_dir).equals(usual)


@pytest.mark.slow
def test_two_processes(command: Command, args: list[str], usual: Result, data_dir: Path, tmp_path: Path) -> None:
    """Each waits for no gradient of the layers that a step does not reach."""
    given = command.of(tmp_path, *args, "--batch-size", "4")
    done = forked.run_together(2, ["run_tinybert.py", *given])
    assert [process.returncode for process in done] == [0, 0], done[0].stderr
    Result.read(tmp_path, data_dir).agrees_with(usual, but=KEY_BIASES)
