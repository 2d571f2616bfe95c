"""Batch systems as text: the scripts, the commands, and what these print.

The examples of output are as the systems' manuals show it.
"""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.launchers import LAUNCHERS, BatchLauncher, launcher
from livn_ipp.cluster.launchers.jobs import Job, Jobs
from livn_ipp.cluster.launchers.options import BatchOptions
from livn_ipp.cluster.launchers.schedulers import SCHEDULERS, JobState, logged_verdict
from livn_ipp.cluster.launchers.script import (
    batch_script,
    shipped_template,
    write_environment,
)
from livn_ipp.cluster.machine.processes import CLUSTER, WORLD
from livn_ipp.errors import ConfigError, PreflightError

LOG = Path("/home/ada/log/left-w0.log")
COMMAND = ["mpiexec", "-n", "4", "python", "-m", "an engine"]
EVERYTHING = {
    "queue": "short",
    "time_limit": "1-02:30:00",
    "account": "neuro",
    "setup": ["module load openmpi", "ulimit -c 0"],
}
FURTHER = {
    "slurm": ["--constraint=icelake", "#SBATCH --exclusive"],
    "pbs": ["-l place=scatter", "#PBS -m n"],
    "sge": ["-l h_vmem=2G", "#$ -R y"],
    "lsf": ['-R "span[ptile=2]"', "#BSUB -x"],
}


def script(name, **options):
    scheduler = SCHEDULERS[name]
    return batch_script(
        scheduler,
        BatchOptions.of(options),
        shipped_template(name),
        name="livn-0123abcd",
        ranks=4,
        log=LOG,
        command=COMMAND,
    )


SLURM = """\
#!/bin/sh
#SBATCH --job-name=livn-0123abcd
#SBATCH --output=/home/ada/log/left-w0.log
#SBATCH --open-mode=append
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --ntasks=4
#SBATCH --partition=short
#SBATCH --time=26:30:00
#SBATCH --account=neuro
#SBATCH --constraint=icelake
#SBATCH --exclusive
cd {here}
module load openmpi
ulimit -c 0
exec mpiexec -n 4 python -m 'an engine'
"""

PBS = """\
#!/bin/sh
#PBS -N livn-0123abcd
#PBS -j oe
#PBS -o /dev/null
#PBS -S /bin/sh
#PBS -V
#PBS -r n
#PBS -l select=4:ncpus=1:mpiprocs=1
#PBS -q short
#PBS -l walltime=26:30:00
#PBS -A neuro
#PBS -l place=scatter
#PBS -m n
exec >>/home/ada/log/left-w0.log 2>&1
cd {here}
module load openmpi
ulimit -c 0
exec mpiexec -n 4 python -m 'an engine'
"""

SGE = """\
#!/bin/sh
#$ -N livn-0123abcd
#$ -j y
#$ -o /home/ada/log/left-w0.log
#$ -S /bin/sh
#$ -V
#$ -r n
#$ -pe mpi 4
#$ -q short
#$ -l h_rt=26:30:00
#$ -P neuro
#$ -l h_vmem=2G
#$ -R y
cd {here}
module load openmpi
ulimit -c 0
exec mpiexec -n 4 python -m 'an engine'
"""

LSF = """\
#!/bin/sh
#BSUB -J livn-0123abcd
#BSUB -o /home/ada/log/left-w0.log
#BSUB -rn
#BSUB -n 4
#BSUB -q short
#BSUB -W 26:30
#BSUB -P neuro
#BSUB -R "span[ptile=2]"
#BSUB -x
exec >>/home/ada/log/left-w0.log 2>&1
cd {here}
module load openmpi
ulimit -c 0
exec mpiexec -n 4 python -m 'an engine'
"""


