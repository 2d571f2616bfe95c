"""How fast and how accurate a culture is simulated.

Usage::

    python benchmarks/simulate.py                # CPU per biological second
    python benchmarks/simulate.py --livn-python /path/of/livns/python   # beside livn
    python benchmarks/simulate.py --features     # what recording, drive etc. cost
    python benchmarks/simulate.py --accuracy     # also dt against dt/8; minutes

Each culture runs with each model on one and on two ranks, through Env and in a bare
NEURON program of the same network, in turns within the same processes; and in livn 2.0
with its native backend and own cells, on the same directory, in a Python of its own.
CPU seconds are those of the simulating thread (of livn, of all its threads); wall
seconds mean something only on a quiet machine.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

TARGETS = {"EI1": 0.05, "EI2": 0.25, "EI3": 2.5}  # CPU s per biological s, one rank
DURATIONS = {"EI1": 4000.0, "EI2": 2000.0, "EI3": 500.0}  # ms
MODELS = ("PinskyRinzel", "BoothRinzelKiehn")
LIVN_DURATIONS = {"EI1": 2000.0, "EI2": 500.0, "EI3": 100.0}  # ms
LIVN_RATIO = {"PinskyRinzel": 20, "BoothRinzelKiehn": 1}  # times less CPU, on EI2
SEED = 123  # Env's default
ROUNDS = 5
MPI_SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "HYDRA_LAUNCHER": "fork",
}


def dynamics(name):
    """Return a model by the name of its class."""
    from livn_ipp.models.booth_rinzel_kiehn import BoothRinzelKiehn
    from livn_ipp.models.pinsky_rinzel import PinskyRinzel

    return {"PinskyRinzel": PinskyRinzel, "BoothRinzelKiehn": BoothRinzelKiehn}[name]()


class Bare:
    """The same network by hand: NEURON's interpreter and nothing else."""

    def __init__(self, system, model, subworld):
        from neuron import h

        from livn_ipp.models import reference

        self.h, self.pc = h, h.ParallelContext()
        rank, size = subworld.rank, subworld.size
        own = [gid for gid in system.gids.tolist() if gid % size == rank]
        populations = dict(zip(own, system.population_of(own).tolist(), strict=True))
        self.cells = {gid: model.build(h, populations[gid], gid) for gid in own}
        self.links = []
        for gid, cell in self.cells.items():
            random = np.random.default_rng(np.random.SeedSequence([SEED, 1, gid]))
            factor = 1 + model.noise_spread * random.standard_normal()
            for name, value in model.default_noise(populations[gid]).items():
                varies = name in {"g_e0", "std_e"}
                setattr(cell.background, name, value * factor if varies else value)
            cell.background.background()
            cell.background.rng.set_ids(SEED, gid, 0)
            soma = cell.sections["soma"]
            detector = h.NetCon(reference(soma(0.5), "v"), None, sec=soma)
            detector.threshold = model.threshold
            self.pc.set_gid2node(gid, rank)
            self.pc.cell(gid, detector)
        for pre, post in system.projections:
            edges = system.projection(pre, post, own)
            keys = [key for key in model.weights if key.startswith(f"{post}_{pre}-")]
            rows = zip(
                edges.pre_gids.tolist(),
                edges.post_gids.tolist(),
                edges.distance.tolist(),
                edges.factor.tolist(),
                strict=True,
            )
            for source, target, distance, factor in rows:
                receptors = self.cells[target].receptors
                process = receptors[tuple(keys[0].split("-")[1:3])].process
                link = self.pc.gid_connect(source, process)
                link.delay = max(distance / 250.0, 0.1)
                for key in keys:
                    slot = receptors[tuple(key.split("-")[1:3])].slot
                    weight = model.weights[key] * factor
                    link.weight[slot] = round(weight * 2**36) / 2**36
                self.links.append(link)
        self.times, self.ids = h.Vector(), h.Vector()
        self.pc.spike_record(-1, self.times, self.ids)
        h.dt, h.celsius, h.secondorder = 0.05, model.celsius, 2
        self.pc.set_maxstep(10)
        h.finitialize(model.v_init)

    def run(self, duration):
        """Simulate on; return the number of spikes."""
        self.times.resize(0)
        self.pc.psolve(self.pc.t(0) + duration)
        return len(self.times)

    def close(self):
        """Remove the network."""
        self.pc.gid_clear()
        self.links.clear()
        self.cells.clear()


def timed(run, duration):
    """CPU and wall seconds per biological second, and spikes."""
    cpu, wall = time.thread_time(), time.perf_counter()
    spikes = run(duration)
    seconds = duration / 1e3
    return (
        (time.thread_time() - cpu) / seconds,
        (time.perf_counter() - wall) / seconds,
        spikes,
    )


