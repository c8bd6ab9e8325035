"""Idle connections: what each takes of memory, and what keeping them alive takes of CPU.

All peers hold theirs at the same time: they take no turns to do next to nothing, and neither
memory nor CPU time depends on what other processes do.
"""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .load.orders import Measurement
from .processes import Process, ProcessError, resident_kib, usage
from .running import PATIENCE, Record, Setting, Turns, answer, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cases import Case
    from .peers import Peer


@dataclass(frozen=True)
class Held:
    """A server with its idle connections, and KiB of memory that it held without them."""

    server: Process
    generator: Process
    memory: int
    connections: int

    def check(self) -> None:
        for process in (self.server, self.generator):
            if not process.alive:
                raise ProcessError(process.trouble())


def hold(cases: Sequence[Case], setting: Setting, record: Record) -> None:
    """Measure cases that are about the same idle connections."""
    able = {case: record.able(case) for case in cases}
    peers = dict.fromkeys(peer for peers in able.values() for peer in peers)
    with ExitStack() as processes:
        held = {}
        for peer in peers:
            case = next(case for case in cases if peer in able[case])
            with record.noting(case, peer):
                held[peer] = _connected(case, peer, setting, processes)
        for peer, measurement in _watched(held, setting).items():
            for case in cases:
                if peer in able[case]:
                    with record.noting(case, peer):
                        held[peer].check()
                        record.add(case, peer, measurement)


def _connected(case: Case, peer: Peer, setting: Setting, processes: ExitStack) -> Held:
    server = processes.enter_context(setting.server(case, peer))
    load = dataclasses.replace(setting.load(case, peer), port=setting.port_of(server))
    # What is made for the first connection stays for all.
    once = dataclasses.replace(load, kind="connects", connections=1, seconds=0.1, warm_up=0.0)
    with Turns(setting, Record([])) as turns:
        turns.measure(once, peer)
    memory = resident_kib(server.pid)
    generator = processes.enter_context(setting.generator())
    generator.tell(dataclasses.asdict(load))
    answer(generator, "ready", 2 * PATIENCE)
    say(f"{case.name} {peer.name}: {load.connections:,} connections are there")
    return Held(server, generator, memory, load.connections)


def _watched(held: dict[Peer, Held], setting: Setting) -> dict[Peer, Measurement]:
    pace = setting.pace
    time.sleep(pace.settle)
    memory = {peer: resident_kib(one.server.pid) for peer, one in held.items()}
    before = {peer: usage(one.server.pid) for peer, one in held.items()}
    time.sleep(pace.hold)
    return {
        peer: Measurement(
            seconds=pace.hold,
            peer_cpu=(usage(one.server.pid) - before[peer]).ran,
            connections=one.connections,
            memory=(memory[peer] - one.memory) / one.connections,
        )
        for peer, one in held.items()
    }
