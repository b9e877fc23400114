"""Imports run one way: glue_tasks <- augment, tinydistill <- run_tinybert; augment and tinydistill do not meet."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What each part may import of the project, besides itself.
MAY_IMPORT = {
    "glue_tasks": set(),
    "augment": {"glue_tasks"},
    "tinydistill": {"glue_tasks"},
    "run_tinybert": {"glue_tasks", "augment", "tinydistill"},
}
OURS = {*MAY_IMPORT, "demo", "benchmarks", "examples", "tests"}
NAMES_OF_NOTHING = {"utils", "util", "common", "helpers", "helper", "misc"}


def files_of(part: str) -> list[Path]:
    file = ROOT / f"{part}.py"
    return [file] if file.is_file() else sorted((ROOT / part).rglob("*.py"))


def imported(tree: ast.AST, part: str, inside_functions: bool = True) -> Iterator[str]:
    """Top names of the packages a file imports; a relative import is of the file's own part."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0] if not node.level else part
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported(node, part, inside_functions)


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
        ("augment", "from glue_tasks.files import Row", set()),
        ("augment", "import tinydistill.losses", {"tinydistill"}),
        ("tinydistill", "def f():\n    from augment import words", {"augment"}),
        ("tinydistill", "from . import losses", set()),
        ("glue_tasks", "def f():\n    import transformers", set()),
        ("glue_tasks", "try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}),
        ("run_tinybert", "from demo import grammar", {"demo"}),
    ],
)
def test_the_check_itself_finds_breaches(part: str, source: str, wrong: set[str]) -> None:
    assert breaches(source, part) == wrong
