"""A verdict is bound to its evidence: edits are named, a stranger can verify it, and the audit can be repeated."""

import json
import random
import shutil
import subprocess
import sys
import tomllib
from functools import partial

import jsonschema
import processes
import pytest
from coarse import coarse_policy
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from small_disk import small_disk

import dmun_audit
from dmun_audit._util.hashing import digest_bytes
from dmun_audit.cli import main
from dmun_audit.decisions.recheck import checked_run
from dmun_audit.evidence.checksums import write_attestation, write_checksums
from dmun_audit.evidence.reading import evidence_digest
from dmun_audit.knowledge.reading import read_dossier
from dmun_audit.policy import load_policy
from dmun_audit.report.attestation import statement


@pytest.fixture(scope="module")
def audited(tmp_path_factory, store):
    """The run folder of an audit of a damaged model: FAIL."""
    folder = tmp_path_factory.mktemp("bound")
    policy = coarse_policy(folder / "quick.toml", steps=4)
    result = dmun_audit.audit("atelier:damaged", dossier="van-gogh", policy=policy, store=store, audit_dir=folder / "run")
    assert result.verdict == "FAIL", result.reasons
    return result.folder


@pytest.fixture
def run(audited, tmp_path):
    """A copy of that run folder."""
    return shutil.copytree(audited, tmp_path / "run")


def _manifest(run):
    return json.loads((run / "manifest.json").read_text())


def _edit_manifest(run, edit):
    manifest = _manifest(run)
    edit(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))


def _lines(run):
    return [json.loads(line) for line in (run / "evidence.jsonl").read_text().splitlines()]


def _edit_evidence(run, edit, *, cover=False):
    """Edit the lines of the evidence; `cover` also brings the digests up to date, as a forger would."""
    lines = _lines(run)
    edit(lines)
    (run / "evidence.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if cover:
        _edit_manifest(run, lambda manifest: manifest.update(evidence=evidence_digest(lines).to_json()))
        write_checksums(run)


def _line(lines, group, pooled=False):
    return next(line for line in lines if line["group"] == group and line["pooled"] is pooled)


def _reported(run, capsys):
    code = main(["report", str(run)])
    return code, " ".join(capsys.readouterr().out.split())


# The files of a run.


def test_a_run_holds_what_it_takes_to_check_and_repeat_it(audited):
    manifest = _manifest(audited)
    assert read_dossier(audited / "dossier.json").digest() == manifest["dossier"]["digest"]
    assert load_policy(str(audited / "policy.toml")).as_dict() == manifest["policy"]["text"]
    packages = (audited / "packages.txt").read_text().splitlines()
    assert f"torch=={manifest['versions']['torch']}" in packages
    assert manifest["command"]["options"]["model"] == "atelier:damaged"
    assert {"line", "folder", "user", "host"} <= manifest["command"].keys()


def test_sha256sum_confirms_every_file_of_a_run(audited):
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=audited, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    listed = {line.split(": ")[0] for line in done.stdout.splitlines()}
    files = {path.relative_to(audited).as_posix() for path in audited.rglob("*") if path.is_file()}
    assert files - listed == {"SHA256SUMS", "attestation.json", "run.lock"}


def test_the_ci_job_comes_from_the_environment(monkeypatch):
    from dmun_audit.runtime.environment import ci_job

    assert ci_job({"HOME": "/"}) == {}
    github = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "77", "GITHUB_REPOSITORY": "lab/model", "GITHUB_TOKEN": "secret"}
    assert ci_job(github) == {"GITHUB_RUN_ID": "77", "GITHUB_REPOSITORY": "lab/model"}


# Contradictions.


def test_report_derives_the_same_verdict_and_exits_with_its_code(run, capsys):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    code, said = _reported(run, capsys)
    manifest = _manifest(run)
    assert code == manifest["exit_code"]
    assert f"VERDICT {manifest['verdict']}" in said
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_manifest_edited_to_pass_is_incomplete_and_says_what_follows(run, capsys):
    verdict = _manifest(run)["verdict"]
    assert verdict != "PASS"
    _edit_manifest(run, lambda manifest: manifest.update(verdict="PASS", exit_code=0))
    code, said = _reported(run, capsys)
    assert code == 10
    assert "VERDICT INCOMPLETE" in said
    assert "manifest.json changed after the verdict was decided" in said
    assert f"manifest.json says PASS, and {verdict} follows from the evidence" in said
    write_checksums(run)  # the forger brings the list up to date: the verdict still does not follow
    code, said = _reported(run, capsys)
    assert (code, "VERDICT INCOMPLETE" in said) == (10, True)


def test_a_pooled_record_that_contradicts_the_single_ones_is_named(run, capsys):
    def pass_it(lines):
        line = next(line for line in lines if line["pooled"] and line["verdict"] != "PASS")
        line["verdict"] = "PASS"
        line["claim"]["hits"] = 0

    _edit_evidence(run, pass_it, cover=True)
    code, said = _reported(run, capsys)
    assert code == 10
    assert "the evidence says PASS, and" in said
    assert "follows from the single cases" in said


