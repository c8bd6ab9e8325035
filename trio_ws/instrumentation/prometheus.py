"""A hook that keeps metrics for Prometheus. Needs ``pip install 'trio-ws[metrics]'``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._close import CloseCode
from ._records import (
    BackplaneChanged,
    Connecting,
    ConnectionEnded,
    ConnectionOpened,
    Disconnected,
    HandlerCrashed,
    HeartbeatLost,
    MemberEvicted,
    MessagesMissed,
    PingSent,
    PongReceived,
    Received,
    Sent,
    Stopped,
    Waiting,
)

try:
    import prometheus_client
except ImportError as error:
    raise ImportError(
        "trio_ws.instrumentation.prometheus needs prometheus-client: "
        "pip install 'trio-ws[metrics]'",
        name="prometheus_client",
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._records import Record

__all__ = ["PrometheusHook"]

_REGISTERED: Final = frozenset(int(code) for code in CloseCode)

# Upper bounds in seconds.
_DURATIONS: Final = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_ROUND_TRIPS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAITS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class PrometheusHook:
    """Counts what happens, for Prometheus. One hook serves any number of servers and clients.

    The names begin with the namespace, ``trio_ws_`` by default. Of connections, with the label
    ``role`` (``client`` or ``server``, this side's):

    - ``connections_open`` (gauge): connections that are open now.
    - ``connections_opened_total``: opening handshakes that succeeded.
    - ``connections_ended_total``: connections that ended, with the label ``code``: a registered
      close code, or ``3xxx``, ``4xxx`` or ``other``.
    - ``connection_duration_seconds`` (histogram): how long they were open.
    - ``sent_pings_total``: pings queued.
    - ``ping_round_trip_seconds`` (histogram): from a ping to its pong.
    - ``heartbeats_lost_total``: connections aborted because the peer was silent.
    - ``received_messages_total``, ``received_bytes_total``: arrived; bytes include frame headers.
    - ``sent_messages_total``, ``sent_bytes_total``: accepted by ``send``; likewise.

    Of servers, without labels:

    - ``handler_crashes_total``: handlers that raised.

    Of reconnecting clients, without labels but the one named:

    - ``reconnect_attempts_total``: attempts begun, the very first included.
    - ``reconnect_wait_seconds`` (histogram): the waits before attempts.
    - ``reconnect_disconnects_total``: connections that were lost or closed.
    - ``reconnect_stopped_total``: clients that will not try again, with the label ``outcome``:
      ``done`` or ``given_up``.

    Of hubs, without labels:

    - ``hub_evictions_total``: members that were made to leave a topic, because they were too slow.
    - ``hub_gaps_total``: times that messages from other processes may have been missed.
    - ``hub_backplane_lost_total``: times that the backplane lost its connection.

    No label holds what a peer or a URL says, so the number of time series is bounded. What is told
    of a connection whose opening was not has the role ``unknown``.

    Attributes:
      traffic: true, to be given `Received` and `Sent`.
    """

    traffic = True

    def __init__(
        self,
        registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY,
        *,
        namespace: str = "trio_ws",
    ) -> None:
        """Register the metrics.

        Args:
          registry: where; by default Prometheus's own.
          namespace: what the names begin with.

        Raises:
          ValueError: the registry has metrics with these names already. Share one hook, or give
            each a namespace.
        """

        def counter(name: str, documentation: str, *labels: str) -> prometheus_client.Counter:
            return prometheus_client.Counter(
                name, documentation, labels, namespace=namespace, registry=registry
            )

        def histogram(
            name: str, documentation: str, buckets: Sequence[float], *labels: str
        ) -> prometheus_client.Histogram:
            return prometheus_client.Histogram(
                name, documentation, labels, namespace=namespace, registry=registry, buckets=buckets
            )

        self._open = prometheus_client.Gauge(
            "connections_open",
            "Connections that are open now.",
            ["role"],
            namespace=namespace,
            registry=registry,
            # Where several processes share one endpoint, theirs add up.
            multiprocess_mode="livesum",
        )
        self._opened = counter("connections_opened", "Opening handshakes that succeeded.", "role")
        self._ended = counter(
            "connections_ended", "Connections that ended, by close code.", "role", "code"
        )
        self._duration = histogram(
            "connection_duration_seconds", "How long connections were open.", _DURATIONS, "role"
        )
        self._pings = counter("sent_pings", "Pings queued.", "role")
        self._round_trip = histogram(
            "ping_round_trip_seconds", "From a ping to its pong.", _ROUND_TRIPS, "role"
        )
        self._heartbeats_lost = counter(
            "heartbeats_lost", "Connections aborted because the peer was silent.", "role"
        )
        self._received_messages = counter("received_messages", "Messages that arrived.", "role")
        self._received_bytes = counter(
            "received_bytes", "Bytes that arrived, frame headers included.", "role"
        )
        self._sent_messages = counter("sent_messages", "Messages accepted by send.", "role")
        self._sent_bytes = counter(
            "sent_bytes", "Bytes accepted by send, frame headers included.", "role"
        )
        self._handler_crashes = counter("handler_crashes", "Servers' handlers that raised.")
        self._attempts = counter(
            "reconnect_attempts", "Attempts begun by reconnecting clients, the first included."
        )
        self._wait = histogram(
            "reconnect_wait_seconds", "Waits of reconnecting clients before attempts.", _WAITS
        )
        self._disconnects = counter(
            "reconnect_disconnects", "Connections of reconnecting clients that ended."
        )
        self._stopped = counter(
            "reconnect_stopped", "Reconnecting clients that will not try again.", "outcome"
        )
        for outcome in ("done", "given_up"):
            self._stopped.labels(outcome)

        self._evictions = counter("hub_evictions", "Members of topics that were too slow.")
        self._gaps = counter("hub_gaps", "Times that messages may have been missed.")
        self._backplane_lost = counter(
            "hub_backplane_lost", "Times that a backplane lost its connection."
        )

        self._roles: dict[str, _Role] = {}
        self._role_of: dict[str, _Role] = {}  # by the ids of open connections

    def __call__(self, record: Record, /) -> None:
        """Count what *record* tells."""
        match record:
            case Received():
                role = self._role_of_id(record.id)
                role.received_messages.inc(record.messages)
                role.received_bytes.inc(record.bytes)
            case Sent():
                role = self._role_of_id(record.id)
                role.sent_messages.inc(record.messages)
                role.sent_bytes.inc(record.bytes)
            case PingSent():
                self._role_of_id(record.id).pings.inc()
            case PongReceived(round_trip=float() as round_trip):
                self._role_of_id(record.id).round_trip.observe(round_trip)
            case HeartbeatLost():
                self._role_of_id(record.id).heartbeats_lost.inc()
            case ConnectionOpened():
                role = self._role_of[record.id] = self._role_named(_role_name(record.client))
                role.opened.inc()
                role.open.inc()
            case ConnectionEnded():
                name = _role_name(record.client)
                role = self._role_named(name)
                if self._role_of.pop(record.id, None) is not None:
                    role.open.dec()
                role.duration.observe(record.uptime)
                self._ended.labels(name, _group_of_code(record.reason.code)).inc()
            case HandlerCrashed():
                self._handler_crashes.inc()
            case Connecting():
                self._attempts.inc()
            case Waiting():
                self._wait.observe(record.delay)
            case Disconnected():
                self._disconnects.inc()
            case Stopped():
                self._stopped.labels("done" if record.cause is None else "given_up").inc()
            case MemberEvicted():
                self._evictions.inc()
            case MessagesMissed():
                self._gaps.inc()
            case BackplaneChanged(connected=False):
                self._backplane_lost.inc()
            case _:
                pass

    def _role_of_id(self, connection_id: str) -> _Role:
        return self._role_of.get(connection_id) or self._role_named("unknown")

    def _role_named(self, name: str) -> _Role:
        if name not in self._roles:
            self._roles[name] = _Role(self, name)
        return self._roles[name]


class _Role:
    """The metrics that have only the label ``role``, for one value of it.

    They are looked up once, as traffic comes often; and from then on they are there, as zeros.
    """

    __slots__ = (
        "duration",
        "heartbeats_lost",
        "open",
        "opened",
        "pings",
        "received_bytes",
        "received_messages",
        "round_trip",
        "sent_bytes",
        "sent_messages",
    )

    def __init__(self, hook: PrometheusHook, name: str) -> None:
        self.open = hook._open.labels(name)
        self.opened = hook._opened.labels(name)
        self.duration = hook._duration.labels(name)
        self.pings = hook._pings.labels(name)
        self.round_trip = hook._round_trip.labels(name)
        self.heartbeats_lost = hook._heartbeats_lost.labels(name)
        self.received_messages = hook._received_messages.labels(name)
        self.received_bytes = hook._received_bytes.labels(name)
        self.sent_messages = hook._sent_messages.labels(name)
        self.sent_bytes = hook._sent_bytes.labels(name)


def _role_name(client: bool) -> str:
    return "client" if client else "server"


def _group_of_code(code: int) -> str:
    """The label for a close code: peers choose among thousands."""
    if code in _REGISTERED:
        return str(int(code))
    if 3000 <= code <= 4999:
        return f"{code // 1000}xxx"
    return "other"
