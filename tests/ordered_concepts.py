"""Dossiers of many concepts whose order and damage are known, for tests of orderings: no image is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from case_records import measured, records_of

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.knowledge.dossier import Dossier, Ordering
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import load_policy

PACK = find_pack("Van Gogh", "atelier")
COUNT = 40
MOST_SIMILAR_FIRST = [1 - place / 100 for place in range(100)]
SHUFFLED = [(place * 17 % 41) / 41 for place in range(100)]
OTHERWISE_SHUFFLED = [(place * 11 % 41) / 41 for place in range(100)]


def stated(model: str, similarity: Sequence[float], source: str = "language model", count: int = COUNT) -> Ordering:
    """An ordering of the concepts, by their place in the dossier."""
    return Ordering(source=source, model=model, similarity={name(place): similarity[place] for place in range(count)})


def name(place: int) -> str:
    """The name of the concept in this place."""
    return f"concept {place:02d}"


def many_concepts(*orderings: Ordering, count: int = COUNT, target: str = "") -> Dossier:
    """A dossier of a curator who puts the concepts in the order of their places, the most similar first."""
    concept = next(concept for concept in PACK.concepts if concept.role == "retain")
    concepts = tuple(
        concept.model_copy(
            update={"name": name(n), "similarity": MOST_SIMILAR_FIRST[n], "prompts": (f"a picture of thing {n}",), "against": ()}
        )
        for n in range(count)
    )
    named = {"target": PACK.target.model_copy(update={"name": target})} if target else {}
    return PACK.model_copy(update={"concepts": concepts, "orderings": orderings, **named})


def plan_of(dossier: Dossier) -> Plan:
    """The plan of an audit with all of the dossier's concepts."""
    policy = load_policy("standard")
    return make_plan(
        dossier, replace(policy, images_at_most=100_000, retention=replace(policy.retention, concepts=len(dossier.concepts))), 0
    )


def damaged(plan: Plan, damage: Callable[[int], float], **more: float) -> list[CaseRecord]:
    """The records of the concepts, where the one in each place has lost so much of its CLIP accuracy; `more` are further measures."""
    records = records_of(plan)
    return [
        measured(records[case.id], clip_accuracy_candidate=0.5 - damage(int(case.concept.name.split()[1])), **more)
        for case in plan.of_group("retention")
        if case.concept
    ]
