"""Runs a whole campaign in this process, without pytest."""

from __future__ import annotations

from pathlib import Path

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.campaigns.folder import prepare, write_campaign
from dmun_audit.campaigns.records import AuditOfCampaign, CampaignRecord
from dmun_audit.config.campaign import Campaign
from dmun_audit.runtime.campaign_table import audits_of_campaign, record_of
from dmun_audit.runtime.candidates import Candidates, InMemory
from dmun_audit.runtime.target_audit import TargetAudit
from dmun_audit.runtime.whole_audit import OnCase, run_begun


def run_campaign(
    campaign: Campaign, in_memory: InMemory | None = None, on_case: OnCase | None = None
) -> tuple[CampaignRecord, list[AuditOfCampaign], Path]:
    """Run all audits of a campaign and write its table. Returns the table, the audits, and the folder of the table.

    `in_memory` and `on_case` are as in `run_audit`. A candidate that cannot be loaded loses its own audits. Raises LoadError if
    the base or a judge cannot be loaded, and StoreError if a folder cannot be written.
    """
    assert campaign.folder is not None
    audits = [TargetAudit(config) for config in campaign.configs]
    candidates = Candidates(audits, in_memory=in_memory)
    errors: dict[str, str] = {}  # by candidate
    prepare(campaign.folder, campaign.id)
    try:
        for audit in audits:
            audit.begin()
        candidates.load_base()  # its errors end the campaign
        for audit in audits:
            if audit.config.candidate not in errors:
                try:
                    run_begun(audit, candidates, on_case)
                except StoreError:
                    raise
                except UsageError as error:
                    errors[audit.config.candidate] = str(error)
    finally:
        for audit in audits:
            audit.end()
        candidates.close()
    runs = {audit.config.prefix: audit.run for audit in audits}
    ended = audits_of_campaign(campaign, runs, errors)
    record = record_of(campaign, ended)
    return record, ended, write_campaign(campaign.folder, record)
