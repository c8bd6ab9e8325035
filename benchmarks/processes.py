"""Processes of a benchmark: started on one core, watched through /proc, and ended for certain."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
_PAGE = resource.getpagesize()
_PR_SET_PDEATHSIG = 1
#: Loaded here, since nothing may be loaded between fork and exec.
_LIBC = ctypes.CDLL(None)


class ProcessError(Exception):
    """A process ended, or said nothing in time."""


@dataclass(frozen=True)
class Usage:
    """CPU seconds that a process ran for, and that it waited for while others ran."""

    ran: float = 0.0
    waited: float = 0.0

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(self.ran - earlier.ran, self.waited - earlier.waited)


def usage(pid: int) -> Usage:
    """Of all threads of *pid*; to the nanosecond where the kernel tells, which it need not."""
    if not pid:
        return Usage()
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        times = [(task / "schedstat").read_text().split() for task in tasks]
        return Usage(*(sum(int(one[field]) for one in times) / 1e9 for field in (0, 1)))
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return Usage((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))


def resident_kib(pid: int) -> int:
    """KiB of memory that *pid* holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE // 1024


def raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Process:
    """A child that tells lines of JSON; ended, whatever happens, when its block is left."""

    def __init__(self, command: Sequence[str], core: int | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process

        def prepare() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if core is not None:
                os.sched_setaffinity(0, {core})

        with ExitStack() as unless_it_starts:
            unless_it_starts.enter_context(self._errors)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                cwd=ROOT,
                preexec_fn=prepare,
                process_group=0,  # Ctrl-C is for the one that started it
            )
            unless_it_starts.pop_all()
        self._told = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def pin(self, core: int) -> None:
        """Keep all of its threads, and those to come, on one core."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), {core})

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def tell(self, what: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ProcessError(self.trouble()) from None

    def answer(self, seconds: float) -> Any:
        """The next line that it tells."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._told:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise ProcessError(f"said nothing for {seconds:g} s")
            data = os.read(descriptor, 1 << 16)
            if not data:
                raise ProcessError(self.trouble())
            self._told += data
        line, _, self._told = self._told.partition(b"\n")
        return json.loads(line)

    def trouble(self) -> str:
        """Why it ended: the last line of its errors."""
        self._process.wait(5)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        status = f"ended with status {self._process.returncode}"
        return f"{status}: {lines[-1].strip()}" if lines else status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
