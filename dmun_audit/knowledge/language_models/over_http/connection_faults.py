"""What a fault of the connection means: one that may pass, or an error that says what to do. Pure functions of exceptions."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.over_http.faults import TemporaryFault

_NO_SUCH_NAME = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}


def connection_fault(error: httpx.HTTPError, url: str, hide: Callable[[str], str]) -> UsageError | TemporaryFault:
    """The error of a connection to `url` that no later try mends, or the fault that may pass."""
    text = hide(f"{type(error).__name__}: {str(error) or 'the connection was closed'}")
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UsageError(
                f"the certificate of {parts.hostname} cannot be verified",
                hide(str(cause.verify_message or cause)),
                "put the certificate of the authority that signed it into a file and name the file in SSL_CERT_FILE",
            )
        if isinstance(cause, ssl.SSLError):
            return _not_https(url, hide(cause.reason or str(cause)))
        if isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME:
            remedy = "correct the URL, or see whether this machine reaches the network that knows the name"
            return UsageError(f"there is no machine of the name {parts.hostname}", str(cause.strerror or cause), remedy)
        if isinstance(cause, ConnectionRefusedError):
            return TemporaryFault(f"nothing listens at {place}: {text}", f"start the server, or correct the port in {url}")
    if isinstance(error, httpx.UnsupportedProtocol):
        return UsageError(f"{url} is no URL", text, "give one such as http://localhost:8000/v1")
    if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError)) and parts.scheme == "http":
        if "illegal status line" in text and "x15\\x03" in text:  # an alert of TLS
            return speaks_https(url, "the server answered in TLS")
        return TemporaryFault(text, f"see whether the server is up; if {place} speaks https, write https:// in the URL")
    return TemporaryFault(text)


def speaks_https(url: str, reason: str) -> UsageError:
    """The error for a server that is asked over http and speaks https."""
    return UsageError(f"the server at {url} speaks https", reason, f"give the URL as https{url.removeprefix('http')}")


def _not_https(url: str, reason: str) -> UsageError:
    return UsageError(
        f"no https connection to {url} could be made",
        reason,
        f"if the server speaks plain http, as most local ones do, give http{url.removeprefix('https')}",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it, nearest first."""
    waiting, seen = [error], set()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [*getattr(cause, "exceptions", ()), *(one for one in (cause.__cause__, cause.__context__) if one is not None)]
