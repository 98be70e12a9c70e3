"""A resolved audit: everything that is known before a model is loaded."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.engines.choice import LOCAL
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.plan.baseline import Baseline
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.regressions import Regression, as_plain, from_plain
from dmun_audit.policy import Policy, policy_from_table
from dmun_audit.render.devices import Offload


@dataclass(frozen=True)
class AuditConfig:
    """A resolved audit. It is equal in every process: the controller builds it and workers get it as JSON.

    `prefix` distinguishes its cases from the cases of other audits in the session; it is empty for a single audit. `day`
    (UTC) is compared with the last day of waivers. It stays the same for the whole session.
    """

    base: str
    candidate: str
    judge: str
    dossier: Dossier
    knowledge: str
    policy: Policy
    audit_seed: int
    seeds: str
    audit_hash: str
    run_folder: Path
    store_folder: Path
    source_digests: dict[str, str]
    by_default: bool
    trust_remote_code: bool
    plan: Plan = field(compare=False)
    fingerprint: str = ""  # of the audit, as the plan uses it (`plan.seeds`); empty for images made elsewhere
    tensors_digest: str = ""  # of the candidate as loaded; empty if nobody sees its weights before it is loaded
    nonce: str = ""  # from outside, part of the fingerprint
    prefix: str = ""
    model_name: str = field(default="", compare=False)  # the candidate's name in tables of several models; empty for one model
    keep_going: bool = field(default=False, compare=False)  # whether other cases are drawn although a control failed
    engine: str = field(default=LOCAL, compare=False)  # where images are rendered: they are the same everywhere
    offload: Offload | None = None  # how networks visit the GPU; None where they stay there
    batch_origin: str = field(default="", compare=False)  # what decided the batch size, if not the policy
    batch_warning: str = field(default="", compare=False)  # if the policy's batch size did not fit into memory
    detector: str | None = None
    second_judge: str | None = None
    composition_judge: str | None = None
    metrics: tuple[str, ...] = ()  # references of further measures
    metric_digests: tuple[str, ...] = ()  # of the files that each of them names
    unrelated: tuple[str, ...] = ()  # the user's own plain prompts
    probe_control: str | None = None  # a model that never knew the target, as the control of probes
    probe_control_digest: str = ""  # of its files
    probe_adapter: str | None = None  # a LoRA that a probe merges into the models
    probe_adapter_digest: str = ""
    regressions: tuple[Regression, ...] = ()  # finds of earlier audits
    baseline: Baseline | None = None  # what an earlier audit saw of an earlier candidate
    max_probe_minutes: float | None = field(default=None, compare=False)  # of each process, for all probes together
    no_images: bool = field(default=False, compare=False)  # leaves pictures out of report.html
    track: str = field(default="", compare=False)  # the tracker to which the finished audit is logged; empty for none
    source_states: dict[str, str] = field(default_factory=dict, compare=False)  # see `source_files.Source.state`
    source_files: dict[str, dict[str, str]] = field(default_factory=dict, compare=False)  # SHA-256 of each file, by side and name
    day: date = field(default_factory=lambda: datetime.now(UTC).date(), compare=False)

    def to_json(self) -> str:
        """The config as JSON without the plan, which `from_json` makes again."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in {"plan", "dossier", "policy"}}
        values["regressions"] = as_plain(self.regressions)
        values["baseline"] = self.baseline and self.baseline.to_json()
        values |= {"dossier": self.dossier.model_dump(mode="json"), "policy": asdict(self.policy)}
        return json.dumps(values, default=str)

    @classmethod
    def from_json(cls, text: str) -> AuditConfig:
        """The config that `to_json` wrote."""
        values = json.loads(text)
        values["dossier"] = Dossier.model_validate_json(json.dumps(values["dossier"]))
        values["policy"] = policy_from_table(values["policy"], Path("the controller's policy"))
        values |= {name: Path(values[name]) for name in ("run_folder", "store_folder")}
        values["day"] = date.fromisoformat(values["day"])
        values |= {name: tuple(values[name]) for name in ("unrelated", "metrics", "metric_digests")}
        values["regressions"] = from_plain(values["regressions"])
        values["baseline"] = values["baseline"] and Baseline.model_validate(values["baseline"])
        drawn_from = (values["audit_seed"], values["fingerprint"], values["unrelated"], values["regressions"], values["baseline"])
        plan = make_plan(values["dossier"], values["policy"], *drawn_from)
        return cls(**values, plan=plan)
