"""Stable-Baselines3 on a vector environment: its own VecEnv around ours."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from livn_ipp.env.loop.episode import Call, Outcome, SetAttr
from livn_ipp.env.loop.pool import consecutive
from livn_ipp.env.vector import CultureVectorEnv
from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra

__all__ = ["sb3_vec_env"]


def sb3_vec_env(envs: CultureVectorEnv) -> Any:
    """Make a Stable-Baselines3 ``VecEnv`` of a vector environment.

    Parameters
    ----------
    envs
        What ``make_vec(..., autoreset_mode="SameStep")`` made, which is how
        Stable-Baselines3 begins episodes. It ends with the VecEnv.

    Raises
    ------
    ConfigError
        If its autoreset mode is another.
    MissingExtra
        If Stable-Baselines3 is not installed.

    Examples
    --------
    >>> from stable_baselines3 import PPO  # doctest: +SKIP
    >>> model = PPO("MlpPolicy", sb3_vec_env(envs)).learn(2000)  # doctest: +SKIP
    """
    mode = envs.metadata["autoreset_mode"].value
    if mode != "SameStep":
        raise ConfigError(
            "Stable-Baselines3 begins the next episode in the same step; make the "
            f"vector with autoreset_mode='SameStep', not {mode!r}"
        )
    base = extra("stable_baselines3.common.vec_env", "sb3").VecEnv
    return type("CultureVecEnv", (_Methods, base), {})(envs)


class _Methods:
    """What a VecEnv has to implement."""

    num_envs: int
    reset_infos: list[dict[str, Any]]
    _seeds: Sequence[int | None]
    _options: list[dict[str, Any]]

    def __init__(self, envs: CultureVectorEnv) -> None:
        self.envs = envs
        super().__init__(  # type: ignore[call-arg]
            envs.num_envs, envs.single_observation_space, envs.single_action_space
        )

    def reset(self) -> Any:
        """Begin an episode in each environment."""
        for i in range(self.num_envs):
            self.envs.send_reset(i, seed=self._seeds[i], options=self._options[i])
        outcomes = self.envs.outcomes()
        self.reset_infos = [outcomes[i].info for i in range(self.num_envs)]
        self._seeds = consecutive(None, self.num_envs)
        self._options = [{} for _ in range(self.num_envs)]
        return self.envs.batched([outcomes[i].observation for i in outcomes])

    def step_async(self, actions: Any) -> None:
        """Act in each environment."""
        self.envs.send(actions)

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Wait for each environment."""
        outcomes = list(self.envs.outcomes().values())
        for i, outcome in enumerate(outcomes):
            if outcome.done:
                self.reset_infos[i] = _reset_info(outcome)
        return (
            self.envs.batched([outcome.observation for outcome in outcomes]),
            np.array([outcome.reward for outcome in outcomes], np.float32),
            np.array([outcome.done for outcome in outcomes], np.bool_),
            [_info(outcome) for outcome in outcomes],
        )

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Read an attribute of some environments."""
        if attr_name == "render_mode":
            return [None] * len(self._chosen(indices))
        return self.env_method(attr_name, indices=indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of some environments."""
        self.envs.pool.ask(
            {i: SetAttr(attr_name, value) for i in self._chosen(indices)}
        )

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of some environments, or read an attribute."""
        call = Call(method_name, args, kwargs)
        return list(self.envs.pool.ask(dict.fromkeys(self._chosen(indices), call)))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Tell that no environment has a wrapper."""
        del wrapper_class
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> list[int]:
        if indices is None:
            return list(range(self.num_envs))
        return [indices] if isinstance(indices, int) else list(indices)


def _info(outcome: Outcome) -> dict[str, Any]:
    """Tell of a step as Stable-Baselines3 expects it."""
    info = dict(outcome.info)
    info["TimeLimit.truncated"] = outcome.truncated and not outcome.terminated
    if outcome.done:
        info |= info.pop("final_info", {})
        info["terminal_observation"] = info.pop("final_obs")
    return info


def _reset_info(outcome: Outcome) -> dict[str, Any]:
    final = ("final_obs", "final_info")
    return {name: told for name, told in outcome.info.items() if name not in final}
