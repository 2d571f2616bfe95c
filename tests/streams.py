"""What every transport promises of calls that tell how far they are, on a real culture.

As a program: keep every promise under mpirun; the subworld's size is the argument.
"""

import sys
import time

import pytest

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import CallTimeout
from livn_ipp.types import Decoding

PATIENCE = 60.0  # s
FOR_EVER = 3_600_000  # ms


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found


def a_stream_is_the_run_whole_and_changes_nothing(env):
    plain = env.submit(4000, trial=3).result(PATIENCE)
    future = env.submit(4000, trial=3, stream=True)
    whole = future.result(PATIENCE)
    assert len(whole.spikes) > 20
    assert whole.digest() == plain.digest()
    assert future.partial.digest() == whole.digest()
    assert (future.partial.t0, future.partial.duration) == (0.0, 4000.0)
    assert future.progress == 4000.0


def a_stream_comes_while_the_call_runs(env):
    future = env.submit(FOR_EVER, trial=3, stream=True)
    early = until(lambda: future.partial)
    later = until(lambda: future.partial.duration > early.duration and future.partial)
    assert not future.done()
    assert future.progress >= later.duration
    again = later.slice(0, early.duration)
    assert again.digest() == early.digest()
    assert future.cancel()
    same = env.submit(early.duration, trial=3).result(PATIENCE)
    assert same.digest() == early.digest()


def a_call_that_is_no_stream_has_progress_only(env):
    future = env.submit(FOR_EVER)
    until(lambda: future.progress > 0)
    assert future.partial is None
    assert future.cancel()


def a_call_whose_time_is_over_leaves_what_it_did(env):
    future = env.submit(FOR_EVER, trial=5, stream=True, timeout=0.7)
    with pytest.raises(CallTimeout) as caught:
        future.result(PATIENCE)
    partial = caught.value.partial
    assert caught.value.time == partial.duration > 0
    whole = env.submit(partial.duration, trial=5).result(PATIENCE)
    assert partial.digest() == whole.digest()


class Silent(Decoding):
    """Tell how long the response is, and not the spikes."""

    def __call__(self, run, env=None):
        return run.duration


def a_stream_does_not_depend_on_what_is_decoded(env):
    future = env.submit(Silent(duration=1000), trial=3, stream=True)
    assert future.result(PATIENCE) == 1000.0
    whole = env.submit(1000, trial=3).result(PATIENCE)
    assert future.partial.digest() == whole.digest()


PROMISES = [
    a_stream_is_the_run_whole_and_changes_nothing,
    a_stream_comes_while_the_call_runs,
    a_call_that_is_no_stream_has_progress_only,
    a_call_whose_time_is_over_leaves_what_it_did,
    a_stream_does_not_depend_on_what_is_decoded,
]


def environment(**options):
    return DistributedEnv("EI1", **options)


def main():
    env = environment(subworld_size=int(sys.argv[1])).init()
    if env.is_root():
        env.record_spikes()
        for promise in PROMISES:
            promise(env)
            print("kept", promise.__name__, flush=True)
    env.shutdown()


if __name__ == "__main__":
    main()
