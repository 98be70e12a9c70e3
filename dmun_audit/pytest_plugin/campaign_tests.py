"""A campaign in a session: its header, the failures of models that cannot be loaded, and its table at the end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dmun_audit.campaigns.folder import PAGE, write_campaign
from dmun_audit.campaigns.records import CampaignRecord
from dmun_audit.campaigns.table import table_lines
from dmun_audit.config.campaign import Campaign
from dmun_audit.config.describe import describe
from dmun_audit.pytest_plugin.target_tests import TargetTests, budget, made_report
from dmun_audit.report.formatting import count, one_line
from dmun_audit.runtime.campaign_table import audits_of_campaign, record_of


def header_of_campaign(campaign: Campaign, tests: Sequence[TargetTests]) -> list[str]:
    """The header of a run: what is asked of several models at once is said once."""
    asked: dict[tuple[str, int], list[TargetTests]] = {}
    for each in tests:
        asked.setdefault((each.config.dossier.target.name, each.config.audit_seed), []).append(each)
    lines = [line for same in asked.values() for line in describe(same[0].config, [each.config.model_name for each in same])]
    for name, error in {each.model_name: each.error for each in campaign.lost}.items():
        lines.append(f"dmun_audit: {one_line(name)} cannot be audited: {one_line(error.in_a_line)}")
    number = count(len(campaign.audits), "audit")
    return [*lines, f"dmun_audit: {number}, up to {budget(tests):,} images in all; images of the base are drawn once"]


def lost_reports(campaign: Campaign, file: str) -> list[pytest.TestReport]:
    """A failed test for every audit that could not begin, so that terminal and JUnit list it."""
    return [
        made_report(file, f"audit[{one_line(each.model_name)}/{one_line(each.target)}]", "failed", str(each.error))
        for each in campaign.lost
    ]


def conclude_campaign(campaign: Campaign, tests: Sequence[TargetTests]) -> tuple[CampaignRecord, list[str]]:
    """Write the table of a campaign. Returns it, and the lines for the terminal. Raises StoreError if it cannot be written."""
    assert campaign.folder is not None
    runs = {each.config.prefix: each.audit.run for each in tests}
    record = record_of(campaign, audits_of_campaign(campaign, runs, {each.config.candidate: each.lost for each in tests}))
    folder = write_campaign(campaign.folder, record)
    return record, ["", *table_lines(record), "", f"table: {folder / PAGE}"]
