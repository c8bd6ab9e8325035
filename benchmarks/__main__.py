"""Compare trio-ws with its peers, side by side, and write a table of medians and ratios.

python -m benchmarks --quick --cases 'round-trips-*' --peers trio-ws picows+uvloop
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from . import machine
from .cases import chosen
from .holding import hold
from .pace import FULL, QUICK, Pace
from .peers import OURS, PEERS, Peer
from .processes import ROOT, raise_descriptor_limit
from .results import Results
from .running import Cores, Record, Setting, Turns, say
from .table import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cases import Case

INTERRUPTED = "Interrupted: this is what there was."
WHOLE = Path(__file__).parent
PARTIAL = ROOT / "reports" / "benchmarks"


def parser() -> argparse.ArgumentParser:
    names = [peer.name for peer in PEERS]
    options = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--quick", action="store_true", help="a look, in two minutes")
    options.add_argument("--rounds", type=int, help=f"default: {FULL.rounds}")
    options.add_argument("--seconds", type=float, help=f"of each, default: {FULL.seconds:g}")
    options.add_argument("--cases", nargs="+", default=(), metavar="PATTERN", help="such as 4k-*")
    options.add_argument("--peers", nargs="+", choices=names, metavar="NAME", help="beside ours")
    options.add_argument("--output", type=Path, metavar="FOLDER", help="for results.md and .json")
    options.add_argument("--list", action="store_true", help="the cases and peers")
    return options


def pace(arguments: argparse.Namespace) -> Pace:
    base = QUICK if arguments.quick else FULL
    return dataclasses.replace(
        base,
        rounds=base.rounds if arguments.rounds is None else arguments.rounds,
        seconds=base.seconds if arguments.seconds is None else arguments.seconds,
    )


def output(arguments: argparse.Namespace) -> Path:
    """What is not about everything does not replace what is."""
    if arguments.output is not None:
        return Path(arguments.output)
    partial = arguments.quick or arguments.cases or arguments.peers
    return PARTIAL if partial else WHOLE


def peers_named(names: Sequence[str] | None) -> list[Peer]:
    """Ours is always among them: ratios are to it."""
    return [peer for peer in PEERS if names is None or peer.name in names or peer == OURS]


def show() -> None:
    for case in chosen(()):
        print(f"{case.name:20} {case.group}: {case.title}; {case.unit}")
    for peer in PEERS:
        print(f"{peer.name:20} {peer.missing() or 'is here'}")


def certificate(folder: Path) -> tuple[str, str]:
    """Files of a certificate and of its key."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    issued.private_key_pem.write_to_path(str(key))
    return str(chain), str(key)


def main(argv: Sequence[str] | None = None) -> int:
    options = parser()
    arguments = options.parse_args(argv)
    if arguments.list:
        show()
        return 0
    cases = chosen(arguments.cases, quick=arguments.quick)
    if not cases:
        options.error("no case has a name like that; --list shows them")
    raise_descriptor_limit()
    results = measured(cases, peers_named(arguments.peers), pace(arguments), command(argv))
    folder = output(arguments)
    write(results, folder)
    say(f"written: {folder / 'results.md'} and {folder / 'results.json'}")
    return 130 if results.notes else 0


def command(argv: Sequence[str] | None) -> str:
    return shlex.join(["python", "-m", "benchmarks", *(sys.argv[1:] if argv is None else argv)])


def measured(cases: Sequence[Case], peers: Sequence[Peer], pace: Pace, command: str) -> Results:
    """Run the cases; what there is by then if that is interrupted."""
    facts, began, record = machine.facts(command), time.monotonic(), Record(peers)
    notes: tuple[str, ...] = ()
    cores = Cores.found()
    with tempfile.TemporaryDirectory() as folder:
        chain, key = certificate(Path(folder))
        setting = Setting(pace=pace, cores=cores, certificate=chain, key=key)
        try:
            run(cases, setting, record)
        except KeyboardInterrupt:
            notes = (INTERRUPTED,)
    return Results(
        facts={**facts, "pinning": str(cores), "pace": described(pace, began)},
        versions=machine.versions(peer for peer in peers if not peer.missing()),
        cells=record.cells,
        notes=notes,
    )


def run(cases: Sequence[Case], setting: Setting, record: Record) -> None:
    idle = [case for case in cases if case.load.kind == "idle"]
    with Turns(setting, record) as turns:
        for case in cases:
            if case not in idle:
                turns.run(case)
    if idle:
        hold(idle, setting, record)


def described(pace: Pace, began: float) -> str:
    return (
        f"{pace.rounds} round{'s' * (pace.rounds != 1)} of {pace.seconds:g} s, "
        f"at most {pace.most_connections:,} connections, {time.monotonic() - began:.0f} s in all"
    )


if __name__ == "__main__":
    sys.exit(main())
