"""Names of low-rank adapters in diffusers, peft and kohya's trainer, and the weight of the base that each name means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dmun_audit.models.artifacts import naming_transformers
from dmun_audit.models.artifacts.layout import Shapes
from dmun_audit.models.artifacts.naming import Source, compvis_unet

ROLES = (
    (re.compile(r"(.+?)[._]lora[._](?:linear_layer[._])?down\.weight"), "down"),
    (re.compile(r"(.+?)[._]lora[._](?:linear_layer[._])?up\.weight"), "up"),
    (re.compile(r"(.+)\.lora_mid\.weight"), "middle"),
    (re.compile(r"(.+)\.lora_A(?:\.\w+)?\.weight"), "down"),
    (re.compile(r"(.+)\.lora_B(?:\.\w+)?\.weight"), "up"),
    (re.compile(r"(.+)\.lora_magnitude_vector(?:\.\w+)?(?:\.weight)?"), "magnitude"),
    (re.compile(r"(.+)\.dora_scale"), "magnitude"),
    (re.compile(r"(.+)\.alpha"), "alpha"),
)
IS_LORA = re.compile(r"[._]lora[._]|[._]lora_(A|B|up|down|mid|magnitude_vector)\b|\.dora_scale$|^lora_(unet|te\d?|transformer)_")
OTHER_ADAPTERS = re.compile(r"\.(hada|lokr|glora|oft|boft|ia3|vera)_|\.(diff|diff_b)$")
COMPONENTS = {
    "unet": "unet",
    "transformer": "transformer",
    "te": "text_encoder",
    "te1": "text_encoder",
    "te2": "text_encoder_2",
    "te3": "text_encoder_3",
}
DOTTED = re.compile(r"(?:base_model\.model\.)?(?:(unet|transformer|text_encoder(?:_[23])?)\.)?(?:base_model\.model\.)?(.+)")
TEXT_ATTENTION = re.compile(r"\.to_(q|k|v|out)$")  # the oldest names of a text encoder's attention
KOHYA = re.compile(r"lora_(unet|te\d?|transformer)_(.+)")


class Home(NamedTuple):
    """A weight that a module of an adapter changes: component, place, number of outputs, and the rows of the module for it."""

    component: str
    place: str
    outputs: int
    source: Source


def role_of(name: str) -> tuple[str, str]:
    """Module and role (down, up, middle, magnitude, alpha) of an adapter's tensor; empty where it has none."""
    for pattern, role in ROLES:
        if match := pattern.fullmatch(name):
            return match[1], role
    return "", ""


def naming_scheme_of(modules: Iterable[str]) -> str:
    """Who names modules like this: kohya, peft or diffusers."""
    if any(KOHYA.match(module) for module in modules):
        return "kohya"
    return "peft" if any(module.startswith("base_model.") for module in modules) else "diffusers"


class Places:
    """The base's weights, by all the names that adapters have for their modules."""

    def __init__(self, base: Shapes) -> None:
        self.known: dict[str, Home] = {}
        self._underscored: dict[tuple[str, str], list[Home]] = {}
        self._base = base
        for component, shapes in base.items():
            for place in shapes:
                if place.endswith(".weight"):
                    module = place.removesuffix(".weight")
                    home = self._home(component, place, Source(module))
                    self.known[f"{component}.{module}"] = home
                    for spelling in (module, f"text_model.{module}"):
                        self._underscored[component, spelling.replace(".", "_")] = [home]
        own = set(self._underscored)
        for component, place, source in _older_names(base):
            name = component, source.name.removesuffix(".weight").replace(".", "_")
            if place.endswith(".weight") and name not in own:
                self._underscored.setdefault(name, []).append(self._home(component, place, source))

    def _home(self, component: str, place: str, source: Source) -> Home:
        shape = self._base[component][place]
        return Home(component, place, shape[0] if shape else 0, source)

    def find(self, module: str) -> list[Home]:
        """The weights that `module` means: several where the base splits one module, and none where it has no such module."""
        if match := KOHYA.fullmatch(module):
            component = COMPONENTS.get(match[1], "")
            if component == "unet" and "unet" not in self._base:
                component = "transformer"  # kohya's trainer calls every denoiser "unet"
            if component == "text_encoder_3" and component not in self._base:
                component = "text_encoder_2"  # it calls T5 the third text encoder, but FLUX has only two
            return self._underscored.get((component, match[2]), [])
        match = DOTTED.fullmatch(module)
        if match is None:
            return []
        component, inner = match[1] or "", match[2].replace(".processor.", ".")
        if component.startswith("text_encoder"):
            inner = TEXT_ATTENTION.sub(lambda attention: f".{attention[1]}_proj", inner)
        inner = re.sub(r"\.to_out$", ".to_out.0", inner)
        for candidate in [component] if component else ["unet", "transformer", "text_encoder"]:
            for spelling in (inner, inner.removeprefix("text_model.")):
                if f"{candidate}.{spelling}" in self.known:
                    return [self.known[f"{candidate}.{spelling}"]]
        return []

    def find_tensor(self, name: str) -> Home | None:
        """The tensor of the base that `name` means, or None."""
        module, _, kind = name.replace(".modules_to_save.default.", ".").rpartition(".")
        homes = self.find(module)
        if not homes:
            return None
        place = f"{homes[0].place.removesuffix('.weight')}.{kind}"
        return homes[0]._replace(place=place) if place in self._base[homes[0].component] else None


def _older_names(base: Shapes) -> Iterator[tuple[str, str, Source]]:
    """Component, place and source, by the names in the code of the models' authors."""
    for older, place in compvis_unet(base.get("unet", {})).items():
        yield "unet", place, Source(older)
    for source, place in naming_transformers.original(base.get("transformer", {})):
        yield "transformer", place, source
