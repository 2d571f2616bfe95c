"""An environment under watch: its calls, and when workers were lost and came back."""

import time

from livn_ipp.types import Decoding

PATIENCE = 90.0  # s, for a world to start on a loaded machine


def until(condition, seconds=PATIENCE, what="it"):
    """Wait for something that happens on another thread or in another process."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            name = what() if callable(what) else what
            raise AssertionError(f"{name} did not happen in {seconds:g} s")
        time.sleep(0.005)
    return value


class Well(Decoding):
    """What every worker answers alike when all is well."""

    duration: int = 1

    def __call__(self, run, env=None):
        return env.trial, env.comm.allgather(env.comm.rank)


class Watched:
    """An environment, when its workers were lost and came back, and all its calls."""

    def __init__(self, env, workers=2):
        self.env = env
        self.workers = workers
        self.calls = []
        self.ends = []
        self.lost = []
        self.joined = []
        self._listen("lost", self.lost)
        self._listen("joined", self.joined)

    def _listen(self, name, times):
        dispatcher = self.env._dispatcher
        heard = getattr(dispatcher, name)

        def listen(worker, *args, **options):
            times.append((time.monotonic(), worker, *args))
            heard(worker, *args, **options)

        setattr(dispatcher, name, listen)

    def submit(self, *args, **options):
        call = self.env.submit(*args, **options)
        self.calls.append(call)
        call.add_done_callback(self.ends.append)
        return call

    def running(self, *calls):
        """Wait until calls are on a worker."""
        until(lambda: all(call.attempts for call in calls), what="a start")

    def under_way(self, *calls):
        """Wait until calls have reported progress."""
        until(lambda: all(call.progress for call in calls), what="progress")

    def noticed(self, since):
        """When, after a moment on the monotonic clock, a worker was given up."""
        return until(
            lambda: [when for when, *_ in self.lost if when >= since], what="a loss"
        )[0]

    def whole(self):
        """Wait until all workers are there; return when that was."""
        until(lambda: len(self.env._dispatcher.workers) == self.workers, what="healing")
        return time.monotonic()

    def check(self):
        """All calls have ended once, and all workers are there and answer rightly."""
        until(lambda: all(call.done() for call in self.calls), 20, "the end of a call")
        until(lambda: len(self.ends) >= len(self.calls), 5, "a callback")
        assert len(self.ends) == len(self.calls)
        self.whole()
        answers = [
            self.env.submit(Well(), trial=77, worker=worker).result(PATIENCE)
            for worker in self.env._dispatcher.workers
        ]
        right = (77, list(range(self.env.subworld_size)))
        assert answers == [right] * self.workers
        assert self.env._dispatcher.unfinished == 0
