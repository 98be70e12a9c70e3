"""Candidates without weights to load: their images come from a folder or from a function that draws."""

from __future__ import annotations

from dataclasses import replace

from dmun_audit._util.hashing import digest
from dmun_audit.models.external_images import DrawingFunction, ImageFolder
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.models.probe import UNSEEN
from dmun_audit.models.proof import LoadReport, prove_base
from dmun_audit.models.references import ModelReference
from dmun_audit.models.source_files import Source, confirm_source


def load_images(reference: ModelReference, planned: Source | None) -> LoadedModel:
    """A folder of images as the candidate. Raises LoadError where its list cannot be used."""
    images = ImageFolder(reference)
    source = confirm_source(reference, planned)
    return external_model(reference, images, f"{len(images)} images made elsewhere", source, digest(["images", source]))


def external_model(
    reference: ModelReference, images: DrawingFunction | ImageFolder, form: str, source: str, weights: str
) -> LoadedModel:
    """A model that is nothing but a source of images. `form` names its format, `weights` stands for the digest of its weights."""
    proof = replace(prove_base(LoadReport(form, {}, warnings=images.caveats)), probe=dict(UNSEEN)).as_dict()
    return LoadedModel(reference, None, source, weights, proof, image_source=images)
