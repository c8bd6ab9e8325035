"""Listeners: what is opened is closed, and what was left behind is cleared away."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from trio_ws._listen import addresses_of, close_all, open_listeners
from trio_ws._tls import TLSListener

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_unix_socket_is_made_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with open_listeners(None, None, None, path, None) as (listener,):
        assert addresses_of([listener]) == (str(path),)
        await (await trio.open_unix_socket(str(path))).aclose()
    assert not path.exists()


async def test_a_socket_left_behind_makes_way_and_one_in_use_does_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with open_listeners(None, None, None, path, None):
        with pytest.raises(OSError, match="in use"):
            async with open_listeners(None, None, None, str(path), None):
                pass
        await (await trio.open_unix_socket(str(path))).aclose()


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        async with open_listeners(None, None, None, path, None):
            pass
    assert path.read_text() == "precious"


async def test_what_cannot_be_asked_about_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other_kind:
        other_kind.bind(str(path))
        with pytest.raises(OSError):
            async with open_listeners(None, None, None, path, None):
                pass
        assert path.exists()


async def test_tls_is_put_around_what_is_opened_and_not_around_what_is_given() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    given = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with open_listeners("127.0.0.1", 0, given, None, context) as (opened, same):
        assert isinstance(opened, TLSListener)
        assert same is given[0]
        assert len(addresses_of([opened, same])) == 2
    with pytest.raises(trio.ClosedResourceError):
        await given[0].accept()


async def test_every_listener_is_closed_also_when_cancelled() -> None:
    listeners = [
        listener
        for _ in range(3)
        for listener in await trio.open_tcp_listeners(0, host="127.0.0.1")
    ]
    with trio.CancelScope() as scope:
        scope.cancel()
        await close_all(listeners)
    assert all(listener.socket.fileno() == -1 for listener in listeners)


async def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="a host needs a port"):
        async with open_listeners("localhost", None, None, None, None):
            pass
    with pytest.raises(ValueError, match="nothing to listen on"):
        async with open_listeners(None, None, None, None, None):
            pass