def measure(name, model_name, comm):
    """Best of some rounds of Env and of the bare program, taken in turns."""
    from livn_ipp.env import Env

    duration = DURATIONS[name]
    best = {}
    for _ in range(ROUNDS):
        env = Env(name, dynamics(model_name), comm=comm).init().record_spikes()
        env.run(200)
        subworld = env.subworld
        keep(best, "env", timed(lambda d, env=env: len(env.run(d).spikes), duration))
        env.close()
        bare = Bare(env.system, env.model, subworld)
        bare.run(200)
        keep(best, "bare", timed(bare.run, duration))
        bare.close()
    return {
        kind: {
            "cpu": max(comm.allgather(cpu) if comm else [cpu]),
            "wall": max(comm.allgather(wall) if comm else [wall]),
            "hertz": sum(comm.allgather(spikes) if comm else [spikes])
            / env.system.num_cells
            / (duration / 1e3),
        }
        for kind, (cpu, wall, spikes) in best.items()
    }


def keep(best, kind, found):
    """Keep the round that took the least CPU: other programs only add to it."""
    if kind not in best or found[0] < best[kind][0]:
        best[kind] = found


def work(names, ranks):
    """Measure in this process, one of `ranks`; the first prints the result."""
    comm = None
    if ranks > 1:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    result = {
        name: {model: measure(name, model, comm) for model in MODELS} for name in names
    }
    if comm is None or comm.Get_rank() == 0:
        print(json.dumps(result))


def output_of(command):
    """Run a program and read the JSON in its last line."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **MPI_SETTINGS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def on_ranks(names, ranks):
    """Run this program on some ranks and read its result."""
    command = [sys.executable, __file__, "--work", ranks, *names]
    if ranks > 1:
        beside = Path(sys.executable).with_name("mpiexec")
        mpiexec = str(beside) if beside.exists() else "mpiexec"
        command = [mpiexec, "-n", ranks, *command]
    return output_of(command)


def livn_work(directory, duration):
    """Simulate a directory in livn's native backend; this Python has livn alone."""
    from livn.backend.native.env import Env

    env = Env(directory)
    env.init()
    env.apply_model_defaults()
    env.record_spikes()
    env.run(100)
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        run = env.run(duration)
        best = min(best, time.process_time() - start)
    print(json.dumps({"cpu": best / duration * 1e3, "spikes": len(run.spikes.ids)}))


def speed(names, livn_python):
    """Print CPU and wall seconds per biological second."""
    from livn_ipp.system import System

    one, two = on_ranks(names, 1), on_ranks(names, 2)
    print(f"CPU s per biological s, best of {ROUNDS}; load {os.getloadavg()[0]:.1f}")
    print(
        f"{'':23}{'Hz':>6}{'Env':>8}{'target':>8}{'bare':>8}{'Env/bare':>10}"
        f"{'Env, 2 ranks':>14}{'bare, 2':>9}{'wall 1':>8}{'wall 2':>8}{'speed-up':>10}"
    )
    for name in names:
        for model in MODELS:
            env, bare = one[name][model]["env"], one[name][model]["bare"]
            env2, bare2 = two[name][model]["env"], two[name][model]["bare"]
            if env["hertz"] != bare["hertz"]:
                sys.exit(f"{name}: Env and the bare program differ in their networks")
            print(
                f"{name:5}{model:18}{env['hertz']:6.2f}{env['cpu']:8.3f}"
                f"{TARGETS[name]:8.2f}{bare['cpu']:8.3f}"
                f"{env['cpu'] / bare['cpu']:10.3f}"
                f"{env2['cpu']:14.3f}{bare2['cpu']:9.3f}"
                f"{env['wall']:8.3f}{env2['wall']:8.3f}"
                f"{env['wall'] / env2['wall']:10.2f}"
            )
    if livn_python is None:
        return
    print(f"\n{'livn, native':23}{'Hz':>6}{'livn':>8}   times the CPU of")
    for name in names:
        system, duration = System(name), LIVN_DURATIONS[name]
        livn = output_of([livn_python, __file__, "--livn-work", system.path, duration])
        hertz = livn["spikes"] / system.num_cells / duration * 1e3
        ratios = ", ".join(
            f"{model} {livn['cpu'] / one[name][model]['env']['cpu']:.1f}"
            + (f" (goal {LIVN_RATIO[model]})" if name == "EI2" else "")
            for model in MODELS
        )
        print(f"{name:23}{hertz:6.2f}{livn['cpu']:8.3f}   {ratios}")


def field(env):
    """20 uA on two electrodes, 20 ms of every 100."""
    commands = np.zeros((int(DURATIONS["EI2"]), env.io.num_channels))
    commands[np.arange(len(commands)) % 100 < 20, :2] = 20.0
    return env.cell_stimulus(commands)


