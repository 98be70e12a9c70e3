"""An audit is repeated from its run folder alone."""

from bound_runs import manifest_of

from dmun_audit.cli import main


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
