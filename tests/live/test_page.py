"""Prometheus' own tool has nothing to say of the page that a running sensor serves."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from tests.live.stage import Stage

pytestmark = [pytest.mark.needs("prometheus", "promtool", "prometheus-alertmanager"), pytest.mark.xdist_group("stage")]


def test_promtool_has_nothing_to_say_of_the_page(stage: Stage) -> None:
    stage.wait_for_end()
    with urlopen(f"{stage.sensor}/metrics", timeout=10) as answer:  # noqa: S310
        page = answer.read()
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
