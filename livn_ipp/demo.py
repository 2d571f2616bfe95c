"""The demonstration: a culture on a cluster, driven twice, looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livn_ipp.decoding import ChannelRecording, GatherAndMerge
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.run import Run
from livn_ipp.types import Decoding, Encoding

__all__ = ["Pulse", "Response", "firing_rates", "run_demo"]

ONSETS = (10, 20)  # ms, the inputs of the two calls
DURATION = 100  # ms


class Pulse(Encoding):
    """A pulse on some electrodes that begins at the time given as input (ms).

    Parameters
    ----------
    channels
        Positions of the electrodes in the array.
    amplitude
        In uA.
    length
        In ms.
    """

    channels: tuple[int, ...] = (1, 4)
    amplitude: float = 20.0
    length: int = 20

    def __call__(self, env: Any, t_end: Any, inputs: Any) -> Any:
        """Command the electrodes, one row per ms."""
        commands = np.zeros([t_end, env.io.num_channels])
        commands[inputs : inputs + self.length, list(self.channels)] = self.amplitude
        return env.cell_stimulus(commands)


@dataclass(frozen=True)
class Response:
    """What one call of the demonstration returns.

    Attributes
    ----------
    cells : dict of int to array
        The cell of each spike that a channel heard.
    run : Run
        The spikes of the whole culture.
    """

    cells: dict[int, NDArray[np.uint32]]
    run: Run


class _Listen(Decoding):
    """Spikes by channel, and the whole run for a picture."""

    def __call__(self, run: Run, env: Any = None) -> Response | None:
        recording = ChannelRecording(duration=self.duration)(run, env)
        whole = GatherAndMerge(duration=self.duration)(run, env)
        if recording is None or recording[0] is None or whole is None:
            return None
        return Response(recording[0], whole)


def firing_rates(response: Response) -> dict[int, float]:
    """Mean rate in Hz of the cells that fired, for each channel that hears cells.

    Examples
    --------
    >>> run = Run(0, 100)
    >>> firing_rates(Response({3: np.array([7, 7, 9]), 4: np.array([])}, run))
    {3: 15.0, 4: 0.0}
    """
    seconds = response.run.duration / 1000
    return {
        channel: len(ids) / max(1, len(np.unique(ids))) / seconds
        for channel, ids in response.cells.items()
    }


def run_demo(
    system: str,
    workers: int,
    subworld_size: int,
    folder: Path,
    say: Callable[[str], None],
) -> list[Response]:
    """Start a cluster, call it twice, tell the rates and draw the spikes.

    Parameters
    ----------
    system
        A shipped culture's name or a system directory.
    workers, subworld_size
        Number of workers, and MPI ranks of each.
    folder
        Where the picture ``raster.png`` goes; made if it is absent.
    say
        Takes each line of text.

    Returns
    -------
    list of Response
        One for each of the two inputs.
    """
    say(f"Starting {workers} workers of {subworld_size} MPI ranks each ...")
    with DistributedEnv(
        system, num_workers=workers, subworld_size=subworld_size
    ) as env:
        culture = env.system
        say(f"{culture.name}: {culture.num_cells} cells on every worker")
        env.record_spikes()
        env.record_membrane_current()
        env.apply_model_defaults()
        responses: list[Response] = (
            env(_Listen(duration=DURATION), inputs=list(ONSETS), encoding=Pulse()) or []
        )
    for onset, response in zip(ONSETS, responses, strict=True):
        rates = firing_rates(response)
        spikes = len(response.run.spikes or ())
        say(f"Pulse at {onset} ms: {spikes} spikes; rate on each channel in Hz")
        say("  " + "  ".join(f"{channel}: {rate:g}" for channel, rate in rates.items()))
    say(f"Spikes drawn in {_draw(responses, culture, folder)}")
    return responses


def _draw(responses: list[Response], culture: Any, folder: Path) -> Path:
    from matplotlib.figure import Figure

    from livn_ipp.view.figures import plot_raster

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 3 * len(responses)), layout="constrained")
    axes = figure.subplots(len(responses), 1, squeeze=False)[:, 0]
    for ax, onset, response in zip(axes, ONSETS, responses, strict=True):
        plot_raster(response.run, ax, culture)
        ax.axvspan(onset, onset + Pulse().length, color="0.9", zorder=0)
        ax.set_title(f"pulse at {onset} ms", loc="right")
    picture = folder / "raster.png"
    figure.savefig(picture, dpi=120)
    return picture.resolve()
