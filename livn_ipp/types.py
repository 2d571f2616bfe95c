"""Encoding and Decoding, and the protocols that the rooms of the house meet at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from livn_ipp.content import content_digest, content_key
from livn_ipp.errors import ConfigError
from livn_ipp.run import Run
from livn_ipp.subworld import Subworld

__all__ = [
    "Backend",
    "Content",
    "Decoding",
    "Encoding",
    "EncodingLike",
    "EnvFactory",
    "Finding",
    "Observer",
    "carry_out",
    "content_digest",
]


@dataclass(frozen=True)
class Finding:
    """One line of a check of this machine.

    Attributes
    ----------
    name
        What was looked for.
    found
        What was found, with version and place.
    ok
        Whether livn_ipp can work with it.
    fix
        What to do if not; empty if nothing.
    """

    name: str
    found: str
    ok: bool = True
    fix: str = ""


class Content(BaseModel):
    """A model whose identity is its content."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        # A class defined in a function would carry that function's variables along
        # whenever it is pickled by value.
        cls.__pydantic_parent_namespace__ = None

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return content_key(self) == content_key(other)

    def __hash__(self) -> int:
        return hash(content_key(self))


class Encoding(Content):
    """Turns a call's input into a stimulus.

    Subclass it, declare parameters as annotated fields and implement ``__call__``. Any
    function with the same signature may be used in its place.

    Examples
    --------
    >>> class Silence(Encoding):
    ...     gain: float = 1.0
    ...
    ...     def __call__(self, env, t_end, inputs):
    ...         return None
    >>> Silence(gain=2.0) == Silence(gain=2.0)
    True
    """

    @property
    def input_space(self) -> Any:
        """The Gymnasium space of the inputs that a closed loop may choose.

        Raises
        ------
        ConfigError
            If the encoding declares none.
        """
        raise _no_space(self, "input_space")

    def __call__(self, env: Any, t_end: Any, inputs: Any) -> Any:
        """Encode one input.

        Parameters
        ----------
        env
            The environment of the rank that runs the call.
        t_end
            Length of the call in ms, as the decoding's ``duration``.
        inputs
            The call's input.

        Returns
        -------
        Stimulus, array, tuple, dict or None
            What drives the simulation; see :meth:`livn_ipp.stimulus.Stimulus.from_arg`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement __call__")


EncodingLike = Encoding | Callable[[Any, Any, Any], Any]
"""An Encoding or a function ``(env, t_end, inputs) -> stimulus``."""


class Decoding(Content):
    """Turns a simulated window into a response.

    Runs on every rank of a subworld, where `run` holds that rank's cells; use the
    guarded collectives of ``env.comm`` to combine them. The response of a call is that
    of the lowest rank that returns something other than None.

    Parameters
    ----------
    duration
        Length of the simulation in ms.
    """

    duration: int | float = Field(gt=0, allow_inf_nan=False)

    @property
    def output_space(self) -> Any:
        """The Gymnasium space of the responses that a closed loop observes.

        Raises
        ------
        ConfigError
            If the decoding declares none.
        """
        raise _no_space(self, "output_space")

    def setup(self, env: Any) -> None:
        """Prepare the environment before the simulation starts."""

    def __call__(self, run: Run, env: Any = None) -> Any:
        """Decode one window.

        Parameters
        ----------
        run
            What this rank recorded.
        env
            The environment of the rank that runs the call.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement __call__")


def carry_out(
    env: Any, decoding: Any, inputs: Any, encoding: Any, options: dict[str, Any]
) -> Any:
    """Run one call on a rank's environment.

    What stands in a decoding's place may run the environment on its own, by a method
    ``carry_out(env, inputs, encoding, **options)``: the episodes of a closed loop are
    reset so, which simulates nothing.

    Examples
    --------
    >>> class Ask:
    ...     def carry_out(self, env, inputs, encoding):
    ...         return getattr(env, inputs)
    >>> carry_out(1 + 2j, Ask(), "imag", None, {})
    2.0
    """
    # Asked of its class: to miss an attribute takes an instance of pydantic 2 us.
    if getattr(type(decoding), "carry_out", None) is not None:
        return decoding.carry_out(env, inputs, encoding, **options)
    return env(decoding, inputs=inputs, encoding=encoding, **options)


