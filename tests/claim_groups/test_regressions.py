"""Regressions: a find of an earlier audit is tried on the next candidate, unchanged, and a damaged or foreign run is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from audits_of_one_case import audit_of_one_case

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.claim_groups.probes import GROUP as PROBES
from dmun_audit.claim_groups.regressions import GROUP
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.earlier_runs import refuse_runs_of_no_target
from dmun_audit.config.options import Options
from dmun_audit.config.regressions import find_regressions, keep_regressions
from dmun_audit.config.resolve import resolve
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.checksums import write_checksums
from dmun_audit.evidence.inputs import FROZEN, REGRESSIONS
from dmun_audit.plan.regressions import FIND
from dmun_audit.policy import load_policy
from dmun_audit.policy.sections import Probes
from dmun_audit.probes import learned_embedding
from dmun_audit.runtime.loading import open_runtime
from dmun_audit.runtime.target_audit import TargetAudit
from dmun_audit.verdict.vocabulary import Verdict

PROBE = learned_embedding.PROBE
UNITS = 4


def policy():
    smoke = load_policy("smoke")
    strict = replace(smoke.erasure, ceiling=0.05)  # few images refute it
    sampling, probes = replace(smoke.sampling, steps=10), Probes(run=(PROBE.name,), units=UNITS, row=UNITS, base_units=UNITS)
    return replace(smoke, sampling=sampling, erasure=strict, probes=probes, images_at_most=2000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("regressions")


def resolved(folder, name, model="uce-van-gogh", **options):
    given = {"policy": policy(), "store": str(folder / "store"), "audit_dir": str(folder / name), "target": "Van Gogh"}
    return resolve(Options(**given | options, model=f"atelier:{model}"))


@pytest.fixture(scope="module", autouse=True)
def one_dose():
    """A short search with one dose, for every test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(learned_embedding.FIGURES, "small", learned_embedding.Figures((20,), 2e-2, images=8, batch=8, parts=1))
        yield


@pytest.fixture(scope="module")
def run(folder, one_dose):
    """The run folder of an audit of one case, in which a learned word brought the target back."""
    audit_of_one_case(resolved(folder, "first"), PROBES)
    (probe,) = [each.probe for each in checked_run(folder / "first").cases]
    assert sum(probe.doses[0].candidate) >= UNITS - 1
    return folder / "first"


