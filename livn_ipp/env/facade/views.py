"""Views of a distributed environment: what it does now, and a dashboard."""

import weakref
from abc import ABC, abstractmethod
from typing import Any

from livn_ipp.cluster.dispatcher import Dispatcher
from livn_ipp.errors import ConfigError
from livn_ipp.system import System
from livn_ipp.view.culture import Culture
from livn_ipp.view.dashboard import Dashboard
from livn_ipp.view.monitor import Monitor
from livn_ipp.view.snapshot import Snapshot
from livn_ipp.view.telemetry import Telemetry

__all__ = ["Views"]


class Views(ABC):
    """What an environment shows of its workers and calls."""

    system: System

    def __init__(self) -> None:
        super().__init__()
        self._telemetry: Telemetry | None = None
        self._dashboard: Dashboard | None = None

    def snapshot(self, watch: int | None = None) -> Snapshot:
        """Tell what workers and calls do now.

        The first one begins the watch: rates and spikes are of what is simulated from
        then on.

        Parameters
        ----------
        watch
            The worker whose spikes are wanted; by default one that is busy.

        Examples
        --------
        >>> with DistributedEnv("EI1", num_workers=2) as env:  # doctest: +SKIP
        ...     [worker.state.value for worker in env.snapshot().workers]
        ['idle', 'idle']
        """
        return self._watch().snapshot(watch)

    def dashboard(self) -> Dashboard:
        """Show workers, calls and activity live in a notebook.

        It stays up to date while a cell waits, awaits or none runs, until it is closed
        or the environment shut down. Asking again shows the same one again.

        Returns
        -------
        Dashboard
            Displayed where it is the last expression of a cell.

        Examples
        --------
        >>> env.dashboard()  # doctest: +SKIP
        """
        telemetry = self._watch()
        if self._dashboard is None or self._dashboard.closed:
            self._dashboard = Dashboard(telemetry, _Buttons(self))
        return self._dashboard

    def _watch(self) -> Telemetry:
        dispatcher = self._live()
        if self._telemetry is None:
            culture = Culture.of(self.system, self._electrodes())
            name = f"{type(self).__name__} of {self.system.name}"
            self._telemetry = Telemetry(Monitor(culture, name))
            dispatcher.observe(self._telemetry)
        return self._telemetry

    def _close_views(self) -> None:
        """Let the dashboard show the last state, and watch no more."""
        if self._dashboard is not None:
            self._dashboard.close()
        if self._telemetry is not None:
            self._live().ignore(self._telemetry)
        self._dashboard = self._telemetry = None
        shown = weakref.WeakMethod(self.dashboard)
        if self.cluster is not None and self.cluster.shown_by == shown:
            self.cluster.shown_by = None

    def _show_cluster(self) -> None:
        """Let the cluster's dashboard be this environment's."""
        if self.cluster is not None:
            self.cluster.shown_by = weakref.WeakMethod(self.dashboard)

    @property
    @abstractmethod
    def cluster(self) -> Any:
        """The cluster whose engines are the workers' ranks, or None."""

    @abstractmethod
    def _electrodes(self) -> Any:
        """Return the electrodes without asking the workers."""

    @abstractmethod
    def _live(self) -> Dispatcher:
        """Return what dispatches calls, or say why there is none."""


class _Buttons:
    """What the dashboard's buttons do."""

    def __init__(self, env: Views) -> None:
        self._env = env

    def cancel(self, call: int) -> None:
        self._env._live().cancel(call)  # noqa: SLF001 (its own part)

    def cancel_all(self) -> None:
        self._env._live().cancel_all()  # noqa: SLF001

    def restart(self, worker: int) -> None:
        self._cluster().restart_worker(worker)

    def scale(self, change: int) -> None:
        if change > 0:
            self._cluster().add_workers(change)
        else:
            self._cluster().remove_workers(-change)

    def _cluster(self) -> Any:
        cluster = self._env.cluster
        if cluster is None:
            raise ConfigError("workers can come and go on ipyparallel engines only")
        return cluster
