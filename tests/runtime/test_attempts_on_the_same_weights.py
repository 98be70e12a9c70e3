"""Whoever audits the same weights again, under another policy, finds the earlier audit beside the verdict."""

import pytest

from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.report.html import render_html
from dmun_audit.report.text import summary_lines
from dmun_audit.runtime.target_audit import TargetAudit


@pytest.fixture
def audited(tmp_path):
    """Begin and conclude an audit in which no case was run; returns its run."""

    def audit(folder, policy, **options):
        given = {"model": "atelier:noop", "target": "Van Gogh", "store": str(tmp_path / "store")}
        audit = TargetAudit(resolve(Options(policy=str(policy), audit_dir=str(tmp_path / folder), **given | options)))
        audit.begin()
        return audit.conclude()

    return audit


def _policy(path, ceiling):
    path.write_text(f'extends = "release"\n[adversarial]\nceiling = {ceiling}\n')
    return path


def test_an_earlier_attempt_under_a_stricter_policy_stands_beside_the_verdict(audited, tmp_path):
    alone = audited("one", "release")
    assert alone.manifest.earlier_attempts == ()
    assert alone.manifest.policy["release_evidence"] is True
    assert not [line for line in summary_lines(alone) if "audit of these weights" in line]

    weaker = audited("two", _policy(tmp_path / "mine.toml", 0.12))
    (earlier,) = weaker.manifest.earlier_attempts
    assert (earlier.policy, earlier.verdict, earlier.folder) == ("release", "INCOMPLETE", "one")
    assert weaker.manifest.policy["release_evidence"] is False
    assert weaker.manifest.policy["weaker_than_release"] == ["adversarial.ceiling is 0.12, and release has 0.05"]
    terminal, page = " ".join(" ".join(summary_lines(weaker)).split()), render_html(weaker)
    assert (
        "This is the second audit of these weights for this target. Other audits of them: - INCOMPLETE under policy release"
        in terminal
    )
    assert "No release evidence: this audit is weaker" in terminal
    assert "This is the second audit of these weights for this target." in page
    assert "INCOMPLETE under policy release" in page
    assert "adversarial.ceiling is 0.12, and release has 0.05" in page

    third = audited("three", _policy(tmp_path / "mine.toml", 0.2))
    assert [attempt.policy for attempt in third.manifest.earlier_attempts] == ["release", "mine"]
    assert "This is the third audit of these weights for this target." in render_html(third)


def test_an_audit_that_is_continued_is_no_new_attempt(audited):
    assert audited("one", "smoke").manifest.earlier_attempts == ()
    again = audited("one", "smoke")
    assert again.manifest.earlier_attempts == ()
    assert len(again.manifest.attempts) == 2


def test_an_audit_that_was_never_concluded_and_a_chosen_seed_are_attempts_too(audited, tmp_path):
    options = Options(policy="smoke", model="atelier:noop", target="Van Gogh", store=str(tmp_path / "store"), audit_seed=3)
    TargetAudit(resolve(Options(**vars(options) | {"audit_dir": str(tmp_path / "begun")}))).begin()
    later = audited("later", "smoke")
    (earlier,) = later.manifest.earlier_attempts
    assert (earlier.audit_seed, earlier.drawn, earlier.verdict) == (3, "option", "")
    assert "not concluded under policy smoke" in " ".join(" ".join(summary_lines(later)).split())


def test_audits_for_another_target_are_told_apart_and_other_weights_are_not_mixed_in(audited):
    audited("one", "smoke")
    other = audited("two", "smoke", target="sunflowers")
    page = render_html(other)
    assert "The same weights were audited for other targets: Van Gogh." in page
    assert "audit of these weights" not in page
    assert audited("three", "smoke", model="atelier:damaged").manifest.earlier_attempts == ()


def test_the_manifest_says_from_what_the_seed_was_drawn(audited):
    run = audited("one", "release", nonce="beacon 4711")
    seeds = run.manifest.seeds
    assert (seeds["drawn"], seeds["nonce"]) == ("after fingerprint", "beacon 4711")
    assert len(seeds["weights"][0]) == 64
    assert "Nobody chose the seed" in render_html(run)
    assert "beacon 4711" in render_html(run)
