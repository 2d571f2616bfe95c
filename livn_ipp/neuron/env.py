"""Env: one culture on one subworld, and the loop that simulates it."""

from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livn_ipp.errors import ConfigError
from livn_ipp.io import MEA
from livn_ipp.models import Model
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.neuron import mechanisms
from livn_ipp.neuron.boot import boot, world
from livn_ipp.neuron.drive import Drive, Program, whole_steps
from livn_ipp.neuron.geometry import section_gains, section_points
from livn_ipp.neuron.network import Network
from livn_ipp.neuron.recorder import Recorder
from livn_ipp.neuron.settings import Settings
from livn_ipp.run import Events, Run
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import System
from livn_ipp.volume_conductor import round_currents

__all__ = ["Env"]

_DT: Final = 0.05  # ms
_CHUNK: Final = 10.0  # ms; the longest time between two votes on whether to stop
_NANO_PER_MICRO: Final = 1000.0
_LARGEST_KEY: Final = 2**32 - 1  # of NEURON's random streams


class Env:
    """A culture that can be driven, simulated and recorded.

    All ranks of a subworld hold one Env together and call its methods alike; each
    simulates and returns its own share of the cells. A process holds one initialised Env
    at a time.

    Parameters
    ----------
    system
        A system directory, the name of a shipped culture, or a System.
    model
        Dynamics of cells and synapses; Pinsky-Rinzel cells by default.
    io
        The electrodes; by default the system's own.
    seed
        Root of all randomness, 0 to 2^32 - 1.
    comm
        mpi4py's ``COMM_WORLD``, to simulate on all its ranks; by default the subworld
        that this process was booted into, or this process alone.
    subworld_size
        Ranks per subworld; by default all ranks of `comm`.

    Attributes
    ----------
    system, model, io, seed
        As above.
    subworld : Subworld
        The ranks that hold this Env.
    comm : Communicator
        Their guarded collectives.
    trial : int
        Selects the realisation of all randomness of the simulation.
    encoding, decoding
        Those of the latest call.

    Raises
    ------
    ConfigError
        If an argument cannot be used.

    Examples
    --------
    >>> env = Env("EI1").init().record_spikes()
    >>> run = env.run(50)
    >>> run.digest() == env.clear(trial=0).run(50).digest()
    True
    >>> env.close()
    """

    def __init__(
        self,
        system: System | str | Path,
        model: Model | None = None,
        io: MEA | None = None,
        seed: int = 123,
        comm: Any = None,
        subworld_size: int | None = None,
    ) -> None:
        self.system = system if isinstance(system, System) else System(system)
        self.model: Model = PinskyRinzel() if model is None else model
        self.io = self.system.default_io() if io is None else io
        self.seed = _key("seed", seed)
        self.trial = 0
        self.encoding: Any = None
        self.decoding: Any = None
        self._settings = Settings(self.system, self.model)
        self._recorder = Recorder(self.system.populations)
        self._network: Network | None = None
        self._drive: Drive | None = None
        self._dt = 0.0  # 0 until time starts
        live = world()
        if live is not None and comm is None and subworld_size is None:
            self.subworld = live.subworld
        else:
            self.subworld = boot(comm, subworld_size)
        self.comm = self.subworld.comm

    @property
    def t(self) -> float:
        """Biological time in ms."""
        return _exact(self._network.step * self._dt) if self._network else 0.0

    @property
    def active_gids(self) -> NDArray[np.uint32]:
        """The cells that this rank simulates."""
        gids = self.system.gids
        return gids[gids % self.subworld.size == self.subworld.rank]

    @property
    def weight_names(self) -> list[str]:
        """The names that :meth:`set_weights` takes."""
        return list(self._settings.keys)

    def init(self) -> Self:
        """Build the network. Collective; an Env that this process held is closed."""
        live = world()
        if live is None or live.subworld is not self.subworld:
            raise ConfigError(
                "the ranks were partitioned anew after this Env was made; make another"
            )
        mechanisms.load(live.h, self.model.mechanisms)
        self._network = Network(live, self.system, self.model, self.seed)
        self._drive = Drive(live.h, self._network, self.model.sections)
        self._recorder.attach(live.h, self._network, self._drive, self.model.sections)
        self._dt = 0.0
        self._apply()
        return self

    def close(self) -> None:
        """Remove the network. The Env can be initialised again."""
        if self._network is not None:
            self._network.close()
        self._network = self._drive = None
        self._recorder.detach()

    def run(
        self,
        duration: float,
        stimulus: Any = None,
        dt: float | None = None,
        *,
        chunk: float | None = None,
    ) -> Run:
        """Simulate on from the present time. Collective.

        Parameters
        ----------
        duration
            Length in ms.
        stimulus
            What drives the cells, its times counted from the start of the run; see
            :meth:`livn_ipp.stimulus.Stimulus.from_arg`.
        dt
            Step in ms; 0.05 by default. It stays the same until :meth:`clear`.
        chunk
            Longest time in ms between two votes on whether to stop; without influence on
            the result.

        Returns
        -------
        Run
            What this rank's cells did. A spike at time t crossed the threshold at t; the
            window includes its start, not its end. Samples are at dt, 2 dt, ... of each
            signal.

        Raises
        ------
        ConfigError
            If an argument does not fit; nothing was simulated then.
        """
        network, drive = self._live()
        if not duration > 0:
            raise ConfigError(f"duration must be positive (ms), not {duration!r}")
        step = self._check_dt(dt)
        steps = whole_steps(duration, step, "the duration")
        pace = whole_steps(_CHUNK if chunk is None else chunk, step, "the chunk")
        driven = Stimulus.from_arg(stimulus)
        program = None
        if driven is not None:
            program = Program(
                driven, self.system, self.model, self.active_gids, step, duration
            )
        self._recorder.prepare(step, self._gains)
        ends = self._plan(steps, pace, program)
        if self._dt == 0.0:
            network.initialise(step, self.trial)
            self._dt = step
        network.take_spikes()
        self._recorder.start(steps)
        first = network.step
        try:
            for end in ends:
                if program is not None:
                    drive.apply(program, network.step - first)
                network.advance(end - (network.step - first))
                self._recorder.sample(end)
                self.subworld.agree()
                self.subworld.report(self.t)
        finally:
            drive.rest()
        return self._result(first, duration)

    def clear(self, reseed: bool = True, *, trial: int | None = None) -> Self:
        """Return to time zero.

        Parameters
        ----------
        reseed
            Go to the next trial; False repeats the present one.
        trial
            Go to this trial.
        """
        if trial is not None:
            self.trial = _key("trial", trial)
        elif reseed:
            self.trial += 1
        self._dt = 0.0
        if self._network is not None:
            self._network.step = 0
        return self

    def record_spikes(self, population: str | list[str] | None = None) -> Self:
        """Record spikes of one, several or all populations."""
        self._recorder.request("spikes", population)
        return self

    def record_voltage(
        self, population: str | list[str] | None = None, dt: float = 0.1
    ) -> Self:
        """Record membrane voltages in mV every `dt` ms, soma and dendrite."""
        self._recorder.request("voltage", population, dt)
        return self

    def record_membrane_current(
        self, population: str | list[str] | None = None, dt: float = 0.1
    ) -> Self:
        """Record transmembrane currents in uA every `dt` ms, soma and dendrite."""
        self._recorder.request("current", population, dt)
        return self

    def record_potential(self, dt: float = 0.1) -> Self:
        """Record the electrodes' potential in uV every `dt` ms."""
        self._electrodes()
        self._recorder.request("potential", None, dt)
        return self

    def clear_recordings(self) -> Self:
        """Record nothing from now on."""
        self._recorder.clear()
        return self

    def apply_model_defaults(self, weights: bool = True, noise: bool = True) -> Self:
        """Return to the model's own weights and background."""
        self._settings.set_defaults(weights=weights, noise=noise)
        return self._apply()

    def apply_default_params(self, group: str | None = None) -> Self:
        """Apply a group of parameters that the system brings for this model.

        Parameters
        ----------
        group
            Its name; by default ``"default"``, or the model's defaults if the system
            brings nothing.
        """
        groups = self.system.default_params().get(type(self.model).__name__, {})
        if group is None and "default" not in groups:
            return self.apply_model_defaults()
        name = "default" if group is None else group
        if name not in groups:
            raise ConfigError(
                f"{self.system.name} has no parameter group {name!r} for "
                f"{type(self.model).__name__}, only {sorted(groups)}"
            )
        self._settings.set_params(groups[name]["params"])
        return self._apply()

    def set_weights(self, weights: dict[str, float]) -> Self:
        """Set synaptic weights.

        Parameters
        ----------
        weights
            Peak conductance in uS by ``POST_PRE-section-RECEPTOR-weight``; see
            :attr:`weight_names`.

        Raises
        ------
        ConfigError
            If a name or value cannot be used; nothing was changed then.
        """
        self._settings.set_weights(weights)
        return self._apply()

    def set_noise(self, noise: dict[str, float]) -> Self:
        """Set the background.

        Parameters
        ----------
        noise
            ``g_e0, g_i0, std_e, std_i`` (uS), ``tau_e, tau_i`` (ms), ``E_e, E_i`` (mV),
            each for all populations, or as ``population-name`` for one.

        Raises
        ------
        ConfigError
            If a name or value cannot be used; nothing was changed then.
        """
        self._settings.set_noise(noise)
        return self._apply()

    def cell_stimulus(self, channel_inputs: ArrayLike, dt: float = 1.0) -> Stimulus:
        """Turn electrode commands into the field at this rank's cells.

        Parameters
        ----------
        channel_inputs : array [T, C]
            Current of each channel in uA.
        dt
            Interval of the rows in ms.
        """
        gids = self.active_gids
        points = section_points(self.system, self.model, gids).reshape(-1, 3)
        field = self._electrodes().cell_stimulus(channel_inputs, points)
        sections = self.model.sections
        return Stimulus(field, dt, np.repeat(gids, len(sections)), sections * len(gids))

    def channel_recording(self, ids: ArrayLike, *arrays: ArrayLike) -> Any:
        """Sort events by the channels that hear their cells; see ``MEA``."""
        return self._electrodes().channel_recording(
            self.system.coordinates(), ids, *arrays
        )

    def potential_recording(
        self, currents: ArrayLike, gids: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Compute electrode potentials from membrane currents.

        Parameters
        ----------
        currents : array [rows, T]
            Transmembrane currents in uA.
        gids : array [rows]
            The cell of each row, by default this rank's, with as many consecutive rows
            as a cell has sections (soma, dendrite): the ids of ``run.current``.

        Returns
        -------
        array [C, T]
            This rank's share of the potential in uV; the sum over ranks is the potential.
        """
        width = len(self.model.sections)
        cells = self.active_gids if gids is None else np.asarray(gids)[::width]
        rows = np.repeat(cells, width)
        samples = np.asarray(currents, np.float64) * _NANO_PER_MICRO
        if (gids is not None and not np.array_equal(rows, gids)) or len(rows) != len(
            samples
        ):
            raise ConfigError(
                f"currents has {len(samples)} rows; each cell needs {width} consecutive "
                f"ones {self.model.sections}, as record_membrane_current() makes them"
            )
        gains = section_gains(self._electrodes(), self.system, self.model, cells)
        return gains.reshape(-1, len(rows)) @ round_currents(samples)

    def __call__(
        self, decoding: Any, inputs: Any = None, encoding: Any = None, **options: Any
    ) -> Any:
        """Encode, simulate, decode. Collective.

        Parameters
        ----------
        decoding
            A Decoding; or a duration in ms, to get the Run itself.
        inputs
            What the encoding encodes; without encoding, the stimulus.
        encoding
            An Encoding or a function ``(env, duration, inputs) -> stimulus``.
        **options
            ``dt`` and ``chunk`` of :meth:`run`.
        """
        self.encoding, self.decoding = encoding, decoding
        raw = isinstance(decoding, (int, float))
        if not raw:
            decoding.setup(self)
        duration = decoding if raw else decoding.duration
        stimulus = inputs if encoding is None else encoding(self, duration, inputs)
        run = self.run(duration, stimulus, **options)
        return run if raw else decoding(run, self)

    def __repr__(self) -> str:
        state = f"t={self.t:g} ms" if self._network else "not initialised"
        return f"Env({self.system.name}, trial {self.trial}, {state}, {self.subworld})"

    def _live(self) -> tuple[Network, Drive]:
        if self._network is None or self._drive is None:
            raise ConfigError("this Env is not initialised; call init() first")
        if self._network.closed:
            raise ConfigError(
                "this Env was closed because another was initialised in this process, "
                "or the ranks were partitioned anew; a process holds one at a time: "
                "call init() again"
            )
        return self._network, self._drive

    def _electrodes(self) -> MEA:
        if self.io is None:
            raise ConfigError(f"{self.system.name} has no mea.json; pass io=MEA(...)")
        return self.io

    def _gains(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        io = self._electrodes()
        gains = section_gains(io, self.system, self.model, self.active_gids)
        return io.channel_ids, gains.reshape(io.num_channels, -1)

    def _apply(self) -> Self:
        if self._network is not None and not self._network.closed:
            self._network.set_weights(self._settings.weights())
            self._network.set_noise(self._settings.noise())
        return self

    def _check_dt(self, dt: float | None) -> float:
        step = float(dt or self._dt or _DT)
        model = self.model
        if not 0 < step <= model.max_dt:
            raise ConfigError(
                f"dt={dt} ms is too coarse: only up to {model.max_dt:g} ms are spike "
                f"shapes, intervals and latencies known to be right"
            )
        whole_steps(model.hold, step, "the background's interval")
        whole_steps(step, 1e-6, "dt")
        if self._dt not in {0.0, step}:
            raise ConfigError(
                f"dt cannot change from {self._dt:g} to {step:g} ms while time runs; "
                f"call clear() first"
            )
        return step

    def _plan(self, steps: int, pace: int, program: Program | None) -> list[int]:
        """Agree with the other ranks on the steps at which chunks end."""
        changes = np.zeros(0, np.int64) if program is None else program.changes
        regular = [pace, *self._recorder.intervals()]
        plans = self.comm.allgather((steps, regular, changes))
        if any(plan[:2] != plans[0][:2] for plan in plans):
            raise ConfigError(
                "the ranks of this subworld asked for different runs: (steps, "
                f"intervals) are {[plan[:2] for plan in plans]}"
            )
        ends = [np.arange(every, steps, every) for every in set(regular)]
        ends += [plan[2] for plan in plans]
        joined = np.unique(np.concatenate([*ends, [steps]]))
        return joined[(joined > 0) & (joined <= steps)].astype(int).tolist()

    def _result(self, first: int, duration: float) -> Run:
        network = self._live()[0]
        ids, steps = network.take_spikes()
        events = None
        wanted = self._recorder.spiking(network)
        if wanted is not None:
            chosen = np.isin(ids, wanted)
            times = _exact((steps[chosen] - first) * self._dt)
            events = Events.of(ids[chosen], times)
        channels = self._recorder.series()
        return Run(_exact(first * self._dt), float(duration), events, channels)


def _exact(time: Any) -> Any:
    """Return the double nearest to the decimal number: 0.15, not 0.15000000000000002."""
    return np.round(time, 6)


def _key(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or not 0 <= value <= _LARGEST_KEY:
        raise ConfigError(
            f"{name} must be a whole number from 0 to 2^32 - 1, not {value!r}"
        )
    return int(value)
