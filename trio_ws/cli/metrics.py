"""``--metrics``: what Prometheus reads at ``/metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..protocol.http import Headers, Response
from .failures import Usage

if TYPE_CHECKING:
    from .._http import ProcessRequest
    from ..instrumentation import Hook
    from ..protocol.http import Request

PATH: Final = "/metrics"


def metrics(*, several: bool = False) -> tuple[Hook, ProcessRequest]:
    """A hook that counts what happens to connections, and one that answers with the counts.

    The process's own metrics (memory, processor, descriptors) are among them; but not where it is
    one of *several* that share a directory (``PROMETHEUS_MULTIPROC_DIR``). Then each answers with
    the sums of all, those that have ended included.

    Raises:
      Usage: prometheus-client is not installed.
    """
    try:
        # Imported late: it takes a tenth of a second, and most runs have no use for it.
        import prometheus_client
        from prometheus_client import exposition, multiprocess

        from ..instrumentation.prometheus import PrometheusHook
    except ImportError:
        raise Usage("--metrics needs prometheus-client: pip install 'trio-ws[metrics]'") from None
    registry = answered = prometheus_client.CollectorRegistry()
    if several:
        answered = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(answered)  # type: ignore[no-untyped-call]
    else:
        prometheus_client.ProcessCollector(registry=registry)
    headers = Headers(
        [("Content-Type", exposition.CONTENT_TYPE_LATEST), ("Cache-Control", "no-store")]
    )

    def process_request(request: Request) -> Response | None:
        if request.path != PATH or "upgrade" in request.headers:
            return None
        if request.method not in {"GET", "HEAD"}:
            return Response.text(405, "Only GET and HEAD are served\n", [("Allow", "GET, HEAD")])
        return Response(200, headers, prometheus_client.generate_latest(answered))

    return PrometheusHook(registry), process_request
