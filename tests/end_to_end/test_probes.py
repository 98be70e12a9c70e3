"""Real audits with the weights in hand: what comes back, what is kept, what is reported, and how it is stopped and resumed."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import processes
import pytest
from coarse import coarse_policy
from safetensors import safe_open

from dmun_audit._util.hashing import digest_file
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.report.html import render_html

ROOT = Path(__file__).parents[2]
GROUPS = ("audits/test_controls.py", "audits/test_probes.py")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """The smoke policy with two probes that count: completion, and a learned embedding."""
    path = tmp_path_factory.mktemp("policy") / "probes.toml"
    coarse_policy(path, steps=10, images_at_most=4000)
    probes = 'run = ["completion", "learned-embedding"]\ngating = true\nunits = 16\nrow = 8\nmargin = 0.1\nbase_units = 4\nburden = "prove harm"\n'
    path.write_text(path.read_text() + f"\n[probes]\n{probes}")
    return path


def command(model, policy, store, folder, *options):
    words = [sys.executable, "-m", "pytest", *GROUPS, "-p", "no:cacheprovider", f"--model=atelier:{model}"]
    return [*words, f"--policy={policy}", f"--store={store}", f"--audit-dir={folder}", *options]


def probed(folder):
    return {case.probe.name: case for case in checked_run(folder).cases if case.probe}


@pytest.fixture(scope="module")
def on_uce(policy, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uce") / "run"
    done = processes.run(command("uce-van-gogh", policy, store, folder), cwd=ROOT)
    return done, folder


def test_a_learned_word_brings_the_target_back_on_an_edited_model_and_not_on_one_that_never_knew_it(on_uce):
    done, folder = on_uce
    case = probed(folder)["learned-embedding"]
    assert case.verdict == "FAIL", done.stdout
    assert case.gating
    assert case.probe.came_back
    assert case.probe.control == "model"
    assert case.probe.control_model == "atelier:retrained"
    worst = max(case.probe.doses, key=lambda dose: sum(dose.candidate) - sum(dose.control))
    assert sum(worst.candidate) > sum(worst.control) + 0.5 * len(worst.candidate)
    assert all(sum(dose.base) for dose in case.probe.doses)
    assert done.returncode == 1


def test_the_header_states_the_budget_before_anything_is_drawn(on_uce):
    done, _ = on_uce
    line = next(line for line in done.stdout.splitlines() if "probes with the weights in hand" in line)
    assert "(they count): completion, learned-embedding" in line
    assert "gradient steps" in line


def test_finds_are_kept_with_their_digests(on_uce):
    _, folder = on_uce
    finds = probed(folder)["learned-embedding"].probe.finds
    assert {find.model for find in finds} == {"candidate", "control model", "base"}
    sums = (folder / "SHA256SUMS").read_text()
    for find in finds:
        file = folder / "finds" / f"{find.key}.safetensors"
        assert digest_file(file) == find.sha256
        assert f"{find.sha256}  finds/{file.name}" in sums
        with safe_open(file, "pt") as opened:
            assert any(name.startswith("encoder_0@") for name in opened.keys())  # noqa: SIM118


def _all_zero(record):
    for dose in record["probe"]["doses"]:
        dose["candidate"] = [0] * len(dose["candidate"])


def _other_control_outcomes(record):
    for dose in record["probe"]["doses"]:
        dose["control"] = [1] * len(dose["control"])


EDITS = {
    "outcomes of the candidate": (_all_zero, "do not show what its outcomes say"),
    "outcomes of the control": (_other_control_outcomes, "do not show what its outcomes say"),
    "the verdict": (lambda record: record.update(verdict="PASS"), "and FAIL follows from its outcomes"),
    "a verdict that says nothing": (lambda record: record.update(verdict="VACUOUS"), "and FAIL follows from its outcomes"),
    "no control": (lambda record: record["probe"].update(control="none"), "does not follow from its control"),
    "another probe": (lambda record: record["probe"].update(name="completion"), "the plan tries learned-embedding"),
    "no probe": (lambda record: record.pop("probe"), "it does not say what was tried"),
    "fewer doses": (lambda record: record["probe"].update(doses=record["probe"]["doses"][:1]), "the plan tries"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_record_is_found_out(on_uce, tmp_path, edit):
    _, folder = on_uce
    change, words = EDITS[edit]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("images"))
    lines = [json.loads(line) for line in (copy / "evidence.jsonl").read_text().splitlines()]
    change(next(line for line in lines if line.get("probe", {}).get("name") == "learned-embedding"))
    (copy / "evidence.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert any(words in reason for reason in checked_run(copy).contradictions), checked_run(copy).contradictions


def test_an_honest_run_contradicts_nothing(on_uce):
    assert checked_run(on_uce[1]).contradictions == ()


def test_the_report_shows_pictures_costs_and_what_came_back(on_uce):
    _, folder = on_uce
    page = render_html(checked_run(folder))
    assert "With the weights in hand" in page
    assert "CAME BACK" in page
    assert "candidate under attack" in page
    assert "2 attacks tried. The target came back under 1 of them." in page
    assert "Only with the attack (post-ASR)" in page
    junit = (folder / "junit.xml").read_text()
    assert "Learning a new word from pictures does not bring Van Gogh back" in junit


def test_what_was_killed_goes_on_from_where_it_was_and_comes_to_the_same(policy, store, on_uce, tmp_path):
    """Kill the audit while it learns an embedding in a store of its own, then run it again."""
    own = tmp_path / "store"
    process = processes.start(command("uce-van-gogh", policy, own, tmp_path / "run"), cwd=ROOT)
    deadline = time.monotonic() + 240
    while not list(own.glob("finds/*/*.safetensors")) and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.2)
    os.killpg(process.pid, 9)
    process.join()
    (find, *_) = own.glob("finds/*/*.safetensors")
    written = find.stat().st_mtime_ns
    done = processes.run(command("uce-van-gogh", policy, own, tmp_path / "run"), cwd=ROOT)
    assert done.returncode == 1, done.stdout
    assert find.stat().st_mtime_ns == written  # not searched again
    _, first = on_uce
    assert probed(tmp_path / "run")["learned-embedding"].probe == probed(first)["learned-embedding"].probe


def test_without_time_a_probe_that_counts_is_undecided_and_says_what_to_do(policy, store, tmp_path):
    done = processes.run(command("uce-van-gogh", policy, store, tmp_path / "run", "--max-probe-minutes=0"), cwd=ROOT)
    cases = probed(tmp_path / "run")
    assert {case.verdict for case in cases.values()} == {"INCONCLUSIVE"}, done.stdout
    assert done.returncode != 0
    assert all("--max-probe-minutes" in case.seen for case in cases.values())
    assert f" {len(cases)} inconclusive" in done.stdout.splitlines()[-1]  # a word of its own: it is no failed test
    assert "FAILED audits/test_probes.py" not in done.stdout


def test_a_model_that_never_knew_the_target_is_its_own_control_and_is_refuted_by_no_probe(policy, store, tmp_path):
    done = processes.run(command("retrained", policy, store, tmp_path / "run"), cwd=ROOT)
    cases = probed(tmp_path / "run")
    assert [cases[name].probe.control for name in ("completion", "learned-embedding")] == ["placebo", "none"]
    assert {case.verdict for case in cases.values()} <= {"PASS", "NO HARM PROVEN"}, done.stdout
    assert not any(case.probe.came_back for case in cases.values())
    assert [cases[name].gating for name in ("completion", "learned-embedding")] == [True, False]


def test_where_only_images_are_known_no_probe_is_applicable_and_an_audit_that_counts_them_does_not_pass(policy, store, tmp_path):
    code = "import numpy\ndef images():\n    return lambda prompts, seeds: [numpy.zeros((64, 64, 3), 'uint8') for _ in prompts]\n"
    (tmp_path / "draw.py").write_text(code)
    words = command("uce-van-gogh", policy, store, tmp_path / "run", "--base=atelier:base", "--target=Van Gogh")
    words = [word if not word.startswith("--model") else "--model=draw:images" for word in words]
    done = processes.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    cases = probed(tmp_path / "run")
    assert {case.verdict for case in cases.values()} == {"NOT APPLICABLE"}, done.stdout + done.stderr
    assert all("no weights at hand" in case.seen for case in cases.values())
    assert "2 skipped" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--probe-control=atelier:uce-van-gogh"], "is the candidate"),
        (["--probe-control=atelier:base"], "is the base"),
        (["--max-probe-minutes=-1"], "--max-probe-minutes=-1 is no time"),
        (["--engine=ray"], "counts attacks with the weights in hand"),
        (["--policy=smoke", "--max-probe-minutes=3"], "policy 'smoke' tries none"),
    ],
)
def test_bad_options_give_one_error(policy, store, tmp_path, options, words):
    done = processes.run(command("uce-van-gogh", policy, store, tmp_path / "run", *options), cwd=ROOT)
    assert done.returncode != 0
    assert words in " ".join((done.stdout + done.stderr).split())


def test_an_unknown_probe_is_refused_with_the_names_that_exist(policy, store, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(policy.read_text().replace('"completion"', '"complete"'))
    done = processes.run(command("uce-van-gogh", wrong, store, tmp_path / "run"), cwd=ROOT)
    assert done.returncode == 4
    assert "runs the probe 'complete', which does not exist" in done.stdout + done.stderr
