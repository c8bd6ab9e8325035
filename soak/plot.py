"""A picture of a run. Needs the extra ``soak``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .samples import Sample

#: Samples that are drawn, at the most: more than that nobody can see.
_MOST_DRAWN = 1000


def plot(samples: Sequence[Sample], path: Path, title: str) -> None:
    """Draw memory, tasks and connections, descriptors, and delays over the run."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same run gives the same file.
    mpl.rcParams.update({"svg.hashsalt": "soak", "font.size": 8, "svg.fonttype": "none"})
    from matplotlib import pyplot

    samples = samples[:: -(-len(samples) // _MOST_DRAWN)]
    minutes = [sample.at / 60 for sample in samples]
    figure: Any
    figure, axes = pyplot.subplots(4, sharex=True, figsize=(8, 7), layout="constrained")
    memory, tasks, descriptors, delays = axes
    memory.plot(minutes, [sample.resident / 2**20 for sample in samples], linewidth=0.8)
    memory.set_ylabel("RSS, MiB")
    tasks.plot(minutes, [sample.tasks for sample in samples], linewidth=0.8, label="tasks")
    connections = [sample.connections for sample in samples]
    tasks.plot(minutes, connections, linewidth=0.8, label="connections")
    tasks.set_ylabel("tasks, connections")
    descriptors.plot(minutes, [sample.descriptors for sample in samples], linewidth=0.8)
    descriptors.set_ylabel("descriptors")
    for name in ("p50", "p99"):
        values = [getattr(sample, name) * 1e3 for sample in samples]
        delays.plot(minutes, values, linewidth=0.8, label=name)
    delays.set_yscale("log")
    delays.set_ylabel("echo, ms")
    delays.set_xlabel("minutes")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.margins(x=0)
    for axis in (memory, descriptors, tasks):
        axis.set_ylim(bottom=0)
    for axis in (tasks, delays):
        axis.legend(loc="upper right")
    figure.suptitle(title)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
