"""Faults in what a language model says of a target: aliases, concepts, prompts, languages."""

from interview_faults import Fault, changed_items

FAULTS = [
    Fault(
        "a concept in capitals",
        changed_items("relation to the target: sibling", lambda items: [*items, items[0] | {"name": items[0]["name"].upper()}]),
    ),
]