@pytest.mark.parametrize(
    ("name", "expected"), [("slurm", SLURM), ("pbs", PBS), ("sge", SGE), ("lsf", LSF)]
)
def test_the_script_says_everything_that_was_asked_for(name, expected, monkeypatch):
    monkeypatch.setattr(Path, "cwd", lambda: Path("/data/a culture"))
    text = script(name, **EVERYTHING, directives=FURTHER[name])
    assert text == expected.format(here="'/data/a culture'")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_was_not_asked_for_is_left_to_the_site(name):
    text = script(name)
    for word in ("None", "{", "partition", "walltime", "h_rt", "-W ", "account"):
        assert word not in text
    prefix = SCHEDULERS[name].prefix
    assert all(line for line in text.splitlines())
    directives = [line for line in text.splitlines() if line.startswith(prefix)]
    assert all(len(line.split()) > 1 for line in directives)
    answer = subprocess.run(["/bin/sh", "-n"], input=text, text=True, timeout=10)
    assert answer.returncode == 0


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_site_may_ask_for_cores_in_its_own_way(name):
    text = script(name, resources="-l nodes=1:ppn={ranks}")
    assert f"{SCHEDULERS[name].prefix} -l nodes=1:ppn=4\n" in text


def test_a_template_of_the_users_takes_the_place_of_ours(tmp_path):
    template = tmp_path / "site.sh"
    template.write_text("#!/bin/bash\n#SBATCH -o {log} -n {ranks}\n{command} ${name}\n")
    options = BatchOptions.of({"template": str(template)})
    text = batch_script(
        SCHEDULERS["slurm"],
        options,
        options.template.read_text(),
        name="n",
        ranks=2,
        log=LOG,
        command=["mpiexec"],
    )
    assert text == f"#!/bin/bash\n#SBATCH -o {LOG} -n 2\nmpiexec ${{name}}\n"
    template.write_text("#!/bin/sh\n{command}\n")
    with pytest.raises(ConfigError, match=r"has no \{log\}; see the shipped ones"):
        BatchOptions.of({"template": template})


