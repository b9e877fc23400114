"""Keeping freed memory: blocks of tens of megabytes come from what was freed, and not from the system again."""

import platform

import pytest

from tests import forked
from tinydistill.encoders.cpu import memory

# Page faults while a block of 64 MB is taken, written and freed ten times, once the heap has grown as far as it needs.
FAULTS = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from tinydistill.encoders.cpu.memory import keep_freed_memory
    keep_freed_memory()
for _ in range(20):
    torch.zeros(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.zeros(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = forked.run(["-c", FAULTS, how])
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_large_blocks_are_taken_from_what_was_freed() -> None:
    assert faults("keep") < faults("leave") / 5


def test_another_library_or_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", None)  # would raise if called
    memory.keep_freed_memory()
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # has no mallopt
    memory.keep_freed_memory()
