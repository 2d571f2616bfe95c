"""The command line: check, demo and generate; start, stop and worker of a cluster."""

import contextlib
import importlib.metadata
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from livn_ipp import __version__
from livn_ipp.errors import CallError, LivnError

if TYPE_CHECKING:
    from livn_ipp.system.culture import CultureSpec
    from livn_ipp.types import Finding

__all__ = ["main"]

_ENDING = 20.0
"""Seconds within which who stops a cluster has ended its processes."""

# Rooms are imported inside the commands, so that --help is there at once and check
# works on a machine that lacks something.


class _Group(click.Group):
    """Tells our own errors as one message; any other one is a defect to report."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LivnError as error:
            message = str(error)
            if isinstance(error, CallError):
                message = message.removesuffix(error.tracebacks).strip()
            raise click.ClickException(message) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="livn_ipp")
def main() -> None:
    """Simulate cultured neural networks on MPI workers."""


@main.command()
def check() -> None:
    """Tell what this machine has, and what to do about what is missing."""
    found = _findings()
    name_width = max(len(each.name) for each in found)
    for each in found:
        symbol, word = _marks(ok=each.ok)
        click.echo(f"{symbol} {word:7}  {each.name:{name_width}}  {each.found}")
    missing = [each for each in found if not each.ok]
    if not missing:
        click.echo("\nEverything is there. Try: livn-ipp demo")
        return
    click.echo("\nWhat to do:")
    for each in missing:
        click.echo(f"  {each.name}: {each.fix or 'see above'}")
    sys.exit(1)


@main.command()
@click.option("--system", default="EI1", show_default=True, help="Culture to simulate.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1))
@click.option(
    "--subworld-size",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="MPI ranks of each worker.",
)
@click.option(
    "--out",
    default="out",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the picture.",
)
def demo(system: str, workers: int, subworld_size: int, out: Path) -> None:
    """Run a culture on a cluster of this machine and draw its spikes."""
    from livn_ipp.demo import run_demo

    run_demo(system, workers, subworld_size, out, click.echo)


@main.command()
@click.argument("source", required=False, metavar="[NAME|FILE]")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The system directory to make.",
)
@click.option("--cells", type=click.IntRange(1), help="Number of cells.")
@click.option("--side", type=float, help="Side of the square in um.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the culture.")
@click.option(
    "--electrodes-per-side", type=click.IntRange(1), help="The array is a square."
)
@click.option(
    "--mea",
    "electrode_pitch",
    type=float,
    metavar="PITCH",
    help="As many electrodes as fit at this pitch in um.",
)
@click.option("--picture", is_flag=True, help="Draw the culture as culture.png.")
@click.option("--overwrite", is_flag=True, help="Replace a system that is there.")
def generate(
    source: str | None, out: Path, picture: bool, overwrite: bool, **changes: Any
) -> None:
    """Grow a culture and write it as a system directory.

    NAME is EI1, EI2, EI3 or EI4; FILE is a recipe such as the provenance.toml that is
    written into each directory. Options change it. Without either, give --cells.
    """
    from livn_ipp.system.generate import generate as grow

    spec = _spec(source, {k: v for k, v in changes.items() if v is not None})
    if out.exists() and not overwrite:
        raise click.ClickException(f"{out} exists; pass --overwrite to replace it")
    with click.progressbar(length=spec.cells, label="connecting cells") as bar:

        def progress(done: int, _total: int) -> None:
            bar.update(done - bar.pos)

        path = grow(out, spec, progress, overwrite=overwrite)
    if picture:
        _draw(path)
    counts = ", ".join(f"{count} {name}" for name, count in spec.counts.items())
    click.echo(f"{path}: {counts}, seed {spec.seed}")


@main.command()
@click.option(
    "--num-workers", type=click.IntRange(1), help="By default what the cores allow."
)
@click.option(
    "--subworld-size",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="MPI ranks of each worker.",
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the cluster file.",
)
@click.option("--cluster-id", help="Name of the cluster; unique by default.")
@click.option("--detach", is_flag=True, help="Return and leave the cluster running.")
def start(
    num_workers: int | None,
    subworld_size: int,
    file: Path | None,
    cluster_id: str | None,
    detach: bool,
) -> None:
    """Start a cluster that notebooks attach to, until Ctrl-C."""
    from livn_ipp.cluster.launch import Cluster

    cluster = Cluster(
        num_workers, subworld_size, cluster_id=cluster_id, detach=detach, file=file
    )
    try:
        with _signals_interrupt():
            cluster.start()
            click.echo(_ways_to_use(cluster))
            if detach:
                return
            while cluster.alive:
                time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("ending the cluster")
    except BaseException:
        cluster.stop()
        raise
    else:
        if not _ended_by_another(cluster.file):
            log = cluster.log_tail("controller")
            cluster.stop()
            raise click.ClickException(f"the controller has ended. {log}")
    cluster.stop()


def _ended_by_another(file: Path | None) -> bool:
    """Tell whether somebody stopped the cluster: its file is the last thing to go."""
    deadline = time.monotonic() + _ENDING
    while file is not None and file.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _ways_to_use(cluster: Any) -> str:
    file, ranks = str(cluster.file), cluster.subworld_size
    return (
        f"cluster {cluster.cluster_id} runs: {cluster.num_workers} workers x {ranks} "
        f"ranks\n"
        f"use it:   cluster = Cluster.from_file({file!r})\n"
        f"          env = DistributedEnv(system, cluster=cluster, "
        f"subworld_size={ranks})\n"
        f"go on:    env = DistributedEnv.attach({file!r})\n"
        f"join it:  livn-ipp worker --connect {file}\n"
        f"end it:   livn-ipp stop {file}"
    )


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def stop(file: Path) -> None:
    """End the cluster that a cluster FILE tells of."""
    from livn_ipp.cluster.launch import Cluster

    cluster = Cluster.from_file(file)
    cluster.shutdown()
    click.echo(f"cluster {cluster.cluster_id} has ended")


@main.command()
@click.option(
    "--connect",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The cluster file, or ipyparallel's connection file for engines.",
)
@click.option(
    "--num-ranks",
    type=click.IntRange(1),
    help="MPI ranks; by default those of one worker of the cluster.",
)
@click.option(
    "--wait", type=click.FloatRange(0), help="Seconds to wait for the cluster."
)
def worker(connect: Path, num_ranks: int | None, wait: float | None) -> None:
    """Join a running cluster with one more world of ranks, on this machine.

    Waits if the cluster is not there yet. Ends with the cluster, or by Ctrl-C. Exits
    with code 3 if the cluster refuses it because it runs other software.
    """
    from livn_ipp.cluster.starting.join import join
    from livn_ipp.errors import VersionMismatch

    try:
        with _signals_interrupt():
            join(connect, num_ranks, wait, click.echo)
    except VersionMismatch as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(3)
    except KeyboardInterrupt:
        click.echo("left the cluster")


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end things as cleanly as Ctrl-C does."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, signal.default_int_handler) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _spec(source: str | None, changes: dict[str, Any]) -> "CultureSpec":
    import dataclasses

    from livn_ipp.system.culture import CultureSpec
    from livn_ipp.system.recipe import read_recipe

    if {"electrodes_per_side", "electrode_pitch"} <= set(changes):
        raise click.UsageError("give either --electrodes-per-side or --mea, not both")
    if source is not None:
        from_file = source.endswith(".toml") or Path(source).is_file()
        spec = read_recipe(source) if from_file else CultureSpec.preset(source)
        if "electrodes_per_side" in changes:
            changes = {"electrode_pitch": None, **changes}
        return dataclasses.replace(spec, **changes)
    if "cells" not in changes:
        raise click.UsageError("give the NAME of a culture, a FILE, or --cells")
    usual = CultureSpec.preset("EI2")
    side = usual.side * (changes["cells"] / usual.cells) ** 0.5  # the same density
    return CultureSpec(**{"side": side, **changes})


def _draw(path: Path) -> None:
    from matplotlib.figure import Figure

    from livn_ipp.system import System
    from livn_ipp.view.figures import plot_culture

    figure = Figure(figsize=(6, 6), layout="constrained")
    plot_culture(System(path), ax=figure.subplots())
    figure.savefig(path / "culture.png", dpi=150)


def _findings() -> "list[Finding]":
    from livn_ipp.cluster.machine import preflight
    from livn_ipp.neuron import mechanisms
    from livn_ipp.types import Finding

    libraries = ("numpy", "h5py", "pydantic")
    versions = (f"{name} {importlib.metadata.version(name)}" for name in libraries)
    return [
        Finding("livn_ipp", f"{__version__} in {Path(__file__).parent}"),
        Finding("libraries", ", ".join(versions)),
        *preflight.findings(),
        *mechanisms.findings(),
    ]


def _marks(*, ok: bool) -> tuple[str, str]:
    symbol, plain, word = ("✓", "+", "ok") if ok else ("✗", "x", "missing")
    try:
        symbol.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        symbol = plain
    return symbol, word
