"""Packages that only some commands need: the extras of `pip install "tinydistill[...]"`."""

import importlib
from typing import Any

from glue_tasks.errors import UserError


def import_extra(extra: str, *modules: str) -> list[Any]:
    """The modules of an extra. Raises UserError where one is not installed."""
    found = []
    for module in modules:
        try:
            found.append(importlib.import_module(module))
        except ImportError:
            package = module.partition(".")[0]
            raise UserError(
                f'this needs the package {package}, which is not installed; pip install "tinydistill[{extra}]"'
            ) from None
    return found
