"""PyTorch's private operators are called in tinydistill/encoders/cpu alone, where each has a check and a plain twin."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("glue_tasks", "augment", "tinydistill", "demo", "benchmarks", "examples")
ALLOWED = ROOT / "tinydistill" / "encoders" / "cpu"


def private(tree: ast.AST) -> Iterator[str]:
    """Names such as torch.ops.mkldnn._linear_pointwise or torch._C, and imports of such."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            own = parts[0] == "torch" and not (node.attr.startswith("__") and node.attr.endswith("__"))
            if own and (node.attr.startswith("_") or parts[1:] == ["ops"]):
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (f"{node.module}: {name}" for name in names if name.startswith("_") or name == "ops")
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name for name in names if name.startswith(("torch._", "torch.ops")))


def test_no_private_operator_elsewhere() -> None:
    files = [ROOT / "run_tinybert.py", *(path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")))]
    found = {
        str(path.relative_to(ROOT)): list(private(ast.parse(path.read_text(encoding="utf-8"))))
        for path in files
        if ALLOWED not in path.parents and path.is_file()
    }
    assert not {name: names for name, names in found.items() if names}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("torch.ops.mkldnn._linear_pointwise(x)", 2),
        ("torch._int_mm(x, y)", 1),
        ("torch.cpu._is_vnni_supported()", 1),
        ("import torch._C", 1),
        ("from torch.ops import mkldnn", 1),
        ("torch.nn.functional.linear(x, y)", 0),
        ("torch.__version__", 0),
        ("self._torch", 0),
    ],
)
def test_the_check_itself_finds_them(source: str, count: int) -> None:
    assert len(list(private(ast.parse(source)))) == count
