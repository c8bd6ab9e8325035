"""Routing: paths, parameters, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trio_ws import Headers, Request, Router


class FakeWebSocket:
    """As much of a connection as a router looks at."""

    def __init__(self, target: str) -> None:
        self.request = Request("GET", target, Headers())
        self.closed: tuple[int, str] | None = None

    async def aclose(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


def recording(router: Router, *paths: str) -> list[tuple[str, dict[str, str]]]:
    calls: list[tuple[str, dict[str, str]]] = []
    for path in paths:

        @router.route(path)
        async def handler(ws: Any, *, _path: str = path, **parameters: str) -> None:
            calls.append((_path, parameters))

    return calls


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", ("/", {})),
        ("/?query", ("/", {})),
        ("/chat", ("/chat", {})),
        ("/ch%61t", ("/chat", {})),
        ("/chat/", ("/chat/", {})),
        ("/rooms/main", ("/rooms/main", {})),
        ("/rooms/caf%C3%A9", ("/rooms/{room}", {"room": "café"})),
        ("/rooms/a%2Fb", ("/rooms/{room}", {"room": "a/b"})),
        ("/rooms/main/ana", ("/rooms/{room}/{user}", {"room": "main", "user": "ana"})),
        ("/rooms/", None),
        ("/rooms", None),
        ("/rooms//ana", None),
        ("/rooms/a/b/c", None),
        ("/nowhere", None),
        ("*", None),
    ],
)
async def test_paths_lead_to_handlers(
    target: str, expected: tuple[str, dict[str, str]] | None
) -> None:
    router = Router()
    paths = ["/", "/chat", "/chat/", "/rooms/main", "/rooms/{room}", "/rooms/{room}/{user}"]
    calls = recording(router, *paths)
    ws: Any = FakeWebSocket(target)
    refusal = router.process_request(ws.request)
    assert (refusal is None) is (expected is not None)
    assert refusal is None or refusal.status == 404
    await router(ws)
    assert calls == ([] if expected is None else [expected])
    assert ws.closed == ((1008, "nothing at this path") if expected is None else None)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("chat", "begins with a slash"),
        ("", "begins with a slash"),
        ("/chat?x", "no query"),
        ("/chat#x", "no fragment"),
        ("/a{b}", "a parameter is a whole segment"),
        ("/{1}", "a parameter is a whole segment"),
        ("/{a}/{a}", "given twice"),
        ("/taken", "serves this path already"),
        ("/rooms/{other}", "serves this path already"),
    ],
)
def test_bad_routes_are_refused(path: str, problem: str) -> None:
    router = Router()
    recording(router, "/taken", "/rooms/{room}")
    with pytest.raises(ValueError, match=problem):
        recording(router, path)