def _more_hits(lines):
    _line(lines, "erasure")["claim"]["hits"] += 1


def _other_outcomes(lines):
    claim = _line(lines, "erasure")["claim"]
    claim["outcomes"] = [1 - outcome for outcome in claim["outcomes"]]
    claim["hits"] = sum(claim["outcomes"])


def _other_verdict(lines):
    line = next(line for line in lines if line["group"] == "controls" and line["claim"]["kind"] == "rate_at_most")
    line["verdict"] = "FAIL"


def _no_control(lines):
    line = next(line for line in lines if line["group"] == "controls" and line["claim"]["kind"] == "rate_at_least")
    line["gating"] = False


def _better_judge(lines):
    line = next(line for line in lines if line["claim"]["kind"] == "rate_at_least")
    line["claim"]["hits"] -= 1


@pytest.mark.parametrize("edit", [_more_hits, _other_outcomes, _other_verdict, _better_judge, _no_control])
def test_a_single_record_that_contradicts_itself_is_named(run, capsys, edit):
    _edit_evidence(run, edit, cover=True)
    code, said = _reported(run, capsys)
    assert code == 10
    assert "contradicts itself" in said


def _not_concluded(manifest):
    manifest.update(verdict="PASS", exit_code=None)


def _earlier_format(manifest):
    manifest.update(format=2, evidence=None, verdict="PASS", exit_code=0)


def _release_evidence(manifest):
    manifest["policy"].update(weaker_than_release=[], release_evidence=True)


def _another_name(manifest):
    manifest["policy"].update(name="release")


def _another_target(manifest):
    manifest["target"].update(name="Claude Monet")


def _unseen_weights(manifest):
    manifest["seeds"].update(weights=[])
    manifest["models"]["candidate"].update(tensors_digest=None)


def _further_weights(manifest):
    manifest["seeds"]["weights"].append("0" * 64)


def _other_drawing(manifest):
    manifest["seeds"].update(drawn="after fingerprint")


def _other_reasons(manifest):
    manifest.update(reasons=["All is well."])


def _no_numbers(manifest):
    manifest["interruptions"].update(not_run=5)


@pytest.mark.parametrize(
    "edit",
    [
        _not_concluded,
        _earlier_format,
        _release_evidence,
        _another_name,
        _another_target,
        _unseen_weights,
        _further_weights,
        _other_drawing,
        _other_reasons,
        _no_numbers,
    ],
)
def test_a_manifest_that_does_not_follow_from_the_other_files_is_named_although_all_digests_fit(run, capsys, edit):
    _edit_manifest(run, edit)
    write_checksums(run)
    manifest = checked_run(run).manifest
    write_attestation(run, partial(statement, manifest, checked_run(run).cases))
    code, said = _reported(run, capsys)
    assert code == 10
    assert "VERDICT INCOMPLETE" in said
    assert "manifest.json" in said or "cannot be derived again" in said
    assert "Release evidence: this audit" not in said


def test_a_run_on_a_medium_that_cannot_be_written_is_checked_all_the_same(audited, tmp_path, capsys):
    with small_disk(tmp_path / "medium", 20_000) as disk:
        copy = shutil.copytree(audited, disk.folder / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
        code, said = _reported(copy, capsys)
    assert code == _manifest(audited)["exit_code"]
    assert "cannot be written: nothing in the folder was written" in said


def test_a_check_leaves_what_it_found(run, capsys):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != "run.lock"}
    (run / "manifest.json").write_bytes(before["manifest.json"] + b" ")
    assert _reported(run, capsys)[0] == 10
    _, said = _reported(run, capsys)
    assert "nothing in the folder was written" in said
    assert said.count("changed after the verdict was decided") == 1
    (run / "manifest.json").write_bytes(before["manifest.json"])
    assert _reported(run, capsys)[0] == json.loads(before["manifest.json"])["exit_code"]
    assert {name: (run / name).read_bytes() for name in before} == before


def _unlisted_image(run):
    name = f"images/{sorted((run / 'images').iterdir())[3].name}"
    lines = (run / "SHA256SUMS").read_text().splitlines()
    (run / "SHA256SUMS").write_text("".join(f"{line}\n" for line in lines if name not in line))
    return name


def _edit_attestation(run):
    path = run / "attestation.json"
    path.write_text(path.read_text().replace('"FAILED"', '"PASSED"'))
    return "attestation.json"


def _edit_early_line(run):
    _edit_evidence(run, lambda lines: lines[1].update(seen="All is well."))
    return "evidence.jsonl"


def _overwrite_image(run):
    image = sorted((run / "images").iterdir())[3]
    other = sorted((run / "images").iterdir())[4].read_bytes()
    image.unlink()
    image.write_bytes(other)
    return f"images/{image.name}"


def _edit_weights_digest(run):
    _edit_manifest(run, lambda manifest: manifest["models"]["candidate"].update(weights_digest="0" * 64))
    return "manifest.json"


