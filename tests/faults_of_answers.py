"""Faults in the form of answers, and refusals."""

from interview_faults import Fault, changed_text

FAULTS = [
    Fault("prose around an answer", changed_text("", lambda text: f"Here it is: {text} Anything else?")),
]
