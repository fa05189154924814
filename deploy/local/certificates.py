"""A certificate authority of one's own, a broker's certificate and a client's: PEM files, made once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from countersign.clock import system_clock
from deploy.local.layout import closed_folder

if TYPE_CHECKING:
    from pathlib import Path

_LIFE = timedelta(days=3650)  # a local stack's; nobody else trusts the authority


@dataclass(frozen=True)
class Certificates:
    """Files: the authority's certificate; each other one holds a private key and the certificate of it."""

    ca: Path
    broker: Path
    client: Path


def certificates_in(folder: Path, client: str = "client") -> Certificates:
    """Return the certificates of a folder, made on the first call. `client` is the common name of the client's."""
    made = Certificates(folder / "ca.pem", folder / "broker.pem", folder / "client.pem")
    if not made.client.exists():
        closed_folder(folder)
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _certificate(key, "Countersign's local authority", key, None)
        made.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        loopback = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        _write_pair(made.broker, "127.0.0.1", loopback, key, authority)
        _write_pair(made.client, client, [x509.DNSName(client)], key, authority)
    return made


def _write_pair(
    path: Path,
    name: str,
    names: list[x509.GeneralName],
    signing: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = _certificate(key, name, signing, authority, names)
    path.touch(mode=0o600)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    signing: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    names: list[x509.GeneralName] | None = None,
) -> x509.Certificate:
    """Return a certificate; without an authority, that of an authority itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = system_clock()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .add_extension(_use(signs=authority is None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signing, hashes.SHA256())


def _use(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
