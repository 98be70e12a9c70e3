"""A verdict is bound to its evidence: whatever changed in a run folder is named, and the verdict does not hold."""

import json
import shutil
import subprocess
import tomllib
from functools import partial

import pytest
from bound_runs import edit_evidence, edit_manifest, line_of, manifest_of, reported
from small_disk import small_disk

import dmun_audit
from dmun_audit.cli import main
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.checksums import write_attestation, write_checksums
from dmun_audit.knowledge.reading import read_dossier
from dmun_audit.policy import load_policy
from dmun_audit.report.attestation import statement

# The files of a run.


def test_a_run_holds_what_it_takes_to_check_and_repeat_it(audited):
    manifest = manifest_of(audited)
    assert read_dossier(audited / "dossier.json").digest() == manifest["dossier"]["digest"]
    assert load_policy(str(audited / "policy.toml")).as_dict() == manifest["policy"]["text"]
    packages = (audited / "packages.txt").read_text().splitlines()
    assert f"torch=={manifest['versions']['torch']}" in packages
    assert manifest["command"]["options"]["model"] == "atelier:damaged"
    assert {"line", "folder", "user", "host"} <= manifest["command"].keys()


def test_sha256sum_confirms_every_file_of_a_run(audited):
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=audited, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    listed = {line.split(": ")[0] for line in done.stdout.splitlines()}
    files = {path.relative_to(audited).as_posix() for path in audited.rglob("*") if path.is_file()}
    assert files - listed == {"SHA256SUMS", "attestation.json", "run.lock"}


def test_the_ci_job_comes_from_the_environment(monkeypatch):
    from dmun_audit.runtime.environment import ci_job

    assert ci_job({"HOME": "/"}) == {}
    github = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "77", "GITHUB_REPOSITORY": "lab/model", "GITHUB_TOKEN": "secret"}
    assert ci_job(github) == {"GITHUB_RUN_ID": "77", "GITHUB_REPOSITORY": "lab/model"}


# Contradictions.


def test_report_derives_the_same_verdict_and_exits_with_its_code(run, capsys):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    code, said = reported(run, capsys)
    manifest = manifest_of(run)
    assert code == manifest["exit_code"]
    assert f"VERDICT {manifest['verdict']}" in said
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_manifest_edited_to_pass_is_incomplete_and_says_what_follows(run, capsys):
    verdict = manifest_of(run)["verdict"]
    assert verdict != "PASS"
    edit_manifest(run, lambda manifest: manifest.update(verdict="PASS", exit_code=0))
    code, said = reported(run, capsys)
    assert code == 10
    assert "VERDICT INCOMPLETE" in said
    assert "manifest.json changed after the verdict was decided" in said
    assert f"manifest.json says PASS, and {verdict} follows from the evidence" in said
    write_checksums(run)  # the forger brings the list up to date: the verdict still does not follow
    code, said = reported(run, capsys)
    assert (code, "VERDICT INCOMPLETE" in said) == (10, True)


def test_a_pooled_record_that_contradicts_the_single_ones_is_named(run, capsys):
    def pass_it(lines):
        line = next(line for line in lines if line["pooled"] and line["verdict"] != "PASS")
        line["verdict"] = "PASS"
        line["claim"]["hits"] = 0

    edit_evidence(run, pass_it, cover=True)
    code, said = reported(run, capsys)
    assert code == 10
    assert "the evidence says PASS, and" in said
    assert "follows from the single cases" in said


