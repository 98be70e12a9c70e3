"""Which published format a weights file has. The names of its tensors decide, and never the name of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts import naming, naming_transformers
from dmun_audit.models.artifacts.layout import Layout, Part, Shape, Shapes, no_place, require_fit
from dmun_audit.models.artifacts.lora import lay_out_lora
from dmun_audit.models.artifacts.lora_names import IS_LORA
from dmun_audit.models.artifacts.naming import Source
from dmun_audit.models.artifacts.receler import is_receler, lay_out_receler
from dmun_audit.models.artifacts.spm import is_spm, lay_out_spm
from dmun_audit.models.artifacts.textual_inversion import is_textual_inversion, lay_out_tokens
from dmun_audit.models.files.contents import OPTIMISER, REMEDY, Contents

WRAPPERS = re.compile(
    r"^((state_dict|(model|unet)_state_dict|model_state|module|net|params|_orig_mod|pipe|pipeline|model(?!\.(diffusion_model|unet)\.))\.)+"
)
INNER_WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")  # of one component, by data-parallel training and torch.compile
SCHEDULE = re.compile(
    r"(model\.)?(betas|alphas_cumprod(_prev)?|sqrt_\w+|log_one_minus_\w+|posterior_\w+|logvar|lvlb_weights|scale_factor|sigmas)"
    r"|denoiser\.sigmas|(.+\.)?global_step|step|steps|epoch|iteration|(.+\.)?position_ids|(.+\.)?logit_scale|model_ema\.(decay|num_updates)"
)
TIED = re.compile(r"^((?:.*\.)?)encoder\.embed_tokens\.weight$")  # T5 holds its embedding under two names
EMA = re.compile(r"model_ema\.")
NEW_ROWS = "embed"  # Concept Ablation in CompVis names: embeddings of new words whose spelling the file does not hold
ALIAS = re.compile(r"^embedding\.(?=(token|position)_embedding\.)")  # AdvUnlearn's wrapper holds its encoder twice


@dataclass(frozen=True)
class _Section:
    """Tensors with one prefix: the component that they belong to, and the code that names them (`names`)."""

    prefix: re.Pattern[str]
    component: str
    names: str = "diffusers"


def _section(prefix: str, component: str, names: str = "diffusers") -> _Section:
    return _Section(re.compile(prefix), component, names)


SECTIONS = (
    _section(r"model\.diffusion_model\.|diffusion_model\.", "denoiser", "CompVis"),
    _section(r"first_stage_model\.", "vae", "CompVis"),
    _section(r"cond_stage_model\.transformer\.|conditioner\.embedders\.0\.transformer\.", "text_encoder", "CompVis"),
    _section(r"cond_stage_model\.model\.|conditioner\.embedders\.0\.model\.", "text_encoder", "open_clip"),
    _section(r"conditioner\.embedders\.1\.model\.", "text_encoder_2", "open_clip"),
    _section(r"text_encoders\.clip_l\.transformer\.", "text_encoder", "CompVis"),
    _section(r"text_encoders\.clip_g\.transformer\.", "text_encoder_2", "CompVis"),
    _section(r"text_encoders\.t5xxl\.transformer\.", "t5", "CompVis"),
    _section(r"(?:model\.)?unet\.", "unet"),
    _section(r"transformer\.(?!resblocks)", "transformer"),
    _section(r"text_encoder\.", "text_encoder"),
    _section(r"text_encoder_2\.", "text_encoder_2"),
    _section(r"text_encoder_3\.", "text_encoder_3"),
    _section(r"vae\.", "vae"),
    _section(r"(?=(?:input_blocks|middle_block|output_blocks|time_embed|label_emb|out)\.)", "denoiser", "CompVis"),
    _section(r"(?=(?:down_blocks|up_blocks|mid_block|conv_in|conv_out|conv_norm_out|time_embedding|add_embedding)\.)", "unet"),
    _section(r"(?=(?:text_model|embeddings|encoder\.layers|final_layer_norm|text_projection)\.)", "text_encoder"),
    _section(r"(?=(?:shared|encoder\.block|encoder\.final_layer_norm)\.)", "text_encoder"),
    _section(r"(?=(?:encoder|decoder)\.(?:down|up|mid)\.|(?:encoder|decoder)\.norm_out)", "vae", "CompVis"),
    _section(r"(?=(?:encoder|decoder|quant_conv|post_quant_conv)\.)", "vae"),
    _section(r"", "denoiser", "any"),
)


def lay_out(contents: Contents, base: Shapes) -> Layout:
    """Recognise the file and find the place of each of its tensors in the base.

    Raises LoadError, naming tensors, where it holds none, where the format is unknown, where a tensor has no place, and where
    its shape differs from the shape of its place.
    """
    if not contents.shapes:
        raise LoadError(f"{contents.path} holds no tensors", "", REMEDY)
    words, reader = _reader(contents)
    try:
        layout = reader(contents, base)
        require_fit(contents.path, layout, contents.shapes, base)
    except LoadError as error:
        raise LoadError(error.what, f"read as {words}: {error.why}" if error.why else f"read as {words}", error.remedy) from None
    return layout


def reading_of(contents: Contents) -> str:
    """What the file is, in words. No base is needed."""
    return _reader(contents)[0]


def _reader(contents: Contents) -> tuple[str, Callable[[Contents, Shapes], Layout]]:
    """What the file is, in words, and the function that finds the places of its tensors."""
    if is_textual_inversion(contents):
        return "a textual inversion", lay_out_tokens
    if is_receler(contents):
        return "Receler erasers", lay_out_receler
    if is_spm(contents):
        return "an SPM", lay_out_spm
    if any(IS_LORA.search(name) for name in contents.shapes):
        return "a LoRA or DoRA", lay_out_lora
    older = any(section.names not in {"diffusers", "any"} for section in map(_section_of, contents.shapes))
    return f"weights in {'CompVis' if older else 'diffusers'} names", _lay_out_weights


def _lay_out_weights(contents: Contents, base: Shapes) -> Layout:
    parts: list[Part] = []
    without_place: list[str] = []
    aside = (
        [f"{len(contents.extras)} entries that are no tensors, such as {next(iter(contents.extras))!r}"]
        if contents.extras
        else []
    )
    schemes: set[str] = set()
    grouped, wrapped, left_out = _grouped(contents.shapes)
    for (component, naming_scheme, bare), names in grouped.items():
        owner = _owner(component, base)
        if bare and owner == "text_encoder":
            owner = _which_text_encoder(contents, names, base)
        places = _places(naming_scheme, owner, names, base.get(owner, {}))
        translated = any(name != place for name in names for place, _ in places.get(name, []))
        schemes.add(naming_scheme if naming_scheme != "any" else "CompVis" if translated else "diffusers")
        for name, fulls in names.items():
            parts += [Part(owner, place, source._replace(name=full)) for full in fulls for place, source in places.get(name, [])]
        nowhere = [full for name, fulls in names.items() if not places.get(name) for full in fulls]
        beyond = _beyond_the_base(naming_scheme, nowhere, base.get(owner, {}))
        if beyond:
            aside.append(f"{len(beyond)} tensors of layers that the base's {owner} does not use, such as {beyond[0]!r}")
        known_beyond = set(beyond)
        without_place += [name for name in nowhere if name not in known_beyond]
    aside += left_out
    if without_place:
        known = {place: None for shapes in base.values() for place in shapes}
        raise no_place(contents.path, without_place, len(contents.shapes), _where(grouped, base), known)
    if not parts:
        raise LoadError(f"{contents.path} holds no weights", "; ".join(aside), REMEDY)
    return Layout(_words(contents, parts, schemes, wrapped, base), tuple(parts), aside=tuple(aside))


Grouped = dict[tuple[str, str, bool], dict[str, list[str]]]


def _grouped(names: Collection[str]) -> tuple[Grouped, bool, list[str]]:
    """Names by component and scheme (name without prefixes → names in the file), whether they were wrapped, what is left out."""
    grouped: Grouped = {}
    schedule, ema, new_rows, optimiser = [], [], [], []
    wrapped = False
    for full in names:
        name = WRAPPERS.sub("", full)
        wrapped = wrapped or name != full
        name = TIED.sub(r"\1shared.weight", ALIAS.sub("embeddings.", name))
        if OPTIMISER.match(full):
            optimiser.append(full)
        elif name == NEW_ROWS:
            new_rows.append(full)
        elif SCHEDULE.fullmatch(name):
            schedule.append(full)
        elif EMA.match(name):
            ema.append(full)
        else:
            section = _section_of(name)
            inner = INNER_WRAPPERS.sub("", section.prefix.sub("", name, count=1))
            wrapped = wrapped or inner != section.prefix.sub("", name, count=1)
            inner = inner.removeprefix("text_model." if section.component.startswith("text") else "")
            bare = section.prefix.pattern.startswith("(?=")  # no prefix names the component; the tensor's own name tells it
            grouped.setdefault((section.component, section.names, bare), {}).setdefault(inner, []).append(full)
    left_out = (
        [f"{len(ema)} tensors of EMA weights, such as {ema[0]!r}: the trained weights beside them are loaded"] if ema else []
    )
    left_out += [
        f"{full!r}: embeddings of new words that the file does not spell, so that no prompt can use them" for full in new_rows
    ]
    left_out += [f"{len(optimiser)} tensors of the training's optimiser, such as {optimiser[0]!r}"] if optimiser else []
    left_out += [f"{len(schedule)} buffers of the noise schedule and the like, such as {schedule[0]!r}"] if schedule else []
    return grouped, wrapped, left_out


def _section_of(name: str) -> _Section:
    bare = WRAPPERS.sub("", name)
    return next(section for section in SECTIONS if section.prefix.match(bare))


def _which_text_encoder(contents: Contents, names: Mapping[str, Sequence[str]], base: Shapes) -> str:
    """The base's text encoder for names without a prefix: the one named by the file's folder, or else the only one that fits.

    Raises LoadError where they fit several.
    """
    folder = contents.path.name if contents.path.is_dir() else contents.path.parent.name
    encoders = [component for component in base if component.startswith("text_encoder")]
    if folder in encoders:
        return folder
    shapes = {name: contents.shapes[fulls[0]] for name, fulls in names.items()}
    fitting = [component for component in encoders if all(base[component].get(name) == shape for name, shape in shapes.items())]
    if len(fitting) > 1:
        raise LoadError(
            f"{contents.path} fits {' and '.join(fitting)} of the base alike",
            "nothing says which of them it is",
            f"prefix its names with {fitting[0]}., or put it into a folder of that name",
        )
    return fitting[0] if fitting else "text_encoder"


def _owner(component: str, base: Shapes) -> str:
    """The component of the base that a section belongs to."""
    if component == "t5":  # SD3's third text encoder, FLUX's second
        return "text_encoder_3" if "text_encoder_3" in base else "text_encoder_2"
    return ("transformer" if "transformer" in base else "unet") if component == "denoiser" else component


def _places(
    naming_scheme: str, owner: str, names: Collection[str], base: Mapping[str, Shape]
) -> dict[str, list[tuple[str, Source]]]:
    """For each name, the places in the base's component that it fills, each with the rows for it."""
    places: dict[str, list[tuple[str, Source]]] = {name: [(name, Source(name))] for name in names if name in base}
    for source, place in _older_names(naming_scheme, owner, base):
        if source.name not in base or naming_scheme == "open_clip":
            places.setdefault(source.name, []).append((place, source))
    return places


