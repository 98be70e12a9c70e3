"""How long a server asks to wait before the next request: by its headers or by its message. Pure functions."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_GUESS = 60.0  # seconds that a header about limits, which asks for nothing, may make us wait
_RESET_HEADERS = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")  # OpenAI, Groq, Together
_IN_WORDS = re.compile(r"(?:try again|retry)(?: after| in)\s+((?:\d+(?:\.\d+)?\s?(?:ms|h|m|s)(?:econds?|inutes?)?\s?)+|\d+)")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|h|m|s)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def asked_pause(headers: Mapping[str, str], words: str) -> float | None:
    """The seconds that a server asks to wait: `retry-after-ms`, `Retry-After`, "try again in 7.66s", or when its limit resets.

    `headers` finds names whatever their case; `words` is the message in lower case. None if nothing says how long.
    """
    milliseconds = retry_after(headers.get("retry-after-ms"))
    seconds = milliseconds / 1000 if milliseconds is not None else retry_after(headers.get("Retry-After"))
    if seconds is not None:
        return seconds
    said = _IN_WORDS.search(words)
    if said:
        return duration(said[1])
    resets = [duration(headers.get(name, "")) for name in _RESET_HEADERS]
    known = [value for value in resets if value is not None]
    return min(max(known), LONGEST_GUESS) if known else None


def retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header: a number or an HTTP date (RFC 9110, §10.2.3). None if it says neither."""
    try:
        seconds = float(value or "")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value or "").timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), 1e9)


def duration(text: str) -> float | None:
    """The seconds of a duration such as "20ms", "7.66s", "6m0s", "1h2m" or "12". None if `text` is none."""
    parts = _PART.findall(text.strip()[:40])
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None
