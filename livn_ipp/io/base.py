"""IO: what every interface between channels and cells has in common."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp import volume_conductor
from livn_ipp.display import Card, Shown
from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra
from livn_ipp.io.adjustable import Adjustable
from livn_ipp.positions import checked_points, checked_rows, rows_of

__all__ = ["IO"]

_Floats = NDArray[np.float64]


class IO(Adjustable, Shown, ABC):
    """What stands between channels and cells: an electrode array, or a user's own.

    A subclass says what its channels are and, as matrices of channels and points, what
    they do and hear; everything else follows, on every number of ranks alike. An
    interface that only records need not implement :meth:`transfer`, one that only
    stimulates neither :meth:`lead_field` nor :meth:`heard`. The values at a point must
    depend on that point only. Environments on workers get a pickled copy.

    Attributes
    ----------
    input_units : str
        Unit of the channels' commands.
    input_mode : str
        What a command does to a cell: ``"extracellular"`` (:meth:`transfer` returns
        mV), ``"current"`` (nA) or another of :class:`livn_ipp.stimulus.Stimulus`.

    Examples
    --------
    Two halves of a dish, each with a current that reaches its cells' somata and
    dendrites, and the mean potential of the cells in it:

    >>> class Halves(IO):
    ...     input_mode = "current"
    ...     input_units = "nA"
    ...
    ...     @property
    ...     def channel_ids(self):
    ...         return np.array([0, 1])
    ...
    ...     def transfer(self, points):
    ...         left = points[:, 0] < 0
    ...         return np.stack([left, ~left]).astype(float)
    ...
    ...     def lead_field(self, points):
    ...         return np.ones((2, len(points)))
    ...
    ...     def heard(self, points):
    ...         return self.transfer(points) > 0
    >>> cells = [[0, -5.0, 0, 0], [1, 5.0, 0, 0]]
    >>> Halves().channel_recording(cells, [1, 0, 1])
    {0: array([0]), 1: array([1, 1])}
    >>> Halves().cell_stimulus([[0.0, 0.2]], [[-5.0, 0, 0], [5.0, 0, 0]])
    array([[0. , 0.2]])
    """

    input_units: str = "uA"
    input_mode: str = "extracellular"

    @property
    @abstractmethod
    def channel_ids(self) -> NDArray[np.int64]:
        """Id of each channel [C]."""

    def transfer(self, points: _Floats) -> _Floats:
        """Effect [C, n] of one unit of each channel's command at each point.

        Parameters
        ----------
        points : array [n, 3]
            Positions of sections in um.
        """
        del points
        raise ConfigError(f"{type(self).__name__} does not stimulate")

    def lead_field(self, points: _Floats) -> _Floats:
        """Potential [C, n] in uV on each channel of 1 nA at each point.

        Parameters
        ----------
        points : array [n, 3]
            Positions of sections in um.
        """
        del points
        raise ConfigError(f"{type(self).__name__} does not record")

    def heard(self, points: _Floats) -> NDArray[np.bool_]:
        """Tell which channel hears which cells: [C, n].

        Parameters
        ----------
        points : array [n, 3]
            Positions of cells in um.
        """
        del points
        raise ConfigError(f"{type(self).__name__} does not record")

    def distances(self, coordinates: ArrayLike) -> _Floats:
        """Distance of every cell to every channel, for those that have a place.

        From rows (gid, x, y, z) in um [n, 4] to rows (channel, gid, distance in um)
        [C * n, 3], all cells of a channel together.
        """
        del coordinates
        raise ConfigError(f"the channels of {type(self).__name__} have no place")

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return len(self.channel_ids)

    @property
    def input_space(self) -> Any:
        """The Gymnasium space of commands, as in livn: 0 to 1 for each channel."""
        spaces = extra("gymnasium.spaces", "gymnasium")
        return spaces.Box(0.0, 1.0, (self.num_channels,))

    def _card(self) -> Card:
        facts = [("channels", f"{self.num_channels}")]
        facts.extend(
            (name.replace("_", " "), f"{value:g} um")
            for name, value in self.params.items()
            if name.endswith("_radius")
        )
        facts.append(("commands", f"in {self.input_units}, {self.input_mode}"))
        return Card(type(self).__name__, facts=tuple(facts), picture=self)

    def gain(self, points: ArrayLike) -> _Floats:
        """Potential [C, n] in uV/nA on each channel of a current at each point.

        Zero where a channel does not hear the point; in steps of 2^-18 uV/nA, so that
        sums over cells do not depend on their order.
        """
        places = checked_points(points)
        gains = volume_conductor.round_gains(self.lead_field(places))
        return np.where(self.heard(places), gains, 0.0)

    def section_gain(self, points: _Floats) -> _Floats:
        """Potential on each channel of a current in each section.

        The currents of a cell's sections cancel, so an electrode sees them only because
        each counts at its own place. A cell is heard with all its sections, if its
        first one is, or else with none.

        Parameters
        ----------
        points : array [n, sections, 3]
            Positions in um.

        Returns
        -------
        array [C, n * sections]
            In uV/nA, in steps of 2^-18 uV/nA.
        """
        cells, sections, _ = points.shape
        heard = np.repeat(self.heard(points[:, 0]), sections, axis=1)
        lead = self.lead_field(points.reshape(cells * sections, 3))
        return np.where(heard, volume_conductor.round_gains(lead), 0.0)

    def cell_stimulus(self, channel_inputs: ArrayLike, points: ArrayLike) -> _Floats:
        """Effect at points while the channels are driven.

        Parameters
        ----------
        channel_inputs : array [T, C]
            Command of each channel in `input_units`, one row per time step.
        points : array [n, 3]
            Positions in um.

        Returns
        -------
        array [T, n]
            In the unit of `input_mode`, so mV for electrodes. Each column depends on
            its own point only, to the last bit, however the points are shared out over
            ranks.

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
        transfer = self.transfer(checked_points(points))
        field = np.zeros((len(inputs), transfer.shape[1]))
        # One channel after the other: a matrix product's rounding depends on its width.
        for channel in np.flatnonzero(inputs.any(axis=0)):
            field += inputs[:, channel, None] * transfer[channel]
        return field

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
            every channel that hears its cell, in the given order. Channels that hear no
            cell are left out.

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
        near = self.heard(cells[:, 1:])
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
        """Potentials from membrane currents.

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

    def reach(self, coordinates: ArrayLike) -> _Floats:
        """Effect [C, n] of one unit of each channel's command at each cell.

        `coordinates` [n, 4] are rows (gid, x, y, z) in um; mV/uA for electrodes.
        """
        return self.transfer(checked_rows(coordinates)[:, 1:])

    def source_gain(self, coordinates: ArrayLike) -> _Floats:
        """Potential [C, n] in uV/nA on each channel of a current at each cell.

        `coordinates` [n, 4] are rows (gid, x, y, z) in um.
        """
        return self.gain(checked_rows(coordinates)[:, 1:])

    def channel_contribution(
        self, coordinates: ArrayLike, channel: int
    ) -> NDArray[np.void]:
        """List the cells that a channel hears, the strongest first.

        Parameters
        ----------
        coordinates : array [n, 4]
            Rows (gid, x, y, z) in um.
        channel
            Id of the channel.

        Returns
        -------
        structured array
            ``gid``, ``gain`` (uV/nA) and ``contribution_pct`` (the gain's part of the
            sum of gains in percent), which ``pandas.DataFrame`` takes.
        """
        cells = checked_rows(coordinates)
        ids = self.channel_ids.tolist()
        if channel not in ids:
            raise ConfigError(f"there is no channel {channel!r}; choose from {ids}")
        gains = self.gain(cells[:, 1:])[ids.index(channel)]
        order = np.argsort(-gains, kind="stable")
        order = order[gains[order] > 0]
        fields = [("gid", "u4"), ("gain", "f8"), ("contribution_pct", "f8")]
        table = np.zeros(len(order), fields)
        table["gid"], table["gain"] = cells[order, 0], gains[order]
        table["contribution_pct"] = 100 * gains[order] / max(gains.sum(), 1e-300)
        return table
