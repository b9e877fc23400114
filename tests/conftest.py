"""Settings of the test run, and where real data and models lie."""

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

# Set before torch or a hub client is imported: the tests need no network and leave cores to others.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are no faster on more threads
os.environ["TQDM_DISABLE"] = "1"

# A busy machine is no failure. One commit is tried with the same cases each time; `pytest --hypothesis-profile random`
# looks for others.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("same")

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TINYDISTILL_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models; a test that uses it is marked `realdata`."""
    return SHARED


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder once for all processes of a test run: what takes long to train, and is only read."""
    own = tmp_path_factory.getbasetemp()
    of_the_run = own.parent if own.name.startswith("popen-gw") else own  # as pytest-xdist names its workers' folders

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        path, finished = of_the_run / name, of_the_run / f"{name}.finished"
        with FileLock(of_the_run / f"{name}.lock"):
            if not finished.exists():
                shutil.rmtree(path, ignore_errors=True)  # of a process that failed
                make(path)
                finished.touch()
        return path

    return folder


_LONG = ("adding_a_task", "demo_run", "plain_ways", "kill_points", "interrupted", "multi_task", "compiled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Those that take half a minute come first: one that began last would keep a single process busy at the end.
    items.sort(key=lambda item: not (item.get_closest_marker("slow") or any(name in item.nodeid for name in _LONG)))
    if not SHARED.is_dir():
        absent = pytest.mark.skip(reason=f"no folder {SHARED}; set TINYDISTILL_SHARED")
        for item in items:
            if item.get_closest_marker("realdata"):
                item.add_marker(absent)


def pytest_collection_finish() -> None:
    # What the imports made, near a million objects, stays: no collection need look through it again. After each
    # training accelerate asks for a full one, which took half of a short run's time.
    gc.collect()
    gc.freeze()
