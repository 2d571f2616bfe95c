"""Check binder/ as repo2docker would use it, without Docker.

    python binder/check.py [NOTEBOOK ...]

What git has of this repository is copied to an empty home directory. There an ordinary
user, with 2 GB of memory and nothing of ours, makes an environment of the Python that
runtime.txt names, with JupyterLab in it as repo2docker does; installs requirements.txt;
runs postBuild; and executes the notebooks, the quickstart by default. Started as root,
it becomes user 1000, as Binder's is. The memory is that of a control group where one
can be made, as by root; otherwise it is watched, twice a second.
Nothing is left behind but the notebooks, executed, in out/binder.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 2 * 10**9  # bytes that mybinder.org lets a notebook have
USER = 1000  # as whom Binder runs
BASE = ("jupyterlab", "ipywidgets", "nbconvert")  # of what repo2docker installs itself
SECONDS = 1200
SYSTEM = "/usr/local/bin:/usr/bin:/bin"  # where any user may run programs
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Failed(Exception):
    """The check did not pass."""


class Limited:
    """Runs commands in a home directory, as an ordinary user with little memory."""

    def __init__(self, home: Path, user: int | None, group: Path | None) -> None:
        self.home = home
        self.user = user
        self.group = group
        self.peak = 0
        self.processes: set[psutil.Process] = set()

    def run(self, title: str, *command: str | Path) -> None:
        """Run a command to its end."""
        print(f"-- {title}", flush=True)
        began = time.monotonic()
        process = subprocess.Popen(
            [*self._prefix, *map(str, command)],
            cwd=self.home,
            env=self.environment,
            start_new_session=True,
        )
        watch = threading.Thread(target=self._watch, args=(process,), daemon=True)
        watch.start()
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{title}: not done after {SECONDS} s") from None
        finally:
            self.end()
            watch.join()
        print(
            f"-- {title}: {time.monotonic() - began:.0f} s, at most "
            f"{self.peak / 1e9:.2f} GB so far",
            flush=True,
        )
        if self.peak > MEMORY:
            raise Failed(f"{title}: needs more than {MEMORY / 1e9:g} GB")
        if code:
            raise Failed(f"{title}: ended with {code}")

    def left(self) -> list[psutil.Process]:
        """Return what still runs of the processes that were seen."""
        return [each for each in self.processes if each.is_running()]

    def end(self) -> None:
        """End whatever was started, after a moment to end by itself."""
        psutil.wait_procs(self.processes, timeout=5)
        for each in self.left():
            print(f"-- left running: {each}", flush=True)
            each.kill()
        psutil.wait_procs(self.processes, timeout=5)

    @property
    def environment(self) -> dict[str, str]:
        """What repo2docker would set, and how pip finds packages here."""
        ours = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "LC_"))}
        path = f"{self.home}/.env/bin:{SYSTEM}"
        return {**ours, "HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8"}

    @property
    def _prefix(self) -> list[str]:
        """What enters the control group first, and then becomes the user."""
        become = f"setpriv --reuid={self.user} --regid={self.user} --clear-groups"
        enter = f"echo $$ > {self.group}/cgroup.procs && "
        shell = (
            ("" if self.group is None else enter)
            + "exec "
            + ("" if self.user is None else f"{become} ")
            + '"$@"'
        )
        return ["sh", "-c", shell, "sh"]

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            self.peak = max(self.peak, self._used(process.pid))
            if self.group is None and self.peak > MEMORY:
                self.end()
            time.sleep(0.5)

    def _used(self, pid: int) -> int:
        """Sum the memory of a process and all that it started, in bytes."""
        used = 0
        try:
            members = psutil.Process(pid)
            self.processes |= {members, *members.children(recursive=True)}
        except psutil.NoSuchProcess:
            return 0
        for each in list(self.processes):
            try:
                used += each.memory_full_info().pss
            except psutil.Error:
                self.processes.discard(each)
        return used


@contextmanager
def control_group() -> Iterator[Path]:
    """Make a control group with so much memory, of version 2 or 1."""
    second = (V2 / "cgroup.controllers").exists()
    group = (V2 if second else V1) / f"binder-check-{os.getpid()}"
    group.mkdir()
    try:
        name = "memory.max" if second else "memory.limit_in_bytes"
        (group / name).write_text(str(MEMORY))
        yield group
    finally:
        group.rmdir()


def limited_group() -> "nullcontext[None]":
    """Return a control group if one can be made here, else None."""
    try:
        with control_group():
            pass
    except OSError:
        print("-- memory is watched: no control group can be made here")
        return nullcontext(None)
    return control_group()  # type: ignore[return-value]


def tracked(home: Path) -> None:
    """Copy what git has, or would have, of this repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, home / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def python() -> str:
    """Find the Python of runtime.txt."""
    name = (ROOT / "binder" / "runtime.txt").read_text().strip().replace("-", "")
    found = shutil.which(name, path=SYSTEM) or shutil.which(name)
    if found is None:
        raise Failed(f"runtime.txt asks for {name}, which is not here")
    return found


def require_apt() -> None:
    """See that the programs of apt.txt are here; only root could install them."""
    for name in (ROOT / "binder" / "apt.txt").read_text().split():
        if shutil.which(name) is None:
            raise Failed(f"apt.txt lists {name}, which is not here: apt-get install it")


def build_and_run(box: Limited, interpreter: str, notebooks: list[str]) -> None:
    """Go through the steps of repo2docker, and of a visitor."""
    pip = box.home / ".env" / "bin" / "pip"
    box.run("environment", interpreter, "-m", "venv", "--copies", ".env")
    box.run("what repo2docker installs", pip, "install", "-q", *BASE)
    requirements = "binder/requirements.txt"
    box.run("requirements.txt", pip, "install", "-q", "-r", requirements)
    box.run("postBuild", box.home / "binder" / "postBuild")
    start = box.home / "binder" / "start"
    wrapper = [start] if start.exists() else []
    for notebook in notebooks:
        box.run(
            notebook,
            *wrapper,
            "jupyter",
            "nbconvert",
            "--to=notebook",
            "--execute",
            "--inplace",
            "--log-level=WARN",
            notebook,
        )


def main() -> int:
    """Check, and tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    quickstart = "notebooks/01_quickstart.ipynb"
    parser.add_argument(
        "notebooks", nargs="*", default=[quickstart], metavar="NOTEBOOK"
    )
    notebooks = parser.parse_args().notebooks
    root = os.getuid() == 0
    try:
        interpreter = python()
        require_apt()
        with tempfile.TemporaryDirectory() as folder, limited_group() as group:
            home = Path(folder, "home")
            home.mkdir()
            tracked(home)
            if root:
                Path(folder).chmod(0o755)
                for path in (home, *home.rglob("*")):
                    os.chown(path, USER, USER, follow_symlinks=False)
            box = Limited(home, USER if root else None, group)
            build_and_run(box, interpreter, notebooks)
            out = ROOT / "out" / "binder"
            out.mkdir(parents=True, exist_ok=True)
            for notebook in notebooks:
                shutil.copy(home / notebook, out)
    except Failed as error:
        print(f"failed: {error}")
        return 1
    print(f"passed; at most {box.peak / 1e9:.2f} GB of {MEMORY / 1e9:g} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
