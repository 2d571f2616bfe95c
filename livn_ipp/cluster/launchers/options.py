"""What a user may ask of a batch system, checked before anything is submitted."""

import difflib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from livn_ipp.errors import ConfigError

__all__ = ["BatchOptions", "hours_minutes_seconds"]

_TIME = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
_LISTS = ("directives", "setup")


@dataclass(frozen=True)
class BatchOptions:
    """Options of ``launcher="slurm"``, ``"pbs"``, ``"sge"`` and ``"lsf"``.

    Attributes
    ----------
    queue
        Queue, or partition, to submit to; the site's default if None.
    time_limit
        How long a job may run, as "hours:minutes:seconds" or "days-hours:...".
    account
        Account, or project, that pays.
    resources
        The directive that asks for the cores of one world, if the usual one is not
        right here; ``{ranks}`` stands for their number.
    directives
        Further directives, such as "--constraint=icelake".
    setup
        Lines of shell to run before mpiexec, such as "module load openmpi".
    mpiexec
        The command that starts ranks inside the job, such as "srun --mpi=pmix"; by
        default the mpiexec that belongs to mpi4py's library.
    queue_timeout
        Seconds that a job may wait to run; None for as long as it takes.
    template
        File with a batch script to use in place of the usual one.

    Examples
    --------
    >>> BatchOptions.of({"queue": "short", "time_limit": "0:30:00"}).queue
    'short'
    >>> BatchOptions.of({"quue": "short"})
    Traceback (most recent call last):
    ...
    livn_ipp.errors.ConfigError: unknown launcher option 'quue'; did you mean queue?
    """

    queue: str | None = None
    time_limit: str | None = None
    account: str | None = None
    resources: str | None = None
    directives: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    mpiexec: str | None = None
    queue_timeout: float | None = None
    template: Path | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Check options that a user gave.

        Parameters
        ----------
        options
            Values by name; a single line may stand for a list of one.

        Returns
        -------
        BatchOptions
            With every value in its type.

        Raises
        ------
        ConfigError
            If a name is unknown or a value cannot be used.
        """
        names = [field.name for field in fields(cls)]
        checked: dict[str, Any] = {}
        for name, value in options.items():
            if name not in names:
                near = difflib.get_close_matches(name, names) or names
                raise ConfigError(
                    f"unknown launcher option {name!r}; did you mean "
                    f"{' or '.join(near)}?"
                )
            if value is not None:
                checked[name] = _checked(name, value)
        return cls(**checked)


def hours_minutes_seconds(time_limit: str) -> tuple[int, int, int]:
    """Take a time limit apart.

    Parameters
    ----------
    time_limit
        As :class:`BatchOptions` has it.

    Returns
    -------
    tuple of int
        Hours, minutes and seconds.

    Examples
    --------
    >>> hours_minutes_seconds("1-02:30:00")
    (26, 30, 0)
    """
    match = _TIME.fullmatch(time_limit)
    assert match is not None, "options are checked"
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 24 * days + hours, minutes, seconds


def _checked(name: str, value: Any) -> Any:
    if name in _LISTS:
        lines = [value] if isinstance(value, str) else list(value)
        return tuple(_line(name, line) for line in lines)
    if name == "queue_timeout":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ConfigError(f"queue_timeout must be a number of s, not {value!r}")
        return float(value)
    if name == "template":
        return _template(Path(value))
    text = _line(name, value)
    if name == "time_limit" and not _TIME.fullmatch(text):
        raise ConfigError(
            f"time_limit must be 'hours:minutes:seconds' or "
            f"'days-hours:minutes:seconds', such as '0:30:00', not {value!r}"
        )
    if name == "mpiexec":
        try:
            shlex.split(text)
        except ValueError as error:
            raise ConfigError(f"mpiexec={text!r} is no command: {error}") from error
    return text


def _line(name: str, value: Any) -> str:
    """Refuse what would end a directive early or begin another."""
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise ConfigError(f"{name} must be text of one line, not {value!r}")
    if name in {"queue", "account"} and len(value.split()) > 1:
        raise ConfigError(f"{name} must be one word, not {value!r}")
    return value.strip()


def _template(path: Path) -> Path:
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read template {path}: {error}") from error
    if missing := [each for each in ("{command}", "{log}") if each not in text]:
        raise ConfigError(
            f"template {path} has no {' and no '.join(missing)}; see the shipped ones"
        )
    return path
