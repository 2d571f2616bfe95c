"""Writes the NeuroH5 layout piece by piece, in little memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError

__all__ = ["Writer"]

_FIRST_CODE: Final = 10  # livn's codes are EXC 10, INH 11


class Writer:
    """Writes a NeuroH5 file piece by piece; use it in a ``with`` statement.

    Parameters
    ----------
    path
        The file to create.
    populations
        Number of cells of each population. They get gids, and codes, in alphabetical
        order: livn's reader pairs the sorted names with the rows of the table.
    projections
        The (presynaptic, postsynaptic) pairs that may be connected.
    """

    def __init__(
        self,
        path: Path,
        populations: Mapping[str, int],
        projections: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._counts = {name: populations[name] for name in sorted(populations)}
        self._blocks: dict[str, list[tuple[int, int]]] = {}
        self._next: dict[str, int] = {}
        self._file = h5py.File(path, "w")
        self._types(projections)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def codes(self) -> dict[str, int]:
        """The number that stands for each population."""
        return {name: _FIRST_CODE + k for k, name in enumerate(self._counts)}

    def close(self) -> None:
        """Complete the projections' block tables and close the file."""
        for base, blocks in self._blocks.items():
            firsts, offsets = np.array(blocks, np.int64).reshape(-1, 2).T
            end = len(self._file[f"{base}/Destination Pointer"])
            self._file[f"{base}/Destination Block Index"] = firsts.astype(np.uint32)
            pointer = np.append(offsets, end if blocks else 0)
            self._file[f"{base}/Destination Block Pointer"] = pointer.astype(np.uint64)
        self._file.close()

    def attribute(
        self,
        population: str,
        namespace: str,
        name: str,
        cells: ArrayLike,
        lengths: ArrayLike,
        values: NDArray[Any],
    ) -> None:
        """Append values of further cells to an attribute.

        Parameters
        ----------
        population, namespace, name
            Where it is.
        cells : array [n]
            Indices of the cells; all attributes of a namespace must list the same.
        lengths : array [n]
            Number of values of each cell.
        values : array
            The values of all these cells; the first array sets the type.
        """
        base = f"Populations/{population}/{namespace}/{name}"
        index = np.asarray(cells, np.int64)
        _check_cells(population, index, self._counts[population])
        self._append_pointer(
            f"{base}/Attribute Pointer", lengths, len(index), len(values)
        )
        self._append(f"{base}/Cell Index", index.astype(np.uint32))
        self._append(f"{base}/Attribute Value", values)

    def edges(
        self,
        pre: str,
        post: str,
        destinations: ArrayLike,
        degrees: ArrayLike,
        sources: ArrayLike,
        columns: Mapping[str, NDArray[Any]],
    ) -> None:
        """Append the edges onto further cells to a projection.

        Parameters
        ----------
        pre, post
            The populations.
        destinations : array [n]
            Indices of the postsynaptic cells, ascending over all calls.
        degrees : array [n]
            Number of edges onto each of them.
        sources : array [edges]
            Index of the presynaptic cell of each edge.
        columns : mapping of str to array [edges]
            Further numbers of each edge, by path within the projection.
        """
        base = f"Projections/{post}/{pre}"
        owners = np.asarray(destinations, np.int64)
        source_index = np.asarray(sources, np.int64)
        _check_cells(post, owners, self._counts[post])
        _check_cells(pre, source_index, self._counts[pre])
        due = self._next.get(base, 0)
        if np.any(np.diff(owners, prepend=due - 1) < 1):
            raise ConfigError(
                f"{pre} to {post}: destinations must ascend over all calls"
            )
        for name, values in columns.items():
            if len(values) != len(source_index):
                raise ConfigError(
                    f"{name} has {len(values)} values for {len(source_index)} edges"
                )
        pointer_field = f"{base}/Edges/Destination Pointer"
        done = self._append_pointer(
            pointer_field, degrees, len(owners), len(source_index)
        )
        blocks = self._blocks.setdefault(f"{base}/Edges", [])
        previous = np.append(due - 1 if blocks else -2, owners[:-1])
        begins = np.flatnonzero(owners != previous + 1)
        blocks += [(int(owners[k]), done + int(k)) for k in begins]
        self._next[base] = int(owners[-1]) + 1 if len(owners) else due
        self._append(f"{base}/Edges/Source Index", source_index.astype(np.uint32))
        for name, values in columns.items():
            self._append(f"{base}/{name}", values)

    def _types(self, projections: Sequence[tuple[str, str]]) -> None:
        codes = self.codes
        types = self._file.create_group("H5Types")
        types["Population labels"] = h5py.enum_dtype(codes, basetype=np.uint16)
        label = types["Population labels"].dtype
        span = np.dtype(
            [("Start", np.uint64), ("Count", np.uint32), ("Population", label)]
        )
        pair = np.dtype([("Source", label), ("Destination", label)])
        types["Population range"] = span
        types["Population projections"] = pair
        ends = np.cumsum(list(self._counts.values()))
        spans = [
            (int(end) - count, count, codes[name])
            for end, (name, count) in zip(ends, self._counts.items(), strict=True)
        ]
        pairs = [(codes[pre], codes[post]) for pre, post in projections]
        types["Populations"] = np.array(spans, span)
        types["Valid population projections"] = np.array(pairs, pair)

    def _append_pointer(
        self, field: str, lengths: ArrayLike, owners: int, total: int
    ) -> int:
        """Continue a list of offsets; return how many owners it had."""
        counts = np.asarray(lengths, np.int64)
        if len(counts) != owners or counts.sum() != total or np.any(counts < 0):
            raise ConfigError(
                f"{field}: {len(counts)} lengths with a sum of {counts.sum()} do not "
                f"fit {owners} cells and {total} values"
            )
        if field not in self._file:
            self._append(field, np.zeros(1, np.uint64))
        dataset = self._file[field]
        done = len(dataset) - 1
        self._append(field, (int(dataset[-1]) + np.cumsum(counts)).astype(np.uint64))
        return done

    def _append(self, field: str, values: NDArray[Any]) -> None:
        dataset = self._file.get(field)
        if dataset is None:
            dataset = self._file.create_dataset(
                field, (0,), values.dtype, maxshape=(None,), chunks=(1 << 12,),
                compression="gzip", shuffle=True,
            )  # fmt: skip
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values


def _check_cells(population: str, cells: NDArray[np.int64], count: int) -> None:
    outside = cells[(cells < 0) | (cells >= count)]
    if len(outside):
        raise ConfigError(
            f"cell {outside[0]} is outside {population}, which has {count} cells"
        )
