"""Run Autobahn's test suite against our server and our client (``make conformance``).

Autobahn's ``wstest`` is written in Python 2.7. It is installed into ``.venv-wstest`` where such
an interpreter is found, and its cases are spread over several processes: most of them wait.
"""

from __future__ import annotations

import argparse
import asyncio
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REPORTS = ROOT / "reports" / "autobahn"
ENVIRONMENT = ROOT / ".venv-wstest"
GOOD = {"OK", "INFORMATIONAL"}

#: What each share takes is about the same; the slow cases are 9.*, 12.* and 13.*.
SHARES = [
    ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"],
    ["9.*"],
    ["12.1.*", "12.2.*"],
    ["12.3.*"],
    ["12.4.*"],
    ["12.5.*"],
    ["13.1.*", "13.2.*"],
    ["13.3.*", "13.4.*"],
    ["13.5.*", "13.6.*"],
    ["13.7.*"],
]
QUICK = [["1.*", "2.*", "3.*", "4.*"], ["5.*", "6.*", "7.*", "10.*"]]
#: Everything there is, unless --cases or --quick asked for less.
ALL_CASES = 517


@dataclass(frozen=True)
class Run:
    """One of our two sides, on one kind of codec."""

    side: str
    codec: str
    shares: list[list[str]]

    @property
    def name(self) -> str:
        return f"{self.side}, {self.codec} codec"


def find_python27() -> str | None:
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for candidate in [*glob.glob(f"{root}/versions/2.7*/bin/python"), shutil.which("python2.7")]:
        if candidate is not None:
            check = [candidate, "-c", "import sys; sys.exit(sys.version_info[:2] != (2, 7))"]
            if subprocess.run(check, capture_output=True, check=False).returncode == 0:
                return candidate
    return None