def _no_space(owner: object, name: str) -> ConfigError:
    return ConfigError(
        f"{type(owner).__name__} declares no {name}; a Gymnasium environment needs "
        f"one: add a property {name} that returns a gymnasium.spaces.Space"
    )


class Backend(Protocol):
    """What a worker needs of the environment that it holds, on each rank.

    A class whose ranks simulate one network together also says ``multirank = True``;
    to any other a ``subworld_size`` above 1 is refused.
    """

    def init(self) -> Self:
        """Build the network."""

    def clear(self, reseed: bool = True, *, trial: int | None = None) -> Self:
        """Return to time zero, with the given trial's randomness."""

    def __call__(
        self,
        decoding: Any,
        inputs: Any = None,
        encoding: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Encode, simulate, decode; take part in it on every rank."""

    def close(self) -> None:
        """Give everything back."""


class EnvFactory(Protocol):
    """Builds the environment of each rank; the cluster knows no more of simulation."""

    @property
    def name(self) -> str:
        """What the backend is called in messages."""

    @property
    def multirank(self) -> bool:
        """Whether the ranks of a subworld simulate one network together."""

    def prepare(self, comm: Any, subworld_size: int) -> Subworld:
        """Partition the world; collective over all ranks of `comm`.

        Parameters
        ----------
        comm
            The world's mpi4py communicator, or None for a single process.
        subworld_size
            Ranks per subworld.
        """

    def build(self, subworld: Subworld) -> Any:
        """Build and initialise the environment of one subworld, on each rank."""

    def namespace(self, env: Any, /) -> dict[str, Any]:
        """Names to offer to ``%%px`` cells beside ``env``, ``comm`` and ``world``."""


class Observer(Protocol):
    """Is told what happens to workers and calls, from any thread.

    Nothing here may block or raise: it is called between two decisions of the
    dispatcher.
    """

    def joined(self, worker: int) -> None:
        """Hear that a worker is ready, at the start or in place of a lost one."""

    def placed(self, worker: int, host: str, pids: tuple[int, ...]) -> None:
        """Hear where the ranks of a worker are, by rank."""

    def lost(self, worker: int, reason: str, *, replaced: bool = False) -> None:
        """Hear that a worker's processes ended, and whether others are on their way."""

    def retired(self, worker: int) -> None:
        """Hear that a worker was removed on request."""

    def configured(self, version: int) -> None:
        """Hear how many entries the config log has."""

    def queued(self, calls: int) -> None:
        """Hear how many calls wait for a worker now."""

    def started(self, call: int, worker: int, attempt: int) -> None:
        """Hear that a call was handed to a worker, behind those that it has already.

        Parameters
        ----------
        call
            Number of the call.
        worker
            Index of the worker.
        attempt
            1 for the first time.
        """

    def progressed(
        self,
        worker: int,
        call: int,
        time: float,
        end: float | None = None,
        gids: NDArray[np.uint32] | None = None,
        times: NDArray[np.float64] | None = None,
        rss: tuple[int, ...] = (),
        potential: NDArray[np.float64] | None = None,
    ) -> None:
        """Hear how far a running call is, and what its cells did since the last time.

        Parameters
        ----------
        worker, call
            Index of the worker, number of the call.
        time, end
            Biological time reached, and that of its end if known, in ms from its start.
        gids, times
            Cell and time (ms from the call's start) of each new spike.
        rss
            Resident memory of each rank in bytes.
        potential
            Potential at each electrode in uV, as last sampled.
        """

    def ended(
        self, call: int, how: Literal["done", "failed", "cancelled"], error: str = ""
    ) -> None:
        """Hear how a call ended, and with which error if it failed."""

    def logged(self, line: str, worker: int | None = None) -> None:
        """Hear a line for the log."""
