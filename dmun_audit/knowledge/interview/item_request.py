"""Requests for lists of items: what is asked, and which answers are enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from dmun_audit.knowledge.interview.answers import Item

ENOUGH_SHARE = 0.8  # of the items wanted: nothing is asked again for the rest
SPARE = 2  # items more than wanted, asked for at first
FEWEST_FOR_SPARE = 3  # items wanted by a request that asks for more of them at first

Validated = tuple[Item | None, str]
"""A valid item (corrected if need be) or None, and its problem or ""."""


def accept(item: Item) -> Validated[Item]:
    """Accept every item."""
    return item, ""


@dataclass(frozen=True)
class ItemRequest(Generic[Item]):
    """A request for a list of items.

    Attributes:
        template: Name of the question's template.
        values: Values for the template.
        item_type: Type of each item.
        topic: What is asked for, in words. It is part of the sampling seed, so it must not change.
        wanted: Number of items that are wanted. The question asks for `asked`, which may be a few more.
        minimum: Number of valid items without which the request fails.
        validate: Checks one item.
        identity: Items of the same identity count once.
        list_problem: The problem of the items as a list, or "".
        list_problem_fails: Whether the request fails if the list still has a problem after the last attempt. If not, a list with
            most of its items is asked for again once.
        images: PNG files shown with the question.
        enough: Number of valid items that end the request; None stands for 80% of `wanted`, or `minimum` if that is more.
        whole_lists: Whether every answer is a whole list that replaces the one before, as a ranking does.
        must_parse: Whether the request fails if no answer had the form of a list, even with `minimum` 0.
        repeat: Tells requests with the same template and topic apart; part of the sampling seed.
        max_tokens: Limit of the answer's length; doubled after an answer that was cut off.
        optional: Whether the interview goes on without what this request cannot bring; `Interviewer.shortfalls` says so.
    """

    template: str
    values: dict[str, Any]
    item_type: type[Item]
    topic: str
    wanted: int
    minimum: int
    validate: Callable[[Item], Validated[Item]] = accept
    identity: Callable[[Item], str] = lambda item: str(item)
    list_problem: Callable[[Sequence[Item]], str] = lambda items: ""
    list_problem_fails: bool = True
    images: tuple[bytes, ...] = ()
    enough: int | None = None
    whole_lists: bool = False
    must_parse: bool = False
    repeat: int = 0
    max_tokens: int = 2_500
    optional: bool = False

    @property
    def is_of_a_fixed_list(self) -> bool:
        """Whether the items belong to the numbers of a list in the question, so that their count is fixed."""
        return "number" in self.item_type.model_fields

    @property
    def asked(self) -> int:
        """The number of items that the question asks for: `wanted` and, where more can be of use, two to spare."""
        has_spare = self.wanted >= FEWEST_FOR_SPARE and self.enough is None and not self.is_of_a_fixed_list
        return self.wanted + (SPARE if has_spare else 0)

    @property
    def sufficient(self) -> int:
        """The number of valid items after which nothing is asked again."""
        if self.enough is not None:
            return self.enough
        return self.wanted if self.is_of_a_fixed_list else self.most_of_wanted

    @property
    def most_of_wanted(self) -> int:
        """80% of `wanted`, or `minimum` if that is more."""
        return max(self.minimum, math.ceil(ENOUGH_SHARE * self.wanted))
