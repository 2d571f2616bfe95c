"""make_vec: closed loops on as many workers as there are environments."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

from livn_ipp.env.closed_loop import ChannelPulses, ChannelRates
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.env.gymnasium import spaces_of
from livn_ipp.env.loop.episode import Episode, Reward, Terminated
from livn_ipp.env.loop.members import Autoreset, OnError, Turns
from livn_ipp.env.loop.runners import InProcess, OnWorker
from livn_ipp.env.vector import CultureVectorEnv
from livn_ipp.errors import ConfigError

__all__ = ["make_vec"]


def make_vec(
    system: Any,
    encoding: Any = None,
    decoding: Any = None,
    num_envs: int = 1,
    *,
    reward: Reward | None = None,
    terminated: Terminated | None = None,
    max_episode_steps: int | None = None,
    seed: int | None = None,
    vectorization_mode: Literal["async", "sync"] = "async",
    autoreset_mode: Autoreset = "NextStep",
    on_error: OnError = "raise",
    timeout: float | None = 300.0,
    **environment: Any,
) -> CultureVectorEnv:
    """Make a Gymnasium vector environment of closed loops, each on its own worker.

    Parameters
    ----------
    system
        An initialised ``DistributedEnv`` or ``Env``, which is left open; or a culture,
        for which a ``DistributedEnv`` is made that ends with the vector.
    encoding, decoding, reward, terminated, max_episode_steps
        Of each environment, as :class:`~livn_ipp.env.gymnasium.GymnasiumEnv` takes
        them; by default pulses on all electrodes, and their rates over 50 ms.
    num_envs
        Number of environments. If there are fewer workers, environments share them: a
        worker then repeats an environment's episode up to where it was whenever another
        had the culture in between, which takes ever longer as an episode goes on.
    seed
        Seeds the episodes of environment ``i`` with ``seed + i``.
    vectorization_mode
        ``"sync"``: one culture in this process.
    autoreset_mode
        ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``, as in Gymnasium. The next
        episode has the same task.
    on_error
        What becomes of an environment that raises, or whose worker is lost: ``"raise"``
        the error, or ``"restart"``: the episode ends as truncated, the error is told in
        ``infos["worker_error"]``, and the next begins, on another worker if need be.
    timeout
        Seconds that each reset and step may take on a worker, and that each call here
        waits at most.
    **environment
        As ``DistributedEnv`` takes them; ``num_workers`` is `num_envs` by default.

    Raises
    ------
    ConfigError
        If a space or the reward is missing, or no worker is free.

    Examples
    --------
    >>> envs = make_vec(
    ...     "EI1",
    ...     num_envs=2,
    ...     reward=lambda rates, pulses, task: -abs(rates.mean() - task),
    ...     num_workers=2,
    ... )  # doctest: +SKIP
    >>> rates, infos = envs.reset(seed=7, options={"task": [5, 10]})  # doctest: +SKIP
    """
    if num_envs < 1:
        raise ConfigError(f"num_envs must be at least 1, not {num_envs!r}")
    if on_error not in {"raise", "restart"}:
        raise ConfigError(f"on_error must be 'raise' or 'restart', not {on_error!r}")
    env, release = _environment(system, num_envs, vectorization_mode, environment)
    runners: list[InProcess | OnWorker] = []
    try:
        encoding = ChannelPulses.of(env.io) if encoding is None else encoding
        if decoding is None:
            decoding = ChannelRates.of(env.io, duration=50)
        spaces = spaces_of(encoding, decoding, reward)
        episode = Episode(encoding, decoding, reward, terminated, max_episode_steps)
        _open(env, episode, num_envs, timeout, runners)
        return CultureVectorEnv(
            [Turns(runner) for runner in runners],
            num_envs,
            spaces,
            seed=seed,
            autoreset_mode=autoreset_mode,
            on_error=on_error,
            timeout=timeout,
            release=release,
        )
    except BaseException:
        for runner in runners:
            runner.close()
        if release is not None:
            release()
        raise


def _environment(
    system: Any, num_envs: int, mode: str, options: dict[str, Any]
) -> tuple[Any, Callable[[], Any] | None]:
    """Return the environment to use, and what ends it if it was made here."""
    if hasattr(system, "record_spikes"):
        if options:
            raise ConfigError(
                f"{sorted(options)} are for an environment that is made here; the one "
                "that you gave is used as it is"
            )
        return system, None
    if mode == "sync":
        options = {"transport": "local", **options}
    elif mode != "async":
        raise ConfigError(f"vectorization_mode must be 'async' or 'sync', not {mode!r}")
    elif not {"num_workers", "cluster", "client", "profile", "cluster_id"} & {*options}:
        options = {"num_workers": num_envs, **options}
    env = DistributedEnv(system, **options).init()
    if hasattr(env, "record_spikes"):
        env.record_spikes()
    return env, env.shutdown


def _open(
    env: Any,
    episode: Episode,
    num_envs: int,
    timeout: float | None,
    runners: list[InProcess | OnWorker],
) -> None:
    """Take a worker for each environment, or as many as there are."""
    if not hasattr(env, "session"):
        runners.append(InProcess(env, episode))
    while len(runners) < num_envs and hasattr(env, "session"):
        try:
            runners.append(OnWorker(env, episode, timeout))
        except ConfigError:
            if not runners:
                raise
            break
    if len(runners) < num_envs:
        warnings.warn(
            f"{num_envs} environments share {len(runners)} worker"
            f"{'s'[: len(runners) > 1]}: episodes are repeated up to where they were "
            f"at every turn; num_workers={num_envs} is faster",
            RuntimeWarning,
            stacklevel=3,
        )
