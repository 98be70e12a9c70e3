"""What a reasoning model thinks before it answers, told apart from the answer."""

from __future__ import annotations

import re

_NAMES = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad)"
_CLOSING = re.compile(
    rf"</{_NAMES}\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|/think\|>"
    r"|<\|channel\|>\s*final\b[^<\n]{0,40}(?:<\|constrain\|>[^<\n]{0,20})?<\|message\|>|\A\s*analysis(?=\S).*assistantfinal"
    r"|Here is my response:",
    re.IGNORECASE | re.DOTALL,
)
_OPENING = re.compile(
    rf"<{_NAMES}\s*>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|think\|>"
    r"|<\|channel\|>\s*(?:analysis|commentary)|Here is my thought process:",
    re.IGNORECASE,
)
_CONTROL = re.compile(
    r"<\|(?:start|end|return|call|message|im_end|im_start|eot_id|endoftext)\|>(?:assistant)?|</?(?:answer|response)>"
)


def without_reasoning(text: str) -> str:
    """The answer in `text`: what follows the last thought that ended, up to one that did not end. "" if there is none.

    Known are the marks of DeepSeek, Qwen, Mistral, Kimi, Granite, Seed and gpt-oss (harmony). A chat template may have written the
    opening mark itself, so that only the closing one is in the text.
    """
    ends = [match.end() for match in _CLOSING.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    if opening := _OPENING.search(rest):
        rest = rest[: opening.start()]
    return _CONTROL.sub(" ", rest).strip()
