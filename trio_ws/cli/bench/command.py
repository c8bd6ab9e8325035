"""``trio-ws bench``, from the options to the exit code."""

from __future__ import annotations

import json
import resource
import sys
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import trio
from rich.console import Console

from ..._url import parse_url
from ..exit_codes import ExitCode
from ..failures import Interrupted, LocalFailure, Unmet, Usage, say
from ..figures import counted
from ..options.client import Color
from ..signals import interruptible
from .load import Load, destination_for
from .processes import Processes
from .progress import Progress
from .report import report, to_json
from .thresholds import parse_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..connecting import Destination
    from ..options.bench import BenchOptions
    from .tally import Tally
    from .thresholds import Threshold

Runner: TypeAlias = Load | Processes

#: Files that this program has open besides its connections.
_OTHER_FILES: Final = 64


def run(options: BenchOptions) -> None:
    """Put load on a server, and report.

    Raises:
      Usage: the options make no sense together.
      Unmet: a threshold was not met.
      Interrupted: a signal ended it; what was measured until then is reported.
    """
    thresholds = [parse_threshold(text) for text in options.fail_if]
    _check(options)
    _allow_files(-(-options.connections // options.processes) + _OTHER_FILES)
    destination = destination_for(options)
    runner = _runner(destination, options)
    interrupted: Interrupted | None = None
    try:
        trio.run(_run, runner, options)
    except Interrupted as error:
        interrupted = error
    tally = runner.tally
    if not tally.opened:
        if interrupted is not None:
            raise interrupted
        _none_opened(tally, options)
    failed = _report(tally, options, thresholds, str(parse_url(destination.url)))
    if interrupted is not None:
        raise interrupted
    _judge(tally, failed)


def _check(options: BenchOptions) -> None:
    if options.rate is not None and options.pipeline is not None:
        raise Usage("--rate and --pipeline exclude each other: with a rate, nothing waits")
    if options.processes > options.connections:
        raise Usage(
            f"--processes {options.processes}: there are only "
            f"{counted(options.connections, 'connection')} to share"
        )


def _allow_files(needed: int) -> None:
    """Let this process, and those that it starts, have so many files open.

    Raises:
      LocalFailure: the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise LocalFailure(
            f"so many connections need {needed} open files a process, and the system allows "
            f"{hard}: raise it (ulimit -n), or share them with --processes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _runner(destination: Destination, options: BenchOptions) -> Runner:
    if options.processes > 1:
        return Processes(destination, options)

    async def settled(opened: int) -> float | None:
        return options.rate

    return Load(destination, options, settled=settled)


async def _run(runner: Runner, options: BenchOptions) -> None:
    async with interruptible(), trio.open_nursery() as nursery:
        if not options.quiet:
            console = _console(options, stderr=True) if sys.stderr.isatty() else None
            nursery.start_soon(Progress(options, runner.update).show, console)
        await runner.run()
        nursery.cancel_scope.cancel()


def _console(options: BenchOptions, *, stderr: bool = False) -> Console:
    match options.color:
        case Color.ALWAYS:
            return Console(stderr=stderr, force_terminal=True, no_color=False, highlight=False)
        case Color.NEVER:
            return Console(stderr=stderr, no_color=True, highlight=False)
        case _:
            return Console(stderr=stderr, highlight=False)


def _report(
    tally: Tally, options: BenchOptions, thresholds: Sequence[Threshold], url: str
) -> list[str]:
    """Print the result; return what is wrong with it."""
    failed = [failure for t in thresholds if (failure := t.failure(tally)) is not None]
    if options.json:
        print(json.dumps(to_json(tally, options, url, failed), ensure_ascii=False))
    else:
        report(tally, options, url, _console(options))
    sys.stdout.flush()
    return failed


def _none_opened(tally: Tally, options: BenchOptions) -> NoReturn:
    first = next(iter(tally.failures), "a worker process failed")
    say(f"error: none of {counted(options.connections, 'connection')} opened: {first}")
    sys.exit(tally.code or ExitCode.INTERNAL)


def _judge(tally: Tally, failed: Sequence[str]) -> None:
    if tally.crashed:
        raise LocalFailure(f"{counted(tally.crashed, 'worker process', 'worker processes')} failed")
    if tally.broken == tally.opened:
        say("error: every connection ended before its time")
        sys.exit(ExitCode.CLOSED)
    if failed:
        raise Unmet("; ".join(failed))
