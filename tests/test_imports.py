"""Imports run one way: glue_tasks <- tinydistill.encoders <- augment, tinydistill <- run_tinybert.

Augmentation and distillation share what loads and runs a model, and nothing else.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What each part may import of the project, besides itself.
MAY_IMPORT = {
    "glue_tasks": set(),
    "tinydistill.encoders": {"glue_tasks"},
    "augment": {"glue_tasks", "tinydistill.encoders"},
    "tinydistill": {"glue_tasks", "tinydistill.encoders"},
    "run_tinybert": {"glue_tasks", "augment", "tinydistill", "tinydistill.encoders"},
}
OURS = {*MAY_IMPORT, "demo", "benchmarks", "examples", "tests"}
NAMES_OF_NOTHING = {"utils", "util", "common", "helpers", "helper", "misc"}


def files_of(part: str) -> list[Path]:
    file = ROOT / f"{part}.py"
    inner = [ROOT / other.replace(".", "/") for other in OURS if other.startswith(f"{part}.")]
    files = [file] if file.is_file() else sorted((ROOT / part.replace(".", "/")).rglob("*.py"))
    return [path for path in files if not any(folder in path.parents for folder in inner)]


def imported(tree: ast.AST, part: str, inside_functions: bool = True) -> Iterator[str]:
    """The parts or packages a file imports from; a relative import is of the file's own part."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (part_of(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ([part] if node.level else {part_of(f"{node.module}.{alias.name}") for alias in node.names})
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported(node, part, inside_functions)


def part_of(module: str) -> str:
    """The part that a module lies in, the innermost of ours, else its top package."""
    parts = [part for part in OURS if f"{module}.".startswith(f"{part}.")]
    return max(parts, key=len) if parts else module.partition(".")[0]


def breaches(source: str, part: str) -> set[str]:
    """What the source imports and may not."""
    tree = ast.parse(source)
    wrong = set(imported(tree, part)) & OURS - MAY_IMPORT[part] - {part}
    if part == "glue_tasks":
        wrong |= set(imported(tree, part, inside_functions=False)) & {"torch", "transformers"}
    return wrong


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_run_one_way(part: str) -> None:
    found = {str(path.relative_to(ROOT)): breaches(path.read_text(encoding="utf-8"), part) for path in files_of(part)}
    assert not {name: wrong for name, wrong in found.items() if wrong}


def test_no_module_is_named_after_nothing() -> None:
    paths = [path for part in OURS for path in files_of(part)]
    assert paths
    assert not [path for path in paths if NAMES_OF_NOTHING & {*path.relative_to(ROOT).with_suffix("").parts}]


@pytest.mark.parametrize(
    ("part", "source", "wrong"),
    [
        ("augment", "from glue_tasks.rows import Row", set()),
        ("augment", "import tinydistill.losses", {"tinydistill"}),
        ("augment", "from tinydistill import encoders\nfrom tinydistill.encoders.config import load_config", set()),
        ("tinydistill.encoders", "from tinydistill.losses import mse", {"tinydistill"}),
        ("tinydistill", "def f():\n    from augment import words", {"augment"}),
        ("tinydistill", "from . import losses", set()),
        ("glue_tasks", "def f():\n    import transformers", set()),
        ("glue_tasks", "try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}),
        ("run_tinybert", "from demo import grammar", {"demo"}),
    ],
)
def test_the_check_itself_finds_breaches(part: str, source: str, wrong: set[str]) -> None:
    assert breaches(source, part) == wrong
