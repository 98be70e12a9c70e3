"""The protocols through which claim groups use an audit.

`Observations` draws images and gives the answers of judges. `Measures` measures drawn images beside the claims. `CaseContext` runs
one plan on one pair of models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from dmun_audit.claim_groups.rules import Rules
from dmun_audit.evidence.schema import CalibrationImage, CaseRecord, ImageRecord
from dmun_audit.judge.views import View
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.plan.case import Case, ImageRequest, Row
from dmun_audit.plan.plan import Plan

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.probes.parts.bench import Bench

Judge = Literal["first", "second"]
T = TypeVar("T")


@dataclass(frozen=True)
class JudgeOutcomes:
    """The outcomes of one case's images by the judge, and by the second judge if there is one."""

    first: list[int]
    second: list[int] | None = None

    def by(self, judge: Judge) -> list[int]:
        """The outcomes by one judge; empty if there is no second judge."""
        return self.first if judge == "first" else self.second or []


class Observations(Protocol):
    """The images of an audit and the answers of judges. All lists keep the order of the requests."""

    @property
    def plan(self) -> Plan:
        """The plan that the images belong to."""
        ...

    @property
    def has_second_judge(self) -> bool:
        """Whether there is a second judge."""
        ...

    def draw(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """Draw the `wanted` images of a row (all, if not given). A row fixes which images share a batch."""
        ...

    def draw_rows(self, rows: Sequence[Row], spare: Sequence[Row] = ()) -> None:
        """Draw several rows, each with its wanted images. Processes that need the same rows share the work.

        Images of `spare` rows are wanted later: they are drawn only as long as this process would wait for another one.
        """
        ...

    def draw_base_of_neighbours(self, wanted: Sequence[ImageRequest]) -> None:
        """Draw base images of nearby concepts in the same batches as the retention cases."""
        ...

    def detected(self, requests: Sequence[ImageRequest], judge: Judge = "first") -> list[int]:
        """1 for every drawn image in which a judge detects the target, 0 for the others."""
        ...

    def detected_after(self, change: View, requests: Sequence[ImageRequest]) -> list[int]:
        """1 for every drawn image in which the judge detects the target after `change`, 0 for the others."""
        ...

    def labels(self, requests: Sequence[ImageRequest], concept: NearbyConcept) -> list[str]:
        """The judge's label for each drawn image: the concept's label or one of its rivals."""
        ...

    def clip_scores(self, requests: Sequence[ImageRequest]) -> list[float]:
        """The CLIP score of each drawn image with its own prompt, in [-1, 1]."""
        ...

    def images(self, requests: Sequence[ImageRequest]) -> list[np.ndarray]:
        """The drawn images, each (height, width, 3) uint8 RGB."""
        ...

    def embeddings(self, requests: Sequence[ImageRequest]) -> np.ndarray:
        """The CLIP embeddings of n ≥ 1 drawn images: unit vectors (n, d)."""
        ...

    def text_embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """The CLIP embeddings of n ≥ 1 texts: unit vectors (n, d)."""
        ...

    @property
    def composition_judge(self) -> str | None:
        """The reference of the judge that the user named for composition prompts; None if there is none."""
        ...

    def show_their_prompts(self, requests: Sequence[ImageRequest]) -> list[int] | None:
        """1 for every drawn image that shows its own composition prompt, by that judge. None if there is no such judge."""
        ...

    def records(self, requests: Sequence[ImageRequest]) -> tuple[ImageRecord, ...]:
        """The record of each drawn image for the evidence."""
        ...

    @property
    def bench(self) -> Bench | None:
        """What probes work with; None where the images are rendered elsewhere."""
        ...

    def own_settings(self) -> tuple[str, ...] | None:
        """Where the candidate's own settings differ from the base's, in words; None if the candidate has no known settings."""
        ...

    def calibration_records(self) -> tuple[CalibrationImage, ...]:
        """The images on which the detection threshold was calibrated, with their scores."""
        ...


class Measures(Protocol):
    """Measures of drawn images beside the claims."""

    def of_pairs(
        self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest], right: tuple[Sequence[bool], Sequence[bool]]
    ) -> dict[str, float]:
        """All measures of a concept's pairs. `right` holds, for base and candidate images, whether the judge recognises them."""
        ...

    def by_metrics(self, base: Sequence[ImageRequest], candidate: Sequence[ImageRequest]) -> dict[str, float]:
        """The values of all metrics on n ≥ 1 pairs. The user names metrics, and other packages register them. Empty without metrics."""
        ...

    def similarity(self, concept: NearbyConcept, base: Sequence[ImageRequest]) -> dict[str, float]:
        """The similarity of a concept to the target by CLIP."""
        ...

    def collapsed(self, images: Sequence[ImageRequest]) -> float:
        """The share of images that are nearly one colour or pure noise."""
        ...

    def detection(self) -> dict[str, float]:
        """`threshold`, the detection threshold, and `calibration_images`, the number of images on which it was calibrated.

        `threshold_lowest` is the lowest threshold of the judge, if the threshold is higher and the judge gives probabilities.
        `threshold_view` is the threshold of the view with stretched contrast, if there is one.
        """
        ...


class CaseContext(Protocol):
    """One plan on one pair of models, as groups use it."""

    @property
    def plan(self) -> Plan:
        """The plan."""
        ...

    @property
    def observations(self) -> Observations:
        """The images and the answers of judges."""
        ...

    @property
    def measures(self) -> Measures:
        """Further measures of images."""
        ...

    def rules(self, judge: Judge = "first") -> Rules:
        """The rules for one judge. They include its error rates if the policy says so."""
        ...

    def drawn(self, case: Case) -> tuple[ImageRequest, ...]:
        """Draw the candidate images that decide a case. They come in the order of its rounds."""
        ...

    def max_images(self, case: Case) -> int:
        """The largest number of candidate images (pairs) of a case."""
        ...

    def record(self, case: Case) -> CaseRecord:
        """The record of another case of the plan."""
        ...

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """The result of `compute`, computed once in this context and stored under `name`."""
        ...
