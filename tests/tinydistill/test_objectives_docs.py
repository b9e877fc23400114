"""docs/objectives.md: its recipe and its names are right."""

import re
import tomllib
from pathlib import Path

import pytest

from tinydistill.losses import LOSSES
from tinydistill.presets import PRESETS, preset
from tinydistill.resolving import Sizes, resolve
from tinydistill.settings import resolve as resolve_settings

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "objectives.md").read_text(encoding="utf-8")


def test_the_recipe() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    plan = resolve_settings("SST-2", tomllib.loads(block), {})
    goals = plan.phases["prediction"].objectives
    assert len(goals) == 5
    resolve(goals, {"logits": "soft_cross_entropy"}, Sizes(4, 312, 12), {"teacher": Sizes(12, 768, 12)})


def test_the_presets() -> None:
    for name in PRESETS:
        assert f"`{name}`" in TEXT
    for names in re.findall(r"--objectives (\S+)", TEXT):
        assert all(preset(name) for name in names.split(","))
    for name in re.findall(r"`((?:L\d|small_|textbrewer-)\w[\w-]*)`", TEXT):
        assert preset(name)


def test_the_list(capsys: pytest.CaptureFixture) -> None:
    """Of every loss its name, and of every preset its objectives."""
    from tinydistill.__main__ import main

    with pytest.raises(SystemExit) as stop:
        main(["objectives"])
    assert not stop.value.code
    printed = capsys.readouterr().out
    for name in (*LOSSES, *PRESETS):
        assert re.search(rf"^  {name}\b", printed, re.MULTILINE)
    for loss in LOSSES.values():
        assert loss.formula in printed
