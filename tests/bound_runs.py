"""The run folder of a real audit, copies of it, and ways to edit them as a forger would. Rooms import its fixtures in their conftest."""

import json
import shutil

import pytest
from coarse import coarse_policy

import dmun_audit
from dmun_audit.cli import main
from dmun_audit.evidence.checksums import write_checksums
from dmun_audit.evidence.reading import evidence_digest


@pytest.fixture(scope="session")
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


def manifest_of(run):
    return json.loads((run / "manifest.json").read_text())


def edit_manifest(run, edit):
    manifest = manifest_of(run)
    edit(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))


def lines_of(run):
    return [json.loads(line) for line in (run / "evidence.jsonl").read_text().splitlines()]


def edit_evidence(run, edit, *, cover=False):
    """Edit the lines of the evidence; `cover` also brings the digests up to date, as a forger would."""
    lines = lines_of(run)
    edit(lines)
    (run / "evidence.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if cover:
        edit_manifest(run, lambda manifest: manifest.update(evidence=evidence_digest(lines).to_json()))
        write_checksums(run)


def line_of(lines, group, pooled=False):
    return next(line for line in lines if line["group"] == group and line["pooled"] is pooled)


def reported(run, capsys):
    code = main(["report", str(run)])
    return code, " ".join(capsys.readouterr().out.split())