def test_a_log_where_directives_cannot_name_it_is_refused():
    with pytest.raises(ConfigError, match=r"white space; choose another IPYTHONDIR"):
        batch_script(
            SCHEDULERS["slurm"],
            BatchOptions(),
            shipped_template("slurm"),
            name="n",
            ranks=2,
            log=Path("/home/ada lovelace/x.log"),
            command=["mpiexec"],
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition": "short"}, "unknown launcher option 'partition'; did you mean"),
        ({"time_limt": "1:00:00"}, "did you mean time_limit"),
        ({"time_limit": "90"}, "hours:minutes:seconds"),
        ({"time_limit": "1:75:00"}, "hours:minutes:seconds"),
        ({"queue": "short\n#SBATCH --exclusive"}, "queue must be text of one line"),
        ({"queue": "short long"}, "queue must be one word"),
        ({"account": ""}, "account must be text"),
        ({"setup": ["module load a\nrm b"]}, "setup must be text of one line"),
        ({"directives": [3]}, "directives must be text"),
        ({"mpiexec": "srun 'pmix"}, "is no command"),
        ({"queue_timeout": 0}, "queue_timeout must be a number"),
        ({"queue_timeout": True}, "queue_timeout must be a number"),
        ({"template": "/nowhere/site.sh"}, "cannot read template"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_starts(options, message):
    for name in SCHEDULERS:
        with pytest.raises(ConfigError, match=message):
            Cluster(1, launcher=name, launcher_options=options)


def test_a_single_line_stands_for_a_list_of_one_and_none_for_nothing():
    options = BatchOptions.of({"setup": "module load mpi", "queue": None})
    assert options.setup == ("module load mpi",)
    assert options.queue is None


def test_launchers_are_chosen_by_name():
    assert LAUNCHERS == ("mpi", "slurm", "pbs", "sge", "lsf")
    with pytest.raises(ConfigError, match="choose mpi, slurm, pbs, sge or lsf"):
        launcher("lava")
    with pytest.raises(ConfigError, match="has no launcher_options, got queue"):
        launcher("mpi", (), {"queue": "short"})
    with pytest.raises(ConfigError, match="launcher='slurm' needs num_workers"):
        Cluster(launcher="slurm")


# What the programs print


def test_slurms_list_is_understood():
    text = (
        "6|PENDING|Resources|0||\n"
        "7|RUNNING|None|0|n[1-2]|\n"
        "8|FAILED|NonZeroExitCode|35072|n1|\n"
        "9|CANCELLED|None|15|n1|\n"
        "10|TIMEOUT|TimeLimit|0|n1|\n"
        "11|COMPLETING|None|0|n1|\n"
        "12|CONFIGURING|None|0|n1|\n"
        "13|COMPLETED|None|0|n1|\n"
    )
    jobs = SCHEDULERS["slurm"].read(text)
    assert jobs["6"] == JobState("pending", "PENDING", "Resources")
    assert jobs["7"] == JobState("running", "RUNNING", host="n[1-2]")
    assert jobs["8"].exit_code == 137
    assert jobs["9"].exit_code == 143
    phases = {job: state.phase for job, state in jobs.items()}
    assert [phases[job] for job in ("9", "10", "13")] == ["ended"] * 3
    assert (phases["11"], phases["12"]) == ("running", "pending")
    assert str(jobs["6"]) == "pending (Resources)"
    assert str(jobs["7"]) == "running on n[1-2]"
    assert jobs["8"].ending == "ended with exit code 137"
    assert jobs["8"].verdict == ""
    assert jobs["9"].ending == "was cancelled"
    assert jobs["10"].ending == "reached its time limit"


QSTAT_F = """\
Job Id: 16.pbsserver
    Job_Name = livn-0123abcd
    Job_Owner = ada@login
    job_state = Q
    queue = workq
    comment = Not Running: Insufficient amount of resource: ncpus (R: 4 A: 2 T:
\t 2)

Job Id: 17.pbsserver
    Job_Name = livn-0123abcd
    job_state = R
    exec_host = n1/0*2+n2/0*2
    comment = Job run at Sat Nov 21 at 12:00 on (n1:ncpus=2)+(n2:ncpus=2)

Job Id: 18.pbsserver
    Job_Name = livn-0123abcd
    job_state = C
    Exit_status = 271
"""


def test_pbs_list_is_understood():
    jobs = SCHEDULERS["pbs"].read(QSTAT_F)
    assert str(jobs["16.pbsserver"]).startswith("queued (Not Running: Insufficient")
    assert str(jobs["16.pbsserver"]).endswith("(R: 4 A: 2 T: 2))")
    assert jobs["17.pbsserver"].phase == "running"
    assert str(jobs["17.pbsserver"]) == "running on n1"
    assert jobs["18.pbsserver"].ending == "ended with exit code 271"


QSTAT = """\
job-ID  prior   name       user         state submit/start at     queue      slots
----------------------------------------------------------------------------------
     21 0.55500 livn-0123a ada          r     11/21/2026 12:00:00 all.q@n1       4
     22 0.00000 livn-0123a ada          qw    11/21/2026 12:00:01                4
     23 0.00000 livn-0123a ada          Eqw   11/21/2026 12:00:02                4
     24 0.55500 livn-0123a ada          dr    11/21/2026 12:00:03 all.q@n2       4
"""


def test_grid_engines_list_is_understood():
    jobs = SCHEDULERS["sge"].read(QSTAT)
    assert {job: state.phase for job, state in jobs.items()} == {
        "21": "running",
        "22": "pending",
        "23": "pending",
        "24": "running",
    }
    assert str(jobs["21"]) == "running on n1"
    assert str(jobs["23"]) == "eqw (an error; `qstat -j 23` explains it)"


BJOBS = """\
31|PEND|-|New job is waiting for scheduling;|-|-
32|RUN|-|-|-|n1
33|EXIT|140|-|TERM_RUNLIMIT: job killed after reaching LSF run time limit|n1
34|DONE|-|-|-|n1
35|EXIT|137|-|-|n1
"""


def test_lsfs_list_is_understood():
    jobs = SCHEDULERS["lsf"].read(BJOBS)
    assert str(jobs["31"]) == "pend (New job is waiting for scheduling;)"
    assert str(jobs["32"]) == "run on n1"
    assert jobs["33"].ending == "reached its time limit"
    assert jobs["34"].ending == "ended with exit code 0"
    assert (jobs["35"].verdict, jobs["35"].exit_code) == ("", 137)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(text=st.text(alphabet="0123456789|- \n\tRUNPEDJobId:=_at", max_size=200))
def test_no_list_whatever_is_in_it_breaks_the_reading(name, text):
    for state in SCHEDULERS[name].read(text).values():
        assert state.phase in {"pending", "running", "ended"}


TIME = "2026-11-21T12:00:00"


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        (f"slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT {TIME} ***",
         "was cancelled"),
        (f"error: *** JOB 7 ON n1 CANCELLED AT {TIME} DUE TO TIME LIMIT ***",
         "reached its time limit"),
        (f"error: *** JOB 7 ON n1 CANCELLED AT {TIME} DUE TO NODE FAILURE, SEE ***",
         "lost its node"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch.",
         "used more memory than it was given"),
        ("=>> PBS: job killed: walltime 73 exceeded limit 60",
         "reached its time limit"),
        ("TERM_RUNLIMIT: job killed after reaching LSF run time limit.",
         "reached its time limit"),
        ("prterun noticed that process rank 1 exited on signal 9", ""),
    ],
)  # fmt: skip
def test_what_the_batch_system_writes_into_the_log_is_read(log, verdict):
    assert logged_verdict(f"before\n{log}\nafter") == verdict


