"""Language models of other packages, found through the entry-point group `dmun_audit.language_models`."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from dmun_audit._util.errors import LoadError
from dmun_audit._util.extensions import call, load, registered
from dmun_audit.knowledge.language_models.protocol import LanguageModel, Settings

GROUP = "dmun_audit.language_models"


def registered_language_models() -> dict[str, EntryPoint]:
    """The entry points by name; nothing is imported. Raises UsageError if two packages register the same name."""
    return registered(GROUP)


def open_registered(name: str, reference: str, settings: Settings) -> LanguageModel:
    """The language model that the entry point `name` opens for `reference`. Raises UsageError if it opens none."""
    entry = registered_language_models()[name]
    factory = load(entry)
    if not callable(factory):
        raise _violation(entry, "the entry point names nothing that can be called")
    model = call(entry, f"language model {name}:{reference}", lambda: factory(reference, settings))
    if not isinstance(model, LanguageModel):
        missing = [member for member in _MEMBERS if not hasattr(model, member)]
        raise _violation(entry, f"the factory gave an object without {', '.join(missing)}")
    return model


_MEMBERS = ("backend", "model", "unsupported_parameters", "ask", "release")


def _violation(entry: EntryPoint, reason: str) -> LoadError:
    return LoadError(
        f"the extension {entry.name!r} does not keep the protocol of language models",
        f"{entry.value}: {reason}",
        "report it to the authors of that package; the protocol is dmun_audit.knowledge.language_models.protocol",
    )
