"""What the table of kinds holds of each kind of detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dmun_audit.judge.protocol import Network
from dmun_audit.judge.reference import JudgeReference

if TYPE_CHECKING:
    from dmun_audit.judge.clip import ClipJudge


class SharedModels(Protocol):
    """What the networks of one process share: a torch device, and CLIP models that are opened once."""

    @property
    def device(self) -> str:
        """A torch device, such as "cpu"."""
        ...

    def clip_model(self, reference: str) -> ClipJudge:
        """The CLIP model of a reference."""
        ...


@dataclass(frozen=True)
class DetectorKind:
    """One kind of detector. A reference of it is `name:SOURCE#QUERY`.

    `usage` shows a reference in messages. `check` raises LoadError for a reference that cannot be opened, as far as that shows
    without loading a model; it loads no torch. `open` opens the network. With `has_query` false, "#" belongs to the source.
    With `needs_source` false, the source may be empty.
    """

    name: str
    usage: str
    check: Callable[[JudgeReference], None]
    open: Callable[[JudgeReference, SharedModels], Network]
    has_query: bool = True
    needs_source: bool = True
