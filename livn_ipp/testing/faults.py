"""FaultyEnv and with_faults: environments in which things go wrong on request.

What goes wrong is told by the inputs of a call, or by a plan that the environment is
built with. A :class:`Fault` says what happens (see :mod:`livn_ipp.testing.actions`),
on which ranks, when, and in which attempt.
"""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from livn_ipp.env.factory import factory_for
from livn_ipp.errors import ConfigError
from livn_ipp.subworld import Subworld
from livn_ipp.testing.light import LightEnv
from livn_ipp.types import EnvFactory

__all__ = ["Fault", "FaultyEnv", "FaultyInput", "with_faults"]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Parameters
    ----------
    action
        What happens: a callable that is given the environment.
    ranks
        Ranks of the subworld on which it happens; all by default.
    at
        Biological time in ms at which it happens, at the chunk end that reaches it; by
        default before the simulation begins.
    trials
        Calls in which it happens, by their trial; all by default.
    attempts
        Attempts of a call in which it happens, the first being 1; all by default.
    counter
        An existing directory in which attempts are counted, by trial, in files that
        outlive a worker; needed for `attempts`. All ranks must see it.
    during
        ``"call"``; ``"init"``, while the environment is built; or the name of a setter
        such as ``"set_weights"``, before it takes effect.

    Examples
    --------
    Rank 1 dies in the middle of trials 3 and 7, whenever they run:

    >>> from livn_ipp.testing import Die, Raise
    >>> fault = Fault(Die(3), ranks=[1], at=50, trials=[3, 7])

    The disk is full for one setter:

    >>> fault = Fault(Raise(OSError, 28, "no space left"), during="set_noise")
    """

    action: Callable[[Any], Any]
    ranks: Container[int] | None = None
    at: float | None = None
    trials: Container[int] | None = None
    attempts: Container[int] | None = None
    counter: str | Path | None = None
    during: str = "call"

    def __post_init__(self) -> None:
        if not callable(self.action):
            raise ConfigError(
                f"a fault needs an action that can be called, not {self.action!r}; "
                "livn_ipp.testing has Sleep, Raise, Die and others"
            )
        if self.attempts is not None and self.counter is None:
            raise ConfigError(
                "attempts= needs counter=, a directory in which attempts are counted"
            )
        if self.counter is not None and not Path(self.counter).is_dir():
            raise ConfigError(f"counter={str(self.counter)!r} is no directory")


class FaultyInput:
    """An input, and what goes wrong in the call that gets it.

    Parameters
    ----------
    value
        What the environment is given as the call's input.
    *faults
        What goes wrong.

    Examples
    --------
    >>> from livn_ipp.testing import Sleep
    >>> inputs = [1.5, FaultyInput(1.5, Fault(Sleep(2)))]
    """

    def __init__(self, value: Any, *faults: Fault) -> None:
        self.value = value
        self.faults = faults


class _Spoiled:
    """An environment to which things happen; otherwise as the one inside it."""

    multirank = True

    def __init__(
        self, build: Callable[[], Any], subworld: Subworld, faults: tuple[Fault, ...]
    ) -> None:
        self.subworld = subworld
        self.trial: int | None = None
        self._faults = faults
        self._response: Any = None
        self._happen(faults, "init")
        self.inner = build()

    def init(self) -> Self:
        """Build the environment inside."""
        self.inner.init()
        return self

    def clear(self, reseed: bool = True, *, trial: int | None = None) -> Self:
        """Return to time zero, with the given trial's randomness."""
        self.trial = trial
        self.inner.clear(reseed, trial=trial)
        return self

    def __call__(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        **options: Any,
    ) -> Any:
        """Encode, simulate, decode, and let happen what is due."""
        faults = self._faults
        if isinstance(inputs, Fault):
            inputs = FaultyInput(None, inputs)
        if isinstance(inputs, FaultyInput):
            faults, inputs = faults + inputs.faults, inputs.value
        self._response = None
        due = self._due(faults, "call")
        self._act(fault for fault in due if fault.at is None)
        with self._at_chunk_ends([fault for fault in due if fault.at is not None]):
            response = self.inner(decoding, inputs, encoding, **options)
        return response if self._response is None else self._response

    def close(self) -> None:
        """Give the environment inside back."""
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # while it is built
            raise AttributeError(name)
        value = getattr(self.inner, name)
        if not any(fault.during == name for fault in self._faults):
            return value

        def spoiled(*args: Any, **kwargs: Any) -> Any:
            self._happen(self._faults, name)
            return value(*args, **kwargs)

        return spoiled

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    def _happen(self, faults: tuple[Fault, ...], during: str) -> None:
        self._act(self._due(faults, during))

    def _due(self, faults: tuple[Fault, ...], during: str) -> list[Fault]:
        """Return what goes wrong on this rank now. Collective if attempts count."""
        faults = tuple(f for f in faults if f.during == during)
        if during == "call":
            faults = tuple(
                f for f in faults if f.trials is None or self.trial in f.trials
            )
        key = f"trial-{self.trial}" if during == "call" else during
        counters = sorted({str(f.counter) for f in faults if f.attempts is not None})
        attempt = {counter: self._count(Path(counter) / key) for counter in counters}
        rank = self.subworld.rank
        return [
            f
            for f in faults
            if (f.ranks is None or rank in f.ranks)
            and (f.attempts is None or attempt[str(f.counter)] in f.attempts)
        ]

    def _count(self, path: Path) -> int:
        """Count an attempt in a file, on the leader for all ranks."""
        count = 0
        if self.subworld.rank == 0:
            with path.open("ab") as file:
                file.write(b".")
                count = file.tell()
        return int(self.subworld.comm.bcast(count))

    def _act(self, faults: Iterator[Fault] | list[Fault]) -> None:
        for fault in faults:
            response = fault.action(self)
            if response is not None:
                self._response = response

    @contextmanager
    def _at_chunk_ends(self, faults: list[Fault]) -> Iterator[None]:
        if not faults:
            yield
            return

        def follow(method: Callable[..., None]) -> Callable[..., None]:
            def followed(time: float, *rest: Any) -> None:
                due = [f for f in faults if f.at is not None and time >= f.at]
                for fault in due:
                    faults.remove(fault)
                # Before the vote, which the other ranks are waiting in.
                self._act(due)
                method(time, *rest)

            return followed

        # What a simulation calls at the ends of chunks, for this call.
        methods = vars(self.subworld)
        for name in ("checkpoint", "report"):
            methods[name] = follow(getattr(self.subworld, name))
        try:
            yield
        finally:
            for name in ("checkpoint", "report"):
                del methods[name]


