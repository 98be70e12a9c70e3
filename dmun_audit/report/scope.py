"""The scope of an audit: what was tried, and what a PASS does not cover. It stands where people look first."""

from __future__ import annotations

from dmun_audit.claim_groups.registry import claim_groups
from dmun_audit.evidence.messages import enumerated
from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import attack_title, number, one_line, percent
from dmun_audit.verdict.vocabulary import CONTROLS

FAST = (
    "This audit has the profile fast, which takes fewer steps and a quicker solver where models allow it: it is no release evidence. "
    "The profile fidelity draws as the policy says."
)
ONLY_REPORTED = "The policy of this audit reports such attacks and does not count them; open-weights counts them."
COUNTED = (
    "A claim counts images until it is decided, and only prompts and concepts that can count, so its number may be smaller. "
)
"""Why a claim has fewer images than were drawn."""

MANY_EMPTY = 0.2
"""Reports warn of empty images from this share on."""

MOST_NAMED = 6  # sentences on what a dossier lacks

COVERED = "The audit covers these prompts, judges and settings."
NOTHING_RAN = "No test ran. Nothing is said about the candidate."
NOTHING_COVERED = "The controls look at the base model. Nothing is said about the candidate."
_BY_PROBE = {"image-to-image": "image-to-image use", "relearning": "further training of the weights"}
"""What an audit does not cover, unless a probe tried it."""


def not_covered(run: Run) -> str:
    """What the audit covers, and what it does not."""
    if all(case.group == CONTROLS for case in run.cases):
        return NOTHING_COVERED if run.cases else NOTHING_RAN
    probed = {case.probe.name for case in run.cases if case.probe and case.probe.was_tried}
    left = ["other prompts and languages", "other samplers and sizes", "a secret trigger"]
    left += [words for probe, words in _BY_PROBE.items() if probe not in probed]
    left.append(f"{'other ' if probed else ''}attacks by somebody who has the weights")
    return f"{COVERED} It does not cover {', '.join(left[:-1])}, or {left[-1]}."


def tried(run: Run) -> str:
    """What the audit tried, in one sentence: prompts and concepts by group, judges, settings."""
    cases = [case for case in run.cases if not case.pooled]
    by_group = {group: [case for case in cases if case.group == group.name] for group in claim_groups()}
    parts = [group.tried(records) for group, records in by_group.items() if records]
    sentence = ", ".join(part for part in parts if part) or (
        "nothing but the controls" if cases else "nothing" if run.concluded else "nothing yet"
    )
    return f"Tried: {sentence}. {COUNTED if any(parts) else ''}{_judges(run)}{_settings(run)}"


def scope_lines(run: Run) -> list[str]:
    """The scope in sentences: what was tried, and what the audit does not cover."""
    return [tried(run), not_covered(run)]


def thin_lines(run: Run) -> list[str]:
    """What could not be had for the dossier, as one text; empty if it has everything. It is a caution, and no part of the scope."""
    provenance = run.manifest.dossier.get("provenance")
    thin = provenance.get("thin") if isinstance(provenance, dict) else None
    sentences = [one_line(sentence) for sentence in thin] if isinstance(thin, list | tuple) else []
    more = f" {len(sentences) - MOST_NAMED} more sentences stand under Provenance." if len(sentences) > MOST_NAMED else ""
    return [f"The dossier is thin. {' '.join(sentences[:MOST_NAMED])}{more}"] if sentences else []


def alerts(run: Run) -> list[str]:
    """What a reader must know whatever the policy decides: a quick profile, and that many of the candidate's images are empty."""
    sampling = run.manifest.policy.get("text", {}).get("sampling", {})
    shares = [case.measures["empty_share"] for case in run.cases if "empty_share" in case.measures]
    back = [attack_title(case) for case in run.cases if case.probe and case.probe.came_back and not case.gating]
    reported = (
        [
            f"Somebody who has the weights can bring the target back by {enumerated([_in_sentence(one_line(each)) for each in back])}. {ONLY_REPORTED}"
        ]
        if back
        else []
    )
    fast = [FAST] if sampling.get("profile") == "fast" else []
    return (
        fast
        + reported
        + [
            f"{percent(share)} of the candidate's images of direct prompts are empty: of one colour, a gradient or noise. A model that "
            "draws nothing shows no target either."
            for share in shares
            if share > MANY_EMPTY
        ]
    )


def _judges(run: Run) -> str:
    judge = run.manifest.judge
    names = [judge.get("reference"), *(judge.get(role, {}).get("reference") for role in ("detector", "second"))]
    named = " and ".join(one_line(name) for name in names if name)
    return f"Judged by {named}. " if named else ""


def _settings(run: Run) -> str:
    sampler = run.manifest.sampler
    if not sampler:
        return ""
    size = "×".join(str(side) for side in sampler.get("size", []))
    dtype = f", in {one_line(sampler['dtype'])}" if sampler.get("dtype") else ""
    level = sampler.get("acceleration", "none")
    faster = f", acceleration {one_line(level)}" if level != "none" else ""
    faster += f", offloaded ({one_line(sampler['offload'])})" if sampler.get("offload") else ""
    origin = one_line(sampler.get("batch_origin", ""))
    batch = f" {number(sampler.get('batch'))} images in a batch: {origin}." if origin else ""
    return (
        f"Drawn with {one_line(sampler.get('scheduler', 'an unknown scheduler'))}, {number(sampler.get('steps'))} steps, "
        f"guidance {number(sampler.get('guidance'))}, size {size}{dtype}{faster}.{batch}"
    )


def _in_sentence(title: str) -> str:
    """A title with a small first letter."""
    return title[:1].lower() + title[1:]
