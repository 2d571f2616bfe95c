"""The facade offers what an Env offers; each setter reaches every rank."""

import inspect

import numpy as np
import pytest

from livn_ipp.decoding import GatherAndMerge, Pipe, Slice
from livn_ipp.env import Env
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError
from livn_ipp.stimulus import Stimulus
from livn_ipp.system import ParallelSystem, System
from livn_ipp.types import Decoding, content_digest

pytestmark = pytest.mark.neuron

OF_ONE_PROCESS = {
    "trial": "each call has its own: env.submit(..., trial=)",
    "comm": "the ranks of a worker; a decoding has it as env.comm",
    "subworld": "the same",
    "encoding": "of one call; a decoding has it as env.encoding",
    "decoding": "the same",
    "active_gids": "of one rank; a decoding has it as env.active_gids",
    "settings_kept": "calls share a configuration; livn_ipp.search has one for each",
}
"""What an Env has and a DistributedEnv has not, with where to find it instead."""


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_nothing_of_env_is_forgotten():
    offered = public(DistributedEnv("EI1", transport="local"))
    assert public(Env("EI1")) - offered == set(OF_ONE_PROCESS)


@pytest.mark.parametrize("name", sorted(public(Env) & public(DistributedEnv)))
def test_arguments_have_the_same_names(name):
    mine, theirs = (getattr(kind, name, None) for kind in (DistributedEnv, Env))
    if not inspect.isfunction(theirs) or name == "clear":
        return
    expected, offered = (list(inspect.signature(f).parameters) for f in (theirs, mine))
    if name == "partition_report":
        expected.append("worker")
    assert offered == expected


class Told(Decoding):
    """What the setters left in the environment, from every rank."""

    duration: int = 1

    def __call__(self, run, env=None):
        return env.comm.allgather(_state(env))


def _state(env):
    run = env.clear(trial=0).run(20)
    return (
        run.spikes is not None,
        sorted(run.channels),
        env._settings.weights(),
        env._settings.noise(),
        {name: row.tolist() for name, row in env.cells.get_params().items()},
        sorted(env.get_weights()),
    )


SETTERS = {
    "record": ("voltage", "EXC"),
    "record_spikes": ("INH",),
    "record_voltage": ("EXC", 0.5, [3], "soma"),
    "record_membrane_current": (["EXC", "INH"], 0.5),
    "record_potential": (0.5,),
    "record_state": ("ca", "EXC", 1.0),
    "record_weights": (5.0,),
    "clear_recordings": (),
    "apply_model_defaults": (),
    "apply_default_params": ("calm",),
    "set_weights": ({"EXC_EXC-dend-AMPA-weight": 0.5},),
    "set_noise": ({"EXC-std_e": 0.01},),
    "set_params": ({"noise-tau_e": 4.0},),
    "enable_plasticity": ({"EXC_EXC": {"A_ltp": 0.02}},),
    "disable_plasticity": (),
    "normalize_weights": (),
}
BEFORE = {
    "clear_recordings": ("record_spikes", ()),
    "apply_model_defaults": ("set_noise", ({"std_e": 0.02},)),
    "disable_plasticity": ("enable_plasticity", ()),
    "normalize_weights": ("enable_plasticity", ()),
    "record_weights": ("enable_plasticity", ()),
}
LEAVE_NO_TRACE = {"disable_plasticity", "normalize_weights"}


def setters():
    return {
        name
        for name, method in inspect.getmembers(DistributedEnv, inspect.isfunction)
        if '_configure("' in inspect.getsource(method) and not name.startswith("_")
    }


def test_every_setter_is_tried():
    assert set(SETTERS) == setters()


@pytest.fixture
def local():
    with DistributedEnv("EI1", transport="local") as env:
        yield env


@pytest.mark.parametrize("name", SETTERS)
def test_a_setter_acts_and_is_acknowledged(local, name):
    local.clear_recordings().apply_model_defaults().disable_plasticity()
    if name in BEFORE:
        method, arguments = BEFORE[name]
        getattr(local, method)(*arguments)
    (before,) = local(Told())
    entries = len(local._dispatcher.log)
    assert getattr(local, name)(*SETTERS[name]) is local
    assert len(local._dispatcher.log) == entries + 1
    (after,) = local(Told())
    assert (after != before) is (name not in LEAVE_NO_TRACE)


def test_a_name_that_matches_nothing_is_an_error(local):
    entries = len(local._dispatcher.log)
    for wrong in (
        lambda: local.record("voltag"),
        lambda: local.set_params({"noise-std": 1.0}),
        lambda: local.record_state("calcium"),
        lambda: local.cells.set_params({"EXC:gNa": 1.0}),
        lambda: local.enable_plasticity({"EXC_PYR": {}}),
    ):
        with pytest.raises(ConfigError):
            wrong()
    assert len(local._dispatcher.log) == entries


def test_cells_are_set_on_the_workers(local):
    was = local.cells[3].get_params()["gna"]
    local.cells.set_params({"EXC:gna": was + 1})
    local.cells[3].set_params({"gna": was + 2})
    values = local.cells.get_params()["gna"]
    assert values[:5].tolist() == [was + 1, was + 1, was + 1, was + 2, was + 1]
    assert local.cells["INH"][9].get_params()["gna"] == values[9] != was + 1
    assert local.cells["EXC"][3].get_params()["gna"] == was + 2
    assert list(local.cells) == ["EXC", "INH"]
    with pytest.raises(KeyError, match="no cell 77"):
        local.cells[77]
    local.cells.set_params({"EXC:gna": was})


