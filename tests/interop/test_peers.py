"""Every library in both roles, through every case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

import trio_ws

from .cases import CASES, Case
from .matrix import cell
from .programs import PEERS, ROLES, Certificates, Peer, accepting, refused, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

#: Seconds that a conversation may take on a busy machine.
_PATIENCE = 25


def _tried() -> Iterator[object]:
    for role in ROLES:
        for peer in (peer for peer in PEERS if role in peer.roles):
            for case in CASES:
                if case.name not in peer.cannot:
                    name = f"{peer.program.removesuffix('.js')}-{role}-{case.name}"
                    mark = cell(f"the peer is the {role}", case.name, peer.name)
                    yield pytest.param(peer, role, case, id=name.replace(" ", "-"), marks=mark)


@pytest.mark.parametrize(("peer", "role", "case"), list(_tried()))
async def test_it_talks_with_us(peer: Peer, role: str, case: Case, tmp_path: Path) -> None:
    peer.require()
    tls = Certificates.made(tmp_path) if case.tls else None
    options = ["--deflate"] if case.deflate else []
    async with ROLES[role](peer, *options, tls=tls) as connect:
        for detail, ours in case.variants():
            with trio.fail_after(_PATIENCE):
                async with connect(**ours) as (ws, remote):
                    await case.run(ws, remote, detail)


def in_role(role: str, row: str) -> Callable[[Any], Any]:
    """Runs a test with every peer that can be this, and marks its cell."""
    params = [
        pytest.param(peer, id=peer.program, marks=cell(f"the peer is the {role}", row, peer.name))
        for peer in PEERS
        if role in peer.roles
    ]
    return pytest.mark.parametrize("peer", params)


@in_role("server", "refused with 403")
async def test_it_refuses_us(peer: Peer) -> None:
    peer.require()
    with trio.fail_after(_PATIENCE):
        async with serving(peer, "--refuse") as connect:
            with pytest.raises(trio_ws.ConnectionRejected) as rejected:
                async with connect():
                    raise AssertionError("it let us in")
    refusal = rejected.value
    assert refusal.status == 403
    # One of them says why in a header.
    said = [refusal.body.decode().strip(), refusal.headers.get("x-websocket-reject-reason")]
    assert "not you" in said


@in_role("client", "refused with 403")
async def test_we_refuse_it(peer: Peer) -> None:
    peer.require()
    no = trio_ws.Response.text(403, "not you")
    with trio.fail_after(_PATIENCE):
        async with accepting(process_request=lambda request: no) as (url, _):
            async with refused(peer, url) as remote:
                assert await remote.refused() == 403
