"""A policy that requires a spot-check: the audit waits for labels, the folder stays whole while they come, and then it passes."""

import pytest
from coarse import coarse_policy

import dmun_audit
from dmun_audit.cli import main
from dmun_audit.decisions.checked_run import checked_run


@pytest.fixture
def audit(store, tmp_path):
    policy = coarse_policy(tmp_path / "quick.toml", steps=4)
    policy.write_text(policy.read_text().replace("[controls]", '[controls]\nspot_check = "required"'))
    return lambda: dmun_audit.audit(
        "atelier:uce-van-gogh", dossier="van-gogh", policy=policy, store=store, audit_dir=tmp_path / "run"
    )


def test_labels_come_in_several_sessions_and_the_next_audit_counts_them(audit, monkeypatch, capsys):
    first = audit()
    assert first.verdict == "INCONCLUSIVE"
    assert "requires a spot-check" in first.reasons[0]
    monkeypatch.setattr("builtins.input", lambda question: "n")
    for images in ("10", "200"):
        assert main(["spot-check", str(first.folder), "--terminal", "--by", "Ann", "--images", images]) == 0
        run = checked_run(first.folder)
        assert (run.verdict, run.contradictions) == ("INCONCLUSIVE", ())
    assert main(["report", str(first.folder)]) == 12
    capsys.readouterr()
    assert audit().verdict == "PASS"
    assert checked_run(first.folder).contradictions == ()
