"""The batch script of a world, and the file with what only its owner may read."""

import importlib.resources
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from livn_ipp.cluster.launchers.options import BatchOptions
from livn_ipp.cluster.launchers.schedulers import Scheduler
from livn_ipp.errors import ConfigError

__all__ = ["batch_script", "shipped_template", "write_environment"]

_PLACE = re.compile(r"(?<!\$)\{(\w+)\}")  # ${VARIABLE} is the shell's


def batch_script(
    scheduler: Scheduler,
    options: BatchOptions,
    template: str,
    *,
    name: str,
    ranks: int,
    log: Path,
    command: Sequence[str],
) -> str:
    """Write the script of one job.

    Parameters
    ----------
    scheduler
        The batch system.
    options
        What the user asked for.
    template
        The script with places to fill in: ``{name}``, ``{ranks}``, ``{resources}``,
        ``{log}``, ``{queue}``, ``{time_limit}``, ``{account}``, ``{directory}``,
        ``{command}``, and ``{directive}`` and ``{setup}``, whose lines are repeated
        for each. A line whose place has no value is left out.
    name
        Of the job.
    ranks
        Size of the MPI world.
    log
        Where its output goes.
    command
        What starts the ranks.

    Returns
    -------
    str
        The script.

    Raises
    ------
    ConfigError
        If the log's path cannot be part of a directive.
    """
    if len(str(log).split()) > 1:
        raise ConfigError(
            f"{scheduler.title} cannot write a log in {log.parent}, because of the "
            f"white space; choose another IPYTHONDIR"
        )
    directives = (each.removeprefix(scheduler.prefix) for each in options.directives)
    resources = options.resources or scheduler.resources
    values: dict[str, list[str]] = {
        "name": [name],
        "ranks": [str(ranks)],
        "resources": [resources.replace("{ranks}", str(ranks))],
        "log": [str(log)],
        "queue": _given(options.queue),
        "time_limit": [scheduler.time(each) for each in _given(options.time_limit)],
        "account": _given(options.account),
        "directive": [each.strip() for each in directives],
        "directory": [shlex.quote(str(Path.cwd()))],
        "setup": list(options.setup),
        "command": [shlex.join(command)],
    }
    lines = [line for text in template.splitlines() for line in _filled(text, values)]
    return "\n".join(lines) + "\n"


def _given(value: str | None) -> list[str]:
    return [] if value is None else [value]


def _filled(line: str, values: Mapping[str, list[str]]) -> list[str]:
    places = [place for place in _PLACE.findall(line) if place in values]
    lines = [line]
    for place in places:
        lines = [
            each.replace(f"{{{place}}}", value)
            for each in lines
            for value in values[place]
        ]
    return lines


def shipped_template(name: str) -> str:
    """Read the template of a batch system, by the name of its launcher."""
    folder = importlib.resources.files("livn_ipp.cluster.launchers") / "templates"
    return folder.joinpath(f"{name}.sh").read_text(encoding="utf-8")


def write_environment(file: Path, variables: Mapping[str, str]) -> None:
    """Write a program that sets variables and becomes another program.

    It carries the key of the cluster, and everybody may see what jobs are given as
    arguments or variables.

    Parameters
    ----------
    file
        To write; only its owner may read it.
    variables
        Names and values.
    """
    lines = [f"export {name}={shlex.quote(text)}" for name, text in variables.items()]
    content = "\n".join([*lines, 'exec env "$@"', ""])
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as output:
        output.write(content)
    draft.replace(file)  # a job that is reading goes on reading the former
