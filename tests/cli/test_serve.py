"""``trio-ws serve``, in process; with real processes in tests/e2e."""

from __future__ import annotations

import signal
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

import trio_ws
from trio_ws.cli import serve
from trio_ws.cli.failures import Usage
from trio_ws.cli.handlers.echo import echo
from trio_ws.cli.options.serve import ServeOptions

OPTIONS = ServeOptions(port=0, compress=True, ping_interval=0)


async def url_printed(capsys: pytest.CaptureFixture[str]) -> str:
    while not (printed := capsys.readouterr().out):
        await trio.testing.wait_all_tasks_blocked()
    return printed.split()[1]


async def test_it_prints_where_it_serves_and_echoes_and_drains(
    capsys: pytest.CaptureFixture[str],
) -> None:
    codes: list[int] = []

    async def run() -> None:
        codes.append(await serve._serve(replace(OPTIONS, path="/ws")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        url = await url_printed(capsys)
        assert url.endswith("/ws")
        async with trio_ws.connect(url, origin="https://anywhere.example", proxy=None) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(trio_ws.ConnectionClosedOK):
                await ws.receive()
    assert codes == [0]
    assert "closing 1 connection; once more to stop at once" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_second_signal_ends_at_once(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []

    async def run() -> None:
        codes.append(await serve._serve(OPTIONS))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        url = await url_printed(capsys)
        port = int(url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as half_open:
            await half_open.send_all(b"GET")
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(number)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert codes == []
            signal.raise_signal(number)
            while not codes:
                await trio.testing.wait_all_tasks_blocked()
    assert codes == [code]


def test_the_exit_code_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    monkeypatch.setattr(trio, "run", lambda function, options: 143)
    with pytest.raises(SystemExit) as caught:
        serve.run(OPTIONS)
    assert caught.value.code == 143
    monkeypatch.setattr(trio, "run", lambda function, options: 0)
    serve.run(OPTIONS)


def test_a_bad_certificate_is_named(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_text("nonsense")
    with pytest.raises(Usage, match="not a certificate with its key"):
        serve._ssl_context(replace(OPTIONS, tls_cert=certificate))


def test_a_good_one_is_used(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    context = serve._ssl_context(replace(OPTIONS, tls_cert=certificate))
    assert isinstance(context, ssl.SSLContext)


async def test_the_url_is_one_that_can_be_connected_to() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_ws.serve, echo, "127.0.0.1", 0)
        options = replace(OPTIONS, host="::1", tls_cert=Path("x"), path="/y")
        assert serve.url_of(server, options) == f"wss://[::1]:{server.port}/y"
        nursery.cancel_scope.cancel()
