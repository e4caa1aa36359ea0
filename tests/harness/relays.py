"""Stands between a client and a server and passes bytes on: at another address, over TLS, or as a proxy."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOSTS = (x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(host)) for host in ("127.0.0.1", "::1")))


@dataclass
class Relay:
    """What it saw: how many connections, and as a proxy for which host and port each."""

    port: int
    connections: int = 0
    asked_for: list[str] = field(default_factory=list)


@asynccontextmanager
async def relaying(
    url: str, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, as_proxy: bool = False
) -> AsyncIterator[Relay]:
    """A relay to the server at `url`, or as a proxy to wherever a client asks CONNECT for."""
    parts, writers = urlsplit(url), list[asyncio.StreamWriter]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        relay.connections += 1
        target: tuple[str | None, int | str | None] = (parts.hostname, parts.port)
        if as_proxy:
            relay.asked_for.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            name, _, port = relay.asked_for[-1].rpartition(":")
            target = (name.strip("[]"), port)
        there, to = await asyncio.open_connection(*target)
        writers.append(to)
        await asyncio.gather(_pass_on(reader, to), _pass_on(there, writer))

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    relay = Relay(server.sockets[0].getsockname()[1])
    try:
        yield relay
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        finally:
            writer.close()


def private_ca(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The certificate of an authority that nobody knows, and TLS for a server at HOSTS that it vouches for."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    authority = x509.BasicConstraints(ca=True, path_length=None)
    ca = _certificate(ca_name, ca_key.public_key()).add_extension(authority, critical=True)
    server = _certificate(name, key.public_key()).add_extension(x509.SubjectAlternativeName(HOSTS), critical=False)
    chain = server.issuer_name(ca_name).sign(ca_key, hashes.SHA256())
    ca_path, chain_path = folder / "ca.pem", folder / "server.pem"
    pem = serialization.Encoding.PEM
    ca_path.write_bytes(ca.issuer_name(ca_name).sign(ca_key, hashes.SHA256()).public_bytes(pem))
    form = serialization.PrivateFormat.PKCS8
    chain_path.write_bytes(chain.public_bytes(pem) + key.private_bytes(pem, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain_path)
    return ca_path, context


def _certificate(name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).public_key(key).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - day).not_valid_after(now + day)
