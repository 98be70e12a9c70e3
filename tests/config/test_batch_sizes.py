"""The number of images in a batch is known before an audit is planned: the policy's, or what the device takes."""

import dataclasses
import json

import pytest
import torch
from coarse import FEW_IMAGES, coarse_policy
from PIL import Image
from small_card import small_card  # noqa: F401

import dmun_audit
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import requests_of, resolve
from dmun_audit.policy import load_policy
from dmun_audit.runtime import reproduction


@pytest.fixture
def resolved(tmp_path):
    """Resolves an audit of few images. `batch` is the policy's text for the key."""

    def find(batch="4", model="atelier:uce-van-gogh", only_listed=False, **options):
        path = coarse_policy(tmp_path / "quick.toml", **FEW_IMAGES | {"batch": batch})
        given = {"target": "Van Gogh", "store": str(tmp_path / "store"), "audit_dir": str(tmp_path / "run")}
        return resolve(Options(model=model, policy=str(path), **given | options), only_listed=only_listed)

    return find


def test_on_a_cpu_a_number_stays_and_auto_is_sixteen(resolved):
    assert resolved("4").policy.sampling.batch == 4
    auto = resolved('"auto"')
    assert (auto.policy.sampling.batch, auto.batch_origin) == (16, "not measured")
    assert auto.plan.digest() == resolved("16").plan.digest()
    assert auto.audit_hash == resolved("16").audit_hash


def test_the_requests_of_an_auto_policy_are_those_of_its_audit(resolved, tmp_path):
    config = resolved('"auto"', nonce="drawn later")
    asked = Options(target="Van Gogh", policy=str(tmp_path / "quick.toml"), nonce="drawn later")
    sixteen = Options(target="Van Gogh", policy=dataclasses.replace(config.policy), nonce="drawn later")
    assert requests_of(asked) == requests_of(sixteen)


def test_a_number_that_does_not_fit_is_halved_for_plan_key_and_workers(resolved, small_card):  # noqa: F811
    config = resolved("4")
    assert config.policy.sampling.batch == config.plan.policy.sampling.batch == 2
    assert config.batch_warning.startswith("A batch of 4 images does not fit into the memory of cpu ")
    assert type(config).from_json(config.to_json()) == config
    small_card.most = 100
    assert resolved("4", audit_seed=1).audit_hash != config.audit_hash


@pytest.mark.slow
def test_what_fits_is_tried_once_and_known_to_a_list_of_tests(resolved, small_card):  # noqa: F811
    assert resolved("4", only_listed=True).policy.sampling.batch == 4
    assert small_card.rows == []
    resolved("4")
    tried = len(small_card.rows)
    assert tried > 0
    assert resolved("4").policy.sampling.batch == resolved("4", only_listed=True).policy.sampling.batch == 2
    assert len(small_card.rows) == tried
    assert resolved("2").policy.sampling.batch == 2
    assert len(small_card.rows) > tried


@pytest.mark.slow
def test_auto_is_measured_once_for_a_base_and_tried_with_each_candidate(resolved, small_card, tmp_path):  # noqa: F811
    small_card.most = 2
    config = resolved('"auto"')
    assert config.policy.sampling.batch == 1
    assert config.batch_origin.startswith("measured on cpu ")
    assert not config.batch_warning
    small_card.rows.clear()
    resolved('"auto"', model="atelier:damaged")
    assert max(small_card.rows) == 2  # nothing larger was measured again
    kept = [json.loads(path.read_text()) for path in (tmp_path / "store" / "batch-sizes").glob("*.json")]
    assert [each["base"] for each in kept] == ["atelier:base"] * 3
    assert [len(each["measured"]) for each in kept if "measured" in each] == [1]


@pytest.mark.slow
def test_a_device_that_takes_no_image_or_no_model_ends_in_one_error(resolved, small_card, monkeypatch):  # noqa: F811
    small_card.most = 0
    with pytest.raises(UsageError, match="not even one image fits into the memory of cpu"):
        resolved("4")

    def full(*arguments, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("dmun_audit.models.loading.load_pipeline", full)
    with pytest.raises(LoadError, match="the two models do not fit into the memory of cpu"):
        resolved("4")


def test_another_error_of_a_pipeline_is_left_to_the_audit(resolved, small_card, tmp_path, caplog):  # noqa: F811
    small_card.error = ValueError("an error of the pipeline")
    assert resolved("4").policy.sampling.batch == 4
    assert "no batch could be tried on cpu" in caplog.text
    assert "ValueError: an error of the pipeline" in caplog.text
    assert not (tmp_path / "store" / "batch-sizes").exists()


def test_images_made_elsewhere_are_not_measured(resolved, small_card, tmp_path):  # noqa: F811
    small_card.most = 100
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "one.png")
    (tmp_path / "images" / "metadata.jsonl").write_text(json.dumps({"file_name": "one.png", "prompt": "a house", "seed": 1}))
    with pytest.raises(UsageError, match=r"lacks \d+ images that the audit needs"):
        resolved('"auto"', model=f"images:{tmp_path / 'images'}", base="atelier:base")
    (kept,) = [json.loads(path.read_text()) for path in (tmp_path / "store" / "batch-sizes").glob("*.json")]
    assert (kept["batch"], kept["wanted"]) == (16, 16)


@pytest.mark.slow
@pytest.mark.end_to_end
def test_an_audit_begins_at_the_halved_number_and_is_repeated_with_it(tmp_path, small_card):  # noqa: F811
    policy = coarse_policy(tmp_path / "quick.toml", **FEW_IMAGES)
    result = dmun_audit.audit(
        "atelier:uce-van-gogh", policy=policy, target="Van Gogh", store=tmp_path / "store", audit_dir=tmp_path / "run"
    )
    assert [rows for rows in small_card.rows if rows > 4] == [8]  # the trial, and no batch of the audit
    assert result.manifest.sampler["batch"] == 2
    assert result.manifest.sampler["batch_origin"].startswith("halved from 4 on cpu ")
    (warning,) = [each for each in result.manifest.warnings if "does not fit" in each]
    assert "so 2 are drawn at a time" in warning
    assert "A batch of 4 images does not fit" in result.report.read_text()
    assert load_policy(str(tmp_path / "run" / "policy.toml")).sampling.batch == 2
    small_card.most = 100
    repeated = reproduction.reproduce(tmp_path / "run", store=tmp_path / "store")
    assert repeated.after.manifest.sampler["batch"] == 2
    assert repeated.is_reproduced
