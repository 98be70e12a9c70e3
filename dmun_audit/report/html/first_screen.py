"""What the page shows below its banner: pictures, what failed or came closest, small charts, and which notices to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import count
from dmun_audit.report.html.breakdowns import Breakdown, view_breakdowns
from dmun_audit.report.html.cases import CaseView
from dmun_audit.report.html.contact_sheet import Strip, view_contact_sheet
from dmun_audit.report.html.weakest import weakest, weakest_first
from dmun_audit.report.scope import thin_lines
from dmun_audit.report.spot_check import read_spot_check, warnings
from dmun_audit.report.standing import other_verdicts, release_lines, weaker_than_release
from dmun_audit.report.waivers import expired_waivers, expiring_waivers


@dataclass(frozen=True)
class FirstScreen:
    """What stands below the banner. `ranks` gives the place of each case among all, the worst first. `cautions` name the notices."""

    strips: tuple[Strip, ...]
    findings: tuple[CaseView, ...]
    breakdowns: tuple[Breakdown, ...]
    cautions: tuple[str, ...]
    ranks: Mapping[str, int]
    sensitive: bool


def view_first_screen(run: Run, views: Mapping[str, CaseView]) -> FirstScreen:
    """The first screen of a run. `views` holds the cases of the page by id."""
    findings = tuple(views[record.case_id] for record in weakest(run.cases) if record.case_id in views)
    return FirstScreen(
        strips=tuple(view_contact_sheet(run)),
        findings=findings,
        breakdowns=tuple(view_breakdowns(run)),
        cautions=tuple(_cautions(run)),
        ranks={record.case_id: place for place, record in enumerate(weakest_first(run.cases))},
        sensitive=run.manifest.target.kind == "unsafe",
    )


def _cautions(run: Run) -> list[str]:
    notes = len(run.warnings) + len(expiring_waivers(run.manifest)) + len(warnings(read_spot_check(run)))
    expired = len(expired_waivers(run.manifest))
    named = [
        ("how this audit is weaker than the policy “release”", bool(weaker_than_release(run.manifest))),
        ("release evidence, but not for what is waived", not weaker_than_release(run.manifest) and len(release_lines(run)) > 1),
        ("the dossier is thin", bool(thin_lines(run))),
        (other_verdicts(run.manifest), bool(run.manifest.earlier_attempts)),
        ("a chosen seed", run.manifest.seeds.get("drawn") == "option"),
        (count(expired, "expired waiver"), bool(expired)),
        (count(notes, "note"), bool(notes)),
    ]
    return [words for words, holds in named if holds]
