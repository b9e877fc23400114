"""Teacher and student in, student out: the two phases of TinyBERT (Jiao et al. 2020, arXiv 1909.10351), and others.

`distill` does it all; `DistillationTrainer` is the loop alone; a `Phase` is a list of `Objective`s and a `Training`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glue_tasks.version import __version__

if TYPE_CHECKING:
    from tinydistill.api import distill
    from tinydistill.features import Features
    from tinydistill.objectives import Objective
    from tinydistill.options import Training
    from tinydistill.phases import PHASES, Phase
    from tinydistill.presets import preset
    from tinydistill.schedules import Schedule
    from tinydistill.textbrewer import from_textbrewer
    from tinydistill.trainer import DistillationTrainer

__all__ = [
    "PHASES",
    "DistillationTrainer",
    "Features",
    "Objective",
    "Phase",
    "Schedule",
    "Training",
    "__version__",
    "distill",
    "from_textbrewer",
    "preset",
]

# Imported when they are asked for: PyTorch and transformers take seconds, and --help needs neither.
_HOME = {
    "distill": "api",
    "DistillationTrainer": "trainer",
    "Features": "features",
    "Objective": "objectives",
    "PHASES": "phases",
    "Phase": "phases",
    "Schedule": "schedules",
    "Training": "options",
    "from_textbrewer": "textbrewer",
    "preset": "presets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
