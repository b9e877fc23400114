"""What is installed: dependencies, the wheel's contents, and its commands from outside the repository."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from glue_tasks.version import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMMANDS = ("run-tinybert", "tinydistill", "tinydistill-augment", "tinydistill-tasks")


def requirements(lines: list[str], operator: str) -> dict[str, str]:
    """Versions by package; every line has to be of the form NAME OPERATOR VERSION."""
    stated = [line.partition("#")[0].strip() for line in lines]
    parts = [line.partition(operator) for line in stated if line and not line.startswith("-")]
    assert all(name and version for name, _, version in parts)
    return {name: version for name, _, version in parts}


def lines_of(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def test_the_lowest_versions_are_those_that_are_tested() -> None:
    ranges = requirements(PROJECT["dependencies"], ">=")
    assert requirements(lines_of("requirements-lowest.txt"), "==") == ranges
    pins = requirements(lines_of("requirements.txt"), "==")
    assert pins.keys() == ranges.keys()
    assert [name for name in pins if number(pins[name]) < number(ranges[name])] == []


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline from the files that are under version control, so that nothing is left in the repository."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    parts = ["pyproject.toml", "README.md", "LICENSE", "run_tinybert.py", "glue_tasks", "augment", "tinydistill"]
    parts += ["tests", "benchmarks", "demo"]
    for part in parts:  # links: setuptools reads through them
        (source / part).symlink_to(ROOT / part)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out)]
    done = subprocess.run([*build, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_what_the_wheel_holds(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name == f"tinydistill-{__version__}-py3-none-any.whl"
    packages = ("augment", "glue_tasks", "tinydistill")
    ours = {str(path.relative_to(ROOT)) for package in packages for path in (ROOT / package).rglob("*.py")}
    ours |= {str(path.relative_to(ROOT)) for path in (ROOT / "tinydistill" / "report" / "templates").iterdir()}
    ours |= {"tinydistill/serving/page.html"}
    typed = {f"{package}/py.typed" for package in packages}
    assert {name for name in names if ".dist-info/" not in name} == {"run_tinybert.py", *ours, *typed}


@pytest.mark.slow
def test_the_commands_run_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    """Installed into a folder of its own, which comes before the development install on the path."""
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, capture_output=True, check=True)
    assert {path.name for path in (site / "bin").iterdir()} == set(COMMANDS)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    told = {}
    for name in COMMANDS:
        done = subprocess.run(
            [sys.executable, site / "bin" / name, "--help"], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told[name] = done.stdout
    for name in COMMANDS:
        assert f"Usage: {name}" in told[name]
        assert "completion" not in told[name]
    where = [
        sys.executable,
        "-c",
        "import tinydistill, run_tinybert; print(tinydistill.__file__, run_tinybert.__file__)",
    ]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert all(path.startswith(str(site)) for path in found.stdout.split())


@pytest.mark.parametrize("module", ["glue_tasks", "augment", "tinydistill", "run_tinybert"])
def test_version_and_completion(module: str) -> None:
    def told(option: str, shell: str = "") -> str:
        command = [sys.executable, "-m", module, option, *([shell] if shell else [])]
        # Else typer asks which shell started it, which is none where the tests were started by another program.
        environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert told("--version") == f"tinydistill {__version__}\n"
    assert "COMPREPLY" in told("--show-completion", "bash")
