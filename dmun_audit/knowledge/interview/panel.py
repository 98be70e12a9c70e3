"""One interview of several language models: each later one is asked only what those before it could not give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from dmun_audit._util.errors import StoreError, UsageError
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
        self._failed: set[int] = set()

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
        """The sentences of all interviewers for the history of the dossier, and one for each whose server failed.

        The reason of a failure is told while the interview runs. It may name addresses and paths, so no dossier holds it.
        """
        failed = [self.interviewers[number].transcript.model for number in sorted(self._failed)]
        return [
            *(sentence for each in self.interviewers for sentence in each.remarks),
            *(f"The language model {name!r} failed, and was not asked any further." for name in failed),
        ]

    def reason(self, topic: str) -> str:
        """Why a request failed, with a colon and a space before it; "" if it did not."""
        reasons = [shortfall.reason for shortfall in self.shortfalls if shortfall.topic == topic]
        return f": {in_words(reasons[-1])}" if reasons else ""

    def collect(self, requests: Sequence[ItemRequest[Any]]) -> list[list[Any]]:
        """The items of every request. A request that one language model fails goes to the next.

        A later language model whose server fails is left out from then on; what it answered before counts. Raises the last one's
        UsageError for a request that failed with all and is not optional, and the first one's if its server fails.
        """
        items: list[list[Any]] = [[] for _ in requests]
        lacking = dict(enumerate(requests))
        failed: dict[str, Shortfall] = {}
        asked_in_turn = [number for number in range(len(self.interviewers)) if number not in self._failed]
        for number in asked_in_turn:
            if not lacking:
                break
            is_last = number == asked_in_turn[-1]
            asked = [request if is_last else replace(request, optional=True) for request in lacking.values()]
            answers, newly_failed = self._ask(number, asked)
            failed |= newly_failed
            still_lacking = {}
            for (place, request), answer in zip(lacking.items(), answers, strict=True):
                items[place] = _together(request, items[place], answer)
                if any(kept is item for item in answer for kept in items[place]):
                    self.given[number].append(request.topic)
                is_unanswered = number in self._failed and not answer
                is_short = request.topic in newly_failed or number in self._failed
                if is_unanswered or (is_short and not (number and _is_enough(request, items[place]))):
                    still_lacking[place] = request
            lacking = still_lacking
        self.shortfalls += [failed[request.topic].of_all(len(items[place])) for place, request in lacking.items()]
        return items

    def _ask(self, number: int, requests: Sequence[ItemRequest[Any]]) -> tuple[list[list[Any]], dict[str, Shortfall]]:
        """The items of one language model, and its shortfalls by topic. If the server of a later one fails: what it answered."""
        interviewer = self.interviewers[number]
        earlier = len(interviewer.shortfalls)
        try:
            items = interviewer.collect(requests)
        except StoreError:  # the disk is full: no answer of another language model could be kept either
            raise
        except UsageError as error:
            if number == 0 or not all(request.optional for request in requests):
                raise
            self._failed.add(number)
            interviewer.on_progress(f"WARNING: the language model {interviewer.transcript.model!r} failed: {error.in_a_line}")
            return interviewer.collect_kept(requests), {}
        return items, {shortfall.topic: shortfall for shortfall in interviewer.shortfalls[earlier:]}


def _together(request: ItemRequest[Any], earlier: list[Any], later: list[Any]) -> list[Any]:
    """The items of two language models. Of whole lists, such as ratings of all concepts, the longer one counts."""
    if request.whole_lists or request.minimum == request.wanted:
        return later if len(later) > len(earlier) else earlier
    by_identity = {request.identity(item): item for item in [*later, *earlier]}  # of two with one identity, the earlier
    order = dict.fromkeys(request.identity(item) for item in [*earlier, *later])
    return [by_identity[identity] for identity in order]


def _is_enough(request: ItemRequest[Any], items: list[Any]) -> bool:
    return len(items) >= request.minimum and not (request.list_problem_fails and request.list_problem(items))