def _remove_image(run):
    image = sorted((run / "images").iterdir())[0]
    image.unlink()
    return f"images/{image.name}"


def _edit_dossier(run):
    path = run / "dossier.json"
    path.write_text(path.read_text().replace("Van Gogh", "Van Dyck", 1))
    return "dossier.json"


def _remove_list(run):
    (run / "SHA256SUMS").unlink()
    return "SHA256SUMS"


@pytest.mark.parametrize(
    "damage",
    [
        _edit_early_line,
        _overwrite_image,
        _edit_weights_digest,
        _remove_image,
        _edit_dossier,
        _remove_list,
        _unlisted_image,
        _edit_attestation,
    ],
)
def test_every_file_that_changed_is_named(run, capsys, damage):
    name = damage(run)
    code, said = _reported(run, capsys)
    assert code == 10
    assert name in said
    assert dmun_audit.load_run(run).verdict == "INCOMPLETE"


def test_a_policy_that_was_made_stricter_or_weaker_is_another_plan(run, capsys):
    path = run / "policy.toml"
    figures = tomllib.loads(path.read_text())
    path.write_text(path.read_text().replace(f"ceiling = {figures['erasure']['ceiling']}", "ceiling = 0.9"))
    write_checksums(run)
    code, said = _reported(run, capsys)
    assert code == 10
    assert "policy.toml and the seeds is not the plan of the audit" in said


def test_a_seed_that_somebody_chose_and_a_weights_digest_that_was_edited_do_not_follow(run, capsys):
    _edit_manifest(run, lambda manifest: manifest["models"]["candidate"].update(tensors_digest="0" * 64))
    write_checksums(run)
    code, said = _reported(run, capsys)
    assert code == 10
    assert "other weights of the candidate than those from which its seeds were drawn" in said


def test_labels_of_a_person_join_the_list_of_files(run, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["spot-check", str(run), "--terminal", "--by", "Ann", "--images", "4"]) == 0
    assert (run / "spot_check.jsonl").is_file()
    assert checked_run(run).contradictions == ()


def test_labels_end_a_signature_and_a_report_keeps_one(signed, keys, monkeypatch, capsys):
    (signed / "report.html").chmod(0o400)
    before = (signed / "report.html").stat().st_mtime_ns
    code, said = _reported(signed, capsys)
    assert (code, "are signed: nothing in the folder was written" in said) == (_manifest(signed)["exit_code"], True)
    assert (signed / "report.html").stat().st_mtime_ns == before
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["spot-check", str(signed), "--terminal", "--by", "Ann", "--images", "4"]) == 0
    assert not (signed / "attestation.dsse.json").exists()
    assert main(["sign", str(signed), f"--key={keys[0]}"]) == 0
    assert main(["verify", str(signed), f"--key={keys[1]}"]) == 0


def test_a_second_run_in_the_folder_restores_an_overwritten_image(audited, store, tmp_path):
    copy = shutil.copytree(audited, tmp_path / "again")
    name = _overwrite_image(copy)
    assert checked_run(copy).altered
    dmun_audit.audit("atelier:damaged", dossier="van-gogh", policy=copy / "policy.toml", store=store, audit_dir=copy)
    assert checked_run(copy).contradictions == ()
    assert (copy / name).read_bytes() == (audited / name).read_bytes()


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
    statement, manifest = json.loads((audited / "attestation.json").read_text()), _manifest(audited)
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
    assert sorted(tests) == sorted(line["case_id"] for line in _lines(audited) if line["gating"])


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
    _edit_manifest(run, lambda manifest: manifest.update(verdict="PASS", exit_code=0))
    assert main(["sign", str(run), f"--key={keys[0]}"]) == 4
    assert "is not signed" in capsys.readouterr().err
    assert not (run / "attestation.dsse.json").exists()


@pytest.mark.parametrize(("command", "key", "said"), [("sign", 1, "private key"), ("verify", 0, "is a private key")])
def test_the_wrong_half_of_a_key_is_one_clear_error(run, keys, capsys, command, key, said):
    assert main([command, str(run), f"--key={keys[key]}"]) == 4
    assert said in capsys.readouterr().err


# Again.


def test_an_audit_is_reproduced_from_its_folder_alone(audited, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in audited.rglob("*")}
    code = main(["reproduce", str(audited), f"--audit-dir={tmp_path / 'again'}"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "REPRODUCED" in said
    assert "images: the same" in said
    assert _manifest(tmp_path / "again")["images"]["reused"] == 0
    assert {path: path.stat().st_mtime_ns for path in audited.rglob("*")} == before


def test_a_reproduction_with_another_model_says_what_differs(audited, tmp_path, store, capsys):
    options = [f"--audit-dir={tmp_path / 'again'}", f"--store={store}", "--model=atelier:uce-van-gogh"]
    assert main(["reproduce", str(audited), *options]) == 1
    said = capsys.readouterr().out
    assert "NOT REPRODUCED" in said
    assert "candidate, weights as loaded" in said
    assert "other pixels" in said