# The programs themselves, by stand-ins that note how they were called


def stand_in(directory, name, body):
    program = directory / name
    program.write_text(f'#!/bin/sh\necho {name} "$@" >>{directory}/calls\n{body}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def calls(directory):
    return (directory / "calls").read_text().splitlines()


PRINTED = {
    "slurm": ("sbatch", "17", "17", "17|RUNNING|None|0|n1|"),
    "pbs": ("qsub", "17.pbsserver", "17.pbsserver",
            "Job Id: 17.pbsserver\n    job_state = R\n    exec_host = n1/0"),
    "sge": ("qsub", 'Your job 17 ("livn-x") has been submitted', "17", ""),
    "lsf": ("bsub", "Job <17> is submitted to default queue <normal>.", "17",
            "17|RUN|-|-|-|n1"),
}  # fmt: skip
SHOWN = {
    "slurm": "squeue --noheader --states=all --name=livn-x "
    "--Format=jobid:|,state:|,reason:|,exit_code:|,nodelist:|",
    "pbs": "qstat -f 17.pbsserver",
    "sge": "qstat",
    "lsf": "bjobs -a -noheader -J livn-x -o jobid stat exit_code pend_reason "
    "exit_reason first_host delimiter='|'",
}
CANCELLED = {
    "slurm": ("scancel 17", "scancel --name=livn-x"),
    "pbs": ("qdel 17.pbsserver", "qdel 17.pbsserver 18.pbsserver"),
    "sge": ("qdel 17", "qdel livn-x"),
    "lsf": ("bkill 17", "bkill -J livn-x 0"),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_job_is_submitted_shown_and_cancelled_by_the_systems_own_commands(
    name, programs, monkeypatch
):
    monkeypatch.setenv("SLURM_JOB_ID", "5")  # as inside of another job
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    submit, printed, job, listed = PRINTED[name]
    shows = SHOWN[name].split()[0]
    running = programs / "running"
    running.write_text(listed)
    takes = f"cat >{programs}/script; env >{programs}/variables"
    stand_in(programs, submit, f"{takes}; echo '{printed}'")
    stand_in(programs, shows, f"cat {running}")
    for line in CANCELLED[name]:
        stand_in(programs, line.split()[0], f": >{running}")
    stand_in(programs, "qselect", "echo 17.pbsserver; echo 18.pbsserver")

    jobs = Jobs(SCHEDULERS[name], "livn-x")
    assert jobs.submit("#!/bin/sh\nexit 0\n") == job
    assert (programs / "script").read_text() == "#!/bin/sh\nexit 0\n"
    if name == "slurm":
        variables = (programs / "variables").read_text()
        assert "SLURM_CONF=/etc/slurm.conf" in variables
        assert "SLURM_JOB_ID" not in variables
    jobs.look()
    if listed:
        assert str(jobs.state(job)) in {"running on n1", "run on n1"}
    assert SHOWN[name] in calls(programs)
    by_id, by_name = CANCELLED[name]
    assert jobs.cancel_all()
    assert by_name in calls(programs)
    if listed:  # one that was seen and is not listed any more has ended
        jobs.cancel(job)
        assert by_id in calls(programs)
        assert jobs.state(job).phase == "ended"


def test_a_refused_job_is_a_preflight_error_in_the_systems_own_words(programs):
    said = "qsub: Unknown queue MSG=cannot locate queue"
    stand_in(programs, "qsub", f"cat >/dev/null; echo '{said}' >&2; exit 170")
    with pytest.raises(
        PreflightError, match="PBS refused the job: qsub: Unknown queue"
    ):
        Jobs(SCHEDULERS["pbs"], "livn-x").submit("#!/bin/sh\n#PBS -q none\n")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_machine_without_the_batch_system_is_told_where_to_go(
    name, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    program = SCHEDULERS[name].submit[0]
    cluster = Cluster(1, launcher=name, launcher_options={"mpiexec": "mpiexec"})
    with pytest.raises(PreflightError, match=f"no {program} on PATH. Run this on a"):
        cluster.start()


def test_a_batch_system_out_of_order_says_nothing_about_jobs(programs):
    stand_in(programs, "sbatch", "cat >/dev/null; echo 17")
    stand_in(programs, "squeue", "echo '17|RUNNING|None|0|n1|'")
    jobs = Jobs(SCHEDULERS["slurm"], "livn-x")
    jobs.submit("")
    jobs.look()
    stand_in(programs, "squeue", "echo 'Unable to contact' >&2; exit 1")
    jobs.look()
    assert jobs.state("17").phase == "running"
    stand_in(programs, "scancel", "echo 'Unable to contact' >&2; exit 1")
    assert not jobs.cancel_all()


def test_a_job_too_new_to_be_listed_waits(programs):
    stand_in(programs, "bsub", "cat >/dev/null; echo 'Job <17> is submitted'")
    stand_in(programs, "bjobs", "echo 'Job <livn-x> is not found' >&2; exit 255")
    jobs = Jobs(SCHEDULERS["lsf"], "livn-x")
    job = Job(jobs, jobs.submit(""), ["mpiexec"], programs / "x.log", None)
    jobs.look()
    assert (job.pending, job.exit_code, job.trouble) == (True, None, "")


def test_a_batch_system_is_asked_rarely(programs):
    stand_in(programs, "sbatch", "cat >/dev/null; echo 17")
    stand_in(programs, "squeue", "echo '17|RUNNING|None|0|n1|'")
    jobs = Jobs(SCHEDULERS["slurm"], "livn-x")
    job = Job(jobs, jobs.submit(""), ["mpiexec"], programs / "x.log", 0.01)
    deadline = time.monotonic() + 1.2
    looks = 0
    while time.monotonic() < deadline:
        looks += 1
        assert job.exit_code is None
        time.sleep(0.01)
    asked = sum(line.startswith("squeue") for line in calls(programs))
    assert 1 <= asked <= 4 < looks
    assert job.status == "job 17 running on n1"


def test_a_job_that_waits_too_long_or_ends_is_in_trouble(programs):
    stand_in(programs, "sbatch", "cat >/dev/null; echo 17")
    stand_in(programs, "squeue", "echo '17|PENDING|AssocGrpCpuLimit|0||'")
    jobs = Jobs(SCHEDULERS["slurm"], "livn-x")
    job = Job(jobs, jobs.submit(""), ["mpiexec"], programs / "x.log", 0.01)
    jobs.look()
    time.sleep(0.02)
    assert job.trouble == (
        "did not run within queue_timeout=0.01 s: job 17 pending (AssocGrpCpuLimit)"
    )
    stand_in(programs, "squeue", "echo '17|TIMEOUT|TimeLimit|0|n1|'")
    jobs.look()
    assert job.trouble == "ended: job 17 reached its time limit"
    assert job.why == "job 17 reached its time limit"
    assert (job.pending, job.exit_code) == (False, 0)


# What ranks are given


def test_the_variables_of_ranks_are_read_by_their_owner_only(tmp_path):
    file = tmp_path / "ranks.sh"
    write_environment(file, {"LIVN_A": "it's $HOME", "LIVN_B": "two\nlines"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    program = "import os; print([os.environ[n] for n in ('LIVN_A', 'LIVN_B', 'W')])"
    answer = subprocess.run(
        ["/bin/sh", str(file), "W=w0", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.stdout == "[\"it's $HOME\", 'two\\nlines', 'w0']\n"
    assert list(tmp_path.iterdir()) == [file]


def test_no_key_is_where_others_can_see_it(programs, tmp_path, monkeypatch):
    takes = f"cat >{programs}/script; env >{programs}/variables"
    stand_in(programs, "sbatch", f"{takes}; echo 17")
    monkeypatch.setenv("LIVN_KNOWN", "to everybody")
    batch = BatchLauncher("slurm", ["--verbose"], {"mpiexec": "srun --mpi=pmix"})
    marks = {CLUSTER: "left/0123abcd4567", WORLD: "w3"}
    environment = batch.environment(os.environ, marks)
    environment |= {
        "IPP_PROFILE_DIR": str(tmp_path),
        "IPP_CLUSTER_ID": "left",
        "IPP_CONNECTION_INFO": "a secret",
    }
    (tmp_path / "security").mkdir()
    job = batch.start(2, environment, tmp_path / "log" / "left-w3.log")
    [file] = batch.files(tmp_path, "left")
    assert job.job == "17"
    text = (programs / "script").read_text()
    ranks = f"/bin/sh {file} LIVN_IPP_WORLD=w3"
    assert (
        f"exec {ranks} srun --mpi=pmix -n 2 --verbose {ranks} {sys.executable}" in text
    )
    assert "#SBATCH --job-name=livn-0123abcd\n" in text
    for seen in (text, (programs / "variables").read_text()):
        assert "a secret" not in seen
        assert "left/0123abcd4567" not in seen
    content = file.read_text()
    assert "export IPP_CONNECTION_INFO='a secret'" in content
    assert "LIVN_KNOWN" not in content  # the batch system carries it
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert batch.last_will(marks) == (("scancel", "--name=livn-0123abcd"),)


def test_what_the_user_asked_for_wins_over_slurms_variables(programs, monkeypatch):
    stand_in(programs, "sbatch", f"cat >/dev/null; env >{programs}/variables; echo 17")
    monkeypatch.setenv("SBATCH_PARTITION", "long")
    monkeypatch.setenv("SBATCH_ACCOUNT", "neuro")
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    Jobs(SCHEDULERS["slurm"], "n").submit("", ["SBATCH_PARTITION"])
    variables = (programs / "variables").read_text()
    assert "SBATCH_ACCOUNT=neuro" in variables
    assert "SBATCH_PARTITION" not in variables
    assert "SBATCH_EXPORT" not in variables
