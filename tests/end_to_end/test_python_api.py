"""The Python API on the atelier: the lines of the documentation, and that pytest is one client of the same code."""

import json
import sys

import processes
import pytest
from coarse import coarse_policy

import dmun_audit
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.policy import load_policy


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", steps=2)


@pytest.fixture(scope="module")
def result(quick, store, tmp_path_factory):
    """An audit of the atelier's default model, with a dossier's name and a policy's file."""
    folder = tmp_path_factory.mktemp("api") / "run"
    return dmun_audit.audit(
        candidate="atelier:uce-van-gogh", base="atelier:base", dossier="van-gogh", policy=quick, store=store, audit_dir=folder
    )


def lasting(folder):
    records = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "volatile"} for record in records]


def test_a_result_has_verdict_claims_cases_and_reports(result):
    assert result.verdict in set(dmun_audit.AuditVerdict)
    assert result.exit_code == result.verdict.exit_code
    assert [claim.group for claim in result.claims] == ["erasure", "adversarial", "retention"]
    assert len(result.cases) == len(lasting(result.folder)) > 30
    assert result.report.is_file()
    assert (result.folder / "junit.xml").is_file()
    assert str(result.verdict) in str(result)
    assert "Van Gogh" in repr(result)


def test_a_result_is_a_table_with_a_row_for_each_case(result):
    table = result.to_pandas()
    assert list(table.index) == [case.case_id for case in result.cases]
    kept = table[(table.group == "retention") & ~table.pooled]
    assert kept.concept.notna().all()
    assert kept.clip_score_base.between(-1, 1).all()
    assert set(table.verdict) <= set(dmun_audit.Verdict)


def test_a_notebook_shows_the_report(result):
    page = result._repr_html_()
    assert page.startswith("<iframe")
    assert "Van Gogh" in page


def test_pytest_leaves_the_same_evidence(result, quick, store, tmp_path):
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", f"--policy={quick}", f"--store={store}"]
    run = processes.run([*command, f"--audit-dir={tmp_path / 'run'}"], cwd=processes.TESTS.parent)
    assert run.returncode == result.exit_code, run.stdout
    assert lasting(tmp_path / "run") == lasting(result.folder)


def test_a_run_opens_again_and_draws_nothing_again(result, quick, store, tmp_path):
    assert dmun_audit.load_run(result.folder).cases == result.cases
    dossier, policy, seen = find_pack("Van Gogh", "atelier"), load_policy(str(quick)), []
    again = dmun_audit.audit(
        "atelier:uce-van-gogh", dossier=dossier, policy=policy, store=store, audit_dir=tmp_path / "run", on_case=seen.append
    )
    assert again.manifest.images["rendered"] == 0
    assert lasting(again.folder) == lasting(result.folder)
    assert len(seen) == sum(not case.pooled for case in again.cases)


def test_bad_input_is_one_error_before_a_model_is_loaded(tmp_path):
    with pytest.raises(dmun_audit.UsageError, match="did you mean atelier:retrained"):
        dmun_audit.audit("atelier:retraned", policy="smoke", store=tmp_path)
    with pytest.raises(dmun_audit.UsageError, match="is not the target of the dossier"):
        dmun_audit.audit("atelier:base", dossier="atelier-van-gogh", target="Monet", policy="smoke", store=tmp_path)
    with pytest.raises(dmun_audit.UsageError, match="is no folder"):
        dmun_audit.load_run(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_statistics_need_no_audit():
    assert dmun_audit.statistics.rate_at_most(0, 62, ceiling=0.05).verdict == "PASS"


def test_importing_the_package_loads_no_torch():
    code = "import sys, dmun_audit; sys.exit(bool({'torch', 'scipy', 'pydantic'} & set(sys.modules)))"
    assert processes.run([sys.executable, "-c", code]).returncode == 0


def test_pipelines_in_memory_are_audited_like_their_folders_and_stay_as_they_are(result, quick, store, tmp_path):
    from diffusers import DiffusionPipeline

    from dmun_audit.models.references import WEIGHTS_FOLDER

    base = DiffusionPipeline.from_pretrained(WEIGHTS_FOLDER / "base", local_files_only=True)
    retrained = DiffusionPipeline.from_pretrained(WEIGHTS_FOLDER / "retrained", local_files_only=True)
    before = {name: tensor.clone() for name, tensor in retrained.unet.state_dict().items()}
    by_folder = dmun_audit.audit("atelier:retrained", policy=quick, store=store, audit_dir=tmp_path / "folder")
    in_memory = dmun_audit.audit(retrained, base, "van-gogh", quick, store=store, audit_dir=tmp_path / "memory")
    assert in_memory.manifest.images["rendered"] == 0  # its weights are those of the folder, and so are its images
    assert lasting(in_memory.folder) == lasting(by_folder.folder)
    assert in_memory.manifest.models["candidate"]["reference"] == "pipeline:StableDiffusionPipeline"
    assert in_memory.manifest.judge["reference"] == "atelier:judge"
    assert all((tensor == before[name]).all() for name, tensor in retrained.unet.state_dict().items())
    with pytest.raises(dmun_audit.UsageError, match="is no model"):
        dmun_audit.audit(3, base, "van-gogh", quick, store=store)
