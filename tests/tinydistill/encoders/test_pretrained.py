"""Loading changes nothing of the process: what transformers says and shows is as it was before."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.utils import logging

from glue_tasks.errors import UserError
from tinydistill.encoders.pretrained import load_pretrained, quiet

IMPORTS = """
import os
before = dict(os.environ)
import transformers
from transformers.utils import logging
state = logging.get_verbosity(), logging.is_progress_bar_enabled()
import augment.augmenter, tinydistill.encoders.cpu.int8, tinydistill.encoders.tokenizer, tinydistill.encoders.weights
assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == state
assert dict(os.environ) == before
"""


def test_importing_changes_nothing() -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("bars", [True, False])
def test_quiet_while_it_lasts(bars: bool) -> None:
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity_info()
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        with contextlib.suppress(KeyError), quiet():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
            raise KeyError
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled() == bars

        class Loads:
            @staticmethod
            def from_pretrained(name: str, **options: object) -> None:
                assert logging.get_verbosity() == logging.ERROR
                raise ValueError("no such thing")

        with pytest.raises(UserError, match="no folder me/model here"):
            load_pretrained(Loads, "me/model")
        assert logging.get_verbosity() == logging.INFO
    finally:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
