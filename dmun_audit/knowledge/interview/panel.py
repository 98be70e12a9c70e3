"""One interview of several language models: each later one is asked only what those before it could not give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from dmun_audit.knowledge.interview.interviewer import Interviewer, ItemRequest, Shortfall

_REASONS = {
    "refused": "the model refused",
    "invalid": "the model's answers were not valid",
    "cut off": "the model's answers were cut off",
    "too large": "the model's answers were far too long",
    "exhausted": "the model had no more",
}


def in_words(reason: str) -> str:
    """The reason of a shortfall in words."""
    return _REASONS.get(reason, reason)


class Collector(Protocol):
    """Collects the items of requests: an interviewer of one language model, or a panel of several."""

    seed: int

    def collect(self, requests: Sequence[ItemRequest[Any]]) -> list[list[Any]]:
        """The items of every request. Raises UsageError for one that failed and is not optional."""
        ...


class Panel:
    """Asks several language models in turn. `shortfalls` are the optional requests for which none had enough.

    `given` holds, for each language model in turn, the topics of which it gave items.
    """

    def __init__(self, interviewers: Sequence[Interviewer]) -> None:
        self.interviewers = tuple(interviewers)
        self.seed = self.interviewers[0].seed
        self.shortfalls: list[Shortfall] = []
        self.given: list[list[str]] = [[] for _ in interviewers]

    @property
    def model(self) -> str:
        """The names of the language models that were asked."""
        return ", ".join(dict.fromkeys(each.transcript.model for each in self.interviewers))

    def model_of(self, topic: str) -> str:
        """The names of the language models that answered questions whose topic begins so."""
        asked = zip(self.interviewers, self.given, strict=True)
        return ", ".join(each.transcript.model for each, topics in asked if any(given.startswith(topic) for given in topics))

    @property
    def remarks(self) -> list[str]:
        """The sentences of all interviewers for the history of the dossier."""
        return [sentence for each in self.interviewers for sentence in each.remarks]

    def reason(self, topic: str) -> str:
        """Why a request failed, with a colon and a space before it; "" if it did not."""
        reasons = [shortfall.reason for shortfall in self.shortfalls if shortfall.topic == topic]
        return f": {in_words(reasons[-1])}" if reasons else ""

    def collect(self, requests: Sequence[ItemRequest[Any]]) -> list[list[Any]]:
        """The items of every request. A request that one language model fails goes to the next.

        Raises the last one's UsageError for a request that failed with all and is not optional.
        """
        items: list[list[Any]] = [[] for _ in requests]
        lacking = dict(enumerate(requests))
        for number, interviewer in enumerate(self.interviewers):
            is_last = number == len(self.interviewers) - 1
            if not lacking:
                break
            earlier = len(interviewer.shortfalls)
            asked = {place: request if is_last else replace(request, optional=True) for place, request in lacking.items()}
            for (place, request), answer in zip(asked.items(), interviewer.collect(list(asked.values())), strict=True):
                items[place] = _together(request, items[place], answer)
                if any(kept is item for item in answer for kept in items[place]):
                    self.given[number].append(request.topic)
            failed = {shortfall.topic: shortfall for shortfall in interviewer.shortfalls[earlier:]}
            lacking = {
                place: request
                for place, request in lacking.items()
                if request.topic in failed and not (number and _is_enough(request, items[place]))
            }
            if is_last:
                self.shortfalls += [failed[request.topic].of_all(len(items[place])) for place, request in lacking.items()]
        return items


def _together(request: ItemRequest[Any], earlier: list[Any], later: list[Any]) -> list[Any]:
    """The items of two language models. Of whole lists, such as ratings of all concepts, the longer one counts."""
    if request.whole_lists or request.minimum == request.wanted:
        return later if len(later) > len(earlier) else earlier
    by_identity = {request.identity(item): item for item in [*later, *earlier]}  # of two with one identity, the earlier
    order = dict.fromkeys(request.identity(item) for item in [*earlier, *later])
    return [by_identity[identity] for identity in order]


def _is_enough(request: ItemRequest[Any], items: list[Any]) -> bool:
    return len(items) >= request.minimum and not (request.list_problem_fails and request.list_problem(items))