@pytest.mark.parametrize("version", [dmun_audit.__version__, "0.1.9"])
def test_other_words_contradict_a_run_of_this_version_and_are_remarked_on_in_one_of_another(run, version):
    def reword(lines):
        line_of(lines, "erasure", pooled=True)["seen"] = "In other words."

    edit_manifest(run, lambda manifest: manifest["versions"].update(dmun_audit=version))
    edit_evidence(run, reword, cover=True)
    edit_manifest(run, lambda manifest: manifest.update(reasons=["In other words."]))
    write_checksums(run)
    found = checked_run(run)
    write_attestation(run, partial(statement, found.manifest, found.cases))
    found = checked_run(run)
    ours = version == dmun_audit.__version__
    assert any("seen is not what follows" in sentence for sentence in found.contradictions) is ours
    assert any("its sentences are not compared" in sentence for sentence in found.remarks) is not ours
    if not ours:
        assert found.contradictions == ()
        edit_evidence(run, lambda lines: line_of(lines, "erasure", pooled=True)["claim"].update(hits=0), cover=True)
        assert any("is not what follows" in sentence for sentence in checked_run(run).contradictions)


def _more_hits(lines):
    line_of(lines, "erasure")["claim"]["hits"] += 1


def _other_outcomes(lines):
    claim = line_of(lines, "erasure")["claim"]
    claim["outcomes"] = [1 - outcome for outcome in claim["outcomes"]]
    claim["hits"] = sum(claim["outcomes"])


def _other_verdict(lines):
    line = next(line for line in lines if line["group"] == "controls" and line["claim"]["kind"] == "rate_at_most")
    line["verdict"] = "FAIL"


def _no_control(lines):
    line = next(line for line in lines if line["group"] == "controls" and line["claim"]["kind"] == "rate_at_least")
    line["gating"] = False


def _better_judge(lines):
    line = next(line for line in lines if line["claim"]["kind"] == "rate_at_least")
    line["claim"]["hits"] -= 1


@pytest.mark.parametrize("edit", [_more_hits, _other_outcomes, _other_verdict, _better_judge, _no_control])
def test_a_single_record_that_contradicts_itself_is_named(run, capsys, edit):
    edit_evidence(run, edit, cover=True)
    code, said = reported(run, capsys)
    assert code == 10
    assert "contradicts itself" in said


def _not_concluded(manifest):
    manifest.update(verdict="PASS", exit_code=None)


def _earlier_format(manifest):
    manifest.update(format=2, evidence=None, verdict="PASS", exit_code=0)


def _release_evidence(manifest):
    manifest["policy"].update(weaker_than_release=[], release_evidence=True)


def _another_name(manifest):
    manifest["policy"].update(name="release")


def _another_target(manifest):
    manifest["target"].update(name="Claude Monet")


def _unseen_weights(manifest):
    manifest["seeds"].update(weights=[])
    manifest["models"]["candidate"].update(tensors_digest=None)


def _further_weights(manifest):
    manifest["seeds"]["weights"].append("0" * 64)


def _other_drawing(manifest):
    manifest["seeds"].update(drawn="after fingerprint")


def _other_reasons(manifest):
    manifest.update(reasons=["All is well."])


def _no_numbers(manifest):
    manifest["interruptions"].update(not_run=5)


@pytest.mark.parametrize(
    "edit",
    [
        _not_concluded,
        _earlier_format,
        _release_evidence,
        _another_name,
        _another_target,
        _unseen_weights,
        _further_weights,
        _other_drawing,
        _other_reasons,
        _no_numbers,
    ],
)
def test_a_manifest_that_does_not_follow_from_the_other_files_is_named_although_all_digests_fit(run, capsys, edit):
    edit_manifest(run, edit)
    write_checksums(run)
    manifest = checked_run(run).manifest
    write_attestation(run, partial(statement, manifest, checked_run(run).cases))
    code, said = reported(run, capsys)
    assert code == 10
    assert "VERDICT INCOMPLETE" in said
    assert "manifest.json" in said or "cannot be derived again" in said
    assert "Release evidence: this audit" not in said


def test_a_run_on_a_medium_that_cannot_be_written_is_checked_all_the_same(audited, tmp_path, capsys):
    with small_disk(tmp_path / "medium", 20_000) as disk:
        copy = shutil.copytree(audited, disk.folder / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
        code, said = reported(copy, capsys)
    assert code == manifest_of(audited)["exit_code"]
    assert "cannot be written: nothing in the folder was written" in said


def test_a_check_leaves_what_it_found(run, capsys):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name != "run.lock"}
    (run / "manifest.json").write_bytes(before["manifest.json"] + b" ")
    assert reported(run, capsys)[0] == 10
    _, said = reported(run, capsys)
    assert "nothing in the folder was written" in said
    assert said.count("changed after the verdict was decided") == 1
    (run / "manifest.json").write_bytes(before["manifest.json"])
    assert reported(run, capsys)[0] == json.loads(before["manifest.json"])["exit_code"]
    assert {name: (run / name).read_bytes() for name in before} == before