class FaultyEnv(_Spoiled):
    """A light environment in which go wrong what the inputs ask for.

    Parameters
    ----------
    system, model, io, seed, comm
        As :class:`livn_ipp.testing.LightEnv` takes them.

    Examples
    --------
    >>> from livn_ipp.env.distributed import DistributedEnv
    >>> from livn_ipp.testing import Raise, Sleep
    >>> with DistributedEnv("EI1", backend=FaultyEnv, transport="local") as env:
    ...     env.record_spikes()
    ...     calm, slow = env(100, inputs=[1.0, FaultyInput(1.0, Fault(Sleep(0.1)))])
    ...     again = env(100, inputs=[1.0], trial=1)
    DistributedEnv(...)
    >>> slow.digest() == again[0].digest()
    True
    """

    def __init__(
        self,
        system: Any,
        model: Any = None,
        io: Any = None,
        seed: int = 123,
        comm: Subworld | None = None,
    ) -> None:
        subworld = Subworld() if comm is None else comm
        build = lambda: LightEnv(system, model, io, seed, subworld)
        super().__init__(build, subworld, ())


@dataclass(frozen=True)
class _FaultyFactory:
    """Builds what another factory builds, with faults."""

    inside: Any
    faults: tuple[Fault, ...]

    @property
    def name(self) -> str:
        return f"{self.inside.name} with faults"

    @property
    def multirank(self) -> bool:
        return bool(self.inside.multirank)

    @property
    def model(self) -> Any:
        return self.inside.model

    @property
    def io(self) -> Any:
        return self.inside.io

    def select(self, select: Any, method: str, bounds: Any) -> Self:
        return replace(self, inside=self.inside.select(select, method, bounds))

    def prepare(self, comm: Any, subworld_size: int) -> Subworld:
        subworld: Subworld = self.inside.prepare(comm, subworld_size)
        return subworld

    def build(self, subworld: Subworld) -> Any:
        return _Spoiled(lambda: self.inside.build(subworld), subworld, self.faults)

    def namespace(self, env: Any) -> dict[str, Any]:
        return dict(self.inside.namespace(env.inner))


@dataclass(frozen=True)
class _FaultyBackend:
    """A backend whose environments meet faults."""

    backend: str | Callable[..., Any]
    faults: tuple[Fault, ...]

    def factory(self, system: Any, model: Any, io: Any, seed: int) -> EnvFactory:
        inside = factory_for(self.backend, system, model, io, seed)
        return _FaultyFactory(inside, self.faults)

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise ConfigError("pass with_faults(...) as backend= of a DistributedEnv")


def with_faults(backend: Any, *faults: Fault) -> Any:
    """Let things go wrong in any environment.

    Besides what is planned here, the environment heeds a :class:`Fault` or
    :class:`FaultyInput` as a call's input.

    Parameters
    ----------
    backend
        ``"neuron"``, ``"livn"`` or a class, as the `backend` of a DistributedEnv; or an
        environment factory.
    *faults
        What goes wrong, whenever it is due.

    Returns
    -------
    backend
        To be used as the `backend` of a DistributedEnv; a factory for a factory.

    Examples
    --------
    >>> from livn_ipp.env.distributed import DistributedEnv
    >>> from livn_ipp.testing import Die, LightEnv
    >>> dies = Fault(Die(3), ranks=[0], at=50, trials=range(0, 200, 20))
    >>> env = DistributedEnv("EI1", backend=with_faults("neuron", dies))
    """
    if hasattr(backend, "build") and hasattr(backend, "prepare"):
        return _FaultyFactory(backend, faults)
    return _FaultyBackend(backend, faults)
