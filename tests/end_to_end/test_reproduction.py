"""An audit is repeated from its run folder alone."""

from functools import partial

from bound_runs import edit_manifest, manifest_of

from dmun_audit.cli import main
from dmun_audit.evidence.checksums import write_attestation, write_checksums
from dmun_audit.evidence.run import read_run
from dmun_audit.report.attestation import statement


def test_an_audit_is_reproduced_from_its_folder_alone(audited, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in audited.rglob("*")}
    code = main(["reproduce", str(audited), f"--audit-dir={tmp_path / 'again'}"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "REPRODUCED" in said
    assert "images: the same" in said
    assert manifest_of(tmp_path / "again")["images"]["reused"] == 0
    assert {path: path.stat().st_mtime_ns for path in audited.rglob("*")} == before


def test_a_reproduction_with_another_model_says_what_differs(audited, tmp_path, store, capsys):
    options = [f"--audit-dir={tmp_path / 'again'}", f"--store={store}", "--model=atelier:uce-van-gogh"]
    assert main(["reproduce", str(audited), *options]) == 1
    said = capsys.readouterr().out
    assert "NOT REPRODUCED" in said
    assert "candidate, weights as loaded" in said
    assert "other pixels" in said


def test_a_digest_of_a_file_that_was_edited_with_everything_else_shows_in_the_repetition(run, tmp_path, store, capsys):
    edit_manifest(run, lambda manifest: manifest["models"]["base"]["files"].update({"unet/config.json": "c" * 64}))
    write_checksums(run)
    found = read_run(run)
    write_attestation(run, partial(statement, found.manifest, found.cases))
    assert main(["reproduce", str(run), f"--audit-dir={tmp_path / 'again'}", f"--store={store}"]) == 0
    assert "models and judge: base, file unet/config.json: cccccccccccccccc… before" in capsys.readouterr().out
