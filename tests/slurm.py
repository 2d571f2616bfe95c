"""A Slurm of one machine, for the tests of batch jobs; started and ended by them."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
import uuid

from livn_ipp.cluster.processes import end

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
_PATIENCE = 60.0  # s, for the daemons to find each other

_CONFIGURATION = """\
ClusterName=livn
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.sock
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
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
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Boards=1 SocketsPerBoard=1 \
CoresPerSocket={cores} ThreadsPerCore=1 RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=closed Nodes={host} MaxTime=INFINITE State=DOWN
"""


class Unavailable(Exception):
    """Slurm cannot run here, and why."""


class Slurm:
    """Munge, a Slurm controller and one node; a context manager.

    The node claims more cores than the machine may have, enough for 8 ranks at once.
    """

    cores = 8

    def __init__(self, directory):
        self.directory = directory
        self._mark = {"LIVN_IPP_TEST_SLURM": uuid.uuid4().hex}
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
            self.run("scancel", "--user=root", "--full", "--signal=KILL")
        end(self._mark, grace=2.0, limit=30.0)

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

    def jobs(self):
        """States by id of the jobs that have not ended."""
        lines = self.run("squeue", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def await_jobs(self, wanted, seconds=30.0):
        """Wait until the states, by id, are as a function wants them."""
        deadline = time.monotonic() + seconds
        while not wanted(found := self.jobs()):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def _start(self, environment):
        for name in ("state", "spool"):
            (self.directory / name).mkdir(parents=True)
        self.directory.chmod(0o755)
        key = self.directory / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        controller_port, node_port = _free_ports(2)
        (self.directory / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0],
                directory=self.directory,
                controller_port=controller_port,
                node_port=node_port,
                cores=self.cores,
            )
        )
        munge = [
            *("munged", "--foreground", "--force"),
            *(f"--key-file={key}", f"--socket={self.directory / 'munge.sock'}"),
            *(f"--{kind}-file={self.directory / kind}" for kind in ("pid", "seed")),
        ]
        for command in (munge, ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-c"]):
            with (self.directory / f"{command[0]}.log").open("ab") as log:
                subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self._await_idle()

    def _await_idle(self):
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                if "idle" in self.run("sinfo", "--noheader", "--format=%t"):
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
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