def install_wstest(python: str) -> Path:
    """Autobahn's command, in an environment of its own."""
    wstest = ENVIRONMENT / "bin" / "wstest"
    if not wstest.exists():
        print(f"installing Autobahn's test suite into {ENVIRONMENT.name} ...", flush=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        tools = ROOT / ".venv-wstest-tools"
        install = [
            python,
            "-m",
            "pip",
            "install",
            *quiet,
            "--target",
            str(tools),
            "virtualenv<20.22",
        ]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        subprocess.run(
            [python, "-m", "virtualenv", "--quiet", str(ENVIRONMENT)],
            check=True,
            env={**os.environ, "PYTHONPATH": str(tools)},
        )
        pip = [str(ENVIRONMENT / "bin" / "pip"), "install", *quiet, "autobahntestsuite"]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    return wstest


async def start(
    *command: str | Path,
    codec: str = "",
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if codec == "pure":
        environment["TRIO_WS_NO_SPEEDUPS"] = "1"
    return await asyncio.create_subprocess_exec(
        *map(str, command),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


async def start_wstest(wstest: Path, mode: str, folder: Path) -> asyncio.subprocess.Process:
    log = (folder / "wstest.log").open("w")
    try:
        specification = folder / "spec.json"
        # -u 0: without the page that the fuzzing server would serve on a fixed port.
        arguments = ["-m", mode, "-u", "0", "-s", str(specification)]
        return await start(wstest, *arguments, stdout=log, stderr=log)
    finally:
        log.close()


async def stop(process: asyncio.subprocess.Process) -> None:
    # It may have ended by itself.
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def prepare(run: Run, number: int, specification: dict[str, object]) -> Path:
    folder = REPORTS / f"{run.side}-{run.codec}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(
        json.dumps(
            {"outdir": str(folder), "exclude-cases": [], "exclude-agent-cases": {}, **specification}
        )
    )
    return folder


async def test_server(wstest: Path, run: Run, number: int, cases: list[str]) -> Path:
    """Autobahn's fuzzing client against our server."""
    server = await start(
        sys.executable, HERE / "echo_server.py", codec=run.codec, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    agent = {"agent": "trio-ws", "url": f"ws://127.0.0.1:{port}", "options": {"failByDrop": False}}
    folder = prepare(run, number, {"servers": [agent], "cases": cases})
    try:
        fuzzer = await start_wstest(wstest, "fuzzingclient", folder)
        await fuzzer.wait()
    finally:
        await stop(server)
    return folder


async def test_client(wstest: Path, run: Run, number: int, cases: list[str]) -> Path:
    """Autobahn's fuzzing server against our client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    folder = prepare(run, number, {"url": url, "options": {"failByDrop": False}, "cases": cases})
    fuzzer = await start_wstest(wstest, "fuzzingserver", folder)
    try:
        await wait_for_port(port)
        client = await start(
            sys.executable, HERE / "echo_client.py", url, "trio-ws", codec=run.codec
        )
        if await client.wait() != 0:
            raise SystemExit(f"the echo client failed on cases {cases}")
    finally:
        await stop(fuzzer)
    return folder


async def wait_for_port(port: int) -> None:
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit(f"Autobahn's server did not come up on port {port}")


def read_reports(folder: Path) -> dict[str, dict[str, str]]:
    index = folder / "index.json"
    if not index.exists():
        raise SystemExit(f"Autobahn wrote no report; see {folder / 'wstest.log'}")
    agents = json.loads(index.read_text())
    (results,) = agents.values()
    return dict(results)


async def execute(wstest: Path, run: Run, at_once: int) -> dict[str, dict[str, str]]:
    slots = asyncio.Semaphore(at_once)
    test = test_server if run.side == "server" else test_client

    async def share(number: int, cases: list[str]) -> Path:
        async with slots:
            return await test(wstest, run, number, cases)

    folders = await asyncio.gather(*(share(n, cases) for n, cases in enumerate(run.shares)))
    results: dict[str, dict[str, str]] = {}
    for folder in folders:
        results |= read_reports(folder)
    return results


def report(run: Run, results: dict[str, dict[str, str]], seconds: float) -> list[str]:
    """Print one run's summary; return what is not as it should be."""
    verdicts = Counter(result["behavior"] for result in results.values())
    closes = Counter(result["behaviorClose"] for result in results.values())
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    closed = ", ".join(f"{count} {verdict}" for verdict, count in closes.most_common())
    print(f"{run.name}: {len(results)} cases in {seconds:.0f} s: {counted}; closing: {closed}")
    return [
        f"{run.name}: {case}: {result['behavior']}, closing: {result['behaviorClose']}"
        for case, result in sorted(
            results.items(), key=lambda item: [int(n) for n in item[0].split(".")]
        )
        if result["behavior"] not in GOOD or result["behaviorClose"] not in GOOD
    ]


def plan(arguments: argparse.Namespace) -> list[Run]:
    sides = [side for side in ("server", "client") if arguments.side in {None, side}]
    everything = QUICK if arguments.quick else SHARES
    shares = [arguments.cases] if arguments.cases else everything
    runs = [Run(side, "C", shares) for side in sides]
    if not arguments.cases and not arguments.quick:
        runs += [Run(side, "pure", QUICK) for side in sides]
    return runs


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out 9.*, 12.* and 13.*")
    parser.add_argument("--side", choices=["server", "client"], help="test one side only")
    parser.add_argument("--cases", nargs="+", help="test these cases only, such as 6.*")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    python = find_python27()
    if python is None:
        print("make conformance: skipped: Autobahn's wstest needs Python 2.7, and none was found")
        return 1 if os.environ.get("TRIO_WS_REQUIRE") == "all" else 0
    wstest = install_wstest(python)
    failures: list[str] = []
    for run in plan(arguments):
        began = time.monotonic()
        # wstest waits more than it works, so a few more than there are cores.
        results = asyncio.run(execute(wstest, run, 2 * (os.cpu_count() or 1)))
        failures += report(run, results, time.monotonic() - began)
        if run.shares is SHARES and len(results) != ALL_CASES:
            failures.append(f"{run.name}: {len(results)} cases were run instead of {ALL_CASES}")
    print("\n".join(failures) if failures else "all as RFC 6455 and RFC 7692 say")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
