"""Interviews in which a part of the dossier cannot be had."""

from interview_faults import Fault, changed_items

FAULTS = [
    Fault("a prompt given twice", changed_items("by its name", lambda items: [*items, items[0]])),
]
