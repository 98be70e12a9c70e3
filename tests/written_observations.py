"""An audit on outcomes that are written down beforehand, in place of images and judges."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from dmun_audit.claim_groups.context import JudgeOutcomes
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.decisions.conclude import pooled_records
from dmun_audit.evidence.schema import ImageRecord
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.knowledge.words.content_words import content_words
from dmun_audit.measures.quality import collapsed
from dmun_audit.runtime.runner import AuditRunner
from dmun_audit.runtime.sequential_sampler import SequentialSampler

DOSSIER = find_pack("Van Gogh", "atelier")


class WrittenObservations:
    """Knows in which candidate images the target is seen, and which the candidate draws wrong; remembers what was drawn.

    `seen` maps a prompt to how many of its first images show the target, `second` does so for a second judge; a prompt on
    the base always works unless it is `invalid`. `wrong` maps a concept to how many of its prompts the candidate draws
    wrong. The base model draws `unknown` concepts wrong. `own` says where the candidate's own settings differ from the base's.

    `shows` says what an image shows, as a text (by default its prompt), `picture` which of all pictures it is (by default one of
    its own for each prompt and seed, the same from both models). `pixels` and `vectors` are functions of a request that give its
    image (by default a few coloured fields) and its embedding; `texts` gives the embedding of a text. `after` says of a view and
    a request whether the judge detects the target, and `scores` maps a request to its target score.
    """

    def __init__(
        self, plan, seen=(), wrong=(), second=None, unknown=(), invalid=(), own=(), pixels=None, vectors=None, texts=None,
        after=None, scores=None, calibration=(), shows=None, picture=None, prompt_judge=None,
    ):  # fmt: skip
        self.plan, self.second = plan, second
        self._shown = shows or (lambda request: request.prompt)
        self._picture = picture or (lambda request: f"{request.prompt} {request.index}")
        self.pixels = pixels or (lambda request: fields(self._picture(request)))
        self.vectors, self.texts, self.after = vectors or self._vector, texts or meaning, after
        self._prompt_judge = prompt_judge
        self._scores, self._calibration = scores or (lambda request: None), tuple(calibration)
        self._seen, self._wrong, self._unknown, self._invalid = dict(seen), dict(wrong), set(unknown), set(invalid)
        self._own = own
        self.drawn = set()

    @property
    def has_second_judge(self):
        return self.second is not None

    def draw(self, row, wanted=None):
        assert wanted is None or set(wanted) <= set(row), "an image is drawn in a row that does not hold it"
        self.drawn.update(row if wanted is None else wanted)

    def draw_rows(self, rows, spare=()):
        for row, wanted in rows:
            self.draw(row, wanted)

    def draw_base_of_neighbours(self, wanted):
        self.drawn.update(wanted)

    def detected(self, requests, judge="first"):
        assert set(requests) <= self.drawn, "looked at before it was drawn"
        return [int(self._shows(request, self._seen if judge == "first" else self.second)) for request in requests]

    def _shows(self, request, table):
        if request.side == "base":
            return request.prompt not in self._invalid
        return request.index % 1000 < table.get(request.prompt, 0)

    bench = None  # images alone are at hand

    def own_settings(self):
        return self._own

    def detected_after(self, change, requests):
        assert set(requests) <= self.drawn, "looked at before it was drawn"
        return [int(self.after(change, request)) for request in requests]

    def images(self, requests):
        assert set(requests) <= self.drawn, "looked at before it was drawn"
        return [self.pixels(request) for request in requests]

    def embeddings(self, requests):
        assert set(requests) <= self.drawn, "looked at before it was drawn"
        return np.stack([self.vectors(request) for request in requests])

    def text_embeddings(self, texts):
        return np.stack([self.texts(text) for text in texts])

    def calibration_records(self):
        return self._calibration

    def records(self, requests):
        return tuple(
            ImageRecord(
                model=r.side,
                prompt=r.prompt,
                index=r.index,
                seed=r.seed,
                detected=self._shows(r, self._seen),
                target_score=self._scores(r),
            )
            for r in requests
        )

    def clip_scores(self, requests):
        return [0.5] * len(requests)

    def _vector(self, request):
        values = meaning(self._shown(request)) + 0.5 * vector(self._picture(request))
        return values / np.linalg.norm(values)

    @property
    def composition_judge(self):
        return "vlm:written" if self._prompt_judge else None

    def show_their_prompts(self, requests):
        return [int(self._prompt_judge(request)) for request in requests] if self._prompt_judge else None

    def labels(self, requests, concept):
        assert set(requests) <= self.drawn, "looked at before it was drawn"
        return ["other" if self._is_wrong(request, concept) else concept.label for request in requests]

    def _is_wrong(self, request, concept):
        if request.side == "base":
            return concept.name in self._unknown
        return concept.prompts.index(request.prompt) < self._wrong.get(concept.name, 0)


def vector(text):
    """A unit vector for a text. Those of two texts are nearly orthogonal."""
    values = np.random.default_rng(crc32(text.encode())).normal(size=512)
    return values / np.linalg.norm(values)


def meaning(text):
    """A unit vector for the content of a text: texts that mean the same have the same one."""
    values = sum((vector(word) for word in content_words(text)), np.zeros(512))
    return values / max(np.linalg.norm(values), 1e-9)


def fields(name):
    """An image (32, 32, 3) of coloured fields: another one for each name."""
    small = np.random.default_rng(crc32(name.encode())).integers(0, 256, (4, 4, 3), np.uint8)
    return np.kron(small, np.ones((8, 8, 1), np.uint8))


class WrittenMeasures:
    """Measures of written pixels, and a written threshold."""

    def __init__(self, observations, **detection):
        self._observations, self._detection = observations, detection

    def collapsed(self, images):
        return float(collapsed(self._observations.images(images)).mean())

    def detection(self):
        return self._detection

    def by_metrics(self, base, candidate):
        return {"pairs": float(sum(one.prompt == other.prompt for one, other in zip(base, candidate, strict=True)))}


class WrittenAudit:
    """A plan at work on written outcomes. `runner` implements `CaseContext`, `sampler` says which images a case gets.

    `detection` holds the measures of the threshold.
    """

    def __init__(self, policy, dossier=DOSSIER, detection=None, **outcomes):
        self.plan = make_plan(dossier, policy, 0)
        self.observations = WrittenObservations(self.plan, **outcomes)
        self.runner = AuditRunner(self.observations, measures=WrittenMeasures(self.observations, **(detection or {})))
        self.sampler = SequentialSampler(self.runner)
        self.rules = self.runner.rules()

    def counts(self, group):
        """How many images each case of a group gets, by case id."""
        return {case.id: len(self.sampler.drawn(case)) for case in self.plan.of_group(group)}

    def outcomes(self, case) -> JudgeOutcomes:
        """The outcomes of all images that a case gets."""
        return claim_group(case.group).outcomes(case, self.sampler.drawn(case), self.runner)

    def records(self, group):
        """The records of all cases of a group, pooled ones included, by title."""
        single = {case.id: self.runner.record(case) for case in self.plan.of_group(group)}
        pooled = [record for record in pooled_records(self.plan, single) if record.group == group]
        return {record.title: record for record in [*single.values(), *pooled]}

    def decide_group(self, group, cases=None):
        """The pooled claim over `cases`, or over all cases of the group."""
        cases = self.plan.of_group(group) if cases is None else cases
        return self.rules.decide_group(claim_group(group), [self.outcomes(case).first for case in cases])

    def decide_case(self, case, judge="first"):
        """The claim of a case alone."""
        outcomes = self.outcomes(case).by(judge)
        return self.rules.decide_case(claim_group(case.group), case, outcomes, self.sampler.max_images(case))