def current(env):
    """0.01 nA into every soma, 20 ms of every 100."""
    from livn_ipp.stimulus import Stimulus

    samples = np.zeros((int(DURATIONS["EI2"]), env.system.num_cells))
    samples[np.arange(len(samples)) % 100 < 20] = 0.01
    return Stimulus(samples, 1.0, input_mode="current")


def plastic(env):
    env.enable_plasticity()


# What is asked of an Env, and what drives it.
FEATURES = {
    "voltages, 1 ms": (lambda env: env.record_voltage(dt=1.0), None),
    "voltages, 0.1 ms": (lambda env: env.record_voltage(dt=0.1), None),
    "currents, 1 ms": (lambda env: env.record_membrane_current(dt=1.0), None),
    "currents, 0.1 ms": (lambda env: env.record_membrane_current(dt=0.1), None),
    "potentials, 1 ms": (lambda env: env.record_potential(1.0), None),
    "potentials, 0.1 ms": (lambda env: env.record_potential(0.1), None),
    "a state, 1 ms": (lambda env: env.record("h", dt=1.0), None),
    "electrodes driven": (lambda env: env, field),
    "currents injected": (lambda env: env, current),
    "plasticity": (plastic, None),
}


def features(name="EI2"):
    """Print what each feature adds to the CPU of a run that records spikes alone."""
    from livn_ipp.env import Env
    from livn_ipp.models.pinsky_rinzel import PinskyRinzel
    from livn_ipp.models.two_compartment import Depression

    duration = DURATIONS[name]

    def once(prepare, drive, model=None):
        env = Env(name, model).init().record_spikes()
        prepare(env)
        stimulus = drive(env) if drive else None
        env.run(200)
        cpu = timed(lambda d: len(env.run(d, stimulus).spikes), duration)
        env.close()
        return cpu

    plain = (lambda env: env, None)
    asked = {**FEATURES, "depression": (*plain, PinskyRinzel(depression=Depression()))}
    print(f"\n{name}: CPU s per biological s, best of {ROUNDS}, and what is added")
    for label, feature in asked.items():
        best = {}
        for _ in range(ROUNDS):  # in turns, so that both see the same machine
            keep(best, "plain", once(*plain))
            keep(best, "feature", once(*feature))
        cpu, base = best["feature"][0], best["plain"][0]
        print(f"{label:20}{base:8.3f}{cpu:8.3f}{cpu / base - 1:+8.0%}", flush=True)


def counts(name, dt, seed, seconds, connected=True):
    """Spikes of each cell in some seconds after the first."""
    from livn_ipp.env import Env

    env = Env(name, seed=seed).init().record_spikes()
    if not connected:
        env.set_weights(dict.fromkeys(env.weight_names, 0.0))
    env.run(1000, dt=dt)
    spikes = [env.run(1000).spikes.ids for _ in range(seconds)]
    env.close()
    return np.bincount(np.concatenate(spikes), minlength=env.system.num_cells)


def accuracy(seeds=3, seconds=6):
    """Print how the mean rate at the default step differs from that at an eighth of it.

    Cells without connections see the same noise at both steps, so their difference is
    precise. A connected culture is chaotic and its activity swings slowly: the error of
    its difference is that of the swings.
    """
    coarse, fine = (counts("EI2", dt, 1, 20, connected=False) for dt in (0.05, 0.00625))
    apart = (coarse - fine) / fine.mean()
    error = apart.std() / np.sqrt(len(apart))
    print(f"EI2, unconnected: {apart.mean():+.2%} +- {error:.2%}", flush=True)
    rates = []
    for seed in range(1, seeds + 1):
        pair = [
            counts("EI3", dt, seed, seconds).mean() / seconds for dt in (0.05, 0.00625)
        ]
        print(f"EI3, seed {seed}: {pair[0]:.3f} and {pair[1]:.3f} Hz", flush=True)
        rates.append(pair)
    coarse, fine = np.transpose(rates)
    swings = np.std(rates, axis=0, ddof=1)
    error = np.sqrt((swings**2).sum() / seeds) / fine.mean()
    print(f"EI3: {coarse.mean() / fine.mean() - 1:+.2%} +- {error:.2%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(TARGETS))
    parser.add_argument("--livn-python", help="a Python that has livn 2.0 installed")
    parser.add_argument("--features", action="store_true", help="cost of each feature")
    parser.add_argument("--accuracy", action="store_true", help="compare steps, slow")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--livn-work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.names, options.work)
        return
    if options.livn_work:
        livn_work(options.livn_work[0], float(options.livn_work[1]))
        return
    speed(options.names, options.livn_python)
    if options.features:
        features()
    if options.accuracy:
        accuracy()


if __name__ == "__main__":
    main()
