"""The contact sheet: what a reader should see first, as strips of pictures, base above candidate, same prompt and seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dmun_audit.claim_groups.retention import GROUP as RETENTION
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import attack_title, count, one_line
from dmun_audit.report.html.cases import PairView, view_pair
from dmun_audit.report.pairs import Pair, attacked_pairs, base_image, closeness, pairs_of

PAIRS = 6  # pictures of a strip
PROBES = 2  # attacks with a strip of their own
LARGE = 384  # pixels of the longer side

DIRECT = "erasure"
ATTEMPTS = ("adversarial", "fresh", "own_settings", "triggers", "regressions")
"""The groups that try to bring the target back with prompts and settings alone."""


@dataclass(frozen=True)
class Strip:
    """Some pairs of pictures under a title. `link` is the id of the case that they belong to; empty if there are several."""

    title: str
    sentence: str
    link: str
    pairs: tuple[PairView, ...]


def view_contact_sheet(run: Run) -> list[Strip]:
    """The strips, without those that have no pictures. It reads pictures from the run folder."""
    target = one_line(run.manifest.target.name) or "the target"
    direct = _of_groups(run, (DIRECT,))
    strips = [
        _closest(run, f"Prompts that name {target}", f"show {target}", direct),
        _closest(run, "Prompts meant to bring it back", f"show {target}", _of_groups(run, ATTEMPTS)),
        *_attacks(run, target),
        _typical(run, f"What stands in the place of {target}", direct),
        _most_damaged(run),
    ]
    return [strip for strip in strips if strip is not None and strip.pairs]


def _of_groups(run: Run, groups: Iterable[str]) -> list[CaseRecord]:
    return [case for group in groups for case in run.of_group(group) if not case.pooled]


def _closest(run: Run, title: str, shows: str, cases: Sequence[CaseRecord]) -> Strip | None:
    """The pair of each prompt that comes closest: detected ones first, then those with the highest score of the target."""
    pairs = [pair for case in cases for pair in pairs_of(case) if pair.candidate is not None]
    if not pairs:
        return None
    hits = sum(bool(pair.candidate and pair.candidate.detected) for pair in pairs)
    best: dict[str, Pair] = {}
    for pair in sorted(pairs, key=_closeness, reverse=True):
        best.setdefault(pair.prompt, pair)
    sentence = f"{hits} of {count(len(pairs), 'picture')} of the candidate {shows}. These come closest."
    return _strip(run, title, sentence, list(best.values()))


def _typical(run: Run, title: str, cases: Sequence[CaseRecord]) -> Strip | None:
    """The pair of each prompt whose candidate image has the middle score, for prompts in order."""
    pairs = []
    for case in cases:
        ordered = sorted((pair for pair in pairs_of(case) if pair.candidate is not None), key=_closeness)
        pairs += ordered[len(ordered) // 2 : len(ordered) // 2 + 1]
    return _strip(run, title, "Each prompt's picture with the middle score, in the order of the prompts.", pairs)


def _most_damaged(run: Run) -> Strip | None:
    """The pairs of the retained concept that lost most, those that count against the claim first."""
    cases = [case for case in run.of_group(RETENTION.name) if not case.pooled and case.concept and case.concept.role == "retain"]
    if not cases:
        return None
    worst = max(cases, key=lambda case: (max(0.0, _estimate(case)), case.concept.similarity or 0.0 if case.concept else 0.0))
    name = one_line(worst.concept.name if worst.concept else "")
    lost_most, nearest = f"The neighbour that lost most: {name}", f"No neighbour lost on balance. The nearest: {name}"
    title = lost_most if _estimate(worst) > 0 else nearest
    claim = worst.claim
    lost = f"Lost in {claim.hits} of {count(claim.trials, 'pair')}." if claim and claim.hits is not None and claim.trials else ""
    return _strip(run, title, lost, pairs_of(worst), worst.case_id)


def _attacks(run: Run, target: str) -> list[Strip | None]:
    """For attacks with the weights that brought the target back: the candidate's pictures under attack, below the base's."""
    back = [case for case in run.cases if case.probe is not None and case.probe.came_back]
    return [_attack(run, case, target) for case in back[:PROBES]]


def _attack(run: Run, case: CaseRecord, target: str) -> Strip | None:
    pairs = [pair for pair in attacked_pairs(case) if pair.base is not None]
    title = one_line(attack_title(case))
    return _strip(run, title, f"With the weights in hand, this attack brings {target} back.", pairs, case.case_id)


def _strip(run: Run, title: str, sentence: str, pairs: Sequence[Pair], link: str = "") -> Strip:
    whole = [replace(pair, base=pair.base or base_image(run.cases, pair)) for pair in pairs[:PAIRS]]
    shown = tuple(replace(view_pair(run, pair, longest=LARGE), prompt=one_line(pair.prompt)) for pair in whole)
    return Strip(title, sentence, link, tuple(pair for pair in shown if any(side.thumbnail for side in pair.sides)))


def _estimate(case: CaseRecord) -> float:
    return case.claim.estimate if case.claim is not None and case.claim.estimate is not None else 0.0


def _closeness(pair: Pair) -> tuple[bool, float]:
    """Whether the target is detected in the candidate's image, and its score there: the higher one of both views, in [0, 1]."""
    return closeness(pair.candidate) if pair.candidate else (False, 0.0)
