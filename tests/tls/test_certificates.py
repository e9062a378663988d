"""What the other tests here take for granted of their certificates."""

import ssl
import sys
from pathlib import Path

import pytest

from tests.tls.certificates import HOST, Certificates


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """A handshake in memory; the client's side afterwards."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    left = [ours, theirs] * 5
    for side in left:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ours


@pytest.mark.parametrize("name", [HOST, "127.0.0.1", "::1"])
@pytest.mark.parametrize("kind", ["server", "rsa"])
def test_a_good_certificate_is_taken(certificates: Certificates, kind: str, name: str) -> None:
    server = certificates.server_context(getattr(certificates, kind))
    client = certificates.client_context()
    if sys.version_info >= (3, 13):
        assert client.verify_flags & ssl.VERIFY_X509_STRICT
    shaken = shake_hands(server, client, name)
    certificate = shaken.getpeercert()
    assert certificate is not None
    assert ("DNS", HOST) in certificate["subjectAltName"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("elsewhere", "Hostname mismatch"),
        ("expired", "certificate has expired"),
        ("not_yet", "certificate is not yet valid"),
        ("self_signed", "self-signed certificate"),
        ("foreign", "unable to get local issuer certificate"),
    ],
)
def test_a_bad_certificate_is_refused(certificates: Certificates, kind: str, reason: str) -> None:
    server = certificates.server_context(getattr(certificates, kind))
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        shake_hands(server, certificates.client_context(), HOST)


def test_a_clients_certificate_is_taken(certificates: Certificates) -> None:
    server = certificates.server_context()
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificates.authority)
    shake_hands(server, certificates.client_context(certificates.client), HOST)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(server, certificates.client_context(certificates.foreign_client), HOST)


def test_the_files_are_private(certificates: Certificates) -> None:
    directory: Path = certificates.server.parent
    assert directory.stat().st_mode & 0o077 == 0
