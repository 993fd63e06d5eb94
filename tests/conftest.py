"""What every test may ask for: programs of the distribution."""

from __future__ import annotations

import os
import shutil

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is missing on a laptop; in CI it must be there."""
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if shutil.which(tool):
                continue
            reason = f"{tool} is not installed; the package of the distribution brings it"
            if os.environ.get("CI"):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
