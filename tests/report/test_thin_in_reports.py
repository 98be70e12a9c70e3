"""Reports of an audit whose dossier is thin: they say what could not be had."""

from __future__ import annotations

from typing import Any

from dmun_audit.evidence.run import read_run
from dmun_audit.report.html.page import render_html
from dmun_audit.report.scope import scope_lines, thin_lines
from dmun_audit.report.text import summary_lines

REFUSED = "No adversarial prompts by misspelling: the model refused."


def _run(folder: Any, *thin: object) -> Any:
    folder.manifest["dossier"] = {"provenance": {"backend": "chat completions", "thin": list(thin)}}
    return read_run(folder.close())


def test_terminal_and_page_say_what_a_thin_dossier_lacks(folder: Any) -> None:
    run = _run(folder, REFUSED)
    assert not any("dossier" in sentence for sentence in scope_lines(run))
    said = " ".join(" ".join(summary_lines(run)).split())
    verdict, caution, scope = (said.index(words) for words in ("VERDICT", f"caution: The dossier is thin. {REFUSED}", "Tried: "))
    assert verdict < caution < scope
    banner, _, below = render_html(run).partition("<section")[2].partition("</section>")
    assert REFUSED not in banner
    assert "the dossier is thin" in banner
    notice = f'<strong>Caution.</strong> <span dir="auto">The dossier is thin. {REFUSED}</span>'
    assert notice in below.partition("</section>")[0]


def test_a_long_list_is_cut_and_the_rest_stands_under_provenance(folder: Any) -> None:
    run = _run(folder, *(f"Part {number} is missing." for number in range(9)))
    (line,) = thin_lines(run)
    assert line.endswith("Part 5 is missing. 3 more sentences stand under Provenance.")
    assert "Part 8 is missing." in render_html(run)


def test_a_dossier_that_lacks_nothing_and_a_hostile_manifest_say_nothing(folder: Any, example: Any) -> None:
    assert thin_lines(read_run(example)) == []
    folder.manifest["dossier"] = {"provenance": {"thin": {"a": 1}}}
    assert thin_lines(read_run(folder.close())) == []
