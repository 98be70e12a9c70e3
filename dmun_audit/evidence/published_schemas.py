"""The JSON Schemas of evidence lines and manifest, as `dmun-audit schema` prints them."""

from __future__ import annotations

from typing import Literal

from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.schema import FORMAT, CaseRecord, JsonObject


def json_schema(name: Literal["evidence", "manifest"]) -> JsonObject:
    """The published JSON Schema (draft 2020-12) of an evidence line or of the manifest. `$id` holds the format."""
    model = CaseRecord if name == "evidence" else Manifest
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:dmun-audit:{name}:{FORMAT}",
        **model.model_json_schema(),
    }
