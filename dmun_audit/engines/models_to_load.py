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

    def load(self, device: str, in_memory: Mapping[Side, InMemoryModel] | None = None) -> dict[Side, LoadedModel]:
        """Both models on `device`, the candidate compared with the base. `in_memory` are those that are pipelines in memory.

        Raises what loading raises: LoadError for files that changed since the audit was planned, among others.
        """
        from dmun_audit.models.external_images import ImageFolder
        from dmun_audit.models.loading import load_candidate, load_pipeline

        settings: dict[str, Any] = {"dtype": self.dtype, "device": device, "trust_remote_code": self.trust_remote_code}
        given = in_memory or {}
        base = load_pipeline(given.get("base") or references.parse_reference(self.base), planned=self.planned["base"], **settings)
        candidate = load_candidate(
            given.get("candidate") or references.parse_reference(self.candidate),
            base,
            planned=self.planned["candidate"],
            **settings,
        )
        if isinstance(candidate.image_source, ImageFolder):
            candidate.image_source.expect(self.wanted)
        return {"base": base, "candidate": candidate}
