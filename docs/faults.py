"""Write faults.md from what the tests of tests/faults measured.

python tests/faults/repeat.py 20
python docs/faults.py faults.jsonl
"""

import json
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).with_name("faults.md")


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes
    ----------
    name
        Its number, as the tests use it.
    fault
        What goes wrong.
    outcome
        What livn_ipp makes of it.
    measured
        What is told of the measurements: the name in the records, and words for it.
    others
        What Dask, Ray, livn and ipyparallel make of it.
    """

    name: str
    fault: str
    outcome: str
    measured: tuple[tuple[str, str], ...]
    others: str


FAULTS = (
    Fault(
        "F1",
        "rank 0 of a worker is killed (SIGKILL) in a call",
        "the call runs again, on another worker if one is free; the world is replaced, "
        "its configuration replayed, its pipelines installed when they are needed",
        (
            ("noticed", "noticed"),
            ("moved", "result from another worker"),
            ("whole", "all workers back"),
        ),
        "Dask notices in 0.07-0.16 s and runs it again, Ray in 0.25-0.4 s; ipyparallel "
        "after 5.0 s, not run again; livn: all ranks and the program end",
    ),
    Fault(
        "F2",
        "another rank is killed while its peers wait in a collective",
        "the same; the other workers never notice",
        (("noticed", "noticed"), ("whole", "all workers back")),
        "ipyparallel with one mpiexec for all loses every engine; livn as above",
    ),
    Fault(
        "F3",
        "a worker is killed in a session (an episode)",
        "`SessionLost` with the last step that ended, for all that follow; never "
        'continued with a fresh state; with `recover="replay"` its steps run again on '
        "another worker, which only takes time",
        (("result", "told"), ("replayed", "two steps after a replay")),
        "Gymnasium and Stable-Baselines3: EOFError, and close() raises; livn: the "
        "program ends",
    ),
    Fault(
        "F4",
        "a call kills every worker that it meets",
        "after 4 attempts `WorkerLost` with all of them; calls beside it are not lost",
        (("result", "given up after 4 worlds"), ("attempts_number", "attempts")),
        "Dask: KilledWorker after 3-4 starts, 6.6-16.5 s",
    ),
    Fault(
        "F5",
        "a worker hangs: SIGSTOP; an endless loop, with or without the interpreter; "
        "one rank alone in a collective",
        "SIGSTOP is found by the heartbeat, the others by `stall_timeout` (3 s in the "
        "test); the worker is replaced and the call runs again",
        (("stopped", "SIGSTOP noticed"), ("stalled", "the others noticed")),
        "Dask and Ray: not noticed in 75 s; ipyparallel: 40.2 s; livn: never",
    ),
    Fault(
        "F6",
        "a call exceeds its `timeout`",
        "`CallTimeout` with the time reached, and the spikes so far if streamed; it "
        "stops at a chunk end, or its worker is replaced after `grace` (1 s here)",
        (
            ("late", "after the time was over"),
            ("usable", "worker usable again"),
            ("late_forced", "if it does not stop"),
        ),
        "none of them ends the task",
    ),
    Fault(
        "F7",
        "one rank raises while the others simulate; inside of the simulator, too",
        "a typed error with the rank's traceback; the worker is usable, or is replaced "
        "if the others are left waiting in NEURON itself",
        (
            ("result", "told"),
            ("usable", "worker usable"),
            ("inside", "told, inside of NEURON, with the start of the call"),
        ),
        "livn: hangs; NEURON's bulletin board: MPI_Abort",
    ),
    Fault(
        "F8",
        "exceptions that do not pickle, are local, are groups, carry 50 MB, or leave "
        "Python",
        "typed where the type can be imported, else `CallError` with text and "
        "traceback; the worker is usable",
        (("result", "told"),),
        "process pools break; Ray: UnserializableException; Dask fine but for "
        "KeyboardInterrupt, which blocks its client for 25 s; ipyparallel fine; livn: "
        "RuntimeError, and hangs on sys.exit",
    ),
    Fault(
        "F9",
        "results that cannot be pickled or are too large, inputs that cannot be sent",
        "`ResultNotSerializable`, `ResultTooLarge`; an input raises where it is "
        "submitted",
        (("result", "told"),),
        "Dask and ipyparallel: TypeError; Ray takes a generator; livn: hangs for good",
    ),
    Fault(
        "F10",
        "os._exit, a segmentation fault, MPI_Abort, h.quit() in a call",
        "as a killed rank; the error names the cause",
        (("noticed", "noticed, with the start of the call"),),
        "Dask runs it 4 times, 16.5 s; livn: all ranks end",
    ),
    Fault(
        "F11",
        "a rank uses more memory than `memory_limit`",
        "it is ended at 95 %: `WorkerMemoryError` with what it used, not run again",
        (("result", "told"),),
        "Dask ends workers at 95 % as well; Ray: OutOfMemoryError",
    ),
    Fault(
        "F12",
        "Ctrl-C, or the kernel's interrupt, in a blocking call",
        "control returns at once, the calls are cancelled, the workers stay",
        (("control", "control returned"), ("usable", "next results")),
        "livn: all ranks end",
    ),
    Fault(
        "F13",
        "calls are cancelled while queued, while running, and as they end",
        "each ends once, as a result or as `CallCancelled`; what does not stop is "
        "ended with its worker after `grace` (1 s here)",
        (("usable", "workers usable"), ("given_up", "what does not stop is ended")),
        "Dask only forgets the task",
    ),
    Fault(
        "F14",
        "the cluster's controller is killed",
        "every call ends as `ClusterLost`; no process is left",
        (("result", "told"),),
        "Dask clients reconnect and the state is lost",
    ),
    Fault(
        "F15",
        "the kernel is killed",
        "the cluster ends by itself, unless it was started with `detach=True`",
        (("gone", "all processes gone"),),
        "Dask and Ray: 5 s; ipyparallel: never",
    ),
    Fault(
        "F16",
        "the kernel leaves a detached cluster and another comes",
        "`Cluster.from_file`: configuration, workers and the results that ended "
        "meanwhile are found again",
        (("attached", "attached"),),
        "ipyparallel's hub keeps results, Ray's client reconnects",
    ),
    Fault(
        "F17",
        "the way between controller and workers is cut",
        "each side notices; a late result of a call that ran again is dropped",
        (
            ("controller", "a frozen controller noticed"),
            ("worker", "a frozen worker noticed"),
        ),
        "only Ray tests it",
    ),
    Fault(
        "F18",
        "a worker joins late, or with other software or files",
        "it joins after a replay of the configuration, or is refused with what differs",
        (("joined", "joined"), ("refused", "refused")),
        "Dask warns",
    ),
    Fault(
        "F19",
        "shutdown twice, with running calls, at exit, after an exception",
        "nothing is left, the exit code is the program's",
        (("shutdown", "shutdown"), ("exit", "exit")),
        "Gymnasium's close() raises after a loss; livn waits for running calls",
    ),
    Fault(
        "F20",
        "a setter while calls run, or while a worker is replaced",
        "later calls see it on every rank, earlier ones do not",
        (("setter", "beside running calls"), ("replaced", "two, beside a loss")),
        "livn: in 10 of 10 runs a worker missed it",
    ),
    Fault(
        "F21",
        "a setter raises on one worker only",
        "it raises here, and no worker keeps it",
        (("result", "told"),),
        "none of them does",
    ),
    Fault(
        "F22",
        "thousands of calls, five results of 80 MB",
        "nothing is kept in the kernel or in the cluster's controller",
        (
            ("growth_mb", "MB more after the calls"),
            ("large_growth_mb", "MB more after the large results"),
            ("hub_growth_mb", "MB more in the controller"),
        ),
        "ipyparallel: 53-169 MB per 10,000 calls, 480-800 MB after the large results",
    ),
    Fault(
        "F23",
        "the disk that results spill to is full, or a file on it is torn",
        "an error that names the path; what was written before stays readable",
        (),
        "Optuna's journal is safe from torn records",
    ),
    Fault(
        "F24",
        "the process of a search is killed 20 times at random moments, and the search "
        "made again each time",
        "the table is that of a search that was left alone, and no evaluation is in it "
        "twice; over a cluster, too, which ends with the process",
        (
            ("took", "20 kills and the rest of 400 evaluations"),
            ("cluster_took", "2 kills over a cluster"),
        ),
        "Optuna and Ray Tune in part",
    ),
    Fault(
        "F25",
        "ranks are killed at random, each worker every 5 s on average, while calls of "
        "EI1 run",
        "all results equal those of a calm run, bit for bit",
        (
            ("took", "took"),
            ("kills_number", "kills"),
            ("repeated_number", "repeated attempts"),
        ),
        "Dask and Ray have such tests",
    ),
    Fault(
        "F26",
        "no mpiexec, a bad option, a stale connection file, an address that is not "
        "ours, a name that is taken, too little memory",
        "one message with the way out; calls run in the kernel's process only where no "
        "cluster was asked for, with one warning",
        (("refused", "told"),),
        "",
    ),
)

HEAD = """# What goes wrong, and what becomes of it

