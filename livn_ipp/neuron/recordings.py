"""What a user may have recorded."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from numpy.typing import ArrayLike

from livn_ipp.errors import ConfigError
from livn_ipp.neuron.electrodes import Electrodes
from livn_ipp.neuron.recorder import Recorder
from livn_ipp.neuron.settings import known

__all__ = ["Recordings"]

_Populations = str | Iterable[str] | None
_Sections = str | Sequence[str] | None


class Recordings:
    """Setters of an environment that say what its runs hold.

    Requests add up until :meth:`clear_recordings`. All return the environment.
    """

    _electrodes: Electrodes
    _recorder: Recorder

    def record(self, what: str, population: _Populations = None, **options: Any) -> Any:
        """Record something by name.

        Parameters
        ----------
        what
            One of :meth:`recordable`.
        population
            One, several or all populations.
        **options
            As the method ``record_<what>`` takes them, or :meth:`record_state`.

        Raises
        ------
        ConfigError
            If there is nothing of that name; it tells which names are near.

        Examples
        --------
        >>> from livn_ipp.env import Env
        >>> env = Env("EI1").record("voltage", "EXC", gids=[3], sections="soma")
        >>> env = env.record("ca", dt=1.0).init()
        >>> env.run(20).channels["ca"]
        Series(...)
        """
        methods: dict[str, Callable[..., Any]] = {
            "spikes": self.record_spikes,
            "voltage": self.record_voltage,
            "membrane_current": self.record_membrane_current,
            "potential": self.record_potential,
            "weights": self.record_weights,
        }
        known(what, [*methods, *self._recorder.states], "signal to record")
        if what not in methods:
            return self.record_state(what, population, **options)
        if population is not None:
            if what in {"potential", "weights"}:
                raise ConfigError(f"{what} cannot be recorded of a population only")
            options["population"] = population
        return methods[what](**options)

    def recordable(self) -> list[str]:
        """Return what :meth:`record` takes: signals, then the model's states."""
        signals = ["spikes", "voltage", "membrane_current", "potential", "weights"]
        return [*signals, *self._recorder.states]

    def record_spikes(self, population: _Populations = None) -> Self:
        """Record spikes of one, several or all populations."""
        self._recorder.request("spikes", population)
        return self

    def record_voltage(
        self,
        population: _Populations = None,
        dt: float = 0.1,
        gids: ArrayLike | None = None,
        sections: _Sections = None,
    ) -> Self:
        """Record membrane voltages in mV every `dt` ms.

        Parameters
        ----------
        population
            One, several or all populations.
        dt
            Interval in ms, the same for all until :meth:`clear_recordings`.
        gids
            Only these of their cells.
        sections
            Only these of their sections; soma and dendrite by default.

        Raises
        ------
        ConfigError
            If a name, cell or interval cannot be used.
        """
        self._recorder.request("voltage", population, dt, gids, sections)
        return self

    def record_membrane_current(
        self,
        population: _Populations = None,
        dt: float = 0.1,
        gids: ArrayLike | None = None,
        sections: _Sections = None,
    ) -> Self:
        """Record transmembrane currents in uA every `dt` ms, positive outward.

        What a stimulus injects does not cross the membrane and is not counted; what a
        stimulus conductance lets through is. See :meth:`record_voltage`.
        """
        self._recorder.request("current", population, dt, gids, sections)
        return self

    def record_potential(self, dt: float = 0.1) -> Self:
        """Record the electrodes' potential in uV every `dt` ms."""
        _ = self._electrodes.io  # there must be some
        self._recorder.request("potential", None, dt)
        return self

    def record_state(
        self,
        name: str,
        population: _Populations = None,
        dt: float = 0.1,
        gids: ArrayLike | None = None,
        sections: _Sections = None,
    ) -> Self:
        """Record one of the model's states every `dt` ms, as a channel of its name.

        Parameters
        ----------
        name
            Such as ``"ca"``; see :meth:`recordable`.
        population, dt, gids, sections
            As for :meth:`record_voltage`; by default wherever there is such a state.
        """
        known(name, self._recorder.states, "state of the model")
        self._recorder.request(name, population, dt, gids, sections)
        return self

    def record_weights(self, dt: float = 10.0) -> Self:
        """Record what plastic connections have learned every `dt` ms.

        The channel ``weights`` has one row per connection: ``ids`` names its
        postsynaptic cell, ``sections`` its source (``"from 12"``). Weights change every
        10 ms.
        """
        self._recorder.request("weights", None, dt)
        return self

    def clear_recordings(self) -> Self:
        """Record nothing from now on."""
        self._recorder.clear()
        return self

    @property
    def voltage_recording_dt(self) -> float:
        """Interval of recorded voltages in ms; 0.1 until any are."""
        return self._recorder.interval("voltage", 0.1)

    @property
    def membrane_current_recording_dt(self) -> float:
        """Interval of recorded membrane currents in ms; 0.1 until any are."""
        return self._recorder.interval("current", 0.1)
