import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.kit import clock
from shared.outbound import OutboundError
from tests.unit.outbound.conftest import Connection, MakeClient, Serve

NAMES = {"api.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
DAY = dt.timedelta(days=1)

Contexts = Callable[..., tuple[ssl.SSLContext, ssl.SSLContext]]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """``contexts(name, days=1)``: the server's side with a certificate of ``name``, and a client's that trusts it."""

    def make(name: str, days: int = 1) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.fromtimestamp(clock.now_ms() / 1000, dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        file = Path(tmp_path_factory.mktemp("tls")) / "server.pem"
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(private + certificate.public_bytes(pem))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(file)
        return server, ssl.create_default_context(cadata=certificate.public_bytes(pem).decode())

    return make


def test_the_certificate_is_of_the_name(serve: Serve, client: MakeClient, contexts: Contexts) -> None:
    """The connection goes to the checked address; the name in the URL is what is verified, sent in SNI and as Host."""
    asked: list[str | None] = []
    theirs, ours = contexts("api.test")
    theirs.sni_callback = lambda connection, name, context: asked.append(name)
    server, http = serve(tls=theirs), client(NAMES, tls=ours)
    for _ in range(2):
        assert http.request("GET", server.url(host="api.test", scheme="https")).body == b"ok"
    assert asked == ["api.test"]
    assert server.requests[0][1]["host"] == f"api.test:{server.port}"
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("host", "days", "trusted", "reason"),
    [
        ("other.test", 1, True, "Hostname mismatch"),
        ("127.0.0.1", 1, True, "IP address mismatch"),
        ("api.test", -5, True, "certificate has expired"),
        ("api.test", 1, False, "self-signed certificate"),
    ],
)
def test_other_certificates_are_refused(
    serve: Serve, client: MakeClient, contexts: Contexts, host: str, days: int, trusted: bool, reason: str
) -> None:
    """Nothing is sent to a server that cannot prove its name; the message says why."""
    theirs, ours = contexts("api.test", days)
    server, http = serve(tls=theirs), client(NAMES, tls=ours if trusted else None)
    with pytest.raises(OutboundError, match=f"certificate of {host}:.* is not valid: .*{reason}"):
        http.request("GET", server.url(host=host, scheme="https"), headers={"Authorization": "secret"})
    assert server.requests == []


def test_a_connection_proves_one_name_only(serve: Serve, client: MakeClient, contexts: Contexts) -> None:
    """A kept connection for one name is not used for another name at the same address."""
    theirs, ours = contexts("api.test")
    server, http = serve(tls=theirs), client(NAMES, tls=ours)
    http.request("GET", server.url(host="api.test", scheme="https"))
    with pytest.raises(OutboundError, match=r"certificate of other\.test"):
        http.request("GET", server.url(host="other.test", scheme="https"))


def test_a_server_without_tls(serve: Serve, client: MakeClient) -> None:
    """Is told in so many words."""
    server = serve(lambda connection: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(OutboundError, match=r"no secure \(TLS\) connection"):
        client().request("GET", server.url(scheme="https"))


def test_a_trickle_inside_tls(serve: Serve, client: MakeClient, contexts: Contexts) -> None:
    """The deadline holds for encrypted reads too."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.drip(b"a")

    theirs, ours = contexts("api.test")
    server = serve(script, tls=theirs)
    with pytest.raises(OutboundError, match="in time"):
        client(NAMES, tls=ours).request("GET", server.url(host="api.test", scheme="https"), timeout_s=0.3)
