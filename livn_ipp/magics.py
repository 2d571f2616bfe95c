"""What ``%load_ext livn_ipp`` gives a notebook: ``%livn`` and ``%%livn``."""

import ast
import builtins
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from livn_ipp import errors
from livn_ipp.cluster.reaching.remote import Output, failed, run_cell
from livn_ipp.env.distributed import DistributedEnv

__all__ = ["LivnMagics", "load", "unload"]

_ACTIONS: Final = ("status", "dashboard")
_OPTIONS: Final = ("--workers", "--env")


@magics_class
class LivnMagics(Magics):
    """The magics of a notebook that simulates on workers."""

    shell: Any

    @no_var_expand
    @magic_arguments()
    @argument(
        "action",
        nargs="?",
        help="status: a table of workers and calls, counted from the first look on "
        "(the default). dashboard: the same, live, with activity and buttons.",
    )
    @argument(
        "-w",
        "--workers",
        help="Of a cell: the workers whose ranks run it, as 0,2 or 0-3; all by "
        "default.",
    )
    @argument(
        "-e",
        "--env",
        help="The environment, by the name of its variable; by default the one that "
        "was initialised last.",
    )
    @line_cell_magic
    def livn(self, line: str, cell: str | None = None) -> Any:
        """See the workers of an environment, or run a cell on their ranks.

        Examples: ``%livn`` and ``%livn status`` show what workers do, ``%livn
        dashboard`` shows it live. A cell that begins with ``%%livn --workers 0,2`` runs
        on each rank of these workers and shows output and figures worker by worker, in
        order. There, ``env`` is the rank's share of the culture, ``comm`` the ranks
        that simulate it together, ``world`` their MPI job and ``h`` NEURON. A rank that
        simulates runs it after its call. A worker that has just been replaced gets its
        settings with its first call. ``%%px`` does the same on all ranks, as they come.
        """
        options = parse_argstring(self.livn, line)
        if cell is not None:
            if options.action is not None:
                raise UsageError(
                    f"a cell takes options only, not {options.action!r}; which ranks "
                    f"run it, tell by --workers, as in %%livn --workers 0,2"
                )
            self._run(self._env(options.env), options.workers, cell)
            return None
        if options.workers is not None:
            raise UsageError(
                f"--workers is for cells: begin one with %%livn --workers "
                f"{options.workers}"
            )
        action = options.action or "status"
        if action not in _ACTIONS:
            near = difflib.get_close_matches(action, _ACTIONS, 1)
            hint = f"did you mean %livn {near[0]}? There are" if near else "there are"
            known = " and ".join(f"%livn {name}" for name in _ACTIONS)
            raise UsageError(f"no %livn {action}; {hint} {known}")
        env = self._env(options.env)
        if action == "dashboard":
            return env.dashboard()
        from livn_ipp.view.status import Status

        return Status(env.snapshot())

    # Inside

    def _env(self, name: str | None) -> Any:
        """Return the environment that is meant."""
        known = environments(self._names())
        running = {n: e for n, e in known.items() if e.running_since is not None}
        if name is not None:
            try:
                env = self.shell.ev(name)
            except Exception as error:
                raise UsageError(
                    f"--env {name}: {type(error).__name__}: {error}; {_told(running)}"
                ) from None
            if not isinstance(env, DistributedEnv):
                raise UsageError(
                    f"--env {name} is of type {type(env).__name__} and not a "
                    f"DistributedEnv; {_told(running)}"
                )
            if env.running_since is None:
                raise UsageError(f"--env {name}: {env!r} does not run")
            return env
        if not running:
            found = [f"{name} is {env!r}" for name, env in known.items()]
            raise UsageError(
                "no environment runs in this notebook"
                + (f" ({'; '.join(found)})" if found else "")
                + '; start one: env = DistributedEnv("EI1", num_workers=2).init()'
            )
        return max(running.values(), key=lambda env: env.running_since or 0.0)

    def _run(self, env: DistributedEnv, workers: str | None, cell: str) -> None:
        self._check(cell)
        ranks = env.ranks()
        if workers is not None:
            chosen = numbers(workers)
            if missing := [worker for worker in chosen if worker not in ranks]:
                raise UsageError(
                    f"no worker {', '.join(map(str, missing))} at present; there are "
                    f"{', '.join(map(str, ranks))}. One that is being replaced comes "
                    f"back under its number, see %livn status"
                )
            ranks = {worker: ranks[worker] for worker in chosen}
        outputs = run_cell(env.cluster.client, ranks, cell, self._type)
        self._show(outputs)
        if (error := failed(outputs)) is not None:
            raise error

    def _check(self, cell: str) -> None:
        """Refuse here what no rank can read."""
        ast.parse(self.shell.transform_cell(cell))

    def _type(self, name: str) -> Any:
        """Find the type of an exception, of which ranks tell the name only."""
        for known in (vars(builtins), vars(errors), self.shell.user_ns):
            found = known.get(name)
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
        return None

    def _show(self, outputs: list[Output]) -> None:
        for output in outputs:
            place = f"worker {output.worker}, rank {output.rank}"
            shown = list(output.displays)
            text = output.text
            while shown and set(shown[0][0]) == {"text/plain"}:
                text += shown.pop(0)[0]["text/plain"] + "\n"
            if text:
                print(labelled(place, text))  # noqa: T201 (its job)
            elif shown:
                print(f"{place}:")  # noqa: T201
            for data, metadata in shown:
                self.shell.display_pub.publish(data=data, metadata=metadata)

    def _names(self) -> Mapping[str, Any]:
        """Return the user's own variables."""
        hidden = self.shell.user_ns_hidden
        return {
            name: value
            for name, value in self.shell.user_ns.items()
            if name not in hidden and not name.startswith("_")
        }


