"""One definition an option: a field that is added is seen everywhere."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import run_tinybert
from glue_tasks.errors import UserError
from tinydistill import flags
from tinydistill.option_fields import about, option
from tinydistill.options import RUN, Options, Training, compared, identity
from tinydistill.phases import PHASES
from tinydistill.runs import PhaseFolder
from tinydistill.settings import resolve

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class More(Options):
    sharpness: float = option(
        1.5, "How sharp the student is cut.", group=RUN, unit="edges", above=0, most=9, serves="logits", strict=True
    )


def run_command(seen: dict[str, Any], *args: str) -> Any:
    app = typer.Typer()
    app.command()(flags.command(seen.update, More))
    return CliRunner().invoke(app, ["--phase", "prediction", *args], catch_exceptions=False, env={"COLUMNS": "200"})


def test_an_added_field_is_seen_everywhere(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    page = run_command(seen, "--help").output
    assert "--sharpness" in page
    assert "EDGES" in page
    assert "How sharp the student is cut." in page
    assert run_command(seen, "--sharpness", "2.5").exit_code == 0
    assert seen["sharpness"] == 2.5

    given = {"sharpness": seen["sharpness"]}
    assert resolve("SST-2", {"sharpness": 2}, {}, options=More).to_dict()["sharpness"] == 2.0  # as --dry-run prints it
    plan = resolve("SST-2", {"sharpness": 2}, given, options=More)
    assert plan.to_dict()["sharpness"] == 2.5
    for recipe, message in (
        ({"sharpness": 0}, "sharpness is 0.0; it must be more than 0"),
        ({"sharpness": 10}, "it must be 9 or less"),
        ({"sharpness": "x"}, "not of type float"),
        ({"sharpnes": 1}, "did you mean 'sharpness'"),
    ):
        with pytest.raises(UserError, match=message):
            resolve("SST-2", recipe, {}, options=More)
    with pytest.raises(UserError, match="--phase teacher does not use --sharpness; .* choose --phase prediction"):
        flags.check_used(given, "teacher", PHASES, {}, More)

    assert identity(plan.options, PHASES["prediction"].uses)["sharpness"] == 2.5
    assert "sharpness" not in identity(plan.options, PHASES["teacher"].uses)
    folder = PhaseFolder(tmp_path, "prediction")
    folder.begin(identity(plan.options, PHASES["prediction"].uses))
    folder.finish({})
    other = dataclasses.replace(plan.options, sharpness=3.0)
    with pytest.raises(UserError, match=r"sharpness was 2.5 and is now 3.0"), folder.locked():
        folder.compare(identity(other, PHASES["prediction"].uses), resume=True, overwrite=False)
    (line,) = [line for line in flags.to_markdown(More).splitlines() if "sharpness" in line]
    assert line == (
        "| `--sharpness` | `sharpness` | `1.5` | edges > 0, <= 9 | prediction | yes | How sharp the student is cut. |"
    )


def test_the_docs_have_the_table() -> None:
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert flags.to_markdown() in page, "write it again: python -m tinydistill options"


def test_every_option_is_described() -> None:
    for owner in (Options, Training):
        for field, known in about(owner):
            assert known.help.endswith("."), field.name
            assert not (known.choices and field.default not in known.choices), field.name
            assert not known.check(field.name, field.default) or known.above == 0, field.name  # 0: not set
            served = {use for phase in PHASES.values() for use in phase.uses} | {"augmentation", ""}
            assert known.serves in served, field.name


def test_what_a_later_run_must_have_alike() -> None:
    saved = {"seed": 1, "precision": "bf16", "processes": 2, "teacher": "t", "teacher_weights": "abc", "objectives": []}
    assert compared(saved, finished=False).keys() == saved.keys() - {"teacher"}
    assert compared(saved, finished=True).keys() == {"seed", "teacher_weights", "objectives"}


@pytest.mark.parametrize(
    "flag", ["--glove", "--vectors", "--N", "--several-pieces", "--no-cache-teacher", "--teacher-lr"]
)
def test_flags_keep_their_names(flag: str) -> None:
    page = CliRunner().invoke(run_tinybert.app, ["--help"], env={"COLUMNS": "300"}).output
    assert flag in page


def test_help_is_quick() -> None:
    """Help needs neither PyTorch nor transformers."""
    import subprocess
    import sys

    code = "import sys, run_tinybert; print({'torch', 'transformers', 'datasets'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"
