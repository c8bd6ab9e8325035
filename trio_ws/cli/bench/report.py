"""What the load has shown: for people, and for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..failures import cleared
from ..figures import counted, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, RenderableType

    from ..options.bench import BenchOptions
    from .histogram import Histogram
    from .tally import Tally

PERCENTS: Final = (50, 90, 95, 99, 99.9)
#: Where rows may end, in each decade: the finest that does not take too many of them.
_SERIES: Final[Sequence[Sequence[float]]] = (
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1,),
)
_MAX_ROWS: Final = 16
_MAX_BAR: Final = 48
_MIN_BAR: Final = 8
#: Columns that the rest of a row may need.
_BESIDE_BARS: Final = 48
_EIGHTHS: Final = "▏▎▍▌▋▊▉█"
#: Seconds: what leaves later than this is worth a warning.
_TOO_LATE: Final = 0.002


def report(tally: Tally, options: BenchOptions, url: str, console: Console) -> None:
    """Print the result for people."""
    console.print(Group(*_parts(tally, options, url, console)))


def _parts(
    tally: Tally, options: BenchOptions, url: str, console: Console
) -> Iterator[RenderableType]:
    yield Text.assemble((cleared(url), "bold"), f": {_asked(options)}")
    yield ""
    yield _percentiles(tally)
    yield ""
    size = tally.rate * options.size / 1e6
    yield Text.assemble(
        (f"{tally.rate:,.0f} messages/s", "bold"),
        f", {size:,.3g} MB/s each way: {counted(tally.answered, 'reply', 'replies')} "
        f"in {tally.window:.3g} s",
    )
    yield _opened(tally, options)
    yield from _errors(tally)
    if tally.round_trips.count:
        yield ""
        yield _picture(tally.round_trips, console)
    yield ""
    yield from _remarks(tally, options)


def _asked(options: BenchOptions) -> str:
    kind = "binary" if options.binary else "text"
    if options.rate is None:
        flow = f"{options.pipeline or 1} on the way on each"
    else:
        flow = f"{options.rate:,.6g} messages/s"
    return (
        f"{counted(options.connections, 'connection')}, {flow}, "
        f"{kind} of {counted(options.size, 'byte')}"
    )


def _opened(tally: Tally, options: BenchOptions) -> Text:
    if tally.opened == options.connections:
        return Text(f"{counted(tally.opened, 'connection')} opened")
    return Text(f"{tally.opened:,} of {options.connections:,} connections opened", "yellow")


def _percentiles(tally: Tally) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in (*(f"p{percent:g}" for percent in PERCENTS), "max", "mean"):
        table.add_column(name, justify="right", min_width=7, no_wrap=True, overflow="crop")
    for title, histogram in (("connect", tally.connecting), ("round trip", tally.round_trips)):
        values = [histogram.percentile(percent) for percent in (*PERCENTS, 100)]
        cells = ["-" if value is None else shown(value) for value in (*values, histogram.mean)]
        table.add_row(Text(title, "bold"), *cells)
    return table


def _errors(tally: Tally) -> Iterator[RenderableType]:
    if not tally.errors:
        yield Text("no errors", "green")
        return
    yield Text(counted(tally.errors, "error"), "bold red")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="red")
    table.add_column(overflow="fold")
    for text, number in tally.kinds():
        table.add_row(f"{number:,}", Text(cleared(text)))
    yield table


def _remarks(tally: Tally, options: BenchOptions) -> Iterator[RenderableType]:
    if options.rate is None:
        yield Text(
            "Closed loop: while the server stalls, nothing more is sent, so these round trips "
            "hide how long users would have waited. --rate shows it.",
            "dim",
        )
    else:
        yield Text(
            "Round trips count from when each message was due, so stalls are not hidden "
            "(corrected for coordinated omission).",
            "dim",
        )
    if tally.unanswered or tally.unsent:
        yield Text("What had no reply counts with the time that it has waited.", "dim")
    late = tally.late.percentile(99)
    if late is not None and late > _TOO_LATE:
        yield Text(
            f"1 % of the messages left {shown(late)} late or later: where the server did not "
            "hold them up, this machine did. Try --processes, or a lower --rate.",
            "yellow",
        )


# The picture


def _picture(histogram: Histogram, console: Console) -> Table:
    rows = rows_of(histogram)
    most = max(count for _, count in rows)
    width = min(_MAX_BAR, max(_MIN_BAR, console.width - _BESIDE_BARS))
    ascii_only = console.options.ascii_only
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("up to", justify="right", min_width=7, overflow="crop")
    table.add_column("", width=width, overflow="crop")
    table.add_column("messages", justify="right", overflow="crop")
    table.add_column("so far", justify="right", overflow="crop")
    table.add_column("", style="bold", overflow="crop")
    so_far = 0
    for bound, count in rows:
        before = so_far
        so_far += count
        table.add_row(
            shown(bound),
            Text(bar(count / most, width, ascii_only=ascii_only), _style(before / histogram.count)),
            f"{count:,}",
            f"{math.floor(so_far / histogram.count * 1e4) / 100:.2f}%",
            _marks(before, so_far, histogram.count),
        )
    return table


def _style(below: float) -> str:
    """The colour of a row, by how many are faster than everything in it."""
    return "green" if below < 0.9 else "yellow" if below < 0.99 else "red"


def _marks(before: int, so_far: int, count: int) -> str:
    ranks = {percent: max(1, math.ceil(count * percent / 100)) for percent in PERCENTS}
    return " ".join(f"p{percent:g}" for percent, rank in ranks.items() if before < rank <= so_far)


def rows_of(histogram: Histogram) -> list[tuple[float, int]]:
    """Upper bounds on a scale of round numbers, and how many durations lie under each."""
    scales = (list(_bounds(series, histogram.minimum, histogram.maximum)) for series in _SERIES)
    bounds = next(scale for scale in scales if len(scale) <= _MAX_ROWS)
    counts = [0] * len(bounds)
    row = 0
    for value, count in histogram.buckets():
        while row < len(bounds) - 1 and value > bounds[row]:
            row += 1
        counts[row] += count
    return list(zip(bounds, counts, strict=True))


def _bounds(series: Sequence[float], minimum: float, maximum: float) -> Iterator[float]:
    """Those of the series from the first that is not under *minimum* to one over *maximum*."""
    exponent = math.floor(math.log10(max(minimum, 1e-9)))
    while True:
        for step in series:
            bound = step * 10.0**exponent
            if bound >= minimum:
                yield bound
                if bound >= maximum:
                    return
        exponent += 1


def bar(share: float, width: int, *, ascii_only: bool) -> str:
    """A bar, *share* of *width* long; something where that is not quite nothing."""
    if ascii_only:
        return "#" * math.ceil(share * width)
    eighths = math.ceil(share * width * 8)
    whole, rest = divmod(eighths, 8)
    return _EIGHTHS[-1] * whole + (_EIGHTHS[rest - 1] if rest else "")


# For programs


def to_json(tally: Tally, options: BenchOptions, url: str, failed: Sequence[str]) -> dict[str, Any]:
    """The result as one object, in seconds and bytes."""
    return {
        "url": url,
        "connections": options.connections,
        "opened": tally.opened,
        "processes": options.processes,
        "rate_asked_for": options.rate,
        "pipeline": None if options.rate is not None else options.pipeline or 1,
        "corrected_for_coordinated_omission": options.rate is not None,
        "size": options.size,
        "binary": options.binary,
        "window": tally.window,
        "replies": tally.answered,
        "messages_per_second": tally.rate,
        "bytes_per_second": tally.rate * options.size,
        "connect": _summary(tally.connecting),
        "round_trip": _summary(tally.round_trips),
        "late": _summary(tally.late),
        "errors": tally.errors,
        "errors_by_kind": dict(tally.kinds()),
        "failed": list(failed),
        "histogram": list(tally.round_trips.buckets()),
    }


def _summary(histogram: Histogram) -> dict[str, float | None]:
    values: dict[str, float | None] = {
        "count": histogram.count,
        "min": histogram.minimum if histogram.count else None,
        "mean": histogram.mean,
    }
    values.update({f"p{percent:g}": histogram.percentile(percent) for percent in PERCENTS})
    values["max"] = histogram.percentile(100)
    return values
