"""Cases and their image requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from dmun_audit._util.hashing import digest, seed_of, slug
from dmun_audit.knowledge.dossier import AdversarialPrompt, NearbyConcept

Side = Literal["base", "candidate", "candidate, own settings", "control model"]
OWN_SETTINGS: Side = "candidate, own settings"
"""The candidate with the steps, the guidance and the scheduler of its own card, and not with the base's."""
CONTROL_MODEL: Side = "control model"
"""A model that never knew the target: the control of probes."""

Setting = str | int | float | bool
"""The value of one setting of a recipe."""


@dataclass(frozen=True)
class ImageRequest:
    """A request for one image: its model, its prompt, and the index and value of its seed.

    `recipe` says how a probe draws it; None for an image of the model's pipeline.
    """

    side: Side
    prompt: str
    index: int
    seed: int
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Recipe:
    """How a probe draws an image, where model, prompt and seed do not say it all. It decides the image together with them.

    Attributes:
        probe: The name of the probe.
        settings: Names and values of the probe's settings, in a fixed order.
        units: The base images whose prompts and seeds are attacked together; empty if each image stands alone.
        examples: The base images that the probe learns from.
        names: The names of the target, for a probe that puts something else in their place.
    """

    probe: str
    settings: tuple[tuple[str, Setting], ...] = ()
    units: tuple[ImageRequest, ...] = ()
    examples: tuple[ImageRequest, ...] = ()
    names: tuple[str, ...] = ()

    def setting(self, name: str) -> Any:
        """The value of one setting. Raises KeyError if there is none of that name."""
        return dict(self.settings)[name]

    @cached_property
    def _hash(self) -> int:
        return hash((self.probe, self.settings, self.units, self.examples, self.names))

    def __hash__(self) -> int:
        return self._hash


Row = tuple[Sequence[ImageRequest], Sequence[ImageRequest]]
"""A row, which decides which images share a batch, and the wanted images in it."""


@dataclass(frozen=True)
class Case:
    """One test. `group` names the claim group that plans and decides it; `kind` distinguishes the cases of the group.

    `images` are the requests that are known before the audit. Some groups add requests during the audit: an adversarial prompt
    gets candidate images after its validation. A `pooled` case is decided from the records of the other cases of its group.
    """

    id: str
    group: str
    kind: str
    title: str
    gating: bool
    images: tuple[ImageRequest, ...] = ()
    pooled: bool = False
    concept: NearbyConcept | None = None
    prompt: AdversarialPrompt | None = None
    target: str = ""  # the target of its plan, which `make_plan` fills in
    audit: str = field(default="", compare=False)  # the prefix of its audit in a session of several

    def images_of(self, side: Side) -> tuple[ImageRequest, ...]:
        """The requests to one model."""
        return self._images_by_side[side]

    @cached_property
    def _images_by_side(self) -> dict[Side, tuple[ImageRequest, ...]]:
        sides: tuple[Side, ...] = get_args(Side)
        return {side: tuple(request for request in self.images if request.side == side) for side in sides}


def case_id(group: str, text: str, *content: Any) -> str:
    """A stable ASCII id: a slug of `text` and eight hex digits of the hash of group, text and content."""
    return f"{slug(text)}-{digest([group, text, *content])[:8]}"


def pooled_case(group: str, kind: str, title: str, text: str, *content: Any) -> Case:
    """The case of a claim over a whole group. `text` and `content` make its id, as in `case_id`."""
    return Case(case_id(group, text, *content), group, kind, title, gating=True, pooled=True)


def requests_for(side: Side, prompts: Sequence[str], count: int, audit_seed: int, first: int = 0) -> tuple[ImageRequest, ...]:
    """`count` requests spread evenly over `prompts`, in rounds, with the seeds of the indices `first`, `first` + 1, …

    The seed depends only on audit seed, prompt and index, so base and candidate share it.
    """
    requests = []
    for position in range(count):
        prompt, index = prompts[position % len(prompts)], first + position // len(prompts)
        requests.append(ImageRequest(side, prompt, index, seed_of(audit_seed, prompt, index)))
    return tuple(requests)


def by_rounds(members: Sequence[Sequence[ImageRequest]], end: int | None = None) -> list[ImageRequest]:
    """The images of several members round by round: the first of each, then the second of each, up to `end` of each."""
    rounds = max(map(len, members), default=0) if end is None else end
    return [member[place] for place in range(rounds) for member in members if place < len(member)]
