"""Slurm, PBS, Grid Engine and LSF: their commands, and what these print."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from livn_ipp.cluster.launchers.options import hours_minutes_seconds

__all__ = ["SCHEDULERS", "JobState", "Scheduler", "logged_verdict"]


@dataclass(frozen=True)
class JobState:
    """What a batch system says about a job.

    Attributes
    ----------
    phase
        "pending", "running" or "ended".
    word
        Its own word for the state.
    reason
        Why it waits or has ended, in its own words.
    exit_code
        Of the script; None if not known.
    host
        Where it runs.
    """

    phase: Literal["pending", "running", "ended"]
    word: str
    reason: str = ""
    exit_code: int | None = None
    host: str = ""

    def __str__(self) -> str:
        where = f" on {self.host}" if self.phase == "running" and self.host else ""
        reason = f" ({self.reason})" if self.phase == "pending" and self.reason else ""
        return f"{self.word.lower()}{where}{reason}"

    @property
    def verdict(self) -> str:
        """What the batch system did to it, to follow its name; empty if nothing."""
        words = set(re.findall(r"\w+", f"{self.word} {self.reason}"))
        return next((text for word, text in _ENDINGS.items() if word in words), "")

    @property
    def ending(self) -> str:
        """How the job ended, to follow its name."""
        if self.verdict:
            return self.verdict
        if self.exit_code is not None:
            return f"ended with exit code {self.exit_code}"
        return f"ended ({self.word.lower()})"


_ENDINGS = {
    "TIMEOUT": "reached its time limit",
    "DEADLINE": "reached its deadline",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "lost its node, which did not boot",
    "OUT_OF_MEMORY": "used more memory than it was given",
    "PREEMPTED": "was preempted",
    "CANCELLED": "was cancelled",
    "TERM_RUNLIMIT": "reached its time limit",
    "TERM_MEMLIMIT": "used more memory than it was given",
    "TERM_PREEMPT": "was preempted",
    "TERM_OWNER": "was cancelled",
    "TERM_ADMIN": "was cancelled by an administrator",
}

# What batch systems write into the job's own output, before anybody else knows.
_LOGGED = {
    r"CANCELLED AT \S+ DUE TO TIME LIMIT": "reached its time limit",
    r"CANCELLED AT \S+ DUE TO NODE FAILURE": "lost its node",
    r"CANCELLED AT \S+ DUE TO PREEMPTION": "was preempted",
    r"CANCELLED AT \S+ \*\*\*": "was cancelled",
    r"[Dd]etected \d+ oom[-_]kill event": "used more memory than it was given",
    r"TERM_RUNLIMIT": "reached its time limit",
    r"TERM_MEMLIMIT": "used more memory than it was given",
    r"PBS: job killed: walltime": "reached its time limit",
}


def logged_verdict(log: str) -> str:
    """Read in a job's log what the batch system did to it; empty if nothing.

    Examples
    --------
    >>> logged_verdict("*** JOB 7 ON n1 CANCELLED AT 12:00 DUE TO TIME LIMIT ***")
    'reached its time limit'
    """
    return next((text for said, text in _LOGGED.items() if re.search(said, log)), "")


_PHASES: Mapping[str, Literal["pending", "running", "ended"]] = {
    # Slurm
    **dict.fromkeys(["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD"], "pending"),
    **dict.fromkeys(["REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"], "pending"),
    **dict.fromkeys(["RUNNING", "SUSPENDED", "STOPPED", "COMPLETING"], "running"),
    **dict.fromkeys(["RESIZING", "SIGNALING", "STAGE_OUT"], "running"),
    # PBS
    **dict.fromkeys(["Q", "H", "W", "T"], "pending"),
    **dict.fromkeys(["R", "E", "S", "U", "B"], "running"),
    # LSF
    **dict.fromkeys(["PEND", "PSUSP", "WAIT"], "pending"),
    **dict.fromkeys(["RUN", "PROV", "USUSP", "SSUSP", "UNKWN"], "running"),
}


@dataclass(frozen=True)
class Scheduler:
    """The commands of one batch system; ``{name}`` and ``{ids}`` are filled in.

    Attributes
    ----------
    title
        What people call it.
    prefix
        Begins a directive in a script.
    submit
        Reads a script from its standard input.
    job_id
        Finds the id in what that prints, as its first group.
    show
        Tells the states of a cluster's jobs.
    read
        Understands what that prints.
    none
        What it says instead when there is no such job.
    cancel, cancel_all
        End jobs by id; all of a cluster by their name.
    resources
        The directive that asks for one core for each of ``{ranks}``.
    time
        Writes a time limit as directives have it.
    ignored
        What variables begin with that tell of the job which this process is in, or
        would overrule a script's directives.
    overruling
        Variables that would overrule what the user asked for, by option.
    """

    title: str
    prefix: str
    submit: tuple[str, ...]
    job_id: re.Pattern[str]
    show: tuple[str, ...]
    read: Callable[[str], dict[str, JobState]]
    none: re.Pattern[str]
    cancel: tuple[str, ...]
    cancel_all: tuple[str, ...]
    resources: str
    time: Callable[[str], str]
    ignored: tuple[str, ...]
    overruling: Mapping[str, str] = field(default_factory=dict)


def _clock_time(time_limit: str) -> str:
    return "{}:{:02}:{:02}".format(*hours_minutes_seconds(time_limit))


def _hours_and_minutes(time_limit: str) -> str:
    hours, minutes, seconds = hours_minutes_seconds(time_limit)
    whole = 60 * hours + minutes + (seconds > 0)
    return f"{whole // 60}:{whole % 60:02}"


def _slurm_jobs(text: str) -> dict[str, JobState]:
    found = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) < 5:
            continue
        job, word, reason, status, host = fields[:5]
        phase = _PHASES.get(word, "ended")
        code = _wait_status(int(status)) if phase == "ended" and status else None
        reason = "" if reason == "None" else reason
        found[job] = JobState(phase, word, reason, code, host)
    return found


def _wait_status(status: int) -> int:
    return status >> 8 or 128 + (status & 0x7F) if status else 0


def _pbs_jobs(text: str) -> dict[str, JobState]:
    found = {}
    for block in re.split(r"^Job Id:\s*", text, flags=re.MULTILINE)[1:]:
        job, _, rest = block.partition("\n")
        unfolded = re.sub(r"\n\t", "", rest)  # long values go on in the next line
        values = dict(re.findall(r"^\s+([\w.]+) = (.*)$", unfolded, re.MULTILINE))
        word = values.get("job_state", "?")
        code = values.get("Exit_status", "")
        found[job.strip()] = JobState(
            _PHASES.get(word, "ended"),
            _PBS_WORDS.get(word) or word,
            values.get("comment", ""),
            int(code) if re.fullmatch(r"-?\d+", code) else None,
            values.get("exec_host", "").partition("/")[0],
        )
    return found


_PBS_WORDS = {
    "Q": "QUEUED",
    "H": "HELD",
    "W": "WAITING",
    "R": "RUNNING",
    "E": "EXITING",
    "S": "SUSPENDED",
    "C": "COMPLETED",
    "F": "FINISHED",
}


def _sge_jobs(text: str) -> dict[str, JobState]:
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].isdigit():
            continue  # the heading
        job, word = fields[0], fields[4]
        host = fields[7].partition("@")[2]
        if "E" in word:
            reason = f"an error; `qstat -j {job}` explains it"
            found[job] = JobState("pending", word, reason)
        elif "q" in word or "h" in word:
            found[job] = JobState("pending", word)
        else:
            found[job] = JobState("running", "RUNNING", host=host)
    return found


def _lsf_jobs(text: str) -> dict[str, JobState]:
    found = {}
    for line in text.splitlines():
        fields = [field.strip().removeprefix("-") for field in line.split("|")]
        if len(fields) < 6 or not fields[0].isdigit():
            continue
        job, word, code, waits, ended, host = fields[:6]
        phase = _PHASES.get(word, "ended")
        reason = waits if phase == "pending" else ended
        exit_code = int(code) if code.isdigit() else 0 if word == "DONE" else None
        found[job] = JobState(phase, word, reason, exit_code, host)
    return found


_ANY_ID = re.compile(r"(\d+)")

SCHEDULERS = {
    "slurm": Scheduler(
        title="Slurm",
        prefix="#SBATCH",
        submit=("sbatch", "--parsable"),
        job_id=_ANY_ID,
        show=(
            *("squeue", "--noheader", "--states=all", "--name={name}"),
            "--Format=jobid:|,state:|,reason:|,exit_code:|,nodelist:|",
        ),
        read=_slurm_jobs,
        none=re.compile("Invalid job id"),
        cancel=("scancel", "{ids}"),
        cancel_all=("scancel", "--name={name}"),
        resources="--ntasks={ranks}",
        time=_clock_time,
        ignored=(
            *("SLURM_", "SLURMD_", "SBATCH_EXPORT", "SBATCH_JOB_NAME"),
            *("SBATCH_OUTPUT", "SBATCH_OPEN_MODE", "SBATCH_REQUEUE"),
        ),
        overruling={
            "queue": "SBATCH_PARTITION",
            "time_limit": "SBATCH_TIMELIMIT",
            "account": "SBATCH_ACCOUNT",
        },
    ),
    "pbs": Scheduler(
        title="PBS",
        prefix="#PBS",
        submit=("qsub",),
        job_id=re.compile(r"(\d+\S*)"),
        show=("qstat", "-f", "{ids}"),
        read=_pbs_jobs,
        none=re.compile("Unknown Job|has finished", re.IGNORECASE),
        cancel=("qdel", "{ids}"),
        cancel_all=("sh", "-c", "qselect -N {name} | xargs -r qdel"),
        resources="-l select={ranks}:ncpus=1:mpiprocs=1",
        time=_clock_time,
        ignored=("PBS_",),
    ),
    "sge": Scheduler(
        title="Grid Engine",
        prefix="#$",
        submit=("qsub",),
        job_id=re.compile(r"[Jj]ob (\d+)"),
        show=("qstat",),
        read=_sge_jobs,
        none=re.compile("do not exist"),
        cancel=("qdel", "{ids}"),
        cancel_all=("qdel", "{name}"),
        resources="-pe mpi {ranks}",
        time=_clock_time,
        ignored=("SGE_", "JOB_ID", "JOB_NAME", "JOB_SCRIPT", "PE_HOSTFILE"),
    ),
    "lsf": Scheduler(
        title="LSF",
        prefix="#BSUB",
        submit=("bsub",),
        job_id=re.compile(r"Job <(\d+)>"),
        show=(
            *("bjobs", "-a", "-noheader", "-J", "{name}", "-o"),
            "jobid stat exit_code pend_reason exit_reason first_host delimiter='|'",
        ),
        read=_lsf_jobs,
        none=re.compile("not found|No .*job found", re.IGNORECASE),
        cancel=("bkill", "{ids}"),
        cancel_all=("bkill", "-J", "{name}", "0"),
        resources="-n {ranks}",
        time=_hours_and_minutes,
        ignored=("LSB_", "LS_"),
    ),
}
"""The batch systems that are known, by the name of their launcher."""
