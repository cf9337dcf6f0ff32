"""Certificates that are refused, and what is said about them: real handshakes on loopback."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.models import Sink, Tls
from gateway.mqtt import Broker
from gateway.publisher.brokers import probe, read_dates
from gateway.publisher.certificate import own_expiry, tls_context, validity
from gateway.publisher.names import Names
from gateway.publisher.trouble import is_about_dates, is_certificate, words

NOW = datetime(2027, 3, 1, tzinfo=UTC)
CA_SETTINGS = """
[ca]
default_ca = own
[own]
database = {0}/index
new_certs_dir = {0}
serial = {0}/serial
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA of its own, and certificates that it signed."""

    directory: Path

    @property
    def certificate(self) -> str:
        """What clients trust."""
        return str(self.directory / "ca.pem")

    def create(self) -> None:
        """Its key and certificate."""
        directory = self.directory
        directory.mkdir()
        (directory / "index").touch()
        (directory / "serial").write_text("01\n")
        (directory / "ca.cnf").write_text(CA_SETTINGS.format(directory))
        key = ("-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.pem")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=own CA", *key)

    def sign(self, name: str, host: str, begins: str, ends: str) -> tuple[str, str]:
        """A certificate and its key."""
        base = f"{self.directory}/{name}"
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={host}"),
            *("-keyout", f"{base}.key", "-out", f"{base}.csr"),
        )
        openssl(
            *("ca", "-batch", "-notext", "-config", f"{self.directory}/ca.cnf"),
            *("-cert", self.certificate, "-keyfile", f"{self.directory}/ca.key"),
            *("-startdate", begins, "-enddate", ends),
            *("-in", f"{base}.csr", "-out", f"{base}.pem"),
        )
        return f"{base}.pem", f"{base}.key"


def openssl(*arguments: str) -> None:
    """Runs the program."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed: install the Debian package openssl")
    subprocess.run([program, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One for all tests of this file."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "ca")
    authority.create()
    return authority


@asynccontextmanager
async def server(certificate: tuple[str, str], ca: str | None = None) -> AsyncIterator[Broker]:
    """Does the handshake and no more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", ssl=context)
    async with listener:
        yield Broker("127.0.0.1", listener.sockets[0].getsockname()[1], tls=True)


async def said(broker: Broker, tls: Tls) -> str:
    """What is told about a connection to it."""
    sink = Sink(id="hall", brokers=("mqtts://hall",), tls=tls)
    found = await Names().find(broker.host, broker.port)
    assert not await probe(broker, sink, Names())
    with pytest.raises(ssl.SSLError) as caught:
        await asyncio.open_connection("127.0.0.1", broker.port, ssl=tls_context(tls))
    assert is_certificate(caught.value)
    dates = None
    if is_about_dates(caught.value):
        dates = await read_dates(broker, sink, found.addresses[0])
        assert dates is not None
    return words(caught.value, broker, NOW, dates)


async def test_one_that_is_over_is_told_with_its_date(authority: Authority) -> None:
    certificate = authority.sign("over", "IP:127.0.0.1", "20240101000000Z", "20250701000000Z")
    async with server(certificate) as broker:
        text = await said(broker, Tls(ca_file=authority.certificate))
    assert text == (
        "the certificate of 127.0.0.1 expired on 2025-07-01; this laptop's clock says 2027-03-01"
    )


async def test_one_that_has_not_begun_points_to_the_clock(authority: Authority) -> None:
    certificate = authority.sign("early", "IP:127.0.0.1", "20400101000000Z", "20500701000000Z")
    async with server(certificate) as broker:
        text = await said(broker, Tls(ca_file=authority.certificate))
    assert text == (
        "the certificate of 127.0.0.1 is not valid before 2040-01-01: check the clock,"
        " this laptop's clock says 2027-03-01"
    )


async def test_one_for_another_host(authority: Authority) -> None:
    certificate = authority.sign("other", "DNS:elsewhere", "20240101000000Z", "20490701000000Z")
    async with server(certificate) as broker:
        text = await said(broker, Tls(ca_file=authority.certificate))
    assert "not made out to 127.0.0.1" in text


async def test_one_of_an_unknown_authority(authority: Authority, tmp_path: Path) -> None:
    certificate = authority.sign("good", "IP:127.0.0.1", "20240101000000Z", "20490701000000Z")
    stranger = Authority(tmp_path / "stranger")
    stranger.create()
    async with server(certificate) as broker:
        text = await said(broker, Tls(ca_file=stranger.certificate))
    assert "signed by an unknown CA" in text


async def test_a_sound_one_is_answered_and_its_dates_are_read(authority: Authority) -> None:
    certificate = authority.sign("sound", "IP:127.0.0.1", "20240101000000Z", "20490701000000Z")
    sink = Sink(id="hall", brokers=("mqtts://hall",), tls=Tls(ca_file=authority.certificate))
    async with server(certificate) as broker:
        assert await probe(broker, sink, Names())
    ends = own_expiry(Tls(cert_file=certificate[0], key_file=certificate[1]))
    assert ends == datetime(2049, 7, 1, tzinfo=UTC)
    far = authority.sign("far", "IP:127.0.0.1", "20240101000000Z", "20600701000000Z")
    assert own_expiry(Tls(cert_file=far[0], key_file=far[1])) == datetime(2060, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"\x30\x82\xff\xff", b"\x30\x00", b"\x30\x02\x30\x00"]
)
def test_what_is_no_certificate_has_no_dates(der: bytes) -> None:
    with pytest.raises(ValueError):
        validity(der)
