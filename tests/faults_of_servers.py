"""Faults of HTTP servers."""

from interview_faults import Fault, changed_text

FAULTS = [
    Fault("an answer in a fence", changed_text("", lambda text: f"```json\n{text}\n```")),
]
