"""How the audits of a campaign ended, for its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmun_audit.campaigns.records import AuditOfCampaign, CampaignRecord, campaign_record
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.campaign import Campaign, LostAudit
from dmun_audit.evidence.run import Run


def audits_of_campaign(campaign: Campaign, runs: Mapping[str, Run | None], errors: Mapping[str, str]) -> list[AuditOfCampaign]:
    """How the audits of a campaign ended. `runs` are those that were concluded, by prefix; `errors` are by candidate."""
    return [_ended(audit, runs, errors) for audit in campaign.audits]


def record_of(campaign: Campaign, ended: Sequence[AuditOfCampaign]) -> CampaignRecord:
    """The table of a campaign."""
    config = campaign.configs[0]
    return campaign_record(campaign.id, config.base, config.policy.name, ended)


def _ended(audit: AuditConfig | LostAudit, runs: Mapping[str, Run | None], errors: Mapping[str, str]) -> AuditOfCampaign:
    if isinstance(audit, LostAudit):
        return AuditOfCampaign(audit.model_name, audit.candidate, audit.target, error=str(audit.error))
    error, run = errors.get(audit.candidate, ""), runs.get(audit.prefix)
    return AuditOfCampaign(audit.model_name, audit.candidate, audit.dossier.target.name, run, "" if run else error)