def environments(names: Mapping[str, Any]) -> dict[str, DistributedEnv]:
    """Find the environments among variables; one with two names once."""
    found: dict[int, tuple[str, DistributedEnv]] = {}
    for name, value in names.items():
        if isinstance(value, DistributedEnv):
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def numbers(text: str) -> list[int]:
    """Read a choice of workers.

    Examples
    --------
    >>> numbers("0,2"), numbers("0-2,5")
    ([0, 2], [0, 1, 2, 5])
    """
    chosen: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            chosen.extend(range(int(first), int(last or first) + 1))
    except ValueError:
        raise UsageError(
            f"--workers takes numbers as 0,2 or 0-3, not {text!r}"
        ) from None
    if not chosen:
        raise UsageError(f"--workers {text} chooses none")
    return list(dict.fromkeys(chosen))


def labelled(place: str, text: str) -> str:
    r"""Put a label in front of a line, or above several.

    Examples
    --------
    >>> print(labelled("worker 0, rank 1", "5 cells"))
    worker 0, rank 1: 5 cells
    >>> print(labelled("worker 0, rank 1", "one\ntwo"))
    worker 0, rank 1:
      one
      two
    """
    lines = text.rstrip("\n").split("\n")
    if len(lines) == 1:
        return f"{place}: {lines[0]}"
    return "\n".join([f"{place}:", *(f"  {line}" for line in lines)])


def completions(line: str, names: Iterable[str]) -> list[str]:
    """Tell what may stand where a line ends.

    Parameters
    ----------
    line
        The text until the cursor.
    names
        Variables that hold running environments.

    Examples
    --------
    >>> completions("%livn st", [])
    ['status', 'dashboard', '--env']
    >>> completions("%%livn --env ", ["env"])
    ['env']
    """
    words = line.split()
    if line[-1:].isspace():
        words.append("")
    magic, before = words[0], words[1:-1]
    if before and before[-1] in {"--env", "-e"}:
        return list(names)
    if before and before[-1] in {"--workers", "-w"}:
        return []
    if magic.startswith("%%"):
        return [option for option in _OPTIONS if option not in before]
    actions = [] if set(_ACTIONS) & set(before) else list(_ACTIONS)
    return [*actions, *(["--env"] if "--env" not in before else [])]


def load(shell: Any) -> None:
    """Register the magics, and what completes them."""
    magics = LivnMagics(shell)
    shell.register_magics(magics)

    def complete(_: Any, event: Any) -> list[str]:
        running = [
            name
            for name, env in environments(magics._names()).items()  # noqa: SLF001
            if env.running_since is not None
        ]
        return completions(event.text_until_cursor, running)

    for magic in ("%livn", "%%livn"):
        shell.set_hook("complete_command", complete, str_key=magic)


def unload(shell: Any) -> None:
    """Take the magics away."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("livn", None)


def _told(running: Mapping[str, DistributedEnv]) -> str:
    if not running:
        return "no environment runs in this notebook"
    return f"in this notebook run {', '.join(running)}"
