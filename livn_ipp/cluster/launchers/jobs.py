"""The jobs of one cluster in a batch system: submitted, watched and ended."""

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from livn_ipp.cluster.launchers.schedulers import (
    JobState,
    Scheduler,
    logged_verdict,
)
from livn_ipp.cluster.machine.environment import standalone
from livn_ipp.cluster.machine.processes import end, tail
from livn_ipp.errors import PreflightError

__all__ = ["Job", "Jobs"]

_COMMAND_TIMEOUT = 60.0  # s; busy schedulers take long to answer
_FIRST_LOOK = 0.5  # s after a submission; then ever more rarely
_RARELY = 30.0  # s
_UNSEEN = 20.0  # s that a new job may be missing from the list
_SOON = 0.5  # s
_PATIENCE = 10.0  # s, for a cancelled job to end
_LAST_LINES = 50  # of a log, in which the batch system has its say
_UNKNOWN = JobState("pending", "SUBMITTED")
_GONE = JobState("ended", "ENDED")


class Jobs:
    """All jobs of one name; asks for their states together, and rarely.

    Parameters
    ----------
    scheduler
        The batch system.
    name
        The jobs' name, which no other cluster's jobs have.
    """

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self._states: dict[str, JobState] = {}
        self._submitted: dict[str, float] = {}
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._last = -_RARELY
        self._interval = _FIRST_LOOK

    def submit(self, script: str, without: Sequence[str] = ()) -> str:
        """Submit a script.

        Parameters
        ----------
        script
            Its text.
        without
            Variables that would overrule it.

        Returns
        -------
        str
            The job's id.

        Raises
        ------
        PreflightError
            If the batch system does not take it; in its own words.
        """
        ignored = (*self.scheduler.ignored, *without)
        environment = {
            name: value
            for name, value in standalone(os.environ).items()
            if name == "SLURM_CONF" or not name.startswith(ignored)
        }
        answer = self._run(self.scheduler.submit, script, environment)
        found = self.scheduler.job_id.search(answer.stdout)
        if answer.returncode != 0 or found is None:
            words = (answer.stderr + answer.stdout).strip() or "it gave no reason"
            raise PreflightError(
                f"{self.scheduler.title} refused the job: {words}\nThe script was\n"
                f"{script}"
            )
        job = found.group(1)
        with self._lock:
            self._submitted[job] = self._last = time.monotonic()
            self._interval = _FIRST_LOOK
        return job

    def state(self, job: str, age: float = _RARELY) -> JobState:
        """Tell what was last heard of a job, and ask anew if that was long ago.

        Parameters
        ----------
        job
            Its id.
        age
            Seconds that are long; fewer after a submission.

        Returns
        -------
        JobState
            Known without waiting.
        """
        with self._lock:
            age = min(age, self._interval)
            stale = time.monotonic() - self._last > age
            known = self._states.get(job, _UNKNOWN)
        if stale and known.phase != "ended":
            threading.Thread(target=self.look, args=(age,), daemon=True).start()
        return known

    def look(self, age: float = 0.0) -> None:
        """Ask for the states of all jobs.

        Parameters
        ----------
        age
            Seconds since the last answer within which there is no need to ask again.
        """
        began = time.monotonic()
        with self._looking:
            if self._last <= began - age:
                self._look()

    def _look(self) -> None:
        with self._lock:
            self._last = time.monotonic()
            self._interval = min(_RARELY, 1.5 * self._interval)
            asked = [
                job
                for job in self._submitted
                if self._states.get(job, _UNKNOWN).phase != "ended"
            ]
        if not asked:
            return
        try:
            answer = self._run(self._filled(self.scheduler.show, asked))
        except PreflightError:
            return
        if answer.returncode != 0 and not self.scheduler.none.search(answer.stderr):
            return  # it is out of order, which says nothing about the jobs
        found = self.scheduler.read(answer.stdout)
        now = time.monotonic()
        with self._lock:
            for job in asked:
                if job in found:
                    self._states[job] = found[job]
                elif now - self._submitted[job] > _UNSEEN or job in self._states:
                    self._states[job] = _GONE

    def cancel(self, job: str) -> None:
        """Ask the batch system to end a job, and wait for its end."""
        deadline = time.monotonic() + _PATIENCE
        pause = 0.1
        accepted = False
        while time.monotonic() < deadline:
            if not accepted:
                with contextlib.suppress(PreflightError):
                    command = self._filled(self.scheduler.cancel, [job])
                    accepted = self._run(command).returncode == 0
            self.look()
            if self.state(job).phase == "ended":
                return
            time.sleep(pause)
            pause = min(2.0, 2 * pause)

    def cancel_all(self) -> bool:
        """Ask the batch system to end all jobs of this name; tells if it will."""
        if shutil.which(self.last_will[0]) is None:
            return True  # nor was anything submitted from here
        try:
            answer = self._run(self.last_will)
        except PreflightError:
            return False
        none = self.scheduler.none.search(answer.stderr + answer.stdout)
        return answer.returncode == 0 or none is not None

    @property
    def last_will(self) -> tuple[str, ...]:
        """The command that ends all jobs of this name."""
        return self._filled(self.scheduler.cancel_all, ())

    def _filled(self, command: Sequence[str], jobs: Sequence[str]) -> tuple[str, ...]:
        filled: list[str] = []
        for word in command:
            if word == "{ids}":
                filled += jobs
            else:
                filled.append(word.replace("{name}", self.name))
        return tuple(filled)

    def _run(
        self,
        command: Sequence[str],
        text: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                command,
                input=text,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_COMMAND_TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PreflightError(
                f"{self.scheduler.title} does not answer: {error}"
            ) from error


class Job:
    """The job of one world; see :class:`livn_ipp.cluster.launchers.WorldProcess`.

    Parameters
    ----------
    jobs
        The jobs of its cluster.
    job
        Its id.
    command
        What its script calls.
    log
        Where its output goes.
    queue_timeout
        Seconds that it may wait to run.
    """

    def __init__(
        self,
        jobs: Jobs,
        job: str,
        command: Sequence[str],
        log: Path,
        queue_timeout: float | None,
    ) -> None:
        self.command = tuple(command)
        self.log = log
        self.job: str | None = job
        self._id = job
        self._jobs = jobs
        self._queue_timeout = queue_timeout
        self._submitted = time.monotonic()
        self._log_size = 0
        self._verdict = ""

    @property
    def _state(self) -> JobState:
        if self._log_has_changed():
            self._verdict = logged_verdict(tail(self.log, _LAST_LINES))
        return self._jobs.state(self._id, _SOON if self._verdict else _RARELY)

    def _log_has_changed(self) -> bool:
        try:
            size = self.log.stat().st_size
        except OSError:  # not written yet
            size = 0
        changed, self._log_size = size != self._log_size, size
        return changed

    @property
    def exit_code(self) -> int | None:
        """Exit code, -1 if nobody knows it; None while it waits or runs."""
        state = self._state
        if state.phase != "ended":
            return None
        return -1 if state.exit_code is None else state.exit_code

    @property
    def status(self) -> str:
        """What the batch system says, as "job 17 pending (Resources)"."""
        return f"job {self._id} {self._state}"

    @property
    def pending(self) -> bool:
        """Whether it waits to run."""
        return self._state.phase == "pending"

    @property
    def trouble(self) -> str:
        """Why it will not come up, to follow a subject; empty while it may."""
        state, waited = self._state, time.monotonic() - self._submitted
        if state.phase == "ended":
            return f"ended: job {self._id} {state.ending}"
        limit = self._queue_timeout
        if state.phase == "pending" and limit is not None and waited > limit:
            return f"did not run within queue_timeout={limit:g} s: {self.status}"
        return ""

    @property
    def why(self) -> str:
        """What the batch system did to it; empty if its ranks ended by themselves."""
        verdict = self._state.verdict or self._verdict
        if not verdict:
            self._jobs.look(_SOON)
            verdict = self._state.verdict
        return f"job {self._id} {verdict}" if verdict else ""

    def end(self, marks: Mapping[str, str], grace: float = 3.0) -> None:
        """Cancel it, and end what carries the marks on this machine."""
        self._jobs.cancel(self._id)
        end(marks, grace=grace)

    def reap(self, timeout: float = 5.0) -> None:
        """Do nothing: a job is no child of this process."""
