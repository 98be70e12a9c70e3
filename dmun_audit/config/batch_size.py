"""The number of images in a batch, before the audit is planned: the plan and the keys of images depend on it.

On a CPU it is the policy's, and nothing is loaded for it. On a GPU one whole batch is tried with every model that draws, once for each
pair of models and kind of device. The store keeps what was found.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.engines.models_to_load import ModelsToLoad
from dmun_audit.models.references import IMAGES
from dmun_audit.plan.case import Side
from dmun_audit.policy import Policy
from dmun_audit.render.devices import acceleration, gpu
from dmun_audit.store.batch_sizes import BatchSizes
from dmun_audit.store.files import require_writable

if TYPE_CHECKING:
    from dmun_audit.models.in_memory import InMemoryModel
    from dmun_audit.models.loaded import LoadedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settled:
    """The policy with the number of images in a batch. `origin` says in a few words where the number comes from, if not from the policy.

    `warning` is a sentence for the report, if the number was halved.
    """

    policy: Policy
    origin: str = ""
    warning: str = ""


@dataclass(frozen=True)
class BatchTrial:
    """What decides whether a batch fits: models, policy and store. `in_memory` are the models that are pipelines in memory."""

    policy: Policy
    to_load: ModelsToLoad
    store: Path
    in_memory: Mapping[Side, InMemoryModel]

    def settle(self, *, drawn_here: bool, only_listed: bool) -> Settled:
        """The number for this device. It is not tried if other processes draw (not `drawn_here`), or if tests are only listed.

        It is not measured for images made elsewhere: whoever makes them must know the plan. Raises what loading the models raises,
        and UsageError if not even one image fits into the memory of the GPU.
        """
        sampling, device = self.policy.sampling, gpu() if drawn_here else ""
        if not device:
            return Settled(self._with(sampling.batch_size), "not measured" if sampling.batch == "auto" else "")
        from dmun_audit.store.environment import rendering_environment

        environment = rendering_environment(device)
        name = environment["device"]
        known = BatchSizes(self.store)
        measures = sampling.batch == "auto" and not self.to_load.candidate.startswith(IMAGES)
        measured = known.get(self._measured(environment)) if measures else sampling.batch_size
        fits = known.get(self._tried(environment, measured)) if measured else None
        if (measured is None or fits is None) and only_listed:
            return Settled(self._with(fits or measured or sampling.batch_size))
        if measured is None or fits is None:
            measured, fits = self._try(device, environment, measured)
        origin = f"measured on {name}" if measures else ""
        if fits == measured:
            return Settled(self._with(fits), origin)
        return Settled(self._with(fits), f"halved from {measured} on {name}", _warning(measured, fits, name))

    def _with(self, size: int) -> Policy:
        return replace(self.policy, sampling=replace(self.policy.sampling, batch=size))

    def _measured(self, environment: Mapping[str, str]) -> list[object]:
        """The key of what was measured: for one base, so that its candidates share its images."""
        sampling = self.policy.sampling
        return ["measured", self.to_load.planned["base"].digest, *self._format(), sampling.guidance, dict(environment)]

    def _tried(self, environment: Mapping[str, str], size: int) -> list[object]:
        """The key of what was found to fit: for a pair of models, because both are in memory."""
        sources = {side: source.digest for side, source in self.to_load.planned.items()}
        own = self.policy.own_settings is not None
        return ["fits", size, sources, *self._format(), self.policy.sampling.guidance, own, dict(environment)]

    def _format(self) -> tuple[object, ...]:
        sampling = self.policy.sampling
        return self.to_load.dtype, sampling.size, acceleration(sampling.acceleration)

    def _try(self, device: str, environment: Mapping[str, str], wanted: int | None) -> tuple[int, int]:
        """Load the models and draw. Returns the wanted number, measured if it is not given, and the largest number that fits."""
        require_writable(self.store)  # before the load, which may take minutes
        import torch

        from dmun_audit.render.batch_size import release_memory

        name = environment["device"]
        try:
            models = self._load(device)
        except torch.OutOfMemoryError as error:
            raise LoadError(
                f"the two models do not fit into the memory of {name}", str(error).partition(". ")[0], "free memory on the GPU"
            ) from None
        try:
            wanted, fits = self._drawn(models, device, environment, wanted)
        except UsageError:
            raise
        except Exception as error:  # of a pipeline with code of its own: the audit meets it again and reports it
            logger.warning("no batch could be tried on %s: %s: %s", name, type(error).__name__, error)
            wanted = fits = wanted or self.policy.sampling.batch_size
        finally:
            models.clear()
            release_memory()
        return wanted, fits

    def _drawn(
        self, models: Mapping[Side, LoadedModel], device: str, environment: Mapping[str, str], wanted: int | None
    ) -> tuple[int, int]:
        """`_try` with loaded models. It keeps what it finds."""
        from dmun_audit.render.batch_size import drawer, largest_fit, measure, memory_meter

        known, name, sampling = BatchSizes(self.store), environment["device"], self.policy.sampling
        if wanted is None:
            sizes = measure(drawer({"base": models["base"]}, sampling, device), memory_meter(device))
            wanted = sizes[-1].size if sizes else 1
            facts = {"base": self.to_load.base, "device": name, "measured": [asdict(each) for each in sizes]}
            known.put(self._measured(environment), wanted, facts)
            logger.info("%d images in a batch: measured on %s", wanted, name)
        fits = largest_fit(
            drawer(models, sampling, device, own_settings=self.policy.own_settings is not None), wanted, memory_meter(device)
        )
        if not fits:
            raise UsageError(
                f"not even one image fits into the memory of {name}",
                "one was tried with every model that draws",
                "free memory on the GPU, or lower sampling.size in the policy",
            )
        pair = {"base": self.to_load.base, "candidate": self.to_load.candidate}
        known.put(self._tried(environment, wanted), fits, pair | {"device": name, "wanted": wanted})
        if fits < wanted:
            logger.warning(_warning(wanted, fits, name))
        return wanted, fits

    def _load(self, device: str) -> dict[Side, LoadedModel]:
        base = self.to_load.load_base(device, self.in_memory.get("base"))
        if self.to_load.candidate.startswith(IMAGES):
            return {"base": base}
        return {"base": base, "candidate": self.to_load.load_candidate(base, device, self.in_memory.get("candidate"))}


def _warning(wanted: int, fits: int, name: str) -> str:
    return (
        f"A batch of {wanted} images does not fit into the memory of {name}, so {fits} are drawn at a time. Another number may give other "
        "images: audits with different numbers share none."
    )