def _older_names(naming_scheme: str, owner: str, base: Mapping[str, Shape]) -> Iterable[tuple[Source, str]]:
    if naming_scheme == "open_clip":
        return naming.open_clip_text(base)
    if naming_scheme != "diffusers" and owner == "transformer":
        return naming_transformers.original(base)
    if naming_scheme != "diffusers" and owner in {"unet", "vae"}:
        translate = naming.compvis_unet if owner == "unet" else naming.compvis_vae
        return ((Source(older), place) for older, place in translate(base).items())
    return ()


def _beyond_the_base(naming_scheme: str, names: Collection[str], base: Collection[str]) -> list[str]:
    """Names that the base does not use: SD 2 ends before open_clip's last layer, and diffusers leaves out all after it."""
    if naming_scheme != "open_clip":
        return []
    last = max((int(layer[1]) for place in base if (layer := re.match(r"encoder\.layers\.(\d+)\.", place))), default=0)
    projects = "text_projection.weight" in base
    blocks = {name: re.search(r"transformer\.resblocks\.(\d+)\.", name) for name in names}
    return [
        name
        for name, block in blocks.items()
        if (int(block[1]) > last if block else name.endswith("text_projection") and not projects)
    ]


def _where(grouped: Grouped, base: Shapes) -> str:
    owners = sorted({_owner(component, base) for component, _, _ in grouped})
    absent = [owner for owner in owners if owner not in base]
    words = "the base's " + " or ".join(owners)
    return words + (f" (the base has no {', no '.join(absent)})" if absent else "")


def _words(contents: Contents, parts: list[Part], schemes: set[str], wrapped: bool, base: Shapes) -> str:
    replaced: dict[str, set[str]] = {}
    for part in parts:
        replaced.setdefault(part.component, set()).add(part.place)
    components = []
    for component, places in sorted(replaced.items()):
        extent = "full" if len(places) == len(base[component]) else "partial"
        components.append(f"{extent} {component.replace('_', ' ')}")
    older = "original" if "transformer" in replaced else "CompVis"
    names = " and ".join(sorted({"diffusers" if naming_scheme == "diffusers" else older for naming_scheme in schemes}))
    wrapper = ", wrapped" if wrapped else ""
    return f"{', '.join(components)} ({contents.container}, {names} names{wrapper})"
