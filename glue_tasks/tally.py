"""What was counted while a file was read, and warnings that are given once."""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from glue_tasks.lines import Fault

logger = logging.getLogger(__name__)

_FAULTS_SHOWN = 5


@dataclass
class Tally:
    """The rows of one reading, and those left out; whole when the reading is."""

    rows: int = 0  # given out
    skipped: int = 0  # rows that cannot be read
    unscored: int = 0  # rows whose label the benchmark does not score
    torn: int = 0  # lines that are parts of rows torn as released
    empty: int = 0  # rows without a text, which are given out all the same
    first_empty: int = 0  # the line of the first of them
    first_faults: list[tuple[int, Fault]] = field(default_factory=list)  # with their lines

    def add_fault(self, line: int, fault: Fault) -> None:
        """Count a row that cannot be read."""
        self.skipped += 1
        if len(self.first_faults) < _FAULTS_SHOWN:
            self.first_faults.append((line, fault))

    def faults(self) -> str:
        """The first rows that cannot be read, and how many more there are."""
        first = ", ".join(f"line {line} ({fault.what})" for line, fault in self.first_faults)
        more = self.skipped - len(self.first_faults)
        return first + (f" and {more:,} more" if more else "")

    def left_out(self) -> dict[str, int]:
        """What was left out, by the reason, for a report."""
        return {"skipped": self.skipped, "unscored": self.unscored, "torn": self.torn}


def in_words(left_out: Mapping[str, int]) -> str:
    """What was left out, for a person: ", 3 skipped, 50 unscored"; "" if nothing was."""
    return "".join(f", {left_out[reason]:,} {reason}" for reason in Tally().left_out() if left_out.get(reason))


@functools.cache
def warn_once(message: str) -> None:
    """Log a warning, unless it was logged before: a file may be read several times."""
    logger.warning(message)
