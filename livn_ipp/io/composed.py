"""Two interfaces as one: this one stimulates, that one records."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.io.base import IO

__all__ = ["ComposedIO"]

_Floats = NDArray[np.float64]
_PARTS = ("inputs", "outputs")


class ComposedIO(IO):
    """Stimulates with one interface and records with another.

    Channels are those of the outputs, but the width of commands is the inputs' number
    of channels.

    Parameters
    ----------
    inputs
        What stimulates.
    outputs
        What records.

    Examples
    --------
    Four large electrodes stimulate, a dense array records:

    >>> from livn_ipp.io import MEA
    >>> io = ComposedIO(MEA.grid(400.0, per_side=2), MEA.grid(400.0, per_side=8))
    >>> io
    ComposedIO(MEA(4 channels, hears 125 um) -> MEA(64 channels, hears 125 um))
    >>> io.num_channels, io.cell_stimulus([[1.0] * 4], [[0, 0, 0]]).shape
    (64, (1, 1))
    """

    def __init__(self, inputs: IO, outputs: IO) -> None:
        for name, part in zip(_PARTS, (inputs, outputs), strict=True):
            if not isinstance(part, IO):
                raise ConfigError(f"{name} must be an IO, not {part!r}")
        self.inputs = inputs
        self.outputs = outputs
        self.input_units = inputs.input_units
        self.input_mode = inputs.input_mode

    @property
    def channel_ids(self) -> NDArray[np.int64]:
        """Id of each channel that records."""
        return self.outputs.channel_ids

    @property
    def params(self) -> dict[str, float]:
        """The parts' parameters, as ``inputs-<name>`` and ``outputs-<name>``."""
        return {
            f"{part}-{name}": value
            for part in _PARTS
            for name, value in self._part(part).params.items()
        }

    @property
    def input_space(self) -> Any:
        """The Gymnasium space of the inputs' commands."""
        return self.inputs.input_space

    def transfer(self, points: _Floats) -> _Floats:
        """Effect of the inputs' channels."""
        return self.inputs.transfer(points)

    def cell_stimulus(self, channel_inputs: ArrayLike, points: ArrayLike) -> _Floats:
        """Effect at points while the inputs' channels are driven."""
        return self.inputs.cell_stimulus(channel_inputs, points)

    def lead_field(self, points: _Floats) -> _Floats:
        """Potential on the outputs' channels."""
        return self.outputs.lead_field(points)

    def heard(self, points: _Floats) -> NDArray[np.bool_]:
        """Tell which of the outputs' channels hear which cells."""
        return self.outputs.heard(points)

    def distances(self, coordinates: ArrayLike) -> _Floats:
        """Distance of every cell to every electrode of the outputs."""
        return self.outputs.distances(coordinates)

    def channel_recording(
        self, coordinates: ArrayLike, ids: ArrayLike, *arrays: ArrayLike
    ) -> Any:
        """Sort events by the outputs' channels."""
        return self.outputs.channel_recording(coordinates, ids, *arrays)

    def potential_recording(
        self, coordinates: ArrayLike, gids: ArrayLike, currents: ArrayLike
    ) -> _Floats:
        """Potentials on the outputs' channels."""
        return self.outputs.potential_recording(coordinates, gids, currents)

    @property
    def electrode_coordinates(self) -> _Floats:
        """Rows (channel id, x, y, z) in um of the outputs' electrodes."""
        coordinates: _Floats = self._outputs_own("electrode_coordinates")
        return coordinates

    @property
    def output_radius(self) -> float:
        """Reach of the outputs in um."""
        return float(self._outputs_own("output_radius"))

    def __repr__(self) -> str:
        return f"ComposedIO({self.inputs!r} -> {self.outputs!r})"

    def _part(self, name: str) -> IO:
        return self.inputs if name == "inputs" else self.outputs

    def _outputs_own(self, name: str) -> Any:
        found = getattr(self.outputs, name, None)
        if found is None:
            raise ConfigError(f"{type(self.outputs).__name__} has no {name}")
        return found

    def _assign(self, params: dict[str, float]) -> None:
        for part in _PARTS:
            prefix = f"{part}-"
            own = {
                name.removeprefix(prefix): value
                for name, value in params.items()
                if name.startswith(prefix)
            }
            if own:
                self._part(part).set_params(own)
