"""Workers killed at random while real simulations run."""

import os
import time

import pytest
from watched import PATIENCE

from livn_ipp.testing import WorkerKiller

pytestmark = [pytest.mark.neuron, pytest.mark.cluster, pytest.mark.slow]

SEED = 8  # of those that kill both workers in the first two seconds
CALLS = int(os.environ.get("LIVN_IPP_FAULTS_CHAOS", "60"))


@pytest.mark.timeout(300 + 6 * CALLS)
def test_results_under_random_kills_are_those_of_a_calm_run(watch, record):
    """F25."""
    watched = watch(backend="neuron", max_retries=10)
    watched.env.record_spikes()

    def runs():
        calls = [watched.submit(2000, trial=trial) for trial in range(CALLS)]
        return calls, [call.result(4 * PATIENCE).digest() for call in calls]

    _, calm = runs()
    assert len(set(calm)) == CALLS
    began = time.monotonic()
    with WorkerKiller(watched.env, mean_seconds=5, seed=SEED) as killer:
        calls, stormy = runs()
    took = time.monotonic() - began
    assert stormy == calm
    assert len(killer.kills) > 1
    record(
        "F25",
        took=took,
        calls_number=CALLS,
        kills_number=len(killer.kills),
        repeated_number=sum(call.attempts - 1 for call in calls),
    )
