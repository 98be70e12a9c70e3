"""The two models of an audit, as every process that renders loads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dmun_audit.models import references

if TYPE_CHECKING:
    from dmun_audit.models.in_memory import InMemoryModel
    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.models.source_files import Source
    from dmun_audit.plan.case import Side


@dataclass(frozen=True)
class ModelsToLoad:
    """References of both models, what their files were when the audit was planned, and how to load them.

    `wanted` are the prompts and seeds that the audit may ask of a folder of images.
    """

    base: str
    candidate: str
    planned: Mapping[str, Source]
    dtype: str
    trust_remote_code: bool
    wanted: tuple[tuple[str, int], ...] = field(default=(), repr=False)

    def load(self, device: str) -> dict[Side, LoadedModel]:
        """Both models on `device`. Raises what loading raises: LoadError for files that changed since the audit was planned."""
        base = self.load_base(device)
        return {"base": base, "candidate": self.load_candidate(base, device)}

    def load_base(self, device: str, in_memory: InMemoryModel | None = None) -> LoadedModel:
        """The base on `device`. `in_memory` is the base if it is in memory."""
        from dmun_audit.models.loading import load_pipeline

        return load_pipeline(
            in_memory or references.parse_reference(self.base), planned=self.planned["base"], **self._how(device)
        )

    def load_candidate(self, base: LoadedModel, device: str, in_memory: InMemoryModel | None = None) -> LoadedModel:
        """The candidate on `device`, compared with the base. `in_memory` is the candidate if it is in memory."""
        from dmun_audit.models.external_images import ImageFolder
        from dmun_audit.models.loading import load_candidate

        reference = in_memory or references.parse_reference(self.candidate)
        candidate = load_candidate(reference, base, planned=self.planned["candidate"], **self._how(device))
        if isinstance(candidate.image_source, ImageFolder):
            candidate.image_source.expect(self.wanted)
        return candidate

    def _how(self, device: str) -> dict[str, Any]:
        return {"dtype": self.dtype, "device": device, "trust_remote_code": self.trust_remote_code}
