"""What a comparison holds, for every renderer: plain records, without any layout."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from dmun_audit.comparison.runs import CountedRun, LeftOut
from dmun_audit.evidence.schema import Correlation, JsonObject, Number, SourceDifference

FORMAT = 1
"""The format of a comparison as JSON."""


class PooledOrdering(Correlation):
    """One source's mean correlation with one damage over the runs. `n` counts a concept of one target once, in however many runs."""

    runs: int = Field(default=0, description="Runs in which it has a rho.")
    targets: int = Field(default=0, description="Targets of these runs.")
    measurements: int = Field(default=0, description="Concepts of these runs, each run's counted.")
    ranked: bool = Field(default=True, description="Whether it has a rho in every run in which another source has one.")
    lowest: Number | None = Field(default=None, description="The smallest rho of a run.")
    highest: Number | None = Field(default=None, description="The largest rho of a run.")
    needed_each: int | None = Field(
        default=None, description="Concepts needed in each run, with as many targets as now; `needed` is for a single run."
    )


@dataclass(frozen=True)
class Comparison:
    """Several runs compared.

    Attributes:
        runs: The runs that count.
        left_out: The others, each with its reason.
        damages: The measures of damage that all runs have, in the order of a report.
        sources: One row for each source and damage, the highest rho first within a damage, unranked ones last.
        differences: Every pair of ranked sources, for every damage.
        remarks: What a reader must know, in sentences.
    """

    runs: tuple[CountedRun, ...]
    left_out: tuple[LeftOut, ...]
    damages: tuple[str, ...]
    sources: tuple[PooledOrdering, ...]
    differences: tuple[SourceDifference, ...]
    remarks: tuple[str, ...]

    @property
    def targets(self) -> int:
        """The number of targets."""
        return len({run.target for run in self.runs})

    @property
    def concepts(self) -> int:
        """The number of concepts. A concept of one target counts once, in however many runs it was measured."""
        return len({(run.target, name) for run in self.runs for name in run.names})

    @property
    def measurements(self) -> int:
        """The number of concepts, each run's counted."""
        return sum(len(run.concepts) for run in self.runs)

    def of_damage(self, damage: str) -> list[PooledOrdering]:
        """The rows of one damage."""
        return [row for row in self.sources if row.damage == damage]

    def to_json(self) -> JsonObject:
        """The comparison as plain values for JSON."""
        return {
            "format": FORMAT,
            "runs": [run_facts(run) for run in self.runs],
            "left_out": [{"folder": str(each.folder), "reason": each.reason} for each in self.left_out],
            "damages": list(self.damages),
            "sources": [row.to_json() for row in self.sources],
            "differences": [row.to_json() for row in self.differences],
            "remarks": list(self.remarks),
        }


def run_facts(counted: CountedRun) -> JsonObject:
    """What identifies a run, in the order of a table."""
    manifest = counted.run.manifest
    return {
        "folder": str(counted.run.path),
        "target": manifest.target.name,
        "candidate": str(manifest.models.get("candidate", {}).get("reference", "")),
        "policy": str(manifest.policy.get("name", "")),
        "verdict": str(counted.run.verdict),
        "concepts": len(counted.concepts),
    }