def test_a_seed_of_noise_is_a_trial(local):
    local.clear_recordings().record_spikes()
    expected = [local.submit(50, trial=t).result(60).digest() for t in (0, 2, 7)]
    local.clear()
    found = [local(50)[0].digest()]
    found.append(local.reseed_noise()(50)[0].digest())
    found.append(local.reseed_noise(7)(50)[0].digest())
    assert found == expected
    assert len(set(found)) == 3


def test_a_selection_and_unconnected_cells():
    env = DistributedEnv("EI1", transport="local").selection({"EXC": 3, "INH": 1})
    with env:
        assert env.system.num_cells == 4
        (run,) = env.record_spikes().record_voltage(sections="soma")(5)
        assert np.array_equal(run.voltage.ids, env.system.gids)
        with pytest.raises(ConfigError, match="before init"):
            env.selection(2)
    chosen = System("EI1").select({"EXC": 2, "INH": 1})
    for system, gids in ((chosen, [0, 1, 8]), (ParallelSystem(2), [0, 1])):
        with DistributedEnv(system, transport="local") as env:
            (run,) = env.record_voltage(sections="soma")(5)
            assert run.voltage.ids.tolist() == gids
    with DistributedEnv({"EXC": 2, "INH": 1}, transport="local") as env:
        (run,) = env.record_voltage(sections="soma")(5)
        assert run.voltage.ids.tolist() == [0, 1, 2]


class Everything(Decoding):
    """What one rank's Env answers to the queries, where it holds the whole culture."""

    duration: int = 1

    def __call__(self, run, env=None):
        rows = np.arange(2.0 * env.system.num_cells)[:, None]
        return [_plain(getattr(env, name)) for name in QUERIES], [
            _plain(env.cell_stimulus(np.eye(16))),
            _plain(env.channel_recording([1, 2, 2], [0.5, 1.0, 2.0])),
            env.potential_recording(rows).tolist(),
        ]


QUERIES = [
    "weight_names",
    "voltage_recording_dt",
    "membrane_current_recording_dt",
    "recordable",
    "admissible_params",
    "get_weights",
    "io",
    "model",
    "channel_reach",
    "source_gain",
    "recording_distances",
]


def _plain(value):
    value = value() if callable(value) else value
    if isinstance(value, Stimulus):
        order = np.lexsort((value.sections, value.gids))
        return value.array[:, order].tolist(), value.gids[order].tolist()
    if isinstance(value, tuple):
        return [{int(c): v.tolist() for c, v in part.items()} for part in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value if isinstance(value, (list, dict, float)) else content_digest(value)


def test_queries_tell_of_the_whole_culture(local):
    ask_whole_culture(local, local)


def ask_whole_culture(env, serial):
    serial.enable_plasticity()
    ((simple, others),) = serial(Everything())
    assert [_plain(getattr(env, name)) for name in QUERIES] == simple
    rows = np.arange(2.0 * env.system.num_cells)[:, None]
    assert [
        _plain(env.cell_stimulus(np.eye(16))),
        _plain(env.channel_recording([1, 2, 2], [0.5, 1.0, 2.0])),
        env.potential_recording(rows).tolist(),
    ] == others
    serial.disable_plasticity()


@pytest.fixture(scope="module")
def pair():
    """One worker of two ranks, on a cluster."""
    with DistributedEnv("EI1", num_workers=1, subworld_size=2) as env:
        yield env


@pytest.mark.cluster
def test_setters_reach_all_ranks_of_a_cluster(pair, local):
    was = pair.cells[3].get_params()["gna"]
    for env in (pair, local):
        env.clear_recordings().apply_model_defaults().disable_plasticity()
        env.record("voltage", "EXC").record_spikes().enable_plasticity()
        env.set_params({"noise-tau_e": 4.0}).cells[3].set_params({"gna": 20.0})
        env.set_weights({"EXC_EXC-dend-AMPA-weight": 0.5})
    ((expected,),), (ranks,) = local(Told()), pair(Told())
    assert len(ranks) == 2
    for rank in ranks:
        assert rank[:5] == expected[:5]
    assert sorted(ranks[0][5] + ranks[1][5]) == expected[5]
    ask_whole_culture(pair, local)
    pair.cells[3].set_params({"gna": was})


@pytest.mark.cluster
def test_a_slice_is_that_of_the_whole_culture(pair, local):
    for env in (pair, local):
        env.apply_model_defaults().disable_plasticity()
        env.clear_recordings().record_spikes().record_potential(1.0)

    def late(run, env):
        return None

    for decoding in (
        Slice(start=100, stop=200),
        Pipe(stages=[late, Slice(start=100, stop=200)], duration=200),
    ):
        (there,), (here,) = pair(decoding, trial=3), local(decoding, trial=3)
        assert there.digest() == here.digest()
        assert np.array_equal(there.potential.values, here.potential.values)
        assert len(set(there.spikes.ids.tolist())) > 1
        (whole,) = local(GatherAndMerge(duration=200), trial=3)
        assert here.digest() == whole.slice(100, 200).digest()
