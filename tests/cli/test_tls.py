"""The server's TLS, from its options."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import sys
from pathlib import Path

import pytest
import trustme

from trio_ws.cli import tls
from trio_ws.cli.failures import Usage
from trio_ws.cli.options.serve import ServeOptions
from trio_ws.cli.tls import RenewableContext, SelfSigned, server_tls


def context_of(options: ServeOptions) -> ssl.SSLContext | None:
    with server_tls(options) as (context, _):
        return context.newest if isinstance(context, RenewableContext) else context


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key, in files of their own."""
    made = trustme.CA().issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(os.fspath(cert))
    made.private_key_pem.write_to_path(os.fspath(key))
    return cert, key


def test_without_options_there_is_none() -> None:
    with server_tls(ServeOptions()) as made:
        assert made == (None, None)


def test_a_certificate_with_its_key_in_two_files_or_one(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    context = context_of(ServeOptions(tls_cert=cert, tls_key=key))
    assert context is not None
    assert context.verify_mode is ssl.CERT_NONE
    both = tmp_path / "both.pem"
    both.write_text(cert.read_text() + key.read_text())
    assert context_of(ServeOptions(tls_cert=both)) is not None


def test_a_client_certificate_can_be_asked_for(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    context = context_of(ServeOptions(tls_cert=cert, tls_key=key, client_ca=cert))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ServeOptions(tls_key=Path("k")), "--tls-key needs its certificate"),
        (ServeOptions(tls_cert=Path("c"), tls_self_signed=True), "choose"),
        (ServeOptions(client_ca=Path("c")), "--client-ca needs TLS"),
        (ServeOptions(tls_cert=Path("/no/c")), "--tls-cert: cannot read /no/c: No such file"),
        (ServeOptions(tls_cert=Path("/")), "--tls-cert: cannot read /: Is a directory"),
        (
            ServeOptions(tls_self_signed=True, client_ca=Path("/no/ca")),
            "--client-ca: cannot read /no/ca: No such file",
        ),
    ],
)
def test_what_makes_no_sense_is_said(options: ServeOptions, message: str) -> None:
    with pytest.raises(Usage) as caught:
        context_of(options)
    assert message in str(caught.value)


def test_files_that_hold_something_else_are_named(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    other = tmp_path / "other.pem"
    other.write_text("nonsense")
    with pytest.raises(Usage, match=rf"{other}: not a certificate with its key in PEM"):
        context_of(ServeOptions(tls_cert=other))
    with pytest.raises(Usage, match=rf"{other}: no certificates in PEM"):
        context_of(ServeOptions(tls_cert=cert, tls_key=key, client_ca=other))
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(os.fspath(other))
    with pytest.raises(Usage, match=rf"{cert} and {other}: .*key values mismatch"):
        context_of(ServeOptions(tls_cert=cert, tls_key=other))


def test_files_that_are_replaced_just_now_are_said_to_be_missing(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate
    with server_tls(ServeOptions(tls_cert=cert, tls_key=key)) as (context, _):
        assert isinstance(context, RenewableContext)
        before = context.newest
        monkeypatch.setattr(tls, "_check_readable", lambda *_: cert.unlink(missing_ok=True))
        with pytest.raises(Usage, match=rf"{cert} and {key}: .*: No such file or directory"):
            context.renew()
        assert context.newest is before


def test_an_encrypted_key_is_not_asked_for_at_the_terminal(
    certificate: tuple[Path, Path],
) -> None:
    from cryptography.hazmat.primitives import serialization

    cert, key = certificate
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    with pytest.raises(Usage, match="the key is encrypted: decrypt it first"):
        context_of(ServeOptions(tls_cert=cert, tls_key=key))


def handshake(server: ssl.SSLContext, authority: str, name: str) -> bytes:
    """Shake hands in memory; the certificate that the client saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = ssl.create_default_context(cafile=authority).wrap_bio(
        to_client, to_server, server_hostname=name
    )
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [ours, theirs]
    while pending:
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                pass
    seen = ours.getpeercert(binary_form=True)
    assert seen is not None
    return seen


def test_one_made_for_the_run_is_trusted_under_every_name_and_removed_afterwards() -> None:
    with server_tls(ServeOptions(tls_self_signed=True, host="192.0.2.7")) as (context, made):
        assert context is not None
        assert isinstance(made, SelfSigned)
        assert made.names[:4] == ("localhost", "127.0.0.1", "::1", "192.0.2.7")
        assert stat.S_IMODE(os.stat(made.authority).st_mode) == 0o600
        for name in made.names:
            seen = handshake(context, made.authority, name)
            assert tls._fingerprint(seen) == made.fingerprint
        assert len(made.fingerprint) == 32 * 3 - 1
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(context, made.authority, "elsewhere.example")
    assert not os.path.exists(made.authority)


def test_the_file_may_be_gone_before_and_goes_when_the_run_fails() -> None:
    with server_tls(ServeOptions(tls_self_signed=True)) as (_, made):
        assert made is not None
        os.unlink(made.authority)
    with pytest.raises(ZeroDivisionError):
        with server_tls(ServeOptions(tls_self_signed=True)) as (_, made):
            raise ZeroDivisionError
    assert made is not None
    assert not os.path.exists(made.authority)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "under_score"])
def test_names_that_nobody_connects_to_are_left_out(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my_machine")
    assert list(tls._names(host)) == ["localhost", "127.0.0.1", "::1"]
    monkeypatch.setattr(socket, "gethostname", lambda: "machine")
    assert list(tls._names(host)) == ["localhost", "127.0.0.1", "::1", "machine"]


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(Usage, match=r"needs trustme: pip install 'trio-ws\[tls\]'"):
        context_of(ServeOptions(tls_self_signed=True))
