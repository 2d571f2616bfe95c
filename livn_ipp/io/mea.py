"""The multi-electrode array."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp import volume_conductor
from livn_ipp.errors import ConfigError, SystemFormatError
from livn_ipp.io.adjustable import positive
from livn_ipp.io.base import IO
from livn_ipp.json_file import read_json
from livn_ipp.positions import (
    area_grid,
    checked_electrodes,
    checked_points,
    checked_rows,
    square_grid,
)
from livn_ipp.volume_conductor import PointSource

__all__ = ["MEA"]

_Floats = NDArray[np.float64]
_RADII: Final = ("input_radius", "output_radius")
_MEDIUM: Final = "volume_conductor-"


class MEA(IO):
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
    volume_conductor : PointSource or dict, optional
        The medium, or parameters of it.

    Raises
    ------
    ConfigError
        If coordinates, radii or the medium cannot be used.

    Examples
    --------
    >>> mea = MEA.grid(400.0)
    >>> mea
    MEA(16 channels, hears 125 um)
    >>> electrode = mea.electrode_coordinates[5, 1:]
    >>> print(mea.transfer([electrode])[5].round(4))  # mV/uA
    [5.3355]
    >>> _ = mea.set_params({"volume_conductor-stimulation_gain": 2.0})
    >>> print(mea.transfer([electrode])[5])
    [2.]
    """

    def __init__(
        self,
        electrode_coordinates: ArrayLike | None = None,
        input_radius: float = 250.0,
        output_radius: float = 250.0,
        volume_conductor: PointSource | Mapping[str, Any] | None = None,
    ) -> None:
        if electrode_coordinates is None:
            electrode_coordinates = square_grid(4000.0, 4, 175.0)
        self.electrode_coordinates = checked_electrodes(electrode_coordinates)
        self.input_radius = _radius("input_radius", input_radius)
        self.output_radius = _radius("output_radius", output_radius)
        self.volume_conductor = _medium(volume_conductor)

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
    def for_area(
        cls,
        area: ArrayLike,
        pitch: float,
        height: float = 0.0,
        input_radius: float = 250.0,
        output_radius: float | None = None,
    ) -> Self:
        """Lay out as many electrodes as fit over an area, as livn does.

        Along each axis stands the largest power of two of electrodes that fits, in the
        middle.

        Parameters
        ----------
        area : array [2, 2] or [2, 3]
            Lowest and highest corner in um, such as a system's ``bounding_box``.
        pitch
            Distance between neighbours in um.
        height
            The electrodes' z in um.
        input_radius, output_radius
            As of the array, in um; it hears within 125 um, or half the pitch if that is
            more, by default.

        Examples
        --------
        >>> MEA.for_area([[0, 0], [350, 850]], pitch=100.0).num_channels
        32
        """
        step = _radius("pitch", pitch)
        reach = max(125.0, step / 2) if output_radius is None else output_radius
        return cls(area_grid(area, step, height), input_radius, reach)

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
        for field in ("electrode_coordinates", *_RADII, "volume_conductor"):
            if content.get(field) is None:
                if field == "volume_conductor":
                    continue
                raise SystemFormatError(path, field, "the entry is missing")
            try:
                cls(**{field: content[field]})
            except ConfigError as error:
                raise SystemFormatError(path, field, str(error)) from error
        return cls(
            content["electrode_coordinates"],
            content["input_radius"],
            content["output_radius"],
            content.get("volume_conductor"),
        )

    def save(self, path: str | Path) -> None:
        """Write the array to a JSON file that :meth:`load` and livn read."""
        rows = [
            json.dumps([int(row[0]), *row[1:]])
            for row in self.electrode_coordinates.tolist()
        ]
        table = ",\n    ".join(rows)
        entries = {
            "electrode_coordinates": f"[\n    {table}\n  ]",
            "input_radius": json.dumps(self.input_radius),
            "output_radius": json.dumps(self.output_radius),
        }
        if self.volume_conductor != PointSource():
            entries["volume_conductor"] = json.dumps(asdict(self.volume_conductor))
        lines = ",\n".join(f'  "{name}": {value}' for name, value in entries.items())
        Path(path).write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")

    @property
    def channel_ids(self) -> NDArray[np.int64]:
        """Id of each channel, in the order of the electrodes."""
        return self.electrode_coordinates[:, 0].astype(np.int64)

    @property
    def params(self) -> dict[str, float]:
        """Radii in um and, as ``volume_conductor-<name>``, the medium's parameters."""
        medium = asdict(self.volume_conductor)
        return {
            "input_radius": self.input_radius,
            "output_radius": self.output_radius,
            **{f"{_MEDIUM}{name}": value for name, value in medium.items()},
        }

    def transfer(self, points: ArrayLike) -> _Floats:
        """Field in mV/uA that each channel makes at each point: [C, n].

        `points` [n, 3] are in um; :class:`livn_ipp.volume_conductor.PointSource` has
        the formula.
        """
        return self.volume_conductor.transfer(self._positions, checked_points(points))

    def lead_field(self, points: ArrayLike) -> _Floats:
        """Potential in uV/nA at each electrode of a current at each point: [C, n].

        `points` [n, 3] are in um; it knows no end.
        """
        return self.volume_conductor.lead_field(self._positions, checked_points(points))

    def heard(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Tell which cells [n, 3] are within `output_radius` of each electrode."""
        apart = volume_conductor.distance(self._positions, checked_points(points))
        return apart <= self.output_radius

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

    def __repr__(self) -> str:
        return f"MEA({self.num_channels} channels, hears {self.output_radius:g} um)"

    @property
    def _positions(self) -> _Floats:
        return self.electrode_coordinates[:, 1:]

    def _assign(self, params: dict[str, float]) -> None:
        medium = {
            name.removeprefix(_MEDIUM): value
            for name, value in params.items()
            if name.startswith(_MEDIUM)
        }
        self.volume_conductor = replace(self.volume_conductor, **medium)
        super()._assign({n: v for n, v in params.items() if not n.startswith(_MEDIUM)})


def _radius(name: str, value: Any) -> float:
    try:
        return positive(name, value)
    except ConfigError as error:
        raise ConfigError(str(error).replace("number,", "number of um,")) from None


def _medium(value: PointSource | Mapping[str, Any] | None) -> PointSource:
    if value is None:
        return PointSource()
    if isinstance(value, PointSource):
        return value
    known = [field.name for field in fields(PointSource)]
    given: Any = value  # whatever a file holds
    if not isinstance(given, Mapping) or set(given) - set(known):
        raise ConfigError(f"volume_conductor takes numbers for {known}, not {value!r}")
    return PointSource(**value)
