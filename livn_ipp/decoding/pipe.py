"""Decodings in a row."""

from collections.abc import Callable
from typing import Any, Self

from pydantic import Field, PrivateAttr

from livn_ipp.types import Decoding

__all__ = ["Pipe"]


class Pipe(Decoding):
    """Pass the window through stages, each of which sees what the one before made.

    A stage is any callable ``(data, env)``, such as a function or a decoding (whose own
    duration does not matter here). What it returns feeds the next stage; None means
    that it looked but changed nothing. So behind a stage that answers on one rank only,
    such as :class:`~livn_ipp.decoding.ChannelRecording`, the other ranks of the
    subworld go on with what they had, and all ranks go through all stages.

    Stages reach the pipe as ``env.decoding``, with a :attr:`context` for one call and a
    :attr:`state` that stays. Neither is part of the pipe's content: both are left out
    when it is compared or sent.

    Parameters
    ----------
    stages
        The stages, at least one.
    duration
        Length of the simulation in ms.

    Examples
    --------
    >>> def double(data, env):
    ...     return 2 * data
    >>> def look(data, env):
    ...     print("saw", data)
    >>> Pipe(stages=[double, look, double], duration=10)(1)
    saw 2
    4
    """

    stages: list[Callable[..., Any]] = Field(min_length=1)

    _context: dict[str, Any] = PrivateAttr(default_factory=dict)
    _state: dict[str, Any] = PrivateAttr(default_factory=dict)
    _is_set_up: bool = PrivateAttr(default=False)

    @property
    def context(self) -> dict[str, Any]:
        """Notes of one call; empty when the call starts."""
        return self._context

    @property
    def state(self) -> dict[str, Any]:
        """Notes that stay from call to call, on the worker that made them."""
        return self._state

    def setup(self, env: Any) -> None:
        """Start a call: forget the context, set up the stages that can be."""
        self._context.clear()
        self._is_set_up = True
        for stage in self.stages:
            if hasattr(stage, "setup"):
                stage.setup(env)

    def __call__(self, run: Any, env: Any = None) -> Any:
        """Pass the window through all stages.

        Returns
        -------
        object
            What the last stage that changed the data returned; a tuple of one item as
            that item.
        """
        if not self._is_set_up:  # keep what an encoding noted after setup()
            self._context.clear()
        self._is_set_up = False
        data = run
        for number, stage in enumerate(self.stages):
            try:
                result = stage(data, env)
            except Exception as error:
                error.add_note(f"in stage {number} ({_name(stage)}) of a Pipe")
                raise
            if result is not None:
                data = result
        return data[0] if isinstance(data, tuple) and len(data) == 1 else data

    def reset(self, **kwargs: Any) -> Any:
        """Reset every stage that can be; return what the first of them returned."""
        results = [
            stage.reset(**kwargs) for stage in self.stages if hasattr(stage, "reset")
        ]
        return results[0] if results else None

    def clear(self) -> Self:
        """Forget the state and the context."""
        self._state.clear()
        self._context.clear()
        return self

    def get_stage(self, which: type | str) -> Any:
        """Find the first stage of a type or type's name; None if there is none."""
        for stage in self.stages:
            if isinstance(which, str) and _name(stage) == which:
                return stage
            if isinstance(which, type) and isinstance(stage, which):
                return stage
        return None

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        state["__pydantic_private__"] = {
            **state["__pydantic_private__"],
            "_context": {},
            "_state": {},
            "_is_set_up": False,
        }
        return state


def _name(stage: Any) -> str:
    named = stage if hasattr(stage, "__name__") else type(stage)
    return str(named.__name__)
