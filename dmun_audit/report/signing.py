"""Signs the attestation of a run and verifies it: a DSSE envelope (securesystemslib) around the in-toto Statement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest_file
from dmun_audit.evidence import checksums
from dmun_audit.evidence.checksums import FILE, SIGNATURE, STATEMENT
from dmun_audit.evidence.run import Run
from dmun_audit.report.attestation import PAYLOAD_TYPE, statement
from dmun_audit.store.files import write_atomically

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

LARGEST_KEY = 1 << 20  # bytes


def sign(run: Run, key: Path, password: bytes | None = None) -> str:
    """Sign the Statement that follows from a run, with a private key in PEM. Returns the id of the key.

    Raises UsageError if the key cannot be used.
    """
    _require_library()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    try:
        signer = CryptoSigner(load_pem_private_key(_read(key), password))
    except Exception as error:  # the library raises many classes for keys of other kinds, wrong passwords and damaged files
        raise UsageError(
            f"{key} cannot be used as a private key",
            _first_line(error),
            "give a PEM file with a private key (Ed25519, ECDSA or RSA); for its password, set DMUN_SIGNING_PASSWORD",
        ) from None
    envelope = Envelope(statement(run.manifest, run.cases, _read(run.path / FILE)), PAYLOAD_TYPE, {})
    signature = envelope.sign(signer)
    write_atomically(run.path / SIGNATURE, _as_bytes(envelope))
    return str(signature.keyid)


def verify(folder: Path, key: Path) -> list[str]:
    """What does not hold in a signed run, in sentences that name the files; empty if everything does.

    `key` is the public key in PEM. The signature binds the attestation, the attestation binds SHA256SUMS, and SHA256SUMS binds every
    other file. Whether the attestation follows from manifest and records, `decisions.checked_run` says. Raises UsageError if the
    folder or the key cannot be used.
    """
    _require_library()
    public = _public_key(key)
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "a signed run is a folder", "give the folder that was signed")
    envelope, problem = _envelope(folder)
    if envelope is None:
        return [problem]
    found = []
    if not _is_signed_by(envelope, public):
        found.append(f"{SIGNATURE} holds no valid signature by this key: the file changed, or another key signed it.")
    path = folder / STATEMENT
    if not path.is_file():
        found.append(f"{STATEMENT} is missing.")
    elif path.read_bytes() != envelope.payload:
        found.append(f"{STATEMENT} changed: it is not the text that was signed.")
    if (folder / FILE).is_file() and digest_file(folder / FILE) != _signed_checksums(envelope.payload):
        found.append(f"{FILE} changed: its SHA-256 is not the one in the signed attestation.")
    return list(dict.fromkeys([*found, *checksums.contradictions(folder).values()]))


def key_id(key: Path) -> str:
    """The id of a public key in PEM, as `sign` prints it."""
    return str(_public_key(key).keyid)


def _as_bytes(envelope: Envelope) -> bytes:
    return (json.dumps(envelope.to_dict(), indent=1, sort_keys=True) + "\n").encode()


def _envelope(folder: Path) -> tuple[Envelope | None, str]:
    from securesystemslib.dsse import Envelope

    path = folder / SIGNATURE
    if not path.is_file():
        return None, f"{SIGNATURE} is missing: nobody has signed this run, or the file was removed."
    try:
        content = _read(path)
        envelope = Envelope.from_dict(json.loads(content))
        if content != _as_bytes(envelope):
            return None, f"{SIGNATURE} changed: it is not as it was written."
        return envelope, ""
    except Exception as error:  # a damaged envelope makes the library raise errors of many classes
        return None, f"{SIGNATURE} changed: it is no signature any more ({_first_line(error)})."


def _is_signed_by(envelope: Envelope, public: SSlibKey) -> bool:
    from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError

    if envelope.payload_type != PAYLOAD_TYPE:
        return False
    try:
        return public.keyid in envelope.verify([public], 1)
    except (VerificationError, UnverifiedSignatureError):
        return False


def _signed_checksums(payload: bytes) -> str:
    """The digest of SHA256SUMS that the signed Statement holds; empty if it holds none."""
    try:
        configuration: Any = json.loads(payload)["predicate"]["configuration"]
        return next(str(each["digest"]["sha256"]) for each in configuration if each.get("name") == FILE)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
        return ""


def _public_key(key: Path) -> SSlibKey:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    data = _read(key)
    if b"PRIVATE KEY" in data:
        raise UsageError(
            f"{key} is a private key",
            "whoever verifies needs the public key alone",
            "give the public key, and keep this one secret",
        )
    try:
        return SSlibKey.from_crypto(load_pem_public_key(data))
    except Exception as error:
        raise UsageError(f"{key} is no public key", _first_line(error), "give a PEM file with a public key") from None


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > 64 * LARGEST_KEY:
            raise UsageError(f"{path} is too large", f"it has {path.stat().st_size:,} bytes", "give another file")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read", error.strerror or str(error), "name another file") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _require_library() -> None:
    try:
        import cryptography
        import securesystemslib.dsse  # noqa: F401

        assert cryptography
    except ImportError:
        raise UsageError(
            "signing needs the packages securesystemslib and cryptography",
            "they are not installed",
            "pip install 'dmun_audit[sign]'",
        ) from None
