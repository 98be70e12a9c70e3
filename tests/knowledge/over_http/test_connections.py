"""Connections that cannot be made: each is named with its remedy."""

import contextlib
import datetime
import json
import logging
import re
import socket
import ssl
import threading
from dataclasses import replace

import pytest
from asked_over_http import QUESTION, ask
from chat_server import send

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.over_http.fault_notes import FaultNotes


def test_a_name_that_nobody_knows_is_named_at_once(server, monkeypatch):
    real = socket.getaddrinfo

    def unknown(host, *arguments, **options):
        if host in {"no-such-host.invalid", b"no-such-host.invalid"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # the machine that tests may have no resolver
    with pytest.raises(UsageError, match=r"no machine of the name no-such-host\.invalid"):
        ask(None, url="http://no-such-host.invalid/v1")


def test_a_server_that_is_still_starting_is_waited_for():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UsageError, match=r"did not answer in 5 tries[\s\S]*nothing listens at 127\.0\.0\.1:\d+") as caught:
        ask(None, url=url)
    assert "start the server" in caught.value.remedy


def test_many_questions_to_a_server_that_is_away_log_one_line(server, caplog):
    caplog.set_level(logging.INFO, "dmun_audit")
    answers = iter([f"busy, request {number}" for number in range(99)])
    away = [lambda handler, body: send(handler, json.dumps({"error": {"message": next(answers)}}).encode(), 503)] * 8
    server.fail_next(*away)
    ask(server, *[replace(QUESTION, seed=seed) for seed in range(6)])
    assert len(server.requests) == 6 + 8
    (line,) = caplog.messages
    assert re.fullmatch(r"no answer \(status 503: busy, request \d\); trying again, up to 5 times for each question", line)


def test_a_fault_that_lasts_is_told_once_a_minute_with_its_count(caplog):
    caplog.set_level(logging.INFO, "dmun_audit")
    seconds = iter([0.0, 1.0, 59.0, 61.0, 62.0, 63.0, 130.0])
    notes = FaultNotes(lambda: next(seconds))
    for reason in (
        "status 503",
        "status 503",
        "status 503",
        "status 503",
        "the connection was closed",
        "status 429",
        "status 503",
    ):
        notes.note(reason, 5)
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "no answer (status 503)",
        "no answer (status 503), and 2 times more since the last such line",
        "no answer (the connection was closed)",
        "no answer (status 429)",
        "no answer (status 503)",
    ]


def test_https_to_a_port_of_http_is_named(server):
    with pytest.raises(UsageError, match="no https connection") as caught:
        ask(server, url=server.url.replace("http:", "https:"))
    assert f"give {server.url}" in caught.value.remedy


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """The URL of a server that speaks https with a certificate of its own."""
    crypto = pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    assert crypto
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = (
        made.not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1_000)

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    yield f"https://localhost:{listener.getsockname()[1]}/v1"
    listener.close()


def test_a_certificate_that_nobody_signed_is_named_with_the_remedy(certified):
    with pytest.raises(UsageError, match="certificate of localhost cannot be verified") as caught:
        ask(None, url=certified)
    assert "SSL_CERT_FILE" in caught.value.remedy


def test_http_to_a_port_of_https_is_named(certified):
    with pytest.raises(UsageError, match="write https:// in the URL"):  # the connection ends without a word
        ask(None, url=certified.replace("https:", "http:"))


def test_an_answer_in_tls_to_plain_http_is_named_at_once():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        connection.recv(100_000)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n")
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    with listener, pytest.raises(UsageError, match="speaks https"):
        ask(None, url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
