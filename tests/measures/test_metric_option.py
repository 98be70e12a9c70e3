"""`--metric`, from the command line to the evidence and the manifest."""

import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import small_networks

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.campaign_file import read_campaign_file
from dmun_audit.config.describe import describe
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.measures.frechet import frechet_distance
from dmun_audit.measures.metric_kind import ReferencedMetric

ROOT = Path(__file__).parent.parent.parent
OPTIONS = {"model": "atelier:retrained", "target": "Van Gogh", "policy": "smoke"}


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return small_networks.save_dino(tmp_path_factory.mktemp("networks") / "dino")


def test_each_metric_makes_another_audit_and_reaches_every_worker(dino):
    plain, one = resolve(Options(**OPTIONS)), resolve(Options(**OPTIONS, metric=(f"frechet:{dino}",)))
    two = resolve(Options(**OPTIONS, metric=(f"frechet:{dino}", "labels:owner/name@main")))
    assert len({config.audit_hash for config in (plain, one, two)}) == 3
    assert plain.metrics == ()
    for config in (plain, one, two):
        again = AuditConfig.from_json(config.to_json())
        assert again == config
        assert (again.metrics, again.metric_digests) == (config.metrics, config.metric_digests)
    assert f"  reported besides: frechet:{dino} · labels:owner/name@main" in describe(two)


def test_other_weights_at_the_same_place_make_another_audit(tmp_path):
    folder = small_networks.save_dino(tmp_path / "dino")
    before = resolve(Options(**OPTIONS, metric=(f"frechet:{folder}",))).audit_hash
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert resolve(Options(**OPTIONS, metric=(f"frechet:{folder}",))).audit_hash != before


@pytest.mark.parametrize(
    ("metrics", "error", "words"),
    [
        (("frechett:owner/name",), LoadError, "did you mean frechet:"),
        (("csd:nowhere.pth",), LoadError, "there is no file nowhere.pth"),
        (("labels:owner/name", "labels:owner/name"), UsageError, "is given twice"),
        (("",), UsageError, "--metric is empty"),
    ],
)
def test_a_wrong_reference_is_refused_before_anything_is_loaded(metrics, error, words):
    with pytest.raises(error, match=words):
        resolve(Options(**OPTIONS, metric=metrics))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull fetches that"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "it is a web page"),
        (b"not weights\n", "it is a text file"),
        (b"", "it is empty"),
    ],
)
@pytest.mark.parametrize("reference", ["frechet:{}", "hps:{}", "csd:{}", "aesthetic:{}#open_clip:ViT-B-32/openai"])
def test_a_file_that_holds_no_weights_is_refused_before_anything_is_loaded(tmp_path, reference, content, words):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(LoadError, match="holds no weights") as error:
        resolve(Options(**OPTIONS, metric=(reference.format(file),)))
    assert words in error.value.why
    assert "safetensors" in error.value.remedy


def test_a_network_that_is_not_there_is_refused_with_what_may_be_named():
    with pytest.raises(LoadError, match="there is no folder nosuch") as error:
        resolve(Options(**OPTIONS, metric=("frechet:nosuch",)))
    assert "InceptionV3's weights file" in error.value.remedy


def test_weights_of_another_network_end_the_first_test_with_an_error(tmp_path, store):
    from safetensors.numpy import save_file

    save_file({"other": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--policy=smoke", "--store", str(store)]
    command += [f"--metric=frechet:{tmp_path / 'other.safetensors'}", "--audit-dir", str(tmp_path / "run")]
    done = processes.run(command, cwd=ROOT, timeout=300)
    assert done.returncode == 4
    assert " 1 error" in done.stdout.splitlines()[-1]
    assert "failed" not in done.stdout.splitlines()[-1]  # no claim and no control failed
    assert "does not hold FID's InceptionV3" in done.stdout


def test_a_misspelt_kind_on_the_command_line_is_one_usage_error():
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--collect-only", "-q"]
    done = processes.run([*command, "--metric=vqscore:owner/name"], cwd=ROOT, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == 4
    assert "did you mean vqascore:?" in output
    assert "Traceback" not in output


def test_a_campaign_file_names_metrics_by_paths_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("files/dino", "files/photos", "files/clip"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "files/head.pth").touch()
    (tmp_path / "files/all.toml").write_text(
        'metric = ["frechet:dino#photos", "aesthetic:head.pth#local-dir:clip", "labels:owner/name"]'
    )
    assert read_campaign_file("files/all.toml").options["metric"] == (
        "frechet:files/dino#files/photos", "aesthetic:files/head.pth#local-dir:files/clip", "labels:owner/name",
    )  # fmt: skip
    (tmp_path / "files/all.toml").write_text('metric = "frechet:dino"')
    assert read_campaign_file("files/all.toml").options["metric"] == ("frechet:files/dino",)


@pytest.mark.slow
def test_the_values_stand_in_the_evidence_of_a_nearby_concept(dino, store, tmp_path):
    """One real case of an audit, with a metric opened beside the judges."""
    from dmun_audit.runtime.loading import open_runtime

    texts = (f"frechet:{dino}", "hps:atelier:judge")
    config = resolve(Options(**OPTIONS, metric=texts, store=str(store), audit_dir=str(tmp_path / "run")))
    runtime = open_runtime([config], lambda count: None)
    try:
        runner, facts = runtime.runner(config)
        case = config.plan.of_group("retention")[0]
        record = runner.record(case)
        assert [metric["reference"] for metric in facts["metrics"]] == list(texts)
        assert [metric["files_digest"] for metric in facts["metrics"]] == list(config.metric_digests)
        opened = [metric for metric in runtime.metrics if isinstance(metric, ReferencedMetric)]
        assert [metric["digest"] for metric in facts["metrics"]] == [metric.digest for metric in opened]
        pairs = record.measures["fd_dinov2.images"]
        assert pairs == record.measures["hps.images"] >= 2
        images = {
            side: runtime.engine.read([image.key for image in record.images if image.model == side])
            for side in ("base", "candidate")
        }
        by_hand = frechet_distance(*(opened[0].features(side) for side in images.values()))
        assert record.measures["fd_dinov2"] == pytest.approx(by_hand)
        assert record.measures["hps.base"] == pytest.approx(record.measures["clip_score_base"])  # the judge's own weights
        assert np.isfinite(list(record.measures.values())).all()
    finally:
        runtime.close()
