"""Writes the folder of a campaign: campaign.json and campaign.md."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import ValidationError

from dmun_audit._util.errors import UsageError
from dmun_audit._util.untrusted import parse_json, read_within
from dmun_audit.campaigns.records import CampaignRecord
from dmun_audit.campaigns.table import markdown
from dmun_audit.store.files import is_partial, require_writable, write_atomically

TABLE = "campaign.json"
PAGE = "campaign.md"
IDENTITY = ".campaign"
"""A file with the campaign's id, written at its beginning: a campaign that was cut off has no table yet."""
MOST_BYTES = 50_000_000


def read_campaign(folder: Path) -> CampaignRecord | None:
    """The record in a folder; None if there is none that can be read."""
    try:
        return CampaignRecord.model_validate(parse_json(read_within(folder / TABLE, MOST_BYTES)))
    except (OSError, ValueError, ValidationError):
        return None


def prepare(folder: Path, identity: str) -> None:
    """Make the folder of a campaign, or check that it holds the same campaign.

    Raises UsageError if it holds something else, and StoreError if it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--campaign-dir {folder} is a file", "a campaign writes a folder", "name a new or empty folder")
    earlier = _identity_of(folder)
    if earlier not in {"", identity}:
        raise UsageError(
            f"--campaign-dir {folder} holds another campaign",
            "that one has other models, targets, dossiers, policy or judges",
            "name another folder, or omit the option: each campaign then gets a new folder",
        )
    others = folder.is_dir() and [file.name for file in folder.iterdir() if not is_partial(file)]
    if not earlier and others:
        raise UsageError(
            f"--campaign-dir {folder} holds other files", "the table would stand among them", "name a new or empty folder"
        )
    require_writable(folder)
    write_atomically(folder / IDENTITY, f"{identity}\n".encode())


def _identity_of(folder: Path) -> str:
    """The id of the campaign in a folder; empty if there is none."""
    record = read_campaign(folder)
    if record is not None:
        return record.id
    try:
        return read_within(folder / IDENTITY, MOST_BYTES).decode().strip()
    except (OSError, ValueError):
        return ""


def write_campaign(folder: Path, record: CampaignRecord) -> Path:
    """Write the table into its folder, or beside it if the folder holds a whole campaign and this one is partial.

    Returns the folder. Raises StoreError if it cannot be written.
    """
    earlier = read_campaign(folder)
    if earlier is not None and earlier.whole and not record.whole:
        folder = folder.with_name(f"{folder.name}-partial")
    rows = tuple(row.model_copy(update={"folder": _relative(row.folder, folder)}) if row.folder else row for row in record.audits)
    written = record.model_copy(update={"audits": rows})
    require_writable(folder)
    text = json.dumps(written.to_json(), indent=1, ensure_ascii=False)
    write_atomically(folder / TABLE, f"{text}\n".encode())
    write_atomically(folder / PAGE, markdown(written).encode())
    return folder


def _relative(path: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path
