"""How the ranks of a subworld share the work: what each has, and how busy it was."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from livn_ipp.display import Card, Shown
from livn_ipp.neuron.shares import balance

__all__ = ["PartitionReport", "RankShare"]


@dataclass(frozen=True)
class RankShare:
    """What one rank has to do.

    Attributes
    ----------
    rank
        Its number in the subworld.
    cells, compartments, synapses
        How many cells it simulates, of how many compartments, and how many connections
        end on them.
    cost
        What these cost by the model of :func:`livn_ipp.neuron.shares.cell_costs`, in
        costs of a compartment.
    busy
        Seconds that NEURON integrated and delivered events since the network was built,
        without waiting for other ranks.
    """

    rank: int
    cells: int
    compartments: int
    synapses: int
    cost: float
    busy: float


@dataclass(frozen=True, repr=False)
class PartitionReport(Shown):
    """How the ranks of a subworld share a culture.

    Attributes
    ----------
    partition
        How cells were divided.
    ranks
        What each rank has, by its number.

    Examples
    --------
    >>> shares = [RankShare(0, 6, 12, 50, 12.1, 0.5), RankShare(1, 4, 8, 40, 8.08, 0.4)]
    >>> report = PartitionReport("round_robin", tuple(shares))
    >>> report
    PartitionReport(round_robin: 10 cells on 2 ranks, balance 0.83, busy 0.90)
    >>> round(report.of_cost, 3), report.of_busy
    (0.834, 0.9)
    """

    partition: str
    ranks: tuple[RankShare, ...]

    @classmethod
    def of(cls, partition: str, shares: Iterable[RankShare]) -> Self:
        """Order the ranks' shares."""
        return cls(partition, tuple(sorted(shares, key=lambda share: share.rank)))

    @property
    def cells(self) -> int:
        """Cells of all ranks."""
        return sum(share.cells for share in self.ranks)

    @property
    def balance(self) -> float:
        """Mean over maximum: of the busy times if there are any, else of the costs."""
        return self.of_busy if self.measured else self.of_cost

    @property
    def of_cost(self) -> float:
        """Mean over maximum of the costs; 1 is best."""
        return balance([share.cost for share in self.ranks])

    @property
    def of_busy(self) -> float:
        """Mean over maximum of the busy times; 1 if nothing was simulated."""
        return balance([share.busy for share in self.ranks])

    @property
    def measured(self) -> bool:
        """Whether anything was simulated."""
        return any(share.busy > 0 for share in self.ranks)

    def _card(self) -> Card:
        facts = [("balance of cost", f"{self.of_cost:.2f}")]
        if self.measured:
            facts.append(("balance of busy time", f"{self.of_busy:.2f}"))
        rows = tuple(
            (
                f"{share.rank}",
                f"{share.cells}",
                f"{share.compartments}",
                f"{share.synapses}",
                f"{share.cost:.1f}",
                f"{share.busy:.3f}",
            )
            for share in self.ranks
        )
        columns = ("rank", "cells", "compartments", "synapses in", "cost", "busy (s)")
        title = f"Partition {self.partition} of {self.cells} cells"
        return Card(title, facts=tuple(facts), columns=columns, rows=rows)

    def __repr__(self) -> str:
        busy = f", busy {self.of_busy:.2f}" if self.measured else ""
        ranks = f"{len(self.ranks)} rank{'s' * (len(self.ranks) != 1)}"
        return (
            f"PartitionReport({self.partition}: {self.cells} cells on {ranks}, "
            f"balance {self.of_cost:.2f}{busy})"
        )
