"""Reads the NeuroH5 layout: populations, ragged cell attributes and projections.

Cells are counted within their population here; a gid is a cell's index plus the
population's first gid. ``Connections/distance`` and its like name a column of edges.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from livn_ipp.errors import SystemFormatError

__all__ = ["Edges", "Ragged", "Reader", "reading"]

_BROKEN: Final = (KeyError, OSError, RuntimeError, UnicodeDecodeError)  # from h5py
_WINDOW: Final = 1 << 18  # edges held in memory at once beside those kept
_KINDS: Final = {"ui": "integers", "f": "floating point numbers", "uif": "numbers"}
_INDEX, _POINTER, _VALUE = "Cell Index", "Attribute Pointer", "Attribute Value"
_BLOCK, _BLOCK_POINTER = "Destination Block Index", "Destination Block Pointer"


@dataclass(frozen=True, eq=False)
class Ragged:
    """One array for each of some cells.

    Attributes
    ----------
    cells : array [n], int64
        Index of each cell in its population.
    pointer : array [n + 1], int64
        Cell ``cells[i]`` owns ``values[pointer[i]:pointer[i + 1]]``.
    values : array
        The values of all cells, one cell after the other.
    """

    cells: NDArray[np.int64]
    pointer: NDArray[np.int64]
    values: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Edges:
    """Connections from one population to another, in the order of the file.

    Attributes
    ----------
    sources, destinations : array [edges], int64
        Index of the presynaptic and the postsynaptic cell in their populations.
    columns : mapping of str to array [edges]
        What was asked for of each edge.
    """

    sources: NDArray[np.int64]
    destinations: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]


class Reader:
    """Reads an open NeuroH5 file; made by :func:`reading`.

    Every method raises :class:`~livn_ipp.errors.SystemFormatError`, which names the
    file and the dataset, where the file is not as it must be.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file

    def populations(self) -> dict[str, tuple[int, int]]:
        """First gid and number of cells of each population, by first gid."""
        field = "H5Types/Populations"
        rows = self._dataset(field)
        names = set(rows.dtype.names or ())
        if missing := {"Start", "Count", "Population"} - names:
            raise self._error(field, f"the rows lack {sorted(missing)}")
        codes = h5py.check_enum_dtype(rows.dtype["Population"])
        if codes is None:
            raise self._error(field, "Population is not an enumeration of names")
        # By code, for the rows need not stand in the alphabetical order of the names.
        name_of = {code: name for name, code in codes.items()}
        ranges = {}
        end = 0
        table = rows[()]
        for row in table[np.argsort(table["Start"], kind="stable")]:
            code, start, count = (int(row[k]) for k in ("Population", "Start", "Count"))
            if code not in name_of:
                raise self._error(field, f"no population has the code {code}")
            if start < end:
                raise self._error(
                    field, f"{name_of[code]} starts at gid {start}, inside another one"
                )
            ranges[name_of[code]] = (start, count)
            end = start + count
        return ranges

    def projections(self) -> tuple[tuple[str, str], ...]:
        """Every (presynaptic, postsynaptic) pair of populations that is connected."""
        root = self._file.get("Projections", {})
        return tuple((pre, post) for post in root for pre in root[post])

    def has(self, field: str) -> bool:
        """Whether the file has this dataset or group."""
        return field in self._file

    def attribute(
        self, population: str, namespace: str, name: str, count: int, kinds: str = "uif"
    ) -> Ragged:
        """Read one attribute of a population of `count` cells.

        Parameters
        ----------
        population, namespace, name
            Where it is.
        count
            Number of cells of the population.
        kinds
            Admitted numpy kinds of the values: ``"f"``, ``"ui"`` or ``"uif"``.
        """
        base = f"Populations/{population}/{namespace}/{name}"
        cells = self._integers(f"{base}/{_INDEX}")
        values = self._array(f"{base}/{_VALUE}", kinds)
        pointer = self._pointer(f"{base}/{_POINTER}", len(cells), len(values))
        self._within(f"{base}/{_INDEX}", cells, population, count)
        if len(np.unique(cells)) < len(cells):
            raise self._error(f"{base}/{_INDEX}", "a cell is listed twice")
        return Ragged(cells, pointer, values)

    def edges(
        self,
        pre: str,
        post: str,
        pre_count: int,
        post_count: int,
        columns: Sequence[str] = (),
        onto: NDArray[np.int64] | None = None,
    ) -> Edges:
        """Read the edges of a projection.

        Parameters
        ----------
        pre, post
            The populations, of `pre_count` and `post_count` cells.
        columns
            Columns of numbers to read for each edge.
        onto
            Indices of the postsynaptic cells whose edges are wanted; the edges of
            others are never held in memory all at once. None for all cells.
        """
        base = f"Projections/{post}/{pre}"
        source_field = f"{base}/Edges/Source Index"
        total = len(self._dataset(source_field))
        owners, pointer = self._destinations(f"{base}/Edges", total)
        self._within(f"{base}/Edges/{_BLOCK}", owners, post, post_count)
        degrees = np.diff(pointer)
        keep = None
        if onto is not None:
            wanted = np.zeros(post_count, bool)
            wanted[onto] = True
            keep = np.repeat(wanted[owners], degrees)
            owners, degrees = owners[wanted[owners]], degrees[wanted[owners]]
        sources = self._array(source_field, "ui", keep).astype(np.int64)
        self._within(source_field, sources, pre, pre_count)
        values = {
            name: self._array(f"{base}/{name}", "uif", keep, total) for name in columns
        }
        return Edges(sources, np.repeat(owners, degrees), values)

    def _destinations(
        self, base: str, total: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        field = f"{base}/{_BLOCK_POINTER}"
        firsts = self._integers(f"{base}/{_BLOCK}")
        blocks = self._integers(field)
        lengths = np.diff(blocks)
        if len(blocks) != len(firsts) + 1:
            raise self._error(
                field,
                f"holds {len(blocks)} offsets for {len(firsts)} blocks; "
                "one more is due",
            )
        if len(firsts) == 0:
            return firsts, np.zeros(1, np.int64)
        lengths[-1] -= 1  # the last block also counts the pointer that ends the list
        if blocks[0] != 0 or lengths.min() < 0:
            raise self._error(field, "the offsets do not ascend from 0")
        count = int(lengths.sum())
        pointer = self._pointer(f"{base}/Destination Pointer", count, total)
        begins = np.cumsum(lengths) - lengths
        return np.repeat(firsts - begins, lengths) + np.arange(count), pointer

    def _pointer(self, field: str, owners: int, total: int) -> NDArray[np.int64]:
        pointer = self._integers(field)
        if len(pointer) != owners + 1:
            raise self._error(
                field,
                f"holds {len(pointer)} offsets for {owners} cells; one more is due",
            )
        if pointer[0] != 0 or pointer[-1] != total or np.any(np.diff(pointer) < 0):
            raise self._error(field, f"the offsets do not ascend from 0 to {total}")
        return pointer

    def _within(
        self, field: str, cells: NDArray[np.int64], population: str, count: int
    ) -> None:
        outside = cells[(cells < 0) | (cells >= count)]
        if len(outside):
            raise self._error(
                field,
                f"dangling gid: cell {outside[0]} is outside {population}, "
                f"which has {count} cells",
            )

    def _integers(self, field: str) -> NDArray[np.int64]:
        return self._array(field, "ui").astype(np.int64)

    def _array(
        self,
        field: str,
        kinds: str,
        keep: NDArray[np.bool_] | None = None,
        length: int | None = None,
    ) -> NDArray[Any]:
        dataset = self._dataset(field)
        if dataset.dtype.kind not in kinds:
            raise self._error(field, f"holds {dataset.dtype}; {_KINDS[kinds]} are due")
        if length is not None and len(dataset) != length:
            raise self._error(field, f"holds {len(dataset)} values for {length} edges")
        if keep is None:
            return np.asarray(dataset[()])
        windows = (slice(at, at + _WINDOW) for at in range(0, len(keep), _WINDOW))
        parts = [dataset[part][keep[part]] for part in windows if keep[part].any()]
        return np.concatenate([np.zeros(0, dataset.dtype), *parts])

    def _dataset(self, field: str) -> h5py.Dataset:
        dataset = self._file.get(field)
        if not isinstance(dataset, h5py.Dataset):
            raise self._error(field, "the dataset is missing")
        if dataset.ndim != 1:
            raise self._error(field, f"has {dataset.ndim} dimensions; one is due")
        return dataset

    def _error(self, field: str, problem: str) -> SystemFormatError:
        return SystemFormatError(self.path, field, problem)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Open a NeuroH5 file for reading.

    Raises
    ------
    SystemFormatError
        If the file is missing, truncated or not HDF5, also when that shows only while
        its content is read.
    """
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield Reader(path, file)
    except FileNotFoundError as error:
        raise SystemFormatError(path, "", "the file is missing") from error
    except _BROKEN as error:
        raise SystemFormatError(
            path, "", f"cannot be read as HDF5; is it truncated? ({error})"
        ) from error
