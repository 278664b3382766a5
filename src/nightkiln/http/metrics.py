"""What Prometheus reads at /metrics. HTTP in OpenTelemetry's names, work in vLLM's words.

Requests are counted in this process; jobs, rows and tokens are read from the store
at each scrape, so they survive restarts and are never counted twice. An admin sees
everything; any other key its own project, and nothing of anybody's requests.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from nightkiln.core.access import Scope as KeyScope
from nightkiln.http.access import Reader, Serving
from nightkiln.http.parts import Tended
from nightkiln.http.visit import route_of
from nightkiln.service.api import PROJECT_HEADER
from nightkiln.store import overview
from nightkiln.store.overview import Overview

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
_LABELS: Final = ("http_request_method", "http_route", "http_response_status_code")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
router: Final = APIRouter(tags=["server"])


class HttpMetrics:
    """Counts of this process. One for each server, with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._active = Gauge(
            "http_server_active_requests", "Requests under way", registry=self.registry
        )
        self._seconds = Histogram(
            "http_server_request_duration_seconds",
            "How long requests took, by route and status",
            _LABELS,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._cut = Counter(
            "http_server_cut_requests", "Requests that got no answer", registry=self.registry
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count a request as under way."""
        with self._active.track_inprogress():
            yield

    def answered(self, scope: Scope, *, status: int | None, seconds: float) -> None:
        """Count an answer. Routes are templates, so their number is bounded."""
        if status is None:
            self._cut.inc()
            return
        route = route_of(scope) or "none"
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        self._seconds.labels(method, route, str(status)).observe(seconds)


class _Work(Collector):
    """What the store says, for one scrape."""

    def __init__(self, found: Overview) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        found = self._found
        jobs = GaugeMetricFamily("nightkiln:num_jobs", "Jobs by state", labels=["state"])
        for state, count in found.states.items():
            jobs.add_metric([state], count)
        yield jobs
        running = ("nightkiln:num_requests_running", "Requests in flight at backends")
        yield GaugeMetricFamily(*running, value=found.in_flight)
        yield GaugeMetricFamily("nightkiln:num_slots", "Slots of running jobs", value=found.slots)
        totals = found.totals
        for name, words, value in (
            ("nightkiln:rows_answered", "Rows answered with a result", totals.ok),
            ("nightkiln:rows_failed", "Rows answered with a fault", totals.failed),
            ("nightkiln:prompt_tokens", "Tokens read", totals.input_tokens),
            ("nightkiln:generation_tokens", "Tokens written", totals.output_tokens),
            ("nightkiln:cost_usd", "Money spent, where prices are known", totals.cost_nanos / 1e9),
        ):
            yield CounterMetricFamily(name, words, value=value)


class _Beside(Collector):
    """How work beside requests goes on, for one scrape."""

    def __init__(self, tended: Sequence[Tended]) -> None:
        self._tended = tended

    def collect(self) -> Iterable[Metric]:
        words = "Errors that made work beside requests begin anew"
        found = CounterMetricFamily("nightkiln:stumbles", words, labels=["work"])
        for one in self._tended:
            found.add_metric([one.name.removeprefix("the ")], one.stumbles)
        yield found


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, caller: Reader, parts: Serving) -> Response:
    """The metrics, as text."""
    everything = caller.key.may(KeyScope.ADMIN) and PROJECT_HEADER not in request.headers
    project = None if everything else caller.project
    found = await parts.store.read(lambda tx: overview.overview(tx, project=project))
    work = CollectorRegistry()
    work.register(_Work(found))
    if everything:
        work.register(_Beside(parts.tended))
    text = generate_latest(work)
    if everything:
        own: HttpMetrics = request.app.state.metrics
        text = generate_latest(own.registry) + text
    return Response(text, media_type=CONTENT_TYPE_LATEST)
