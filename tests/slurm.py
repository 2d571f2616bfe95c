"""A Slurm on this machine, for the tests of batch jobs; started and ended by them."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
import uuid

import psutil
from living import of_living

from livn_ipp.cluster.machine.processes import end, marked

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
_PATIENCE = 60.0  # s, for the daemons to find each other

_CONFIGURATION = """\
ClusterName=livn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.sock
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool.%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,default_queue_depth=100
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=5
InactiveLimit=0
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
"""

_NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores} "
    "Boards=1 SocketsPerBoard=1 CoresPerSocket={cores} ThreadsPerCore=1 "
    "RealMemory=8000 State=UNKNOWN"
)


class Unavailable(Exception):
    """Slurm cannot run here, and why."""


class Slurm:
    """Munge, a Slurm controller and its nodes; a context manager.

    Each node is this machine under another name, and claims more cores than it may
    have, enough for 8 ranks at once.
    """

    cores = 8

    def __init__(self, directory, nodes=()):
        self.directory = directory
        self._mark = {"LIVN_IPP_TEST_SLURM": uuid.uuid4().hex}
        self.host = socket.gethostname().partition(".")[0]
        self.nodes = tuple(nodes) or (self.host,)
        self.background = set()
        self._daemons = []
        self.variables = {"SLURM_CONF": str(directory / "slurm.conf"), **self._mark}

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unavailable("a Slurm for tests has to be started by root")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        missing = [each for each in _PROGRAMS if shutil.which(each, path=path) is None]
        if missing:
            raise Unavailable(
                f"{', '.join(missing)} missing: apt install slurm-wlm munge"
            )
        try:
            self._start({**os.environ, **self.variables, "PATH": path})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.run("scancel", "--user=root")
            self.background.clear()
            self.await_jobs(lambda jobs: not jobs)
        # They would wait for the controller for ever.
        of_living(psutil.Process.kill, self._steps())
        end(self._mark, grace=2.0, limit=30.0)
        for daemon in self._daemons:
            daemon.wait(10)

    def run(self, *command):
        """Run one of Slurm's commands; returns what it prints."""
        answer = subprocess.run(
            command,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert answer.returncode == 0, (command, answer.stdout, answer.stderr)
        return answer.stdout

    def processes(self):
        """Its daemons, and what runs in jobs that inherited the mark."""
        return marked(self._mark) + self._steps()

    def _steps(self):
        """The parents of jobs, whose variables are overwritten by their title."""
        named = of_living(
            lambda process: (process.name(), process), psutil.process_iter()
        )
        return [
            process
            for name, process in named
            if name == "slurmstepd" and self._is_mine(process)
        ]

    def _is_mine(self, process):
        with contextlib.suppress(psutil.Error):
            sockets = process.net_connections("unix")
            return any(each.laddr.startswith(str(self.directory)) for each in sockets)
        return False

    def jobs(self):
        """States by id of the jobs that have not ended, but for `background`."""
        lines = self.run("squeue", "--noheader", "--format=%i %T").splitlines()
        states = dict(line.split() for line in lines)
        return {job: states[job] for job in states if job not in self.background}

    def await_jobs(self, wanted, seconds=30.0):
        """Wait until the states, by id, are as a function wants them."""
        deadline = time.monotonic() + seconds
        while not wanted(found := self.jobs()):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def _start(self, environment):
        (self.directory / "state").mkdir(parents=True)
        self.directory.chmod(0o755)
        key = self.directory / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        controller_port, *node_ports = _free_ports(1 + len(self.nodes))
        nodes = [
            _NODE.format(name=name, host=self.host, port=port, cores=self.cores)
            for name, port in zip(self.nodes, node_ports, strict=True)
        ]
        (self.directory / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=self.host,
                directory=self.directory,
                controller_port=controller_port,
                nodes="\n".join(nodes),
            )
        )
        munge = [
            *("munged", "--foreground", "--force"),
            *(f"--key-file={key}", f"--socket={self.directory / 'munge.sock'}"),
            *(f"--{kind}-file={self.directory / kind}" for kind in ("pid", "seed")),
        ]
        nodes = [["slurmd", "-D", "-c", "-N", name] for name in self.nodes]
        for command in (munge, ["slurmctld", "-D", "-c"], *nodes):
            with (self.directory / f"{command[0]}.log").open("ab") as log:
                daemon = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._daemons.append(daemon)
        self.await_idle()

    def await_idle(self):
        """Wait until all nodes take jobs."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                said = self.run("sinfo", "--noheader", "--Node", "--format=%t")
                if set(said.split()) <= {"idle", "mix", "alloc"}:
                    return
            if time.monotonic() > deadline:
                raise Unavailable(f"Slurm did not come up: {self._logs()}")
            time.sleep(0.2)

    def _logs(self):
        return "\n".join(
            f"{log.name}: {log.read_text(errors='replace')[-800:]}"
            for log in sorted(self.directory.glob("*.log"))
        )


def _free_ports(count):
    """Ports that nobody listens on, from a range that is not given out by itself."""
    chosen = []
    while len(set(chosen)) < count:
        port = 20000 + secrets.randbelow(10000)
        with contextlib.suppress(OSError), socket.socket() as trial:
            trial.bind(("127.0.0.1", port))
            chosen.append(port)
    return list(set(chosen))