def _unlisted_image(run):
    name = f"images/{sorted((run / 'images').iterdir())[3].name}"
    lines = (run / "SHA256SUMS").read_text().splitlines()
    (run / "SHA256SUMS").write_text("".join(f"{line}\n" for line in lines if name not in line))
    return name


def _edit_attestation(run):
    path = run / "attestation.json"
    path.write_text(path.read_text().replace('"FAILED"', '"PASSED"'))
    return "attestation.json"


def _edit_early_line(run):
    edit_evidence(run, lambda lines: lines[1].update(seen="All is well."))
    return "evidence.jsonl"


def _overwrite_image(run):
    image = sorted((run / "images").iterdir())[3]
    other = sorted((run / "images").iterdir())[4].read_bytes()
    image.unlink()
    image.write_bytes(other)
    return f"images/{image.name}"


def _edit_weights_digest(run):
    edit_manifest(run, lambda manifest: manifest["models"]["candidate"].update(weights_digest="0" * 64))
    return "manifest.json"


def _remove_image(run):
    image = sorted((run / "images").iterdir())[0]
    image.unlink()
    return f"images/{image.name}"


def _edit_dossier(run):
    path = run / "dossier.json"
    path.write_text(path.read_text().replace("Van Gogh", "Van Dyck", 1))
    return "dossier.json"


def _remove_list(run):
    (run / "SHA256SUMS").unlink()
    return "SHA256SUMS"


@pytest.mark.parametrize(
    "damage",
    [
        _edit_early_line,
        _overwrite_image,
        _edit_weights_digest,
        _remove_image,
        _edit_dossier,
        _remove_list,
        _unlisted_image,
        _edit_attestation,
    ],
)
def test_every_file_that_changed_is_named(run, capsys, damage):
    name = damage(run)
    code, said = reported(run, capsys)
    assert code == 10
    assert name in said
    assert dmun_audit.load_run(run).verdict == "INCOMPLETE"


def test_a_policy_that_was_made_stricter_or_weaker_is_another_plan(run, capsys):
    path = run / "policy.toml"
    figures = tomllib.loads(path.read_text())
    path.write_text(path.read_text().replace(f"ceiling = {figures['erasure']['ceiling']}", "ceiling = 0.9"))
    write_checksums(run)
    code, said = reported(run, capsys)
    assert code == 10
    assert "policy.toml and the seeds is not the plan of the audit" in said


def test_a_seed_that_somebody_chose_and_a_weights_digest_that_was_edited_do_not_follow(run, capsys):
    edit_manifest(run, lambda manifest: manifest["models"]["candidate"].update(tensors_digest="0" * 64))
    write_checksums(run)
    code, said = reported(run, capsys)
    assert code == 10
    assert "other weights of the candidate than those from which its seeds were drawn" in said


def test_labels_of_a_person_join_the_list_of_files(run, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["spot-check", str(run), "--terminal", "--by", "Ann", "--images", "4"]) == 0
    assert (run / "spot_check.jsonl").is_file()
    assert checked_run(run).contradictions == ()


def test_a_second_run_in_the_folder_restores_an_overwritten_image(audited, store, tmp_path):
    copy = shutil.copytree(audited, tmp_path / "again")
    name = _overwrite_image(copy)
    assert checked_run(copy).altered
    dmun_audit.audit("atelier:damaged", dossier="van-gogh", policy=copy / "policy.toml", store=store, audit_dir=copy)
    assert checked_run(copy).contradictions == ()
    assert (copy / name).read_bytes() == (audited / name).read_bytes()
