"""What the options of a connection mean, and what they must not give away."""

from __future__ import annotations

import base64
import getpass
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from trio_ws import Compression, Heartbeat, InvalidURL
from trio_ws.cli.connecting import complete_url, destination_of
from trio_ws.cli.failures import Usage, cleared

from .helpers import client_options, fed


def headers_of(**changes: Any) -> dict[str, str]:
    headers: Any = destination_of(client_options(**changes)).options["headers"]
    return dict(headers.raw)


def complaint_about(**changes: Any) -> str:
    with pytest.raises(Usage) as caught:
        destination_of(client_options(**changes))
    return cleared(str(caught.value))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("ws://x", "ws://x"),
        ("WSS://x", "WSS://x"),
        ("https://x/y", "https://x/y"),
        ("x/y", "ws://x/y"),
        ("x:80/y?z=1", "ws://x:80/y?z=1"),
        ("user:pass@x", "ws://user:pass@x"),
        (":8000", "ws://localhost:8000"),
        (":8000/x", "ws://localhost:8000/x"),
        ("[::1]:8000", "ws://[::1]:8000"),
        ("ws+unix:/run/x:/y", "ws+unix:/run/x:/y"),
        ("wss+unix:x", "wss+unix:x"),
        ("ftp://x", "ftp://x"),
    ],
)
def test_what_people_leave_out_of_a_url(given: str, url: str) -> None:
    assert complete_url(given) == url


def test_the_usual() -> None:
    destination = destination_of(client_options(url="x"))
    assert destination.url == "ws://x"
    options = destination.options
    assert options["compression"] is None
    assert options["ssl_context"] is None
    assert options["proxy"] is None
    assert options["address"] is None
    assert options["max_redirects"] == 0
    assert options["heartbeat"] is None
    assert not options["headers"]


def test_what_is_handed_on() -> None:
    options = destination_of(
        client_options(
            compress=True,
            origin="http://a",
            subprotocol=("chat",),
            sni="b",
            proxy="http://proxy",
            location=True,
            ping_interval=1.0,
            ping_timeout=2.0,
            max_size=3,
            connect_timeout=4.0,
        )
    ).options
    assert options["compression"] == Compression()
    assert (options["origin"], options["subprotocols"]) == ("http://a", ("chat",))
    assert (options["server_hostname"], options["proxy"]) == ("b", "http://proxy")
    assert options["max_redirects"] == 10
    assert options["heartbeat"] == Heartbeat(interval=1, timeout=2)
    assert options["limits"].max_message_size == 3
    assert options["timeouts"].open_timeout == 4
    assert destination_of(client_options(proxy="environment")).options["proxy"] == "environment"


@pytest.mark.parametrize("times", [{"ping_interval": 0.0}, {"ping_timeout": 0.0}])
def test_nought_is_no_heartbeat(times: dict[str, float]) -> None:
    changes = {"ping_interval": 1.0, **times}
    assert destination_of(client_options(**changes)).options["heartbeat"] is None


def test_a_url_that_makes_no_sense() -> None:
    with pytest.raises(InvalidURL):
        destination_of(client_options(url="ftp://x"))


# Headers and credentials


def test_headers(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("B: 2\n\nC:3\n")
    assert headers_of(header=("A: 1", f"@{file}", "D:")) == {"A": "1", "B": "2", "C": "3", "D": ""}


@pytest.mark.parametrize("header", ["hunter2", ": hunter2", " : hunter2"])
def test_what_is_no_header_is_not_repeated(header: str, tmp_path: Path) -> None:
    assert complaint_about(header=("A: 1", header)) == (
        "--header: number 2 is not written 'Name: value'"
    )
    file = tmp_path / "headers"
    file.write_text(f"A: 1\n{header}\n")
    assert complaint_about(header=(f"@{file}",)) == (
        f"--header: line 2 of {file} is not written 'Name: value'"
    )


def test_what_cannot_be_asked_for() -> None:
    assert "the header upgrade is set by the handshake" in complaint_about(header=("Upgrade: x",))
    assert "must be a token" in complaint_about(subprotocol=("a b",))
    assert "given twice" in complaint_about(subprotocol=("a", "a"))
    assert "--origin" in complaint_about(origin="a\nb")
    assert "hunter2" not in complaint_about(bearer="hunter2\nx")


def test_credentials(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("user:pa:ss\n")
    basic = f"Basic {base64.b64encode(b'user:pa:ss').decode()}"
    assert headers_of(auth="user:pa:ss") == {"Authorization": basic}
    assert headers_of(auth=f"@{file}") == {"Authorization": basic}
    assert headers_of(bearer="token") == {"Authorization": "Bearer token"}
    with fed(b"token\n"):
        assert headers_of(bearer="-") == {"Authorization": "Bearer token"}
    raw = base64.b64encode(b"user:\xff").decode()
    assert headers_of(auth="user:\udcff") == {"Authorization": f"Basic {raw}"}


def test_an_empty_password_is_one() -> None:
    basic = base64.b64encode(b"user:").decode()
    assert headers_of(auth="user:") == {"Authorization": f"Basic {basic}"}
    assert cleared("nothing is hidden") == "nothing is hidden"


def test_a_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(prompt: str, stream: Any) -> str:
        asked.append(prompt)
        return "typed"

    assert "no terminal to ask for it" in complaint_about(auth="u")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", ask)
    basic = base64.b64encode(b"u:typed").decode()
    assert headers_of(auth="u") == {"Authorization": f"Basic {basic}"}
    assert asked == ["Password of u at testserver: "]
    # The user's name is no secret: else every "u" would be one.
    assert cleared("u typed") == "u ***"


def test_who_one_is_is_said_once() -> None:
    assert "exclude each other" in complaint_about(auth="a:b", bearer="c")
    twice = complaint_about(bearer="token", header=("authorization: other",))
    assert twice == "Authorization is given twice: by --header, --auth or --bearer"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"bearer": "hunter2"}, ["hunter2"]),
        ({"auth": "user:hunter2"}, ["hunter2", base64.b64encode(b"user:hunter2").decode()]),
        (
            {"url": "ws://user:hunter%202@x"},
            ["hunter 2", base64.b64encode(b"user:hunter 2").decode()],
        ),
        ({"url": "ws://x/?a=1&access_token=hunter2&b=2"}, ["hunter2"]),
        ({"header": ("Authorization: Token hunter2",)}, ["Token hunter2", "hunter2"]),
        ({"header": ("Cookie: id=hunter2",)}, ["id=hunter2"]),
        ({"header": ("X-Api-Key: hunter2",)}, ["hunter2"]),
    ],
)
def test_secrets_are_hidden(changes: dict[str, Any], shown: list[str]) -> None:
    destination_of(client_options(**changes))
    for secret in shown:
        assert cleared(f"a={secret}.") == "a=***."


