"""Settings of the test run, and where real data and models lie."""

import os
from pathlib import Path

import hypothesis
import pytest

# Set before torch or a hub client is imported: the tests need no network and leave cores to others.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are no faster on more threads
os.environ["TQDM_DISABLE"] = "1"

# A busy machine is no failure.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TINYDISTILL_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models; a test that uses it is marked `realdata`."""
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SHARED.is_dir():
        absent = pytest.mark.skip(reason=f"no folder {SHARED}; set TINYDISTILL_SHARED")
        for item in items:
            if item.get_closest_marker("realdata"):
                item.add_marker(absent)
