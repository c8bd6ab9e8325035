"""Run cases: a server for each peer, and the load generator against each of them in turns."""

from __future__ import annotations

import dataclasses
import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from .load.orders import Measurement
from .processes import Process, ProcessError
from .results import Cell
from .table import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .cases import Case
    from .load.orders import Load
    from .pace import Pace
    from .peers import Peer

GENERATOR = (sys.executable, "-m", "benchmarks.load")
#: Seconds in which a program has to be there, or to answer beside measuring.
START = 20.0
PATIENCE = 60.0


@dataclass(frozen=True)
class Cores:
    """Whom to pin where; the same twice where there is only one."""

    peer: int
    generator: int

    @classmethod
    def found(cls) -> Cores:
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])

    def __str__(self) -> str:
        if self.peer == self.generator:
            return f"all on core {self.peer}: there is no other, and rates are lower for it"
        return f"peers on core {self.peer}, the load generator on core {self.generator}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Record:
    """What is there so far, whenever a run ends."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._peers = peers
        self._cells: dict[tuple[str, str], Cell] = {}

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(self._cells.values())

    def able(self, case: Case) -> list[Peer]:
        """Those that can; of the others it is noted why they cannot."""
        for peer in self._peers:
            note = case.lacking(peer) or peer.missing()
            self._cells[case.name, peer.name] = Cell(case=case, peer=peer, note=note)
        return [peer for peer in self._peers if self.fine(case, peer)]

    def fine(self, case: Case, peer: Peer) -> bool:
        return not self._cells[case.name, peer.name].note

    @contextmanager
    def noting(self, case: Case, peer: Peer) -> Iterator[None]:
        """A peer that fails is noted, and the run goes on."""
        try:
            yield
        except (ProcessError, OSError) as error:
            say(f"{case.name} {peer.name}: failed: {error}")
            key = case.name, peer.name
            self._cells[key] = dataclasses.replace(self._cells[key], note=f"failed: {error}")

    def add(self, case: Case, peer: Peer, measurement: Measurement) -> None:
        key = case.name, peer.name
        cell = self._cells[key]
        self._cells[key] = dataclasses.replace(cell, measurements=(*cell.measurements, measurement))
        busy = (
            f" (peer {measurement.peer_busy:.0%} busy, generator {measurement.generator_busy:.0%})"
        )
        say(f"{case.name} {peer.name}: {number(case.value(measurement))} {case.unit}{busy}")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How everything is started."""

    pace: Pace
    cores: Cores
    certificate: str
    key: str

    def load(self, case: Case, peer: Peer) -> Load:
        return dataclasses.replace(
            case.load,
            connections=min(case.load.connections, self.pace.most_connections),
            raw=peer.raw,
            tls=case.tls,
            seconds=self.pace.seconds * case.longer,
            warm_up=self.pace.warm_up * case.longer,
        )

    def server(self, case: Case, peer: Peer) -> Process:
        """One that starts: it is pinned when it tells its port, see `port_of`."""
        tls = ["--certificate", self.certificate, "--key", self.key] if case.tls else []
        compress = ["--compress"] if case.load.compressed else []
        heartbeat = ["--heartbeat"] if case.load.kind == "idle" else []
        return Process([*peer.command, "serve", *tls, *compress, *heartbeat])

    def port_of(self, server: Process) -> int:
        port = int(server.answer(START))
        server.pin(self.cores.peer)
        return port

    def client(self, load: Load, peer: Peer, port: int) -> Process:
        command = [
            *(*peer.command, load.kind, "--port", str(port)),
            *("--connections", str(load.connections), "--size", str(load.size)),
            *(["--text"] if load.text else []),
        ]
        return Process(command, self.cores.peer)

    def generator(self) -> Process:
        return Process(GENERATOR, self.cores.generator)


class Turns:
    """Measures peers in turns, with one load generator for all."""

    def __init__(self, setting: Setting, record: Record) -> None:
        self._setting = setting
        self._record = record
        self._generator: Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._dismiss()

    def run(self, case: Case) -> None:
        peers = self._record.able(case)
        with ExitStack() as servers:
            loads = self._prepared(case, peers, servers)
            for round_ in range(min(self._setting.pace.rounds, case.rounds)):
                turn = round_ % (len(peers) or 1)
                for peer in (*peers[turn:], *peers[:turn]):
                    if self._record.fine(case, peer):
                        with self._record.noting(case, peer):
                            self._record.add(case, peer, self.measure(loads[peer], peer))

    def _prepared(self, case: Case, peers: Sequence[Peer], servers: ExitStack) -> dict[Peer, Load]:
        """What to order for each peer, whose server runs where it is one."""
        loads = {peer: self._setting.load(case, peer) for peer in peers}
        if case.load.serving:
            return loads
        # All at once: what takes time is to import them.
        started = {}
        for peer in peers:
            with self._record.noting(case, peer):
                started[peer] = servers.enter_context(self._setting.server(case, peer))
        for peer, server in started.items():
            with self._record.noting(case, peer):
                port = self._setting.port_of(server)
                loads[peer] = dataclasses.replace(loads[peer], port=port, pid=server.pid)
        return loads

    def measure(self, load: Load, peer: Peer) -> Measurement:
        """One measurement; after a failure there is another load generator."""
        generator = self._generator = self._generator or self._setting.generator()
        try:
            generator.tell(dataclasses.asdict(load))
            if not load.serving:
                return measured(generator, load)
            port = answer(generator, "port")
            with self._setting.client(load, peer, port) as client:
                generator.tell(client.pid)
                return measured(generator, load)
        except BaseException:
            self._dismiss()
            raise

    def _dismiss(self) -> None:
        if self._generator is not None:
            with self._generator:
                self._generator = None


def measured(generator: Process, load: Load) -> Measurement:
    patience = PATIENCE + load.seconds + load.warm_up
    return Measurement(**answer(generator, "measurement", patience))


def answer(generator: Process, name: str, seconds: float = START) -> Any:
    told = generator.answer(seconds)
    if name not in told:
        raise ProcessError(told.get("error", f"{told!r} instead of its {name}"))
    return told[name]
