"""Reference implementations of published erasers for the atelier, one file each, and controls with a known answer.

They are written from the papers. Each trains on latents that the model before erasure draws, and leaves its `pipeline` as it
was; ESD alone changes the UNet of its pipeline.
"""

from dmun_audit.atelier.erasers.advunlearn import adversarial_unlearning
from dmun_audit.atelier.erasers.ca import concept_ablation
from dmun_audit.atelier.erasers.controls import damaged, untouched
from dmun_audit.atelier.erasers.esd import erased_stable_diffusion
from dmun_audit.atelier.erasers.fmn import forget_me_not
from dmun_audit.atelier.erasers.mace import fused, refined, suppressing
from dmun_audit.atelier.erasers.pictures import Pictures, draw_pictures
from dmun_audit.atelier.erasers.rece import reliable_concept_erasure
from dmun_audit.atelier.erasers.receler import reliable_erasers
from dmun_audit.atelier.erasers.salun import saliency_mask, saliency_unlearning
from dmun_audit.atelier.erasers.spm import semi_permeable_membrane
from dmun_audit.atelier.erasers.states import Progress, Weights, concept_states
from dmun_audit.atelier.erasers.uce import unified_concept_editing

__all__ = [
    "Pictures",
    "Progress",
    "Weights",
    "adversarial_unlearning",
    "concept_ablation",
    "concept_states",
    "damaged",
    "draw_pictures",
    "erased_stable_diffusion",
    "forget_me_not",
    "fused",
    "refined",
    "reliable_concept_erasure",
    "reliable_erasers",
    "saliency_mask",
    "saliency_unlearning",
    "semi_permeable_membrane",
    "suppressing",
    "unified_concept_editing",
    "untouched",
]
