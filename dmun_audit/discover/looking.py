"""Looking: a vision-language model orders the concepts by images of the base model."""

from __future__ import annotations

import numpy as np

from dmun_audit.audit import Audit
from dmun_audit.discover.bench import Bench, calibration
from dmun_audit.discover.findings import asked_for, with_found
from dmun_audit.knowledge.dossier import Dossier, Ordering
from dmun_audit.knowledge.interview.answers import Looked
from dmun_audit.knowledge.interview.asking import Interviewer, Query

LOOKED_AT = 2  # pictures of the target and of a concept, side by side


def looking_budget(audit: Audit) -> int:
    """The most images that `order_by_looking` needs."""
    return LOOKED_AT * (1 + len(audit.plan.dossier.concepts)) + calibration(audit)


def order_by_looking(bench: Bench, interviewer: Interviewer, repeats: int = 1) -> Dossier:
    """The dossier with the ordering of a vision-language model that sees base images of the target and of each concept."""
    dossier = bench.audit.plan.dossier
    target, *others = bench.pictures(
        [dossier.target.direct_prompts, *(concept.prompts for concept in dossier.concepts)], LOOKED_AT
    )
    queries = [
        Query(
            "look",
            {"target": dossier.target.name, "concept": concept.name, "shown": LOOKED_AT},
            Looked,
            f"how similar {concept.name!r} looks ({repeat + 1} of {repeats})",
            1,
            1,
            images=(*target, *shown),
            repeat=repeat,
            tokens=200,
        )
        for concept, shown in zip(dossier.concepts, others, strict=True)
        for repeat in range(repeats)
    ]
    answers = [items[0].rating / 100 for items in interviewer.put(queries)]
    names = [concept.name for concept in dossier.concepts]
    rated = {name: answers[place * repeats : (place + 1) * repeats] for place, name in enumerate(names)}
    ordering = Ordering(
        source="vision-language model",
        model=interviewer.transcript.model,
        similarity={name: round(float(np.mean(values)), 4) for name, values in rated.items()},
        spread={name: round(float(np.std(values)), 4) for name, values in rated.items()} if repeats > 1 else {},
    )
    kept = tuple(known for known in dossier.orderings if known.source != ordering.source)
    told = f"Ordered by {ordering.model}, which saw {LOOKED_AT} base images of the target and of each concept."
    return with_found(dossier, list(dossier.adversarial), [told, *asked_for(interviewer)], (*kept, ordering))
