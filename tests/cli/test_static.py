"""``--static``: the files of a directory, and nothing outside of it."""

from __future__ import annotations

import inspect
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import trio

from trio_ws.cli.static import static_files
from trio_ws.protocol.http import Headers, HeadersLike, Request, Response

if TYPE_CHECKING:
    from pathlib import Path


async def ask(
    root: Path, path: str, method: str = "GET", headers: HeadersLike = (), max_size: int = 1000
) -> Response | None:
    answer = static_files(root, max_size=max_size)(Request(method, path, Headers(headers)))
    assert inspect.isawaitable(answer)
    response = await answer
    assert response is None or isinstance(response, Response)
    return response


async def status(root: Path, path: str) -> int:
    response = await ask(root, path)
    assert response is not None
    return response.status


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory to serve, with a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "site"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<p>home")
    (root / "sub" / "index.html").write_text("<p>sub")
    (root / "a b.txt").write_text("spaced")
    (root / "grüße.txt").write_text("greetings")
    (root / ".hidden").write_text("hidden")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("hidden")
    (root / "bare").mkdir()
    return root


async def test_a_file_is_served_with_what_a_browser_must_know(root: Path) -> None:
    response = await ask(root, "/index.html?query")
    assert response is not None
    assert (response.status, response.body) == (200, b"<p>home")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["last-modified"].endswith(" GMT")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"<p>home"),
        ("/sub/", b"<p>sub"),
        ("/a%20b.txt", b"spaced"),
        ("/gr%C3%BC%C3%9Fe.txt", b"greetings"),
        ("/%69ndex.html", b"<p>home"),
    ],
)
async def test_paths_that_name_a_file(root: Path, path: str, body: bytes) -> None:
    response = await ask(root, path)
    assert response is not None
    assert (response.status, response.body) == (200, body)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/bare/",
        "/index.html/",
        "/index.html/x",
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/%2Fetc%2Fpasswd",
        "/sub//index.html",
        "/./index.html",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "/index.html%00.txt",
        "/index.html%0a",
        "/%ff",
        "/" + "x" * 300,
        "*",
        "http://elsewhere/index.html",
    ],
)
async def test_paths_that_name_nothing(root: Path, path: str) -> None:
    assert await status(root, path) == 404


async def test_links_are_followed_within_the_directory_only(root: Path) -> None:
    (root / "inside.txt").symlink_to("index.html")
    (root / "outside.txt").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to(root.parent)
    (root / "shown.txt").symlink_to(".hidden")
    (root / "loop").symlink_to("loop")
    assert await status(root, "/inside.txt") == 200
    for path in ("/outside.txt", "/up/secret.txt", "/up/", "/shown.txt", "/loop"):
        assert await status(root, path) == 404


async def test_a_directory_beside_it_with_a_longer_name_is_outside(root: Path) -> None:
    beside = root.parent / "site-private"
    beside.mkdir()
    (beside / "x.txt").write_text("secret")
    (root / "x.txt").symlink_to(beside / "x.txt")
    assert await status(root, "/x.txt") == 404


async def test_the_directory_itself_may_be_a_link_and_hidden(tmp_path: Path, root: Path) -> None:
    hidden = tmp_path / ".cache"
    os.rename(root, hidden)
    (tmp_path / "link").symlink_to(hidden)
    assert await status(tmp_path / "link", "/") == 200


async def test_what_is_no_plain_file_is_not_there(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "bare" / "index.html").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(root / "socket"))
        for path in ("/pipe", "/socket", "/bare/"):
            with trio.fail_after(5):
                assert await status(root, path) == 404


async def test_a_directory_without_its_slash_is_redirected(root: Path) -> None:
    response = await ask(root, "/sub?a=b")
    assert response is not None
    assert (response.status, response.headers["location"]) == (301, "/sub/?a=b")
    response = await ask(root, "/sub")
    assert response is not None
    assert response.headers["location"] == "/sub/"


async def test_only_get_and_head(root: Path) -> None:
    response = await ask(root, "/", "POST")
    assert response is not None
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")
    response = await ask(root, "/", "HEAD")
    assert response is not None
    assert response.status == 200


async def test_requests_for_a_websocket_pass(root: Path) -> None:
    assert await ask(root, "/", headers=[("Upgrade", "WebSocket")]) is None


async def test_a_large_file_is_refused_and_logged(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "large.bin").write_bytes(b"x" * 1001)
    response = await ask(root, "/large.bin")
    assert response is not None
    assert response.status == 500
    assert "1001 bytes are more than is served" in caplog.text
    assert (await ask(root, "/large.bin", max_size=1001)) is not None


async def test_what_the_client_has_is_not_sent_again(root: Path) -> None:
    os.utime(root / "index.html", (1_000_000_000.5, 1_000_000_000.5))
    first = await ask(root, "/")
    assert first is not None
    etag = first.headers["etag"]
    assert first.headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"

    async def again(*headers: tuple[str, str]) -> int:
        response = await ask(root, "/", headers=headers)
        assert response is not None
        if response.status == 304:
            assert (response.body, response.headers["etag"]) == (b"", etag)
        return response.status

    assert await again(("If-None-Match", etag)) == 304
    assert await again(("If-None-Match", f'"other", W/{etag}')) == 304
    assert await again(("If-None-Match", "*")) == 304
    assert await again(("If-None-Match", '"other"')) == 200
    same, before = "Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:39 GMT"
    assert await again(("If-Modified-Since", same)) == 304
    assert await again(("If-Modified-Since", same.removesuffix("GMT") + "-0000")) == 304
    assert await again(("If-Modified-Since", before)) == 200
    assert await again(("If-Modified-Since", "nonsense")) == 200
    assert await again(("If-None-Match", '"other"'), ("If-Modified-Since", same)) == 200
    (root / "index.html").write_text("<p>changed")
    assert await again(("If-None-Match", etag)) == 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.css", "text/css; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a.tar.br", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
async def test_types(root: Path, name: str, kind: str) -> None:
    (root / name).write_text("")
    response = await ask(root, f"/{name}")
    assert response is not None
    assert response.headers["content-type"] == kind


async def test_a_file_that_may_not_be_read_is_not_there_and_the_log_says_why(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    caplog.set_level("INFO")
    monkeypatch.setattr(os, "open", refuse)
    assert await status(root, "/index.html") == 404
    assert "cannot serve '/index.html': [Errno 13] Permission denied" in caplog.text


async def test_cancelled_it_does_not_wait_for_a_file_system_that_hangs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()
    real = os.open

    def hang(path: str, flags: int) -> int:
        token.run_sync_soon(begun.set)
        go_on.wait(10)
        return real(path, flags)

    monkeypatch.setattr(os, "open", hang)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, root, "/")
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    go_on.set()