Each row is one or more tests in `tests/faults`, run on a machine of two cores that did
much other work at the same time (a load of 3 to 15). Times are in seconds: the median,
and the worst of so many. What the others do was measured in the same way, in versions
of late 2026. Made by `docs/faults.py` from the records of {runs} runs of {tests} tests,
of which {failed} failed.

Whatever happens, each call ends once: as a right result, a typed error or a
cancellation; and afterwards all workers are there.

| | fault | what happens | measured: median (worst of n) | others |
|---|---|---|---|---|
"""


def main(path: Path) -> None:
    """Read the records and write the page."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    runs: dict[str, int] = defaultdict(int)
    failed = 0
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if "outcome" in line:
            runs[line["test"]] += 1
            failed += line["outcome"] == "failed"
            continue
        fault = line.pop("fault")
        for name, value in line.items():
            if name != "test":
                values[fault, name].append(value)
    rows = "".join(
        f"| {each.name} | {each.fault} | {each.outcome} | "
        f"{'<br>'.join(_told(values, each))} | {each.others} |\n"
        for each in FAULTS
    )
    head = HEAD.format(
        runs=sum(runs.values()), tests=len(runs), failed=failed or "none"
    )
    PAGE.write_text(head + rows, encoding="utf-8")


def _told(values: dict[tuple[str, str], list[float]], fault: Fault) -> list[str]:
    return [
        f"{words}: {_number(name, statistics.median(found))} "
        f"({_number(name, max(found))} of {len(found)})"
        for name, words in fault.measured
        if (found := values[fault.name, name])
    ]


def _number(name: str, value: float) -> str:
    if name.endswith("_number"):
        return f"{value:.0f}"
    if name.endswith("_mb"):
        return f"{value:.1f}"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
