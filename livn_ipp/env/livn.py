"""livn as a backend: a worker that holds livn's own Env."""

import difflib
import os
import sys
from collections.abc import Iterable
from typing import Any, Final, Self

from livn_ipp.env.livn_values import run_of, stimulus_of
from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.run import Run
from livn_ipp.subworld import Subworld

__all__ = ["LivnEnv", "simulator"]

_CHANNELS: Final = {"membrane_current": "current"}


def simulator() -> str:
    """Name the simulator that livn runs on, as livn chooses it.

    Returns
    -------
    str
        ``LIVN_BACKEND`` if that is set; otherwise livn's native one.

    Raises
    ------
    PreflightError
        If livn is not installed, or finds no simulator.
    """
    try:
        from livn.backend.config import backend
    except ImportError as error:
        raise PreflightError(
            f"backend='livn' needs livn, which cannot be imported ({error}): "
            "pip install 'livn_ipp[livn]'"
        ) from error
    name = str(backend())
    if not name:
        raise PreflightError(
            "livn finds no simulator: its native one does not load on this machine, "
            "or LIVN_BACKEND is set to nothing"
        )
    return name


class LivnEnv:
    """livn's Env, as a worker holds it.

    What it does not define itself it passes on to livn's Env. It adds trials, which it
    maps onto the streams of livn's noise, and refuses names that match nothing, which
    livn would pass over in silence.

    Encodings and decodings of livn's types are given livn's own Env and Run. Any other
    is given this one, and the Run as :class:`livn_ipp.run.Run`.

    A fresh livn Env has neither weights nor noise of its model, and records nothing:
    ``apply_model_defaults()`` and ``record_spikes()`` say otherwise.

    Parameters
    ----------
    system
        Path of a system directory, or a number of unconnected cells.
    model, io
        Of livn's types; by default the system's.
    seed
        Seed of livn's noise.
    comm
        The subworld, of one rank.
    livn_backend
        The simulator that livn has to run on; by default the one that it chooses.

    Attributes
    ----------
    livn
        livn's Env.
    subworld, comm
        The subworld and its guarded collectives.
    trial : int
        The stream of livn's noise.

    Raises
    ------
    ConfigError
        If an argument cannot be used.
    PreflightError
        If livn cannot be used.
    """

    multirank = False
    """livn simulates every cell on each rank."""

    def __init__(
        self,
        system: Any,
        model: Any = None,
        io: Any = None,
        seed: int = 123,
        comm: Subworld | None = None,
        *,
        livn_backend: str | None = None,
    ) -> None:
        for name, value in (("system", system), ("model", model), ("io", io)):
            if type(value).__module__.partition(".")[0] == "livn_ipp":
                raise ConfigError(
                    f"{name} is a {type(value).__name__} of livn_ipp; backend='livn' "
                    f"takes livn's own, or for the system a path or numbers of cells"
                )
        _settle(livn_backend)
        from livn.env import Env

        self.subworld = Subworld() if comm is None else comm
        self.comm = self.subworld.comm
        self.trial = 0
        self._recorded: set[str] = set()
        self.livn = Env(system, model=model, io=io, seed=seed, comm=_alone())

    def selection(self, select: Any, method: str = "first", bounds: Any = None) -> Self:
        """Simulate some of the cells, chosen by livn; before :meth:`init`."""
        self.livn.selection(select, method, bounds)
        return self

    def init(self) -> Self:
        """Build the network."""
        self.livn.init()
        return self.clear(trial=0)

    def close(self) -> None:
        """Give the network back."""
        self.livn.close()

    def clear(self, reseed: bool = True, *, trial: int | None = None) -> Self:
        """Return to time zero.

        Parameters
        ----------
        reseed
            Go to the next stream of the noise; False repeats the present one.
        trial
            Go to this stream.
        """
        self.trial = self.trial + bool(reseed) if trial is None else trial
        self.livn.clear(reseed=False)
        self.livn.reseed_noise(stream=self.trial)
        return self

    def record(self, what: str, population: Any = None, **options: Any) -> Self:
        """Record a signal; `what` is one of ``recordable()``."""
        _check("signal", [what], self.livn.recordable())
        if population is not None:
            names = [population] if isinstance(population, str) else population
            _check("population", names, self.livn.system.populations)
        self.livn.record(what, population, **options)
        self._recorded.add(_CHANNELS.get(what, what))
        return self

    def clear_recordings(self) -> Self:
        """Record nothing from now on."""
        # livn goes on recording, for its own decodings; our runs leave it out.
        self.livn.clear_recordings()
        self._recorded.clear()
        return self

    def record_spikes(self, population: Any = None) -> Self:
        """Record spikes of one, several or all populations."""
        return self.record("spikes", population)

    def record_voltage(
        self,
        population: Any = None,
        dt: float = 0.1,
        gids: Any = None,
        sections: Any = None,
    ) -> Self:
        """Record membrane voltages in mV every `dt` ms."""
        return self.record("voltage", population, dt=dt, gids=gids, sections=sections)

    def record_membrane_current(self, population: Any = None, dt: float = 0.1) -> Self:
        """Record membrane currents in uA every `dt` ms."""
        return self.record("membrane_current", population, dt=dt)

    def set_weights(self, weights: dict[str, float]) -> Self:
        """Set synaptic weights, and parameters of synapses, by livn's names."""
        allowed = self.livn.admissible_params()
        _check("weight", weights, [*allowed["weights"], *allowed["mechanisms"]])
        self.livn.set_weights(weights)
        return self

    def set_noise(self, noise: dict[str, float]) -> Self:
        """Set the background, as ``name`` or ``population-name``."""
        prefix = "noise-"
        names = [
            name.removeprefix(prefix) for name in self.livn.admissible_params()["noise"]
        ]
        places = ["", *(f"{name}-" for name in self.livn.system.populations)]
        _check("noise", noise, [place + name for place in places for name in names])
        self.livn.set_noise(noise)
        return self

    def run(
        self, duration: float, stimulus: Any = None, dt: float | None = None
    ) -> Run:
        """Simulate on from the present time."""
        return self._ours(self._simulate(duration, stimulus, dt=dt))

    def __call__(
        self, decoding: Any, inputs: Any = None, encoding: Any = None, **options: Any
    ) -> Any:
        """Encode, simulate, decode.

        Parameters
        ----------
        decoding
            A decoding of livn's or ours; or a duration in ms, to get the Run itself.
        inputs
            What the encoding encodes; without encoding, the stimulus.
        encoding
            An encoding of livn's or ours, or a function.
        **options
            Those of livn's ``Env.run``.
        """
        from livn.types import Decoding, Encoding

        self.livn.encoding, self.livn.decoding = encoding, decoding
        if isinstance(decoding, (int, float)):
            duration: float = decoding
        else:
            theirs = isinstance(decoding, Decoding)
            decoding.setup(self.livn if theirs else self)
            duration = decoding.duration
        stimulus = inputs
        if encoding is not None:
            view = self.livn if isinstance(encoding, Encoding) else self
            stimulus = encoding(view, duration, inputs)
        run = self._simulate(duration, stimulus, **options)
        if isinstance(decoding, (int, float)):
            return self._ours(run)
        return decoding(run, self.livn) if theirs else decoding(self._ours(run), self)

    def __getattr__(self, name: str) -> Any:
        if name == "livn":  # not made yet, or lost by a copy
            raise AttributeError(name)
        return getattr(self.livn, name)

    def __repr__(self) -> str:
        return f"LivnEnv({self.livn.system.name}, trial {self.trial})"

    def _ours(self, run: Any) -> Run:
        # livn's decodings have it record what they need, and that stays.
        return run_of(run, self._recorded)

    def _simulate(self, duration: float, stimulus: Any, **options: Any) -> Any:
        self.subworld.agree()
        run = self.livn.run(duration, stimulus_of(stimulus), **options)
        self.subworld.report(self.livn.t)
        return run


def _alone() -> Any:
    """Return the communicator of this rank; livn would take the whole world's."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):  # no MPI here, which livn can do without too
        return None
    return MPI.COMM_SELF


def _settle(name: str | None) -> None:
    """Have livn run on this simulator, or say why it does not."""
    if name is not None and "livn" not in sys.modules:
        os.environ["LIVN_BACKEND"] = name
    found = simulator()
    if name is not None and found != name:
        raise ConfigError(
            f"livn runs on its simulator {found!r} in this process, and on {name!r} on "
            f"the controller: set LIVN_BACKEND={name} where the engines are started"
        )


def _check(kind: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    choices = list(allowed)
    for name in names:
        if name not in choices:
            near = difflib.get_close_matches(str(name), choices, n=3, cutoff=0.5)
            raise ConfigError(
                f"livn knows no {kind} {name!r}; "
                f"{'did you mean' if near else 'choose from'} {near or choices}"
            )
