"""From a packet to a page: the sensor replays, Prometheus alerts, Alertmanager tells, and tells when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stage import get, until

if TYPE_CHECKING:
    from tests.live.stage import Stage

pytestmark = [pytest.mark.needs("prometheus", "promtool", "prometheus-alertmanager"), pytest.mark.xdist_group("stage")]
NAME = "SwarmtapOffScheduleTraffic"


def test_off_schedule_traffic_is_told_and_told_over(stage: Stage) -> None:
    (fired,) = until("the webhook", lambda: stage.webhook.alerts(NAME, "firing"))[:1]
    assert fired["labels"]["site"] == "hq"
    assert fired["labels"]["severity"] == "warning"
    assert fired["annotations"]["description"].startswith("Hosts of site hq moved ")
    known = get(f"{stage.alertmanager}/api/v2/alerts", filter=f'alertname="{NAME}"')
    assert [each["labels"]["site"] for each in known] == ["hq"]
    firing = f'ALERTS{{alertname="{NAME}", alertstate="firing", site="hq"}}'
    assert until("Prometheus' own record", lambda: stage.query(f"max_over_time({firing}[1m])"))
    over = until("the end of it", lambda: stage.webhook.alerts(NAME, "resolved"))
    assert over[0]["labels"] == fired["labels"]
    assert over[0]["endsAt"] > over[0]["startsAt"]


def test_a_sensor_that_runs_is_not_said_to_be_down(stage: Stage) -> None:
    stage.wait_for_end()
    assert stage.query('up{job="swarmtap"}')[0]["value"][1] == "1"
    told = {alert["labels"]["alertname"] for post in stage.webhook.posts for alert in post["alerts"]}
    health = {"SwarmtapCaptureDown", "SwarmtapCaptureStalled", "SwarmtapCaptureLag", "SwarmtapJudgingBehind",
              "SwarmtapFlowTableFull", "SwarmtapDeliveryFailing", "SwarmtapConfigReloadFailed"}  # fmt: skip
    assert not told & health
    assert {"SwarmtapInternetPeering", "SwarmtapScan", "SwarmtapDisabledSitePeering"} <= told
