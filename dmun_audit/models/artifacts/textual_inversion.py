"""Textual inversion: files of new words with embeddings of their own (Gal et al. 2022, arXiv 2208.01618)."""

from __future__ import annotations

import re
from typing import Any

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.layout import Layout, Shapes, no_place
from dmun_audit.models.files.contents import Contents

EMBEDDING = "embeddings.token_embedding.weight"
TOKEN = re.compile(r"<[^<>]+>")
BY_ENCODER = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}


def is_textual_inversion(contents: Contents) -> bool:
    """Whether the file holds nothing but word embeddings: `<token>`, `emb_params`, `clip_l`/`clip_g` or `string_to_param.*`."""
    return all(
        name in {"emb_params", *BY_ENCODER} or name.startswith("string_to_param.") or _is_token(name, contents)
        for name in contents.shapes
    )


def _is_token(name: str, contents: Contents) -> bool:
    alone = len(contents.shapes) == 1 and re.fullmatch(r"[\w-]+", name) is not None and name not in {"weight", "bias"}
    return TOKEN.fullmatch(name) is not None or (alone and len(contents.shapes[name]) in {1, 2})


def lay_out_tokens(contents: Contents, base: Shapes) -> Layout:
    """The new words and their text encoders. Raises LoadError where an embedding has another width than the base's."""
    tokens: dict[str, dict[str, str]] = {}
    for name, shape in contents.shapes.items():
        component = BY_ENCODER.get(name, "text_encoder")
        places = base.get(component, {})
        if EMBEDDING not in places:
            raise no_place(
                contents.path, [name], len(contents.shapes), f"a CLIP {component.replace('_', ' ')} of the base", places
            )
        width = places[EMBEDDING][1]
        if len(shape) not in {1, 2} or shape[-1] != width or 0 in shape:
            raise LoadError(
                f"{contents.path} does not fit the base: embedding {name!r} has another width",
                f"it is {list(shape)} in the file, and the words of the base's {component.replace('_', ' ')} have {width} numbers",
                "check that --base is the model this file was made from; nothing was loaded",
            )
        first = tokens.setdefault(_word(name, contents), {}).setdefault(component, name)
        if first != name:
            raise LoadError(
                f"{contents.path}: {first!r} and {name!r} are both for the word {_word(name, contents)!r}", f"of the {component}"
            )
    words = ", ".join(tokens)
    encoders = {component for component, places in base.items() if component.startswith("text_encoder") and EMBEDDING in places}
    partial = tuple(
        f"{word} is unknown to {', '.join(sorted(encoders - names.keys()))}: the file has no vector for it"
        for word, names in tokens.items()
        if encoders - names.keys()
    )
    return Layout(
        f"textual inversion ({contents.container})",
        tokens=tokens,
        aside=(f"{len(contents.extras)} entries that are no tensors",) if contents.extras else (),
        notes=(f"textual inversion: the new words are {words}; prompts without them give the base's images", *partial),
    )


def _word(name: str, contents: Contents) -> str:
    if TOKEN.fullmatch(name):
        return name
    if name in {"emb_params", *BY_ENCODER} or name.startswith("string_to_param."):
        named = contents.extras.get("name")
        return str(named) if isinstance(named, str) and named else contents.path.stem
    return name


def add_tokens(pipeline: Any, layout: Layout, contents: Contents) -> None:
    """Add the new words to tokenizers and text encoders, with the pipeline's own loader."""
    if not hasattr(pipeline, "load_textual_inversion"):
        raise LoadError(f"{contents.path} cannot be laid over a {type(pipeline).__name__}", "it takes no textual inversions")
    for token, names in layout.tokens.items():
        for component, name in names.items():
            suffix = component.removeprefix("text_encoder")
            tokenizer = getattr(pipeline, "tokenizer" + suffix)
            if token in tokenizer.get_vocab():
                raise LoadError(f"{contents.path}: the base already knows the word {token!r}", "", "rename the token in the file")
            encoder = getattr(pipeline, component)
            words = encoder.get_input_embeddings().weight
            words.data = words.data.clone()  # the loader writes into a table that has a free row, and the base may share it
            tensor = contents.tensor(name).to(encoder.dtype)
            pipeline.load_textual_inversion({token: tensor}, token=token, tokenizer=tokenizer, text_encoder=encoder)
