"""Every library in both roles, through every case."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from .cases import CASES, Case
from .matrix import cell
from .programs import PEERS, ROLES, Certificates, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    async with ROLES[role](peer, deflate=case.deflate, tls=tls) as connect:
        for detail, options in case.variants():
            with trio.fail_after(_PATIENCE):
                async with connect(**options) as (ws, remote):
                    await case.run(ws, remote, detail)
