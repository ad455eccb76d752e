"""Fixtures that all rooms share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Inputs of others, beside the checkout; a test that needs them skips without, and says so."""
    folder = Path(os.environ.get("ORGRAPH_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the inputs of others in {folder} (ORGRAPH_SHARED_DATA)")
    return folder
