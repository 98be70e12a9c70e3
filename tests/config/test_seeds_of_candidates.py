"""The seeds of an audit follow from the candidate's weights as loaded, and not from its files."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.config.describe import describe
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import requests_of, resolve
from dmun_audit.models.loaded_digest import WeightsToLoad
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import WEIGHTS_FOLDER, parse_reference
from dmun_audit.plan.seeds import UNKNOWN, drawn_seed
from dmun_audit.runtime.loading import open_runtime

EDITED = WEIGHTS_FOLDER / "uce-van-gogh.safetensors"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def planned(store):
    def plan(model=EDITED, policy="release", **options):
        given = {"base": "atelier:base", "target": "Van Gogh", "store": str(store), "audit_dir": "run"}
        return resolve(Options(model=str(model), policy=policy, **given | options))

    return plan


def _prompts(config, group):
    return [request.prompt for case in config.plan.of_group(group) for request in case.images]


def test_a_text_in_the_metadata_or_another_order_changes_no_seed(planned, tmp_path):
    tensors = load_file(EDITED)
    save_file(dict(reversed(tensors.items())), tmp_path / "other.safetensors", {"nonce": "try 17"})
    one, other = planned(), planned(tmp_path / "other.safetensors")
    assert one.source_digests["candidate"] != other.source_digests["candidate"]
    assert one.tensors_digest == other.tensors_digest
    assert (one.audit_seed, one.fingerprint) == (other.audit_seed, other.fingerprint)
    assert one.audit_seed == drawn_seed(one.fingerprint)
    assert _prompts(one, "fresh") == _prompts(other, "fresh")


def test_a_key_without_effect_in_a_configuration_changes_no_seed(planned, tmp_path):
    """The whole digest differs, because a configuration may decide an image; seeds follow from the tensors alone."""
    whole = tmp_path / "whole"
    loaded = load_candidate(parse_reference(str(EDITED)), parse_reference("atelier:base"))
    loaded.pipeline.save_pretrained(whole)
    other = shutil.copytree(whole, tmp_path / "other")
    for component in ("text_encoder", "unet", "vae"):
        path = other / component / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"nonce": 17}))
    assert planned(whole).audit_seed == planned(other).audit_seed == planned().audit_seed
    one, two = (load_candidate(parse_reference(str(path)), parse_reference("atelier:base")) for path in (whole, other))
    assert one.weights_digest != two.weights_digest
    assert one.tensors_digest == two.tensors_digest


def test_one_changed_number_changes_every_seed(planned, tmp_path):
    tensors = load_file(EDITED)
    first = next(iter(tensors.values()))
    first.view(-1)[0] = torch.nextafter(first.view(-1)[0], torch.tensor(torch.inf))
    save_file(tensors, tmp_path / "other.safetensors")
    one, other = planned(), planned(tmp_path / "other.safetensors")
    assert one.audit_seed != other.audit_seed
    assert _prompts(one, "fresh") != _prompts(other, "fresh")
    assert _prompts(one, "triggers") != _prompts(other, "triggers")


def test_the_digest_is_that_of_the_model_that_the_audit_loads(planned):
    loaded = load_candidate(parse_reference(str(EDITED)), parse_reference("atelier:base"))
    assert planned().tensors_digest == loaded.tensors_digest


def test_standard_keeps_its_seed_and_draws_its_fresh_prompts(planned):
    one, other = planned(policy="standard"), planned(policy="standard", nonce="beacon 4711")
    assert (one.audit_seed, one.seeds, other.audit_seed) == (0, "policy", 0)
    assert _prompts(one, "retention") == _prompts(other, "retention")
    assert _prompts(one, "fresh") != _prompts(other, "fresh")
    assert _prompts(one, "triggers") != _prompts(other, "triggers")
    assert one.audit_hash != other.audit_hash  # they have folders of their own


def test_the_nonce_draws_other_seeds_and_a_chosen_seed_is_called_so(planned):
    assert planned().audit_seed != planned(nonce="beacon 4711").audit_seed
    chosen = planned(audit_seed=7)
    assert (chosen.audit_seed, chosen.seeds) == (7, "option")
    header = "\n".join(describe(chosen))
    assert "audit seed 7 (chosen)" in header
    assert "No release evidence" in header
    assert "the seed was chosen with --audit-seed" in header
    assert "Release evidence: this audit is at least as strict" in "\n".join(describe(planned()))


def test_listing_tests_loads_nothing_and_says_so_until_the_digest_is_known(tmp_path):
    options = Options(policy="release", store=str(tmp_path), audit_dir="run")
    listed = resolve(options, only_listed=True)
    assert (listed.seeds, listed.tensors_digest, listed.fingerprint) == (UNKNOWN, "", "")
    assert "drawn from the candidate's weights when the audit runs" in describe(listed)[1]
    planned = resolve(options)
    assert [case.id for case in listed.plan.cases] == [case.id for case in planned.plan.cases]
    assert resolve(options, only_listed=True) == planned


@pytest.mark.slow
def test_listing_tests_imports_no_torch_whether_or_not_the_digest_is_known(tmp_path):
    code = (
        "import sys; from dmun_audit.config.options import Options; from dmun_audit.config.resolve import resolve;"
        f"resolve(Options(store={str(tmp_path)!r}), only_listed=True); print('torch' in sys.modules)"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
        resolve(Options(store=str(tmp_path)))


def test_a_forged_digest_in_the_store_ends_the_audit_and_is_forgotten(tmp_path):
    options = Options(policy="smoke", store=str(tmp_path), audit_dir=str(tmp_path / "run"))
    honest = resolve(options)
    (entry,) = (tmp_path / "fingerprints").iterdir()
    entry.write_text(json.dumps({"tensors_digest": "f" * 64}))
    forged = resolve(options)
    assert forged.fingerprint != honest.fingerprint
    with pytest.raises(LoadError, match="other weights than those that this audit was planned for"):
        open_runtime([forged], lambda count: None)
    assert resolve(options) == honest


@pytest.mark.parametrize("content", ["", "[]", '{"tensors_digest": 5}', '{"tensors_digest": "../x"}', "[" * 100_000])
def test_a_damaged_entry_in_the_store_counts_as_none(tmp_path, content):
    edited, base = parse_reference(str(EDITED)), parse_reference("atelier:base")
    to_load = WeightsToLoad(edited, base, {"base": "b", "candidate": "c"}, "float32", False, tmp_path)
    assert to_load.known() == ""
    to_load.entry.parent.mkdir()
    to_load.entry.write_text(json.dumps({"tensors_digest": "a" * 64}))
    assert to_load.known() == "a" * 64
    to_load.entry.write_text(content)
    assert to_load.known() == ""


@pytest.mark.parametrize(
    "change", [{"sources": {"base": "b", "candidate": "d"}}, {"dtype": "float16"}, {"trust_remote_code": True}]
)
def test_whatever_changes_the_weights_as_loaded_has_an_entry_of_its_own(tmp_path, change):
    edited, base = parse_reference(str(EDITED)), parse_reference("atelier:base")
    to_load = WeightsToLoad(edited, base, {"base": "b", "candidate": "c"}, "float32", False, tmp_path)
    assert replace(to_load, **change).entry != to_load.entry


def test_a_candidate_that_cannot_be_loaded_is_refused_before_anything_is_written(planned, tmp_path):
    tensors = load_file(EDITED)
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    with pytest.raises(LoadError, match="NaN"):
        planned(tmp_path / "nan.safetensors", audit_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_function_keeps_the_digest_of_its_source_and_release_wants_a_seed(planned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model_of_seeds.py").write_text("def load():\n    raise AssertionError('called while planning')\n")
    one = planned("my_model_of_seeds:load", policy="standard")
    assert one.tensors_digest == ""
    assert one.fingerprint
    (tmp_path / "my_model_of_seeds.py").write_text("def load():\n    raise AssertionError('called in planning')\n")
    assert planned("my_model_of_seeds:load", policy="standard").fingerprint != one.fingerprint
    with pytest.raises(UsageError, match="draws its seeds after"):
        planned("my_model_of_seeds:load")


def test_the_images_that_must_be_made_follow_from_the_nonce():
    def fresh(nonce):
        options = Options(target="Van Gogh", base="atelier:base", policy="standard", nonce=nonce)
        return {request.prompt for request in requests_of(options)}

    assert fresh("one") == fresh("one") != fresh("other")
    assert fresh(None) != fresh("one")
