"""Plans with waivers, and records of their cases, for tests of what waivers change and of how they are reported."""

from dataclasses import replace
from datetime import date

from core_policy import core_policy

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.conclude import Interruptions, conclude
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.plan.waivers import with_waivers
from dmun_audit.policy import Waiver
from dmun_audit.verdict.vocabulary import Verdict

DAY = date(2026, 11, 27)
RETAINED = "Over all retained concepts together, accuracy is kept"


def waiver_of(case, expires=DAY, target=None):
    """A waiver of the case of that name."""
    return Waiver(case, "a reason", "an owner", expires, target)


def plan_with(*waivers, target="Van Gogh"):
    """The plan of an atelier's pack under the standard policy with these waivers."""
    return make_plan(find_pack(target, "atelier"), replace(core_policy("standard"), waivers=waivers), 0)


def records_of(plan, **verdicts):
    """A record of every case by id; `verdicts` by group, of the pooled claim alone."""
    return {
        case.id: CaseRecord(
            case_id=case.id,
            group=case.group,
            title=case.title,
            pooled=case.pooled,
            gating=case.gating,
            verdict=Verdict(verdicts.get(case.group, "PASS") if case.pooled else "PASS"),
            seen=f"seen of {case.group}",
        )
        for case in plan.cases
    }


def concluded(plan, records, day=DAY):
    """The records with their waivers, by id, and the conclusion from them."""
    marked = {record.case_id: record for record in with_waivers(plan, records.values(), day)}
    return marked, conclude(plan, marked, Interruptions())
