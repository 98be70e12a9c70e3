"""The attestation of a run, its signature, and a stranger who verifies it with the public key alone."""

import json
import random
import shutil
import sys

import jsonschema
import processes
import pytest
from bound_runs import edit_manifest, lines_of, manifest_of, reported
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dmun_audit._util.hashing import digest_bytes
from dmun_audit.cli import main

# The attestation.

STATEMENT = {
    "type": "object",
    "required": ["_type", "subject", "predicateType", "predicate"],
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "predicateType": {"const": "https://in-toto.io/attestation/test-result/v0.1"},
        "subject": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["digest"]}},
        "predicate": {
            "type": "object",
            "required": ["result", "configuration"],
            "properties": {
                "result": {"enum": ["PASSED", "WARNED", "FAILED"]},
                "configuration": {
                    "type": "array",
                    "items": {"type": "object", "anyOf": [{"required": [key]} for key in ("uri", "digest", "content")]},
                },
                **{f"{kind}Tests": {"type": "array", "items": {"type": "string"}} for kind in ("passed", "warned", "failed")},
            },
        },
    },
}
"""The specification's requirements: Statement v1, test-result v0.1, and ResourceDescriptor."""


def test_the_attestation_is_an_in_toto_statement_about_the_loaded_weights(audited):
    statement, manifest = json.loads((audited / "attestation.json").read_text()), manifest_of(audited)
    jsonschema.validate(statement, STATEMENT)
    assert statement["subject"][0]["digest"]["sha256"] == manifest["models"]["candidate"]["weights_digest"]
    assert statement["predicate"]["result"] == ("PASSED" if manifest["verdict"] == "PASS" else "FAILED")
    named = {each["name"]: each for each in statement["predicate"]["configuration"]}
    assert named["SHA256SUMS"]["digest"]["sha256"] == digest_bytes((audited / "SHA256SUMS").read_bytes())
    for part in ("judge", "plan"):
        assert named[part]["digest"]["sha256"] == manifest[part]["digest"]
    for part, file in (("policy", "policy.toml"), ("dossier", "dossier.json")):
        assert named[part]["digest"]["sha256"] == digest_bytes((audited / file).read_bytes())
    assert named["policy"]["annotations"]["release_evidence"] is False
    assert named["torch"]["uri"] == f"pkg:pypi/torch@{manifest['versions']['torch']}"
    tests = [name for kind in ("passed", "warned", "failed") for name in statement["predicate"][f"{kind}Tests"]]
    assert sorted(tests) == sorted(line["case_id"] for line in lines_of(audited) if line["gating"])


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The paths of a private key, its public key, and another public key."""
    folder, private = tmp_path_factory.mktemp("keys"), Ed25519PrivateKey.generate()
    (folder / "key.pem").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"sesame")
        )
    )
    for name, key in (("public.pem", private), ("other.pem", Ed25519PrivateKey.generate())):
        public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / name).write_bytes(public)
    return folder / "key.pem", folder / "public.pem", folder / "other.pem"


@pytest.fixture
def signed(run, keys, monkeypatch):
    monkeypatch.setenv("DMUN_SIGNING_PASSWORD", "sesame")
    assert main(["sign", str(run), f"--key={keys[0]}"]) == 0
    return run


def test_a_stranger_verifies_a_signed_run_with_the_public_key_alone(signed, keys, tmp_path):
    shutil.copytree(signed, tmp_path / "elsewhere" / "run")
    shutil.copy(keys[1], tmp_path / "elsewhere" / "public.pem")
    done = processes.run(
        [sys.executable, "-m", "dmun_audit.cli", "verify", "run", "--key=public.pem"],
        cwd=tmp_path / "elsewhere",
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "elsewhere")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERIFIED: signature, every file and verdict" in done.stdout


def test_twenty_changes_of_a_single_byte_are_each_named(signed, keys, capsys):
    draw = random.Random(20)
    images = sorted(f"images/{path.name}" for path in (signed / "images").iterdir())
    always = ["manifest.json", "evidence.jsonl", "report.html", "junit.xml", "dossier.json", "policy.toml", "packages.txt"]
    always += ["SHA256SUMS", "attestation.json", "attestation.dsse.json"]
    names = always + draw.sample(images, 10)
    for name in names:
        path = signed / name
        before = path.read_bytes()
        place = draw.randrange(len(before))
        changed = before[:place] + bytes([before[place] ^ (1 << draw.randrange(7))]) + before[place + 1 :]
        path.unlink()  # the images are links to the store
        path.write_bytes(changed)
        code, said = main(["verify", str(signed), f"--key={keys[1]}"]), capsys.readouterr().out
        assert (code, "NOT VERIFIED" in said) == (1, True), (name, place)
        assert name in said, (name, place, said)
        path.write_bytes(before)
    assert main(["verify", str(signed), f"--key={keys[1]}"]) == 0


def test_an_added_file_another_key_and_a_missing_signature_are_named(signed, keys, capsys):
    (signed / "images" / "added.png").write_bytes(b"")
    assert main(["verify", str(signed), f"--key={keys[1]}"]) == 1
    assert "images/added.png was added" in capsys.readouterr().out
    (signed / "images" / "added.png").unlink()
    assert main(["verify", str(signed), f"--key={keys[2]}"]) == 1
    assert "no valid signature by this key" in capsys.readouterr().out
    (signed / "attestation.dsse.json").unlink()
    assert main(["verify", str(signed), f"--key={keys[1]}"]) == 1
    assert "nobody has signed this run" in capsys.readouterr().out


def test_a_run_that_contradicts_itself_is_not_signed(run, keys, monkeypatch, capsys):
    monkeypatch.setenv("DMUN_SIGNING_PASSWORD", "sesame")
    edit_manifest(run, lambda manifest: manifest.update(verdict="PASS", exit_code=0))
    assert main(["sign", str(run), f"--key={keys[0]}"]) == 4
    assert "is not signed" in capsys.readouterr().err
    assert not (run / "attestation.dsse.json").exists()


@pytest.mark.parametrize(("command", "key", "said"), [("sign", 1, "private key"), ("verify", 0, "is a private key")])
def test_the_wrong_half_of_a_key_is_one_clear_error(run, keys, capsys, command, key, said):
    assert main([command, str(run), f"--key={keys[key]}"]) == 4
    assert said in capsys.readouterr().err


def test_labels_end_a_signature_and_a_report_keeps_one(signed, keys, monkeypatch, capsys):
    (signed / "report.html").chmod(0o400)
    before = (signed / "report.html").stat().st_mtime_ns
    code, said = reported(signed, capsys)
    assert (code, "are signed: nothing in the folder was written" in said) == (manifest_of(signed)["exit_code"], True)
    assert (signed / "report.html").stat().st_mtime_ns == before
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["spot-check", str(signed), "--terminal", "--by", "Ann", "--images", "4"]) == 0
    assert not (signed / "attestation.dsse.json").exists()
    assert main(["sign", str(signed), f"--key={keys[0]}"]) == 0
    assert main(["verify", str(signed), f"--key={keys[1]}"]) == 0
