"""Between channels and cells: the electrode array."""

import json
import warnings
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp import volume_conductor
from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.json_file import read_json
from livn_ipp.positions import (
    checked_electrodes,
    checked_points,
    checked_rows,
    rows_of,
    square_grid,
)

__all__ = ["MEA"]

_Floats = NDArray[np.float64]


class MEA:
    """A multi-electrode array: stimulates in uA, records in uV.

    Parameters
    ----------
    electrode_coordinates : array [C, 4], optional
        Rows (channel id, x, y, z), positions in um; by default livn's 4x4 grid with a
        pitch of 1000 um.
    input_radius : float
        Reach of stimulation in um: information only, the field acts everywhere.
    output_radius : float
        Reach of recording in um: a channel hears the cells within it.

    Raises
    ------
    ConfigError
        If coordinates or radii cannot be used.

    Examples
    --------
    >>> mea = MEA.grid(400.0)
    >>> mea
    MEA(16 channels, hears 125 um)
    >>> electrode = mea.electrode_coordinates[5, 1:]
    >>> print(mea.transfer([electrode])[5].round(4))  # mV/uA
    [5.3355]
    """

    input_units: Final = "uA"

    def __init__(
        self,
        electrode_coordinates: ArrayLike | None = None,
        input_radius: float = 250.0,
        output_radius: float = 250.0,
    ) -> None:
        if electrode_coordinates is None:
            electrode_coordinates = square_grid(4000.0, 4, 175.0)
        self.electrode_coordinates = checked_electrodes(electrode_coordinates)
        self.input_radius = _radius("input_radius", input_radius)
        self.output_radius = _radius("output_radius", output_radius)

    @classmethod
    def grid(
        cls,
        side: float,
        per_side: int = 4,
        height: float = 0.0,
        input_radius: float = 250.0,
        output_radius: float = 125.0,
    ) -> Self:
        """Lay out a square array over a square culture with a corner at the origin.

        `side` is the culture's in um, `per_side` the number of electrodes along it,
        `height` their z in um; channel ids run along x first.
        """
        if per_side < 1 or not np.isfinite(side) or side <= 0:
            raise ConfigError(
                f"a grid needs a positive side and per_side, not {side} and {per_side}"
            )
        return cls(square_grid(side, per_side, height), input_radius, output_radius)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an array from a JSON file such as a system's ``mea.json``.

        Raises
        ------
        SystemFormatError
            If the file is missing or something in it is wrong; it names the field.
        """
        path = Path(path)
        content = read_json(path)
        if "volume_conductor" in content:
            warnings.warn(
                f"{path}: volume_conductor is ignored; livn's default one is used",
                stacklevel=2,
            )
        fields = ("electrode_coordinates", "input_radius", "output_radius")
        for field in fields:
            if content.get(field) is None:
                raise SystemFormatError(path, field, "the entry is missing")
            try:
                cls(**{field: content[field]})
            except ConfigError as error:
                raise SystemFormatError(path, field, str(error)) from error
        return cls(*(content[field] for field in fields))

    def save(self, path: str | Path) -> None:
        """Write the array to a JSON file that :meth:`load` and livn read."""
        rows = self.electrode_coordinates.tolist()
        content = {
            "electrode_coordinates": [[int(row[0]), *row[1:]] for row in rows],
            "input_radius": self.input_radius,
            "output_radius": self.output_radius,
        }
        Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")

    @property
    def channel_ids(self) -> NDArray[np.int64]:
        """Id of each channel, in the order of the electrodes."""
        return self.electrode_coordinates[:, 0].astype(np.int64)

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return len(self.electrode_coordinates)

    def transfer(self, points: ArrayLike) -> _Floats:
        """Field in mV/uA that each channel makes at each point: [C, n].

        `points` [n, 3] are in um; :func:`livn_ipp.volume_conductor.transfer` has the
        formula.
        """
        return volume_conductor.transfer(self._positions, checked_points(points))

    def gain(self, points: ArrayLike) -> _Floats:
        """Potential in uV/nA that a current at each point makes at a channel: [C, n].

        `points` [n, 3] are in um. Zero beyond `output_radius`; in steps of 2^-18 uV/nA,
        so that sums over cells do not depend on their order;
        :func:`livn_ipp.volume_conductor.gain` has the formula.
        """
        return volume_conductor.gain(
            self._positions, checked_points(points), self.output_radius
        )

    def cell_stimulus(self, channel_inputs: ArrayLike, points: ArrayLike) -> _Floats:
        """Field at points while the channels are driven.

        Parameters
        ----------
        channel_inputs : array [T, C]
            Current of each channel in uA, one row per time step.
        points : array [n, 3]
            Positions in um.

        Returns
        -------
        array [T, n]
            In mV. Each column depends on its own point only, to the last bit, however
            the points are shared out over ranks.

        Raises
        ------
        ConfigError
            If the width is not the number of channels, or an input is not finite.
        """
        inputs = np.atleast_2d(np.asarray(channel_inputs, np.float64))
        if inputs.ndim != 2 or inputs.shape[1] != self.num_channels:
            raise ConfigError(
                f"channel_inputs has a width of {inputs.shape[-1]} (shape "
                f"{inputs.shape}), but the array has {self.num_channels} channels; "
                f"pass [time steps, {self.num_channels}]"
            )
        if not np.isfinite(inputs).all():
            raise ConfigError("channel_inputs holds values that are not finite numbers")
        transfer = self.transfer(points)
        field = np.zeros((len(inputs), transfer.shape[1]))
        # One channel after the other: a matrix product's rounding depends on its width.
        for channel in np.flatnonzero(inputs.any(axis=0)):
            field += inputs[:, channel, None] * transfer[channel]
        return field

    def distances(self, coordinates: ArrayLike) -> _Floats:
        """Distance of every cell to every electrode.

        From rows (gid, x, y, z) in um [n, 4] to rows (channel, gid, distance in um)
        [C * n, 3], all cells of a channel together.
        """
        cells = checked_rows(coordinates)
        apart = volume_conductor.distance(self._positions, cells[:, 1:])
        return np.column_stack(
            [
                np.repeat(self.electrode_coordinates[:, 0], len(cells)),
                np.tile(cells[:, 0], self.num_channels),
                apart.ravel(),
            ]
        )

    def channel_recording(
        self, coordinates: ArrayLike, ids: ArrayLike, *arrays: ArrayLike
    ) -> Any:
        """Sort events by the channels that hear their cells.

        Parameters
        ----------
        coordinates : array [n, 4]
            Rows (gid, x, y, z) in um.
        ids : array [events]
            The cell of each event, such as a spike.
        *arrays : array [events, ...]
            What belongs to each event, such as its time.

        Returns
        -------
        dict, or tuple of dict
            ``{channel: ids}``, and one such dict for each of `arrays`. An event goes to
            every channel within `output_radius`, in the given order. Channels that hear
            no cell are left out.

        Raises
        ------
        ConfigError
            If an id has no coordinates or an array another length than `ids`.
        """
        cells = checked_rows(coordinates)
        event_ids = np.asarray(ids)
        columns = [event_ids, *(np.asarray(array) for array in arrays)]
        if any(len(column) != len(event_ids) for column in columns):
            raise ConfigError(
                f"{len(event_ids)} ids need as many entries in each array, "
                f"not {[len(column) for column in columns[1:]]}"
            )
        index = rows_of(cells[:, 0], event_ids)
        apart = volume_conductor.distance(self._positions, cells[:, 1:])
        near = apart <= self.output_radius
        heard = {
            int(channel): near[row][index]
            for row, channel in enumerate(self.channel_ids)
            if near[row].any()
        }
        sorted_columns = tuple(
            {channel: column[events] for channel, events in heard.items()}
            for column in columns
        )
        return sorted_columns if arrays else sorted_columns[0]

    def potential_recording(
        self, coordinates: ArrayLike, gids: ArrayLike, currents: ArrayLike
    ) -> _Floats:
        """Electrode potentials from membrane currents.

        Parameters
        ----------
        coordinates : array [n, 4]
            Rows (gid, x, y, z) in um; a cell's currents all count at its position.
        gids : array [rows]
            The cell of each row of `currents`; a cell may have several rows.
        currents : array [rows, T]
            Membrane currents in nA; they are rounded to multiples of 2^-20 nA.

        Returns
        -------
        array [C, T]
            In uV. Potentials of parts of the rows add up exactly, below 2^15 uV.

        Raises
        ------
        ConfigError
            If a gid has no coordinates, rows are missing or a current is not finite.
        """
        cells = checked_rows(coordinates)
        rows = np.asarray(gids)
        samples = np.atleast_2d(np.asarray(currents, np.float64))
        if len(samples) != len(rows):
            raise ConfigError(f"currents has {len(samples)} rows for {len(rows)} gids")
        if not np.isfinite(samples).all():
            raise ConfigError("currents holds values that are not finite numbers")
        index = rows_of(cells[:, 0], rows)
        gains = self.gain(cells[:, 1:])[:, index]
        return gains @ volume_conductor.round_currents(samples)

    def __repr__(self) -> str:
        return f"MEA({self.num_channels} channels, hears {self.output_radius:g} um)"

    @property
    def _positions(self) -> _Floats:
        return self.electrode_coordinates[:, 1:]


def _radius(name: str, value: Any) -> float:
    if isinstance(value, (int, float, np.number)) and 0 < value < np.inf:
        return float(value)
    raise ConfigError(f"{name} must be a positive number of um, not {value!r}")
