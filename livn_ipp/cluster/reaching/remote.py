"""A notebook's cell on the ranks of chosen workers, and what each rank showed."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from livn_ipp.cluster.topology import Rank
from livn_ipp.errors import CallError, ClusterLost, ConfigError, RankFailure, call_error

__all__ = ["Output", "failed", "run_cell"]

_LOOK: Final = 0.5  # s
_LATE: Final = 5.0  # s, for output that follows its reply
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Output:
    """What one rank showed.

    Attributes
    ----------
    worker, rank
        Which one; `rank` counts inside the worker.
    text
        What it printed.
    displays
        What it displayed, as pairs of data and metadata by MIME type; the value of the
        cell's last line comes last.
    failure
        How it failed, if it did.
    """

    worker: int
    rank: int
    text: str = ""
    displays: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = ()
    failure: RankFailure | None = None


def run_cell(
    client: Any,
    ranks: Mapping[int, Sequence[Rank]],
    source: str,
    find: Callable[[str], Any],
) -> list[Output]:
    """Run a cell on every rank of some workers, and wait for it.

    A rank that simulates runs it after its call.

    Parameters
    ----------
    client
        An ``ipyparallel.Client``.
    ranks
        The ranks of each worker, by its index.
    source
        The cell.
    find
        Finds the type of an exception by its name; None if it is not known here.

    Returns
    -------
    list of Output
        Of each worker and rank, in the given order.

    Raises
    ------
    ClusterLost
        If an engine is gone.
    """
    places = [
        (worker, number, rank)
        for worker, members in ranks.items()
        for number, rank in enumerate(members)
    ]
    if not places:
        raise ConfigError("there is no worker to run the cell on")
    try:
        view = client[[rank.engine for _, _, rank in places]]
        if not client.history:  # it may not yet hear what engines show
            for _ in range(10):
                if _answer(client, view, "").wait_for_output(_LOOK):
                    break
        answer = _answer(client, view, source)
    except (LookupError, OSError) as error:
        raise ClusterLost(f"an engine is gone ({error!r}); try again") from error
    answer.wait_for_output(_LATE)
    replies = answer.get(return_exceptions=True)
    return [
        Output(
            worker,
            number,
            (told["stdout"] or "") + (told["stderr"] or ""),
            tuple(_displays(told)),
            _failure(number, rank, reply, find)
            if isinstance(reply, Exception)
            else None,
        )
        for (worker, number, rank), reply, told in zip(
            places, replies, answer.metadata, strict=True
        )
    ]


def failed(outputs: Sequence[Output]) -> CallError | None:
    """Make the error of a cell from what its ranks showed.

    Parameters
    ----------
    outputs
        As :func:`run_cell` returns them.

    Returns
    -------
    CallError or None
        Also an instance of the original exception's type, as from a call; notes tell
        of other workers that failed. None if all went well.

    Examples
    --------
    >>> broken = RankFailure(0, "node7", 42, "builtins", "KeyError", "'x'", "...")
    >>> error = failed([Output(0, 0), Output(1, 0, failure=broken)])
    >>> isinstance(error, KeyError), error.worker
    (True, 1)
    """
    failures: dict[int, list[RankFailure]] = {}
    for output in outputs:
        if output.failure is not None:
            failures.setdefault(output.worker, []).append(output.failure)
    if not failures:
        return None
    (first, own), *others = failures.items()
    error = call_error(tuple(own), first)
    for worker, theirs in others:
        error.add_note(
            f"worker {worker} failed as well: {theirs[0].type_name}: "
            f"{theirs[0].message}"
        )
    return error


def _answer(client: Any, view: Any, source: str) -> Any:
    """Run a cell and wait; its output may follow."""
    answer = view.execute(source, silent=not source, block=False)
    try:
        while not answer.ready():
            answer.wait(_LOOK)
    except KeyboardInterrupt:
        # What waits behind a call is withdrawn. What runs goes on: a signal could hit
        # ranks that exchange spikes, and they would wait for each other for ever.
        with contextlib.suppress(Exception):
            client.abort(answer, targets=view.targets, block=False)
        raise
    return answer


def _displays(told: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    result = told["execute_result"]
    shown = [*told["outputs"], *([] if result is None else [result])]
    return [(each["data"], each["metadata"] or {}) for each in shown]


def _failure(
    number: int, rank: Rank, error: Any, find: Callable[[str], Any]
) -> RankFailure:
    """Describe what a rank raised; of its type the engine tells the name only."""
    name = str(getattr(error, "ename", type(error).__name__))
    kind = find(name)
    traceback = getattr(error, "traceback", None) or ""
    return RankFailure(
        rank=number,
        host=rank.host,
        pid=rank.pid,
        module=str(getattr(kind, "__module__", "")),
        type_name=str(getattr(kind, "__qualname__", name)),
        message=str(getattr(error, "evalue", error)),
        traceback=_COLOURS.sub("", str(traceback)),
    )
