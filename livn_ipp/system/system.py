"""System: what a culture is made of, wherever it comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.display import Card, Shown
from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.system.census import Census
from livn_ipp.system.connectivity import connectivity_matrix
from livn_ipp.system.directory import Directory
from livn_ipp.system.model_file import make_model
from livn_ipp.system.selected import Selected
from livn_ipp.system.selection import choose
from livn_ipp.system.source import Projection, Source
from livn_ipp.system.unconnected import Unconnected, checked_counts

__all__ = ["System"]


class System(Census, Shown):
    """A culture: cells, their connections, electrodes and parameters.

    Parameters
    ----------
    origin
        A system directory, the name of a shipped culture such as ``"EI1"``, a number of
        unconnected cells, such numbers by population, or another System.

    Raises
    ------
    ConfigError
        If there is no such directory, or not a single cell.
    SystemFormatError
        If a file is missing, or ``graph.json`` is broken or too new. What is wrong
        within other files shows when they are read, or by :meth:`validate`.

    Examples
    --------
    >>> system = System("EI1")
    >>> system
    System(EI1: 8 EXC, 2 INH)
    >>> system.population_of([0, 9]).tolist()
    ['EXC', 'INH']
    >>> system.projection("EXC", "INH", gids=[9]).post_gids.tolist()
    [9, 9, 9, 9, 9, 9, 9, 9]
    >>> system.select(0.5)
    System(EI1: 4 of 8 EXC, 1 of 2 INH)
    """

    def __init__(self, origin: "str | Path | int | Mapping[str, int] | System") -> None:
        super().__init__(_source(origin))

    @property
    def path(self) -> Path:
        """The system directory.

        Raises
        ------
        ConfigError
            If the system has none.
        """
        if self.source.path is None:
            raise ConfigError(f"{self.name} was made in memory; it has no directory")
        return self.source.path

    def summary(self) -> dict[str, Any]:
        """Count cells, projections and connections.

        Examples
        --------
        >>> System("EI1").summary()
        {'num_neurons': 10, 'population_counts': {'EXC': 8, 'INH': 2},
         'num_projections': 4, 'num_connections': 90}
        """
        connections = [len(self.projection(*pair)) for pair in self.projections]
        return {
            "num_neurons": self.num_cells,
            "population_counts": self.population_counts,
            "num_projections": len(connections),
            "num_connections": sum(connections),
        }

    @property
    def projections(self) -> tuple[tuple[str, str], ...]:
        """The (presynaptic, postsynaptic) pairs of populations that are connected."""
        return self.source.projections

    def projection(
        self, pre: str, post: str, gids: ArrayLike | None = None
    ) -> Projection:
        """Read the connections from one population to another.

        Parameters
        ----------
        pre, post
            The populations.
        gids
            Read connections onto these cells only; gids of other populations count for
            nothing, so a rank may pass all its cells.

        Raises
        ------
        ConfigError
            If these populations are not connected.
        """
        if (pre, post) not in self.projections:
            raise ConfigError(
                f"{self.name} has no projection from {pre!r} to {post!r}; "
                f"it has {list(self.projections)}"
            )
        onto = None if gids is None else np.asarray(gids)
        return self.source.projection(pre, post, onto)

    def connectivity_matrix(
        self, pre: str | None = None, post: str | None = None, *, sparse: bool = False
    ) -> Any:
        """Arrange the connections' weight factors by cells.

        Parameters
        ----------
        pre, post
            Populations of the rows and of the columns; all cells if None.
        sparse
            Return a ``scipy.sparse.csr_array``, for large cultures.

        Returns
        -------
        array [n_pre, n_post]
            Entry (i, j) is the sum of the weight factors of all connections from the
            i-th to the j-th cell by gid, negative where the projection is inhibitory,
            zero where nothing connects them.

        Examples
        --------
        >>> matrix = System("EI1").connectivity_matrix("INH", "EXC")
        >>> matrix.shape, bool((matrix < 0).all())
        ((2, 8), True)
        """
        return connectivity_matrix(self.source, pre, post, sparse=sparse)

    def synapses(self, pre: str, post: str) -> dict[str, Any]:
        """Describe the synapses of a projection: sections, receptors, delay."""
        return self.source.synapses(pre, post)

    def selection(
        self,
        select: Any,
        method: str = "first",
        bounds: ArrayLike | None = None,
        seed: int = 123,
    ) -> dict[str, NDArray[np.uint32]]:
        """Choose cells.

        Parameters
        ----------
        select
            A whole number: so many cells, shared out over the populations in proportion
            to their sizes. A fraction, above 0 and up to 1: of each population, or of
            the area if the method is ``"patch"``. A dict: a number, a fraction or a
            list of gids for each population, none of those left out. A string: the
            selection stored as ``selection/<name>.json``. None: all cells, or with
            `bounds` those inside.
        method
            ``"first"``: by gid. ``"random"``: by a random number keyed by seed and gid,
            so a larger selection contains the smaller ones. ``"patch"``: so many that
            are nearest to the culture's centre in the plane, or those in that part of
            the area around it.
        bounds
            ``[[x0, y0], [x1, y1]]`` in um: the patch itself, whatever `select` is.
        seed
            Key of ``"random"``.

        Returns
        -------
        dict
            The chosen gids, ascending, by population; the same on every rank.

        Raises
        ------
        ConfigError
            If there are not so many cells, none is chosen, or an argument has no
            meaning.
        SystemFormatError
            If the stored selection is broken or was made for another culture.

        Examples
        --------
        >>> chosen = System("EI1").selection({"EXC": 3, "INH": [9]})
        >>> {name: gids.tolist() for name, gids in chosen.items()}
        {'EXC': [0, 1, 2], 'INH': [9]}
        """
        kept = self.select(select, method, bounds, seed)
        of = kept.population_of(kept.gids)
        return {name: kept.gids[of == name] for name in kept.populations}

    def select(
        self,
        select: Any,
        method: str = "first",
        bounds: ArrayLike | None = None,
        seed: int = 123,
    ) -> "System":
        """Return the culture with the chosen cells only; see :meth:`selection`.

        Connections from and onto other cells vanish. Everything that is random about a
        cell stays as it is in the whole culture.
        """
        if select is None and bounds is None:
            return self._of(self.source)
        gids = choose(self.source, select, method, bounds, seed)
        name = select if isinstance(select, str) else None
        return self._of(Selected(self.source, gids, name))

    @property
    def whole(self) -> "System":
        """The culture without a selection."""
        source = self.source
        while isinstance(source, Selected):
            source = source.whole
        return self._of(source)

    @property
    def selections(self) -> list[str]:
        """Names of the stored selections."""
        return self.source.documents("selection")

    @property
    def selection_name(self) -> str | None:
        """Name of the stored selection that this is; None if it is none."""
        return self.source.selection_name

    def default_io(self) -> MEA | None:
        """Read the electrode array of ``mea.json``; None if there is none."""
        return self.source.default_io()

    def default_params(self, name: str | None = None) -> dict[str, Any]:
        """Read ``params/<name>.json``, by model class and group; ``{}`` if absent.

        Parameters
        ----------
        name
            By default that of the stored selection, if there are parameters for it,
            and else ``"default"``.
        """
        names = [self.selection_name, "default"] if name is None else [name]
        for each in names:
            document = each and self.source.document("params", each)
            if document:
                return document
        return {}

    def default_model(self) -> Any:
        """Build the model of ``model.json``; None if there is none.

        Raises
        ------
        SystemFormatError
            If the file is broken or its class cannot be made here, as a model of livn.
        """
        document = self.source.document("", "model")
        if document is None:
            return None
        return make_model(self.path / "model.json", document)

    def digest(self) -> str:
        """Fingerprint of all that is simulated; equal on ranks that agree."""
        return self.source.digest

    def validate(self) -> Self:
        """Read everything once: raise SystemFormatError for the first fault found."""
        self.source.validate()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.source)

    @property
    def told(self) -> str:
        """The cells by population, in words.

        Examples
        --------
        >>> System("EI1").select({"EXC": 3}).told
        '3 of 8 EXC, 0 of 2 INH'
        """
        counts = self.population_counts
        parts = [
            f"{n} {name}" if n == counts[name] else f"{counts[name]} of {n} {name}"
            for name, (_, n) in self.population_ranges.items()
        ]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {self.told})"

    def _card(self) -> Card:
        size = self.bounding_box[1] - self.bounding_box[0]
        facts = [("size", f"{size[0]:.0f} x {size[1]:.0f} um")]
        if self.projections:
            pairs = ", ".join(f"{pre} to {post}" for pre, post in self.projections)
            facts.append(("projections", pairs))
        if self.selection_name:
            facts.append(("selection", self.selection_name))
        io = self.default_io()
        if io is not None:
            facts.append(("electrodes", f"{io.num_channels}"))
        return Card(f"System {self.name}", facts=tuple(facts), picture=self)

    def _of(self, source: Source) -> Self:
        return _restored(type(self), source)


_S = TypeVar("_S", bound=System)


def _restored(kind: type[_S], source: Source) -> _S:
    system = kind.__new__(kind)
    system.source = source
    return system


def _source(origin: Any) -> Source:
    if isinstance(origin, System):
        return origin.source
    if isinstance(origin, Mapping) or (
        isinstance(origin, (int, np.integer)) and not isinstance(origin, bool)
    ):
        counts = checked_counts(origin)
        return Unconnected(counts, None, "unconnected")
    return Directory(origin)
