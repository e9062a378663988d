"""Keys and certificates for tests, made when they are needed and gone afterwards.

Certificates that are kept in a repository expire one day, and keys in it alarm people. Making
all of these takes a tenth of a second, most of it for the one RSA key; the others are on the
curve P-256. Each file holds a key and its certificate, which is what `load_cert_chain` of a
context takes; the authorities' hold a certificate alone, for `load_verify_locations`.

    with temporary() as certificates:
        server, client = certificates.server_context(), certificates.client_context()
"""

import contextlib
import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: What the server's certificate is good for.
HOST = "localhost"
ADDRESSES = ("127.0.0.1", "::1")
#: What the certificate for another host is good for.
ELSEWHERE = "elsewhere.test"

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_DAY = datetime.timedelta(days=1)


class Certificates(NamedTuple):
    """The files of one set, and contexts made of them."""

    #: The authority that signed all that follow, where nothing else is said.
    authority: Path
    #: Another one.
    other_authority: Path
    #: For `HOST` and `ADDRESSES`.
    server: Path
    #: The same, with an RSA key.
    rsa: Path
    #: For `ELSEWHERE`.
    elsewhere: Path
    #: For `HOST` until yesterday.
    expired: Path
    #: For `HOST` from tomorrow.
    not_yet: Path
    #: For `HOST`, signed by itself.
    self_signed: Path
    #: For `HOST`, signed by the other authority.
    foreign: Path
    #: A client's.
    client: Path
    #: A client's, signed by the other authority.
    foreign_client: Path

    def server_context(self, own: Path | None = None) -> ssl.SSLContext:
        """A server's, with a certificate of these files."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own or self.server)
        return context

    def client_context(self, own: Path | None = None) -> ssl.SSLContext:
        """A client's that trusts the authority and looks at names; with a certificate, if told."""
        context = ssl.create_default_context(cafile=self.authority)
        if own is not None:
            context.load_cert_chain(own)
        return context


@contextlib.contextmanager
def temporary() -> Iterator[Certificates]:
    """A set in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="certificates-") as directory:
        yield make(Path(directory))


def make(directory: Path) -> Certificates:
    """A set, in files in this directory."""
    ours, other = _Authority("tests' own authority"), _Authority("another authority")
    now = datetime.datetime.now(datetime.UTC)

    def write(name: str, *parts: bytes) -> Path:
        path = directory / f"{name}.pem"
        path.write_bytes(b"".join(parts))
        return path

    def serving(
        name: str,
        key: _Key | None = None,
        *,
        signer: _Authority | None = ours,
        host: str = HOST,
        days: tuple[int, int] = (-2, 30),
    ) -> Path:
        key = key or _new_key()
        return write(
            name,
            _private(key),
            _certificate(
                key,
                host,
                signer,
                (now + days[0] * _DAY, now + days[1] * _DAY),
                (*_host_extensions(host), _usage(ExtendedKeyUsageOID.SERVER_AUTH)),
            ),
        )

    def client(name: str, signer: _Authority) -> Path:
        key = _new_key()
        usage = _usage(ExtendedKeyUsageOID.CLIENT_AUTH)
        days = (now - 2 * _DAY, now + 30 * _DAY)
        return write(name, _private(key), _certificate(key, "a client", signer, days, (usage,)))

    return Certificates(
        authority=write("authority", ours.pem),
        other_authority=write("other_authority", other.pem),
        server=serving("server"),
        rsa=serving("rsa", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        elsewhere=serving("elsewhere", host=ELSEWHERE),
        expired=serving("expired", days=(-20, -1)),
        not_yet=serving("not_yet", days=(1, 20)),
        self_signed=serving("self_signed", signer=None),
        foreign=serving("foreign", signer=other),
        client=client("client", ours),
        foreign_client=client("foreign_client", other),
    )


class _Authority:
    """Who signs."""

    def __init__(self, name: str) -> None:
        self.key = _new_key()
        self.name = _named(name)
        now = datetime.datetime.now(datetime.UTC)
        self.pem = _certificate(
            self.key,
            name,
            None,
            (now - 30 * _DAY, now + 60 * _DAY),
            (
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=True,
                    crl_sign=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
            ),
            authority=True,
        )


def _certificate(
    key: _Key,
    name: str,
    signer: _Authority | None,
    valid: tuple[datetime.datetime, datetime.datetime],
    extensions: tuple[x509.ExtensionType, ...],
    *,
    authority: bool = False,
) -> bytes:
    """Signed by itself if there is no signer; strict enough for ssl.VERIFY_X509_STRICT."""
    signer_key: _Key = signer.key if signer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(signer.name if signer else _named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()),
            critical=False,
        )
    )
    for extension in extensions:
        critical = isinstance(extension, x509.KeyUsage)
        builder = builder.add_extension(extension, critical=critical)
    signed = builder.sign(signer_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def _host_extensions(host: str) -> tuple[x509.ExtensionType, ...]:
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host == HOST:
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    return (x509.SubjectAlternativeName(names),)


def _usage(purpose: x509.ObjectIdentifier) -> x509.ExtensionType:
    return x509.ExtendedKeyUsage([purpose])


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _private(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
