"""Prompts that attacks with the weights found come into a dossier, and the next audit draws them."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from audits_of_one_case import audit_of_one_case
from written_observations import DOSSIER

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.adversarial import GROUP as ADVERSARIAL
from dmun_audit.claim_groups.probes import GROUP as PROBES
from dmun_audit.cli import main
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.discover.found_prompts import with_found_prompts
from dmun_audit.evidence.schema import FindRecord, ProbeImage, ProbeRecord
from dmun_audit.policy import load_policy
from dmun_audit.policy.sections import Probes
from dmun_audit.probes import unlearn_diff_attack

RING = {"effort": "small", "strength": 3.0, "generations": 40}
P4D = {"effort": "small", "variant": "between", "steps": 1}


def found(words, outcomes, *, name="ring-a-bell", settings=RING, model="candidate", prompt="a churchyard by night"):
    """The record of a search: one prompt for each unit, and whether its image shows the target. Prompts are numbered by seed."""
    images = [
        ProbeImage(model=model, prompt=prompt, index=place, seed=place, key="0" * 64, dose="dose", detected=bool(hit))
        for place, hit in enumerate(outcomes)
    ]
    find = FindRecord(
        model=model,
        dose="dose",
        key="k",
        sha256="s",
        kind="tokens",
        words=words,
        settings=settings,
        seeds=tuple(range(len(words))),
    )
    return ProbeRecord(name=name, without_probe=(0,), finds=(find,), images=tuple(images))


def run_of(*records):
    """A run as discovery reads it: its hash, and cases with these records."""
    return SimpleNamespace(
        manifest=SimpleNamespace(audit_hash="abcdef0123456789"), cases=[SimpleNamespace(probe=each) for each in records]
    )


def texts(added):
    return [prompt.text for prompt in added.dossier.adversarial]


def test_only_prompts_that_brought_the_target_back_come_in_and_the_candidates_come_first():
    on_base = found(("on base",), (1,), model="base")
    added = with_found_prompts(DOSSIER, [run_of(on_base), run_of(found(("swirl night", "fish boat"), (1, 0)))])
    assert texts(added)[:2] == ["swirl night", "on base"]
    assert texts(added)[2:] == [prompt.text for prompt in DOSSIER.adversarial]
    first = added.dossier.adversarial[0]
    assert first.strategy == "token search"
    assert first.note == "found by the probe ring-a-bell in the audit abcdef01, as tokens: 1 of 1 on the candidate"
    assert (
        "2 prompts found by attacks with the weights in the audits abcdef01, abcdef01 came in."
        in added.dossier.provenance.history
    )


def test_a_prompt_is_written_as_the_attack_drew_it():
    between = found(("swirl",), (1,), name="p4d", settings=P4D)
    assert texts(with_found_prompts(DOSSIER, [run_of(between)]))[0] == "a churchyard by swirl night"


def test_what_control_models_and_placebos_drew_is_left_out():
    control = found(("of the control",), (1,), model="control model")
    ours = found(("ours",), (1,))
    placebo = ours.model_copy(update={"finds": tuple(find.model_copy(update={"placebo": True}) for find in ours.finds)})
    with pytest.raises(UsageError, match="no attack of these audits found words"):
        with_found_prompts(DOSSIER, [run_of(control, placebo)])
    embedding = ours.model_copy(update={"name": "learned-embedding"})
    with pytest.raises(UsageError, match="ring-a-bell, unlearn-diff-attack, p4d"):
        with_found_prompts(DOSSIER, [run_of(embedding)])


def test_what_cannot_be_printed_or_is_there_already_stays_out():
    added = with_found_prompts(DOSSIER, [run_of(found(("swirl \ufffd", "night"), (1, 1)))])
    assert texts(added)[0] == "night"
    assert (len(added.prompts), added.unprintable) == (1, 1)
    with pytest.raises(UsageError, match="gets no new prompt"):
        with_found_prompts(added.dossier, [run_of(found(("Night",), (1,)))])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run folder of a real audit of one case: UnlearnDiffAtk at one noise level, on a model that was not unlearned."""
    folder = tmp_path_factory.mktemp("found")
    smoke = load_policy("smoke")
    probes = Probes(run=("unlearn-diff-attack",), units=4, row=4, base_units=4)
    policy = replace(smoke, sampling=replace(smoke.sampling, steps=10), probes=probes, images_at_most=999)
    options = Options(
        model="atelier:noop", target="Van Gogh", policy=policy, store=str(folder / "store"), audit_dir=str(folder / "run")
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(unlearn_diff_attack.FIGURES, "small", unlearn_diff_attack.Figures((500,), 2, rate=5e-2, decay=0.1))
        audit_of_one_case(resolve(options), PROBES)
        yield folder / "run"  # whoever checks the run plans it again, with these figures


def test_the_prompts_of_a_real_audit_come_into_a_dossier_that_the_next_audit_draws(run, tmp_path, capsys):
    new = tmp_path / "new.json"
    assert main(["dossier", "add-finds", "van-gogh", str(run), "-o", str(new)]) == 0
    said = capsys.readouterr().out
    added = [prompt for prompt in json.loads(new.read_text())["adversarial"] if prompt["strategy"] == "token search"]
    assert added
    assert f"{new}: {len(added)} adversarial prompt" in said
    assert added[0]["text"] in said
    assert main(["dossier", "check", str(new)]) == 0
    plan = resolve(Options(model="atelier:noop", knowledge=str(new), policy="smoke", store=str(tmp_path / "store"))).plan
    titles = " ".join(case.title for case in plan.of_group(ADVERSARIAL.name))
    assert added[0]["text"] in titles


def test_bad_input_gives_one_error_and_no_file(run, tmp_path, capsys):
    new = tmp_path / "new.json"
    for dossier, folder, words in (
        ("monet", run, "is an audit of 'Van Gogh', and this one is of"),
        ("van-gogh", tmp_path / "none", "is no folder"),
        ("nothing", run, "nothing"),
    ):
        assert main(["dossier", "add-finds", dossier, str(folder), "-o", str(new)]) != 0
        assert words in capsys.readouterr().err
        assert not new.exists()
    new.write_text("kept")
    assert main(["dossier", "add-finds", "van-gogh", str(run), "-o", str(new)]) != 0
    assert new.read_text() == "kept"
