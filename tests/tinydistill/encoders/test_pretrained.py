"""Loading changes nothing of the process: what transformers says and shows is as it was before."""

import contextlib

import pytest
from transformers.utils import logging

from glue_tasks.errors import UserError
from tinydistill.encoders.pretrained import load_pretrained, quiet


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
