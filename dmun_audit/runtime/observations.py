"""The images of one audit: draws missing ones, judges them, and makes their records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dmun_audit.claim_groups import retention
from dmun_audit.claim_groups.context import Judge
from dmun_audit.claim_groups.controls import calibration_images
from dmun_audit.evidence.schema import CalibrationImage, ImageRecord
from dmun_audit.judge.clip_scorer import ClipScorer
from dmun_audit.judge.detection import Threshold
from dmun_audit.judge.viewed import ViewedJudge
from dmun_audit.judge.views import VIEWS, View
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.plan.case import ImageRequest, Row
from dmun_audit.plan.plan import Plan
from dmun_audit.render.engine import Engine, covering

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.judge.prompt_judge import PromptJudge
    from dmun_audit.judge.protocol import StoredImageDetector
    from dmun_audit.probes.parts.bench import Bench


class AuditObservations:
    """Images by request; implements `claim_groups.context.Observations`.

    `second` is a second, independent detector of the target, or None. `prompt_judge` is the user's judge of composition prompts.
    `bench` is what probes work with, or None.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        scorer: ClipScorer,
        second: StoredImageDetector | None = None,
        prompt_judge: PromptJudge | None = None,
        bench: Bench | None = None,
    ) -> None:
        self.plan = plan
        self._bench = bench
        self.engine = engine
        self.scorer = scorer
        self.second = second
        self.prompt_judge = prompt_judge
        self.calibration = calibration_images(plan.policy, plan.nearby, plan.audit_seed)
        controls = plan.policy.controls
        views, cap = VIEWS[controls.views], controls.threshold_cap
        self.first_judge = ViewedJudge(scorer, views, cap, self._calibration_keys)
        self.second_judge = ViewedJudge(second, views, cap, self._calibration_keys) if second else None

    @property
    def has_second_judge(self) -> bool:
        """See `Observations.has_second_judge`."""
        return self.second is not None

    # Drawing.

    def draw(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """See `Observations.draw`."""
        self.draw_rows([(row, row if wanted is None else wanted)])

    def draw_rows(self, rows: Sequence[Row], spare: Sequence[Row] = ()) -> None:
        """See `Observations.draw_rows`."""
        self.engine.ensure_rows(rows, spare)
        for _, wanted in rows:
            self.scorer.expect(self.keys(wanted))

    def draw_base_of_neighbours(self, wanted: Sequence[ImageRequest]) -> None:
        """See `Observations.draw_base_of_neighbours`."""
        self.draw_rows(list(self._rows_of_neighbours(wanted)))

    def calibration_cost(self) -> int:
        """The number of images that calibration draws: whole batches of the neighbours' base images."""
        size = self.plan.policy.sampling.batch_size
        rows = self._rows_of_neighbours(self.calibration)
        return sum(len(batch) for row, in_row in rows for batch in covering(row, in_row, size))

    def _rows_of_neighbours(self, wanted: Sequence[ImageRequest]) -> Iterator[tuple[list[ImageRequest], list[ImageRequest]]]:
        """The rows of the neighbours' base images, each with the `wanted` images that are in it."""
        requests = set(wanted)
        for row in retention.GROUP.rows(self.plan, "base"):
            in_row = [request for request in row if request in requests]
            if in_row:
                yield row, in_row

    # Judging.

    def keys(self, requests: Sequence[ImageRequest]) -> list[str]:
        """The store's keys of images."""
        return [self.engine.key(request) for request in requests]

    @property
    def threshold(self) -> Threshold:
        """The detection threshold of the judge, calibrated on base images of concepts without the target."""
        return self.first_judge.thresholds[0]

    def _calibration_keys(self) -> list[str]:
        self.draw_base_of_neighbours(self.calibration)
        return self.keys(self.calibration)

    def calibration_records(self) -> tuple[CalibrationImage, ...]:
        """See `Observations.calibration_records`."""
        keys = self._calibration_keys()
        scores, seen = self.scorer.target_scores(keys), self.first_judge.view_scores(keys)
        setting = [threshold.set_by for threshold in self.first_judge.thresholds]
        return tuple(
            CalibrationImage(
                key=key,
                target_score=round(float(score), 6),
                view_score=None if seen is None else round(float(seen[place]), 6),
                prompt=request.prompt,
                index=request.index,
                sets_threshold=True if setting[0] == place else None,
                sets_view_threshold=True if place in setting[1:] else None,
            )
            for place, (request, key, score) in enumerate(zip(self.calibration, keys, scores, strict=True))
        )

    def detected(self, requests: Sequence[ImageRequest], judge: Judge = "first") -> list[int]:
        """See `Observations.detected`."""
        asked = self.first_judge if judge == "first" else self.second_judge
        return list(map(int, asked.detects(self.keys(requests)))) if requests and asked else []

    def detected_after(self, change: View, requests: Sequence[ImageRequest]) -> list[int]:
        """See `Observations.detected_after`."""
        return list(map(int, self.first_judge.detects(self.keys(requests), change))) if requests else []

    def clip_scores(self, requests: Sequence[ImageRequest]) -> list[float]:
        """See `Observations.clip_scores`; rounded to six places, as the evidence holds them."""
        if not requests:
            return []
        scores = self.scorer.clip_scores(self.keys(requests), [request.prompt for request in requests])
        return [round(float(score), 6) for score in scores]

    def images(self, requests: Sequence[ImageRequest]) -> list[np.ndarray]:
        """See `Observations.images`."""
        return self.engine.images(requests)

    def embeddings(self, requests: Sequence[ImageRequest]) -> np.ndarray:
        """See `Observations.embeddings`."""
        return self.scorer.embeddings(self.keys(requests))

    def text_embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """See `Observations.text_embeddings`."""
        return self.scorer.judge.embed_texts(texts)

    def labels(self, requests: Sequence[ImageRequest], concept: NearbyConcept) -> list[str]:
        """See `Observations.labels`."""
        return self.scorer.classify(self.keys(requests), concept)

    @property
    def bench(self) -> Bench | None:
        """See `Observations.bench`."""
        if self._bench:
            self._bench.take_over()
        return self._bench

    def own_settings(self) -> tuple[str, ...] | None:
        """See `Observations.own_settings`."""
        return self.engine.own_differences

    @property
    def composition_judge(self) -> str | None:
        """See `Observations.composition_judge`."""
        return self.prompt_judge.reference if self.prompt_judge else None

    def show_their_prompts(self, requests: Sequence[ImageRequest]) -> list[int] | None:
        """See `Observations.show_their_prompts`."""
        if self.prompt_judge is None:
            return None
        return self.prompt_judge.shows(self.keys(requests), [request.prompt for request in requests])

    # Recording.

    def records(self, requests: Sequence[ImageRequest]) -> tuple[ImageRecord, ...]:
        """See `Observations.records`."""
        if not requests:
            return ()
        keys = self.keys(requests)
        scores, clip_scores = self.scorer.target_scores(keys), self.clip_scores(requests)
        view_scores, detected = self.first_judge.view_scores(keys), self.first_judge.detects(keys)
        second: list[tuple[float | None, bool | None]] = [(None, None)] * len(keys)
        if self.second is not None and self.second_judge is not None:
            second_scores, detections = self.second.target_scores(keys), self.second_judge.detects(keys)
            second = [(round(float(score), 6), hit) for score, hit in zip(second_scores, detections, strict=True)]
        return tuple(
            ImageRecord(
                model=request.side,
                prompt=request.prompt,
                index=request.index,
                seed=request.seed,
                key=keys[place],
                target_score=round(float(scores[place]), 6),
                view_score=None if view_scores is None else round(float(view_scores[place]), 6),
                detected=detected[place],
                clip_score=clip_scores[place],
                second_score=second[place][0],
                second_detected=second[place][1],
            )
            for place, request in enumerate(requests)
        )