def copy_of(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def find_of(run):
    """The file of what was found on the candidate: the control and the base have finds too."""
    (probe,) = [each.probe for each in checked_run(run).cases]
    return run / "finds" / f"{next(find.key for find in probe.finds if find.model == 'candidate')}.safetensors"


def findings_on(model, folder, run):
    """The findings of the one regression case on a model, and the bench."""
    config = resolved(folder, f"next-{model}", model, regress=(str(run),))
    (case,) = config.plan.of_group(GROUP.name)
    runtime = open_runtime([config], lambda count: None)
    runner, _ = runtime.runner(config)
    findings = GROUP.decide_case(case, runner)
    runtime.close()
    return findings, runner.observations.bench, case


def test_a_find_brings_the_target_back_on_the_same_model_and_searches_nothing(folder, run):
    findings, bench, case = findings_on("uce-van-gogh", folder, run)
    (earlier,) = [each.probe for each in checked_run(run).cases]
    assert findings.verdict == Verdict.FAIL
    assert findings.claim.hits == sum(earlier.doses[0].candidate)
    assert case.gating
    assert bench.spent.gradient_steps == 0
    ours = [image for image in earlier.images if image.model == "candidate"]
    assert [image.detected for image in findings.images] == [image.detected for image in ours]
    before, after = ([image.target_score for image in images] for images in (ours, findings.images))
    assert np.allclose(before, after)


def test_it_brings_nothing_back_on_a_model_that_never_knew_the_target(folder, run):
    findings, bench, _ = findings_on("retrained", folder, run)
    assert findings.claim.hits <= 1  # the judge errs now and then
    assert findings.verdict in {Verdict.PASS, Verdict.NO_HARM_PROVEN}
    assert bench.spent.gradient_steps == 0


def test_workers_and_reproductions_get_the_same_cases(folder, run):
    config = resolved(folder, "next", regress=(str(run),))
    alone = resolved(folder, "next")
    assert config.audit_hash != alone.audit_hash
    assert not alone.plan.of_group(GROUP.name)
    worker = AuditConfig.from_json(config.to_json())
    assert worker.regressions == config.regressions
    assert worker.plan.digest() == config.plan.digest()
    audit = TargetAudit(config)
    audit.begin()
    audit.conclude()
    audit.end()
    assert not [each for each in checked_run(folder / "next").contradictions if "plan" in each]
    kept = str(folder / "next" / REGRESSIONS)
    again = find_regressions([kept], config.dossier, config.source_digests["base"])
    assert [each.digest for each in again] == [each.digest for each in config.regressions]
    assert all(find.path.parent.parent == folder / "next" for each in again for find in each.finds)
    assert resolved(folder, "after", regress=(kept,)).audit_hash == config.audit_hash


def test_a_changed_find_is_refused(folder, run, tmp_path):
    copy = copy_of(run, tmp_path)
    find = find_of(copy)
    find.write_bytes(find.read_bytes()[:-1] + b"?")
    with pytest.raises(UsageError, match="is damaged"):
        resolved(folder, "next", regress=(str(copy),))
    write_checksums(copy)  # whoever changed the find takes the checksums again
    with pytest.raises(UsageError, match=r"is damaged|holds a changed find"):
        resolved(folder, "next", regress=(str(copy),))
    find.unlink()
    with pytest.raises(UsageError, match=r"is damaged|lacks the find"):
        resolved(folder, "next", regress=(str(copy),))


def test_a_changed_find_beside_kept_cases_is_refused(folder, run, tmp_path):
    config = resolved(folder, "next", regress=(str(run),))
    base = config.source_digests["base"]
    keep_regressions(config.regressions, tmp_path)
    (find,) = (tmp_path / FROZEN).iterdir()
    find.write_bytes(find.read_bytes()[:-1] + b"?")
    with pytest.raises(UsageError, match="holds a changed find"):
        find_regressions([str(tmp_path / REGRESSIONS)], config.dossier, base)
    find.unlink()
    with pytest.raises(UsageError, match="lacks the find"):
        find_regressions([str(tmp_path / REGRESSIONS)], config.dossier, base)
    (tmp_path / REGRESSIONS).write_text("[{}]")
    with pytest.raises(UsageError, match="cannot be read"):
        find_regressions([str(tmp_path / REGRESSIONS)], config.dossier, base)


def test_kept_cases_of_another_target_base_or_version_are_refused(folder, run, tmp_path, monkeypatch):
    config = resolved(folder, "next", regress=(str(run),))
    keep_regressions(config.regressions, tmp_path)
    kept, base, target = [str(tmp_path / REGRESSIONS)], config.source_digests["base"], config.dossier.target
    other = config.dossier.model_copy(update={"target": target.model_copy(update={"name": "Monet", "aliases": ()})})
    with pytest.raises(UsageError, match="is an audit of 'Van Gogh', and this one is of 'Monet'"):
        find_regressions(kept, other, base)
    with pytest.raises(UsageError, match="over another base"):
        find_regressions(kept, config.dossier, "0" * 64)
    monkeypatch.setattr(type(PROBE), "version", PROBE.version + 1)
    with pytest.raises(UsageError, match=f"and this is version {PROBE.version}"):
        find_regressions(kept, config.dossier, base)


def test_a_find_that_changes_after_planning_is_refused(run, folder, tmp_path):
    copy = copy_of(run, tmp_path)
    config = resolved(folder, "next", regress=(str(copy),))
    find = find_of(copy)
    find.write_bytes(b"other")
    runtime = open_runtime([config], lambda count: None)
    (regression,) = config.regressions
    recipe = regression.requests()[0][0].recipe
    assert dict(recipe.settings)[FIND] == regression.finds[0].sha256
    with pytest.raises(StoreError, match="changed after the audit was planned"):
        runtime.observations(config).bench.holding(recipe)
    runtime.close()


def test_foreign_runs_are_refused(folder, run, tmp_path):
    given = resolved(folder, "next").dossier
    base = checked_run(run).manifest.models.get("base", {}).get("source_digest")
    with pytest.raises(UsageError, match="over another base"):
        find_regressions([str(run)], given, "0" * 64)
    other = given.model_copy(update={"target": given.target.model_copy(update={"name": "Monet", "aliases": ()})})
    with pytest.raises(UsageError, match="is an audit of 'Van Gogh', and this one is of"):
        find_regressions([str(run)], other, base)
    with pytest.raises(UsageError, match="is no folder"):
        find_regressions([str(tmp_path / "none")], given, base)
    with pytest.raises(UsageError, match="--regress is empty"):
        resolved(folder, "next", regress=("",))


def test_in_a_session_of_several_targets_a_run_goes_to_its_own(folder, run, tmp_path):
    config = resolved(folder, "next", regress=(str(run),))
    base = config.source_digests["base"]
    other = config.dossier.model_copy(
        update={"target": config.dossier.target.model_copy(update={"name": "Monet", "aliases": ()})}
    )
    assert find_regressions([str(run)], other, base, among_others=True) == ()
    assert find_regressions([str(run)], config.dossier, base, among_others=True) == config.regressions
    refuse_runs_of_no_target("regress", [str(run)], [other, config.dossier])
    with pytest.raises(UsageError, match="which is none of the targets"):
        refuse_runs_of_no_target("regress", [str(run)], [other])


def test_finds_for_single_rows_keep_their_units_together(folder, run):
    config = resolved(folder, "next", regress=(str(run),))
    (regression,) = config.regressions
    (find,) = regression.finds
    rows = regression.model_copy(
        update={
            "finds": tuple(find.model_copy(update={"together": True, "units": find.units[start : start + 2]}) for start in (0, 2))
        }
    ).requests()
    assert [len(row) for row in rows] == [2, 2]
    for row in rows:
        assert {request.side for request in row} == {"candidate"}
        assert [(unit.prompt, unit.seed) for unit in row[0].recipe.units] == [(each.prompt, each.seed) for each in row]
    alone = regression.requests()[0][0].recipe
    assert alone.units == ()
    assert alone.examples == ()
