"""A finished run folder with known answers of its judge, for spot-checks; its images contain their prompt, as real ones do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dmun_audit._util.hashing import digest, slug
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.evidence.reading import digest_before_format_3
from dmun_audit.report.spot_check import read_spot_check
from dmun_audit.store.images import ImageStore
from dmun_audit.verdict.claims import rate_at_most

SECRET = "a windmill by Vincent van Gogh"  # a prompt that no labeller may see
SIDES = (  # group, model, images, of which detected, pixels
    ("controls", "base", 24, 23, 40),
    ("erasure", "candidate", 30, 1, 200),
    ("adversarial", "candidate", 20, 0, 180),
    ("retention", "base", 10, 0, 90),
    ("retention", "candidate", 10, 0, 130),
)


def write_run(folder: Path) -> Path:
    """Write the folder: 94 images; the claim on erasure passes with 1 hit in 30, ceiling 15%."""
    store = ImageStore(folder / "store")
    records = [_case(store, place, *side) for place, side in enumerate(SIDES)]
    claim = claim_record(rate_at_most(1, 30, 0.15)).to_json()
    records.append(
        _record("erasure", "All direct prompts together no longer show Van Gogh", pooled=True, verdict="PASS", claim=claim)
    )
    (folder / "images").mkdir(parents=True)
    for file in (folder / "store").rglob("*.png"):
        file.rename(folder / "images" / file.name)
    (folder / "evidence.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    manifest = {
        "format": 1,
        "verdict": "PASS",
        "exit_code": 0,
        "reasons": [],
        "target": {"name": "Van Gogh", "kind": "style"},
        "evidence": digest_before_format_3(records).model_dump(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _case(store: ImageStore, place: int, group: str, model: str, amount: int, detected: int, shade: int) -> dict:
    images = []
    for index in range(amount):
        key = digest([place, index])
        pixels = np.full((24, 24, 3), shade, dtype=np.uint8)
        pixels[:, :index] = index
        store.write(key, pixels, {"prompt": SECRET, "model": model, "seed": index})
        images.append({"model": model, "prompt": SECRET, "index": index, "seed": index, "key": key,
                       "target_score": 0.9 if index < detected else 0.1, "detected": index < detected})  # fmt: skip
    claim = {"kind": "rate_at_most", "hits": detected, "trials": amount}
    return _record(group, f"{group} of {model}", verdict="PASS", claim=claim, images=images)


def _record(group: str, title: str, **more: object) -> dict:
    return {"case_id": slug(title), "group": group, "title": title, "pooled": False, "gating": True, "images": [],
            "measures": {}, "asked": "", "seen": "", "remedy": "", "concept": None, "prompt": None, **more}  # fmt: skip


def person_of(run, name: str):
    """The results of one person."""
    return next(person for person in read_spot_check(run).people if person.name == name)
