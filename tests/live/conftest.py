"""One stage for all tests of a run: starting it costs more than every question that is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as running:
        yield running
