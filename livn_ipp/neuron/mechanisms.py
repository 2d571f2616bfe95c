"""From ``.mod`` files to a compiled library, once per machine."""

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from livn_ipp.errors import ConfigError, PreflightError
from livn_ipp.models import MECHANISMS
from livn_ipp.types import Finding

__all__ = [
    "cache_directory",
    "compiled",
    "digest",
    "findings",
    "load",
    "mechanism_names",
]

CACHE_VARIABLE: Final = "LIVN_IPP_CACHE"
_COMPILE_LIMIT: Final = 600.0  # seconds
_TOOLS: Final = (("bash", "bash"), ("make", "make"), ("c++", "g++"))
_HEADER: Final = re.compile(
    r"\b(?:SUFFIX|POINT_PROCESS|ARTIFICIAL_CELL)\s+([A-Za-z]\w*)"
)
_COMMENTS: Final = re.compile(
    r"COMMENT.*?ENDCOMMENT|:.*?$|\?.*?$", re.DOTALL | re.MULTILINE
)

# Mechanisms belong to the process, as NEURON does: the libraries it has loaded.
_loaded: set[str] = set()


def cache_directory() -> Path:
    """Return where compiled mechanisms are kept.

    The variable ``LIVN_IPP_CACHE`` overrides the user's cache directory.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "livn_ipp"


def mechanism_names(directories: Sequence[Path]) -> list[str]:
    """Return the names of the mechanisms that the directories' files define.

    Examples
    --------
    >>> mechanism_names([MECHANISMS])
    ['livn_brk_dendrite', 'livn_brk_soma', 'livn_inputs', 'livn_pr_dendrite',
     'livn_pr_soma']
    """
    names = []
    for path in _sources(directories):
        text = _COMMENTS.sub("", path.read_text(encoding="utf-8"))
        found = _HEADER.search(text)
        if found is None:
            raise ConfigError(
                f"{path} names no SUFFIX, POINT_PROCESS or ARTIFICIAL_CELL"
            )
        names.append(found.group(1))
    return names


def compiled(directories: Sequence[Path] = (MECHANISMS,)) -> Path:
    """Return the compiled library of the directories' mechanisms; compile it if needed.

    Of all processes that ask at once, one compiles and the others wait. The library
    appears in the cache complete or not at all.

    Parameters
    ----------
    directories
        Directories of ``.mod`` files.

    Raises
    ------
    PreflightError
        If a compiler is missing, compilation fails or the cache cannot be written.
    """
    place = _place(directories)
    library = _library_in(place)
    if library is not None:
        return library
    _require_compiler()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.with_suffix(".lock")):
            library = _library_in(place)
            if library is None:
                _compile(_sources(directories), place)
                library = _library_in(place)
    except OSError as error:
        raise PreflightError(
            f"cannot write the mechanism cache {place.parent}: {error}; set "
            f"{CACHE_VARIABLE} to a directory that you may write"
        ) from error
    assert library is not None
    return library


def load(h: Any, directories: Sequence[Path] = (MECHANISMS,)) -> None:
    """Make the directories' mechanisms known to NEURON's interpreter `h`.

    Each directory becomes a library of its own, loaded once per process.

    Raises
    ------
    ConfigError
        If a name is already known from another library, or from an earlier state of
        the same files: NEURON cannot forget a mechanism.
    """
    for directory in dict.fromkeys(Path(directory) for directory in directories):
        _load(h, directory)


def _load(h: Any, directory: Path) -> None:
    names = mechanism_names([directory])
    place = _place([directory])
    if place.name in _loaded:
        return
    known = [name for name in names if hasattr(h, name)]
    if known:
        raise ConfigError(
            f"NEURON already knows mechanisms named {known}, though not from the files "
            f"that are now in {directory}; if you changed them, restart the process "
            f"(the kernel, the cluster), else give your mechanisms other names"
        )
    library = compiled([directory])
    h.nrn_load_dll(str(library))
    absent = [name for name in names if not hasattr(h, name)]
    if absent:
        raise PreflightError(
            f"the library {library} lacks {absent}; delete its directory to have it "
            f"compiled again"
        )
    _loaded.add(place.name)


def findings() -> list[Finding]:
    """Report on NEURON, the compiler and the cache without starting any of them."""
    version = _neuron_version()
    if not version:
        return [Finding("NEURON", "not installed", ok=False, fix="pip install neuron")]
    place = _place((MECHANISMS,))
    library = _library_in(place)
    missing = _missing_tools()
    compiler = Finding(
        "compiler",
        f"no {', '.join(missing)}" if missing else str(shutil.which(_compiler())),
        ok=not missing or library is not None,
        fix=_install_hint(missing) if missing else "",
    )
    cache = Finding(
        "mechanisms",
        f"compiled in {place}" if library else f"to be compiled into {place} (10 s)",
        ok=library is not None or not missing,
        fix="" if library or not missing else "install the compiler first",
    )
    return [Finding("NEURON", version), compiler, cache]


def _sources(directories: Sequence[Path]) -> list[Path]:
    for directory in directories:
        if not directory.is_dir():
            raise ConfigError(
                f"there is no directory {directory} on {platform.node()}; a model's "
                f".mod files must be on a file system that every rank sees"
            )
    paths = [path for directory in directories for path in directory.glob("*.mod")]
    if not paths:
        raise ConfigError(f"no .mod files in {', '.join(map(str, directories))}")
    names = [path.name for path in paths]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"several .mod files are named {sorted(twice)}; rename them")
    return sorted(paths, key=lambda path: path.name)


def digest(directories: Sequence[Path] = (MECHANISMS,)) -> str:
    """Fingerprint the directories' ``.mod`` files.

    Parameters
    ----------
    directories
        Directories of ``.mod`` files.
    """
    return str(_content(directories).hexdigest()[:32])


def _content(directories: Sequence[Path]) -> Any:
    content = hashlib.sha256()
    for path in _sources(directories):
        content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return content


def _place(directories: Sequence[Path]) -> Path:
    content = _content(directories)
    target = f"neuron-{_neuron_version()}-{platform.system()}-{platform.machine()}"
    content.update(target.encode())
    return cache_directory() / "mechanisms" / str(content.hexdigest()[:16])


def _library_in(place: Path) -> Path | None:
    return next(iter(place.glob("libnrnmech.*")), None)


def _neuron_version() -> str:
    for name in ("neuron", "neuron-nightly"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _compiler() -> str:
    # As NEURON's own wrapper chooses it.
    return (os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "g++").split()[
        0
    ]


def _missing_tools() -> list[str]:
    return [
        package
        for tool, package in _TOOLS
        if shutil.which(_compiler() if tool == "c++" else tool) is None
    ]


def _install_hint(missing: list[str]) -> str:
    return f"on Debian or Ubuntu: apt-get install {' '.join(missing)}"


def _require_compiler() -> None:
    missing = _missing_tools()
    if missing:
        raise PreflightError(
            f"NEURON must compile the cells' mechanisms once, but there is no "
            f"{', '.join(missing)} on {platform.node()}; {_install_hint(missing)}"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + _COMPILE_LIMIT
    with path.open("w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PreflightError(
                        f"another process has been compiling mechanisms for "
                        f"{_COMPILE_LIMIT:g} s (it holds {path}); end it and try again"
                    ) from None
                time.sleep(0.1)
        yield


def _compile(sources: list[Path], place: Path) -> None:
    # Beside its destination, so that the final rename stays on one file system.
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="build-") as name:
        build = Path(name)
        for source in sources:
            shutil.copy(source, build)
        try:
            result = subprocess.run(
                [_nrnivmodl(), "."],
                cwd=build,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMPILE_LIMIT,
            )
        except subprocess.TimeoutExpired as error:
            raise PreflightError(
                f"nrnivmodl did not end in {_COMPILE_LIMIT:g} s on {platform.node()}"
            ) from error
        made = next(iter(build.glob("*/libnrnmech.*")), None)
        if result.returncode != 0 or made is None:
            output = "\n".join((result.stdout + result.stderr).splitlines()[-25:])
            raise PreflightError(
                f"nrnivmodl failed with code {result.returncode} on "
                f"{', '.join(path.name for path in sources)}:\n{output}"
            )
        finished = build / "finished"
        finished.mkdir()
        made.rename(finished / made.name)
        finished.rename(place)


def _nrnivmodl() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "nrnivmodl"
    found = str(beside) if beside.exists() else shutil.which("nrnivmodl")
    if found is None:
        raise PreflightError(
            f"NEURON's nrnivmodl is not beside {sys.executable}; pip install neuron"
        )
    return found
