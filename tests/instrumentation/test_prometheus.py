"""The hook that keeps metrics."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from tests.instrumentation.records import URL, crashed, ended, one_of_each, opened
from trio_ws import CloseCode, CloseReason
from trio_ws.instrumentation import (
    BackplaneChanged,
    Connected,
    Connecting,
    Disconnected,
    HeartbeatLost,
    Hooks,
    MemberEvicted,
    MessagesMissed,
    PingReceived,
    PingSent,
    PongReceived,
    Received,
    Sent,
    Stopped,
    Waiting,
)
from trio_ws.instrumentation.prometheus import PrometheusHook

if TYPE_CHECKING:
    from trio_ws.instrumentation import Record

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "observe.md"

SERVER = "{role=server}"
CLIENT = "{role=client}"
UNKNOWN = "{role=unknown}"
OF_ROLES = {
    "trio_ws_connections_open",
    "trio_ws_connections_opened_total",
    "trio_ws_connections_ended_total",
    "trio_ws_connection_duration_seconds",
    "trio_ws_sent_pings_total",
    "trio_ws_ping_round_trip_seconds",
    "trio_ws_heartbeats_lost_total",
    "trio_ws_received_messages_total",
    "trio_ws_received_bytes_total",
    "trio_ws_sent_messages_total",
    "trio_ws_sent_bytes_total",
}
OF_THE_PROCESS = {
    "trio_ws_handler_crashes_total",
    "trio_ws_reconnect_attempts_total",
    "trio_ws_reconnect_wait_seconds",
    "trio_ws_reconnect_disconnects_total",
    "trio_ws_reconnect_stopped_total",
    "trio_ws_hub_evictions_total",
    "trio_ws_hub_gaps_total",
    "trio_ws_hub_backplane_lost_total",
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def hook(registry: CollectorRegistry) -> PrometheusHook:
    return PrometheusHook(registry)


def series(registry: CollectorRegistry) -> dict[str, float]:
    """The value of each time series, by its name and labels."""
    found = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if not sample.name.endswith("_created"):
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def counted(registry: CollectorRegistry) -> dict[str, float]:
    """The time series that are not zero, without the buckets of histograms."""
    return {
        name: value for name, value in series(registry).items() if value and "_bucket" not in name
    }


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(
            [opened("c1"), opened("c2"), opened("c3", client=True)],
            {
                f"connections_open{SERVER}": 2,
                f"connections_opened_total{SERVER}": 2,
                f"connections_open{CLIENT}": 1,
                f"connections_opened_total{CLIENT}": 1,
            },
            id="opened",
        ),
        pytest.param(
            [opened("c1"), opened("c2"), ended("c1", uptime=12), ended("c2", uptime=3)],
            {
                f"connections_opened_total{SERVER}": 2,
                "connections_ended_total{code=1001,role=server}": 2,
                f"connection_duration_seconds_count{SERVER}": 2,
                f"connection_duration_seconds_sum{SERVER}": 15,
            },
            id="ended",
        ),
        pytest.param(
            [opened(), crashed(error=ValueError("broken"))],
            {
                f"connections_open{SERVER}": 1,
                f"connections_opened_total{SERVER}": 1,
                "handler_crashes_total": 1,
            },
            id="crashed",
        ),
        pytest.param(
            [
                opened(client=True),
                PingSent(id="c1"),
                PingSent(id="c1"),
                PongReceived(id="c1", round_trip=0.25),
                PongReceived(id="c1", round_trip=None, payload=b"unasked"),
                PingReceived(id="c1", payload=b"are you there?"),
                HeartbeatLost(id="c1", silent=20),
            ],
            {
                f"connections_open{CLIENT}": 1,
                f"connections_opened_total{CLIENT}": 1,
                f"sent_pings_total{CLIENT}": 2,
                f"ping_round_trip_seconds_count{CLIENT}": 1,
                f"ping_round_trip_seconds_sum{CLIENT}": 0.25,
                f"heartbeats_lost_total{CLIENT}": 1,
            },
            id="heartbeat",
        ),
        pytest.param(
            [
                opened(),
                Received(id="c1", messages=2, bytes=300),
                Received(id="c1", messages=0, bytes=4),
                Sent(id="c1", messages=1, bytes=40),
                Sent(id="c1", messages=0, bytes=5),
            ],
            {
                f"connections_open{SERVER}": 1,
                f"connections_opened_total{SERVER}": 1,
                f"received_messages_total{SERVER}": 2,
                f"received_bytes_total{SERVER}": 304,
                f"sent_messages_total{SERVER}": 1,
                f"sent_bytes_total{SERVER}": 45,
            },
            id="traffic",
        ),
        pytest.param(
            [
                Connecting(target=URL, attempt=1),
                Waiting(target=URL, delay=1.5, attempt=2, cause="refused"),
                Connecting(target=URL, attempt=2),
                Connected(target=URL, attempt=2, offline=2, again=False),
                Disconnected(target=URL, reason=CloseReason(1012), open_for=60),
                Waiting(target=URL, delay=2, attempt=1, cause="closed"),
                Stopped(target=URL, attempts=1, cause="HTTP 403"),
                Stopped(target=URL, attempts=1, cause=None),
                Stopped(target=URL, attempts=1, cause=""),
            ],
            {
                "reconnect_attempts_total": 2,
                "reconnect_wait_seconds_count": 2,
                "reconnect_wait_seconds_sum": 3.5,
                "reconnect_disconnects_total": 1,
                "reconnect_stopped_total{outcome=done}": 1,
                "reconnect_stopped_total{outcome=given_up}": 2,
            },
            id="reconnecting",
        ),
        pytest.param(
            [
                MemberEvicted(topic="room", id="s1", reason="slow"),
                MessagesMissed(topic="room", cause="reset", messages=None),
                BackplaneChanged(connected=False, cause="reset"),
                BackplaneChanged(connected=True, cause=""),
            ],
            {"hub_evictions_total": 1, "hub_gaps_total": 1, "hub_backplane_lost_total": 1},
            id="hub",
        ),
        pytest.param(
            # A verdict may be told after the end; what was never open does not close.
            [ended(uptime=1), HeartbeatLost(id="c1", silent=20)],
            {
                "connections_ended_total{code=1001,role=server}": 1,
                f"connection_duration_seconds_count{SERVER}": 1,
                f"connection_duration_seconds_sum{SERVER}": 1,
                f"heartbeats_lost_total{UNKNOWN}": 1,
            },
            id="not told of the opening",
        ),
    ],
)
def test_what_is_told_is_counted(
    records: list[Record],
    expected: dict[str, float],
    registry: CollectorRegistry,
    hook: PrometheusHook,
) -> None:
    for record in records:
        hook(record)
    assert counted(registry) == {f"trio_ws_{name}": value for name, value in expected.items()}


def test_every_metric_is_there_and_documented(
    registry: CollectorRegistry, hook: PrometheusHook
) -> None:
    for record in one_of_each():
        hook(record)
    names = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in registry.collect()
        if metric.documentation
    }
    assert names == OF_ROLES | OF_THE_PROCESS
    for name in names:
        short_name = name.removeprefix("trio_ws_")
        assert f"``{short_name}``" in (PrometheusHook.__doc__ or "")
        assert f"`{short_name}`" in PAGE.read_text()


def test_zeros_are_there_from_the_first_connection_on(
    registry: CollectorRegistry, hook: PrometheusHook
) -> None:
    def bases() -> set[str]:
        names = {name.partition("{")[0] for name in series(registry)}
        return {
            name.removesuffix("_count") for name in names if not name.endswith(("_bucket", "_sum"))
        }

    assert bases() == OF_THE_PROCESS
    hook(opened())
    # The codes that will come are not known.
    assert bases() == OF_THE_PROCESS | OF_ROLES - {"trio_ws_connections_ended_total"}


@pytest.mark.parametrize(
    ("codes", "label"),
    [
        *(([code], str(int(code))) for code in CloseCode),
        *(([int(code)], str(int(code))) for code in CloseCode),
        (range(3000, 4000), "3xxx"),
        (range(4000, 5000), "4xxx"),
        ([-1, 0, 999, 1004, 1016, 2999, 5000, 65535], "other"),
    ],
)
def test_codes_are_grouped(
    codes: list[int], label: str, registry: CollectorRegistry, hook: PrometheusHook
) -> None:
    for code in codes:
        hook(ended(reason=CloseReason(code)))
    ends = {name: value for name, value in counted(registry).items() if "_ended_" in name}
    assert ends == {f"trio_ws_connections_ended_total{{code={label},role=server}}": len(codes)}


def test_peers_cannot_make_time_series(registry: CollectorRegistry, hook: PrometheusHook) -> None:
    def tell(number: int) -> None:
        for client in (True, False):
            connection = f"{client}{number}"
            hook(opened(connection, client=client, target=f"/{number}"))
            hook(Sent(id=connection, messages=1, bytes=number))
            reason = CloseReason(number, reason=f"reason {number}")
            hook(ended(connection, client=client, reason=reason))
            hook(PingSent(id=connection))
        url = f"ws://host{number}/"
        hook(Connecting(target=url, attempt=number))
        hook(Disconnected(target=url, reason=reason, open_for=number))
        hook(Waiting(target=url, delay=number, attempt=number, cause=f"cause {number}"))
        hook(Stopped(target=url, attempts=number, cause=f"cause {number}"))

    for number in (*CloseCode, 3000, 4000, 5000):
        tell(number)
    before = set(series(registry))
    for number in range(900, 5100, 7):
        tell(number)
    assert set(series(registry)) == before


def test_an_ended_connection_is_forgotten(
    registry: CollectorRegistry, hook: PrometheusHook
) -> None:
    hook(opened())
    hook(ended())
    hook(PingSent(id="c1"))
    assert series(registry)[f"trio_ws_sent_pings_total{SERVER}"] == 0
    assert series(registry)[f"trio_ws_sent_pings_total{UNKNOWN}"] == 1


def test_the_hook_asks_for_traffic(hook: PrometheusHook) -> None:
    assert Hooks([hook]).traffic


def test_names_begin_with_the_namespace(registry: CollectorRegistry, hook: PrometheusHook) -> None:
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        PrometheusHook(registry)
    other = PrometheusHook(registry, namespace="chat")
    other(crashed(error=ValueError("broken")))
    assert counted(registry) == {"chat_handler_crashes_total": 1}


def test_the_exposition_has_help_and_type(
    registry: CollectorRegistry, hook: PrometheusHook
) -> None:
    hook(opened())
    text = generate_latest(registry).decode()
    assert "# HELP trio_ws_connections_open Connections that are open now.\n" in text
    assert "# TYPE trio_ws_connections_open gauge\n" in text
    assert 'trio_ws_connections_open{role="server"} 1.0\n' in text


def test_the_default_registry_is_that_of_prometheus() -> None:
    assert signature(PrometheusHook).parameters["registry"].default is REGISTRY


def test_without_prometheus_client_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = PrometheusHook.__module__
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'trio-ws\[metrics\]'") as caught:
        import_module(name)
    assert caught.value.name == "prometheus_client"


def test_nothing_else_needs_prometheus_client() -> None:
    program = (
        "import sys; sys.modules['prometheus_client'] = None; "
        "import trio_ws, trio_ws.instrumentation, trio_ws.testing, trio_ws.cli.app"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
