"""A folder that holds another audit: the error says in what it differs."""

from dataclasses import replace

import pytest

from dmun_audit import __version__
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.evidence.manifest import AttemptRecord
from dmun_audit.runtime.manifest import difference, opened_manifest


@pytest.fixture(scope="module")
def config():
    return resolve(Options(target="Van Gogh", model="atelier:uce-van-gogh", policy="smoke"), only_listed=True)


def manifest(config, **models):
    opened = opened_manifest(config, None, [AttemptRecord(started="")])
    options = {"model": config.candidate, "base": config.base, "judge": config.judge}
    return opened.model_copy(update={"models": models, "command": {"options": options}})


def facts(config, side):
    return {"reference": getattr(config, side), "source_digest": config.source_digests[side]}


def test_other_candidates_and_other_files_of_the_same_candidate_are_told(config):
    there = manifest(config, base=facts(config, "base"), candidate={"reference": "atelier:base", "source_digest": "f" * 64})
    said = difference(there, config)
    assert said.startswith("candidate atelier:base there, atelier:uce-van-gogh here; files of the candidate ffffffff there, ")
    assert "base " not in said.partition(";")[0].removeprefix("candidate atelier:base")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audit_seed": 5}, "seed 0 there, 5 here"),
        ({"judge": "local-dir:x"}, "judge atelier:judge there, local-dir:x here"),
        ({"detector": "nudenet#A"}, "detector none there, nudenet#A here"),
    ],
)
def test_what_was_chosen_otherwise_is_told(config, changes, words):
    assert difference(manifest(config), replace(config, **changes)) == words


def test_another_policy_and_target_are_told_before_any_model_was_loaded(config):
    other = resolve(Options(target="sunflowers", model="atelier:uce-van-gogh", policy="standard"), only_listed=True)
    said = difference(opened_manifest(config, None, []), other)
    assert "target Van Gogh there, sunflowers here" in said
    assert "policy smoke there, standard here" in said


def test_another_baseline_is_told(config):
    facts = {"reference": "atelier:ca-van-gogh", "audit_hash": "f" * 64}
    there = manifest(config).model_copy(update={"baseline": facts, "versions": {"dmun_audit": __version__}})
    assert difference(there, config) == "baseline atelier:ca-van-gogh (run ffffffff) there, none here"
    of_another_version = there.model_copy(
        update={"versions": {"dmun_audit": "0.2.0"}}
    )  # earlier versions say nothing of a baseline
    assert "baseline" not in difference(of_another_version, config)


def test_other_metrics_are_told(config):
    given = replace(config, metrics=("csd:a.pt",), metric_digests=("f" * 64,))
    assert difference(manifest(config), given) == "metrics none there, csd:a.pt here"


def test_where_nothing_named_differs_it_says_what_may(config):
    assert "--regress" in difference(manifest(config), config)
    assert "--regress" in difference(opened_manifest(config, None, []), config)


def test_another_model_is_told_before_any_was_loaded(config):
    assert difference(opened_manifest(config, None, []), replace(config, candidate="atelier:noop")) == (
        "candidate atelier:uce-van-gogh there, atelier:noop here"
    )