def test_ordinary_headers_are_not() -> None:
    destination_of(client_options(header=("X-Mine: ordinary",), url="ws://x/?page=ordinary"))
    assert cleared("ordinary") == "ordinary"


# TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An authority, a certificate with its key in another file, and the key encrypted."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    ours = authority.issue_cert("client.example")
    key = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )
    contents = {
        "ca": authority.cert_pem.bytes(),
        "cert": ours.cert_chain_pems[0].bytes(),
        "key": ours.private_key_pem.bytes(),
        "both": ours.private_key_and_cert_chain_pem.bytes(),
        "encrypted": encrypted,
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return {name: directory / name for name in contents}


def context_of(**changes: Any) -> ssl.SSLContext:
    context = destination_of(client_options(**changes)).options["ssl_context"]
    assert context is not None
    return context


def test_whom_to_trust(files: dict[str, Path]) -> None:
    context = context_of(cacert=files["ca"])
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    trusting = context_of(insecure=True)
    assert (trusting.verify_mode, trusting.check_hostname) == (ssl.CERT_NONE, False)


def test_who_one_is(files: dict[str, Path]) -> None:
    context_of(cert=files["both"])
    context_of(cert=files["cert"], key=files["key"])
    context_of(cert=files["cert"], key=files["encrypted"], passphrase="hunter2")
    assert cleared("hunter2") == "***"


def test_certificates_that_are_none(files: dict[str, Path]) -> None:
    nowhere = Path("/nowhere")
    assert "--key needs its certificate" in complaint_about(key=files["key"])
    assert complaint_about(cacert=nowhere).startswith("--cacert /nowhere: ")
    assert "not certificates in PEM" in complaint_about(cacert=files["key"])
    assert (
        complaint_about(cert=nowhere) == "--cert: cannot read /nowhere: No such file or directory"
    )
    assert "cannot read /nowhere" in complaint_about(cert=files["cert"], key=nowhere)
    assert "not a certificate with its key" in complaint_about(cert=files["ca"])
    wrong = complaint_about(cert=files["cert"], key=files["encrypted"], passphrase="wrong")
    assert "the passphrase is wrong" in wrong or "passphrase" in wrong


# Addresses


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({"unix_socket": Path("/x")}, Path("/x")),
        ({"resolve": ("testserver:80:127.0.0.1",)}, ("127.0.0.1", 80)),
        ({"resolve": ("other:80:1.1.1.1", "TestServer:80:[::1]")}, ("::1", 80)),
        ({"resolve": ("testserver:81:127.0.0.1",)}, None),
        ({"url": "ws://[::1]:9", "resolve": ("[::1]:9:x",)}, ("x", 9)),
    ],
)
def test_addresses(changes: dict[str, Any], address: Any) -> None:
    assert destination_of(client_options(**changes)).options["address"] == address


@pytest.mark.parametrize("given", ["x", "x:80", "x:y:z", "x:80:", "x:٨٠:y"])
def test_what_is_no_address(given: str) -> None:
    assert "it is written HOST:PORT:ADDRESS" in complaint_about(resolve=(given,))


@pytest.mark.parametrize("given", [":", ":/path", ":x"])
def test_a_colon_needs_a_port(given: str) -> None:
    with pytest.raises(Usage, match="no port behind the colon"):
        complete_url(given)
