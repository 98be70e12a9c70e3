"""What the user adds to every request over HTTP: further fields of the body, headers, parameters of the URL. Secrets stay secret."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.language_models.secret_values import holds_secret, looks_secret

LONGEST_VALUE = 10_000  # characters of a value from a file
_NAME_OF_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_NAME_OF_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # a token of RFC 9110, §5.6.2
_OWN_FIELDS = {
    "model": "the model follows --llm and --vlm",
    "messages": "the interview writes the questions",
    "input": "the interview writes the questions",
    "stream": "the program decides how answers travel",
    "stream_options": "the program decides how answers travel",
    "response_format": "the interview asks for a schema",
    "n": "one answer is used",
    "seed": "use --seed",
    "max_tokens": "use --max-tokens",
    "max_completion_tokens": "use --max-tokens",
    "max_output_tokens": "use --max-tokens",
}
_OWN_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding", "user-agent"}
)


@dataclass(frozen=True)
class Additions:
    """What goes with every request besides the question.

    `options` are fields of the body; they change answers, so a transcript belongs to one set of options. `headers` and `query` may
    hold secrets; `secrets` lists these. `insecure_key` allows a key over plain http. `sees_images` tells the model of `--vlm`,
    which has a key of its own.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    insecure_key: bool = False
    sees_images: bool = False

    @property
    def any(self) -> bool:
        """Whether anything goes with a request."""
        return bool(self.options or self.headers or self.query)


def read_additions(
    options: Sequence[str], headers: Sequence[str], query: Sequence[str], name: str, insecure_key: bool = False
) -> Additions:
    """The additions that the options `--NAME-option`, `--NAME-header` and `--NAME-query` give, as NAME=VALUE each.

    Raises UsageError, which shows no value, for one that has no sense, and for a secret that stands on the command line.
    """
    secrets: list[str] = []
    return Additions(
        _read(options, f"--{name}-option", _option),
        _read(headers, f"--{name}-header", lambda option, key, value: _header(option, key, value, secrets)),
        _read(query, f"--{name}-query", lambda option, key, value: _value(option, key, value, secrets)),
        tuple(secrets),
        insecure_key,
        name == "vlm",
    )


def options_in_words(options: Mapping[str, Any]) -> str:
    """The options as a list in a sentence, in the order of their names: `think=false, top_p=0.9`."""
    return (
        ", ".join(f"{name}={json.dumps(value, sort_keys=True, ensure_ascii=False)}" for name, value in sorted(options.items()))
        or "no options"
    )


def _read(texts: Sequence[str], option: str, read: Callable[[str, str, str], Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{option} needs NAME=VALUE", "there is no NAME before a =", f"write {option} NAME=VALUE")
        if name in values:
            raise UsageError(f"{option} {name} is given twice", "", "give it once")
        values[name] = read(option, name, value.strip())
    return values


def _option(option: str, name: str, text: str) -> Any:
    """The value of a field of the body: JSON, or else the text itself."""
    if not _NAME_OF_OPTION.fullmatch(name):
        raise UsageError(f"{name[:40]!r} is no name of an option", "", f"write {option} reasoning_effort=low")
    if reason := _OWN_FIELDS.get(name.casefold()):
        raise UsageError(f"{option} {name} cannot be set", reason, "leave it out")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = text
    if holds_secret(name, value):
        raise UsageError(
            f"the value of {option} {name} looks like a secret",
            "options are written into the dossier",
            f"put the key into DMUN_LLM_API_KEY, or send it as a header: {option.removesuffix('option')}header NAME=env:VARIABLE",
        )
    if len(json.dumps(value)) > LONGEST_VALUE // 10:
        raise UsageError(f"the value of {option} {name} is too long", f"at most {LONGEST_VALUE // 10:,} characters", "shorten it")
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(text)  # NaN and Infinity are no JSON


def _header(option: str, name: str, text: str, secrets: list[str]) -> str:
    if not _NAME_OF_HEADER.fullmatch(name) or name.casefold() in _OWN_HEADERS:
        raise UsageError(f"{option} {name[:40]!r} cannot be sent", "it is no header of your own", "name another header")
    value = _value(option, name, text, secrets)
    if not (value.isascii() and value.isprintable()):
        raise UsageError(
            f"the value of {option} {name} cannot be sent", "it holds characters that no header can carry", "set it again"
        )
    return value


def _value(option: str, name: str, text: str, secrets: list[str]) -> str:
    """The value that `env:VARIABLE`, `file:PATH` or the text itself gives. The first two are secrets."""
    kind, colon, place = text.partition(":")
    if colon and kind == "env":
        value = os.environ.get(place, "").strip()
        if not value:
            raise UsageError(f"{option} {name} has no value", f"the variable {place} is not set", "set it")
    elif colon and kind == "file":
        value = _content(option, name, place)
    else:
        if looks_secret(name, text):
            raise UsageError(
                f"the value of {option} {name} looks like a secret",
                "a command line can be read by others on this machine, and is written into logs",
                f"put it into a variable or a file: {option} {name}=env:VARIABLE or {name}=file:PATH",
            )
        return text
    secrets.append(value)
    return value


def _content(option: str, name: str, place: str) -> str:
    path = expanded(place, f"{option} {name}=file:{place}")
    try:
        with path.open(encoding="utf-8") as stream:
            value = stream.read(LONGEST_VALUE + 1).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no text"
        raise UsageError(f"{option} {name}: {place} cannot be read", str(reason), "check the path") from None
    if not value or len(value) > LONGEST_VALUE:
        raise UsageError(f"{option} {name}: {place} holds no value", "it is empty or too long", "check the file")
    return value
