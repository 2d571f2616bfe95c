"""Decodings in a row."""

import pickle
import types

import pytest
from dish import Dish
from pydantic import ValidationError
from ranks import run_on_ranks

from livn_ipp.decoding import (
    ChannelRecording,
    GatherAndMerge,
    MeanFiringRate,
    Pipe,
    Slice,
)
from livn_ipp.errors import ConfigError
from livn_ipp.types import content_digest


def count(data, env):
    return len(data.spikes)


def double(data, env):
    return 2 * data


def look(data, env):
    return None


def fail(data, env):
    raise ValueError("no data")


class Counter:
    def __init__(self):
        self.calls = 0

    def __call__(self, data, env):
        self.calls += 1

    def reset(self, start=0):
        self.calls = start
        return f"reset to {start}"


class SetUp:
    def __init__(self):
        self.envs = []

    def setup(self, env):
        self.envs.append(env)

    def __call__(self, data, env):
        return data


def test_worked_example():
    dish = Dish()
    pipe = Pipe(stages=[Slice(start=2, stop=7), look, count, double], duration=10)
    assert pipe(dish.run("spikes"), dish) == 6


def test_none_passes_the_data_through():
    assert Pipe(stages=[look], duration=10)("data") == "data"


@pytest.mark.parametrize("value", [0, False, "", [], ()])
def test_only_none_passes_through(value):
    assert Pipe(stages=[lambda data, env: value], duration=10)("data") == value


def test_a_final_tuple_of_one_is_unwrapped():
    assert Pipe(stages=[lambda data, env: (data,)], duration=10)("x") == "x"
    assert Pipe(stages=[lambda data, env: (None,)], duration=10)("x") is None
    assert Pipe(stages=[lambda data, env: (data, 1)], duration=10)("x") == ("x", 1)
    inner = Pipe(stages=[lambda data, env: ("a",), lambda data, env: data], duration=1)
    assert inner("x") == "a"


def test_a_decoding_is_a_stage_whatever_its_duration():
    dish = Dish()
    pipe = Pipe(stages=[MeanFiringRate(duration=99)], duration=10)
    assert pipe(dish.run("spikes"), dish)["rate_hz"] == 125.0


def test_setup_fans_out():
    stages = [SetUp(), look, SetUp()]
    Pipe(stages=stages, duration=10).setup("env")
    assert [stages[0].envs, stages[2].envs] == [["env"], ["env"]]


def test_setup_of_a_stage_may_refuse():
    dish = Dish()
    dish.io = None
    with pytest.raises(ConfigError, match="electrode"):
        Pipe(stages=[ChannelRecording(duration=10)], duration=10).setup(dish)


@pytest.mark.parametrize("stages", [[], ["look"], [None], "look", None])
def test_stages_are_callables(stages):
    with pytest.raises(ValidationError, match="stages"):
        Pipe(stages=stages, duration=10)


def note(data, env):
    env.decoding.context.setdefault("seen", []).append(data)
    env.decoding.state["calls"] = env.decoding.state.get("calls", 0) + 1


def piped(stages=(note,)):
    pipe = Pipe(stages=list(stages), duration=10)
    return pipe, types.SimpleNamespace(decoding=pipe)


def test_context_is_of_one_call_and_state_stays():
    pipe, env = piped()
    for data in ("a", "b"):
        pipe(data, env)
        assert pipe.context == {"seen": [data]}
    assert pipe.state == {"calls": 2}


def test_an_encoding_can_leave_notes_for_the_stages():
    pipe, env = piped()
    for onset in (10, 20):
        pipe.setup(env)
        pipe.context["onset"] = onset
        pipe("a", env)
        assert pipe.context == {"onset": onset, "seen": ["a"]}


def test_a_call_that_failed_leaves_no_notes_to_the_next():
    pipe, env = piped([note, fail])
    with pytest.raises(ValueError, match="no data"):
        pipe("a", env)
    with pytest.raises(ValueError, match="no data"):
        pipe("b", env)
    assert pipe.context == {"seen": ["b"]}


def test_context_and_state_are_no_content():
    pipe, env = piped()
    before = content_digest(pipe)
    fresh = pickle.loads(pickle.dumps(pipe))
    pipe("a", env)
    assert content_digest(pipe) == before
    assert pipe == fresh
    sent = pickle.loads(pickle.dumps(pipe))
    assert (sent.context, sent.state) == ({}, {})
    assert pipe.state == {"calls": 1}


def test_stages_are_content():
    assert Pipe(stages=[double], duration=10) == Pipe(stages=[double], duration=10)
    assert Pipe(stages=[double], duration=10) != Pipe(stages=[look], duration=10)
    assert Pipe(stages=[Slice(stop=5)], duration=10) != Pipe(
        stages=[Slice(stop=6)], duration=10
    )


def test_clear_forgets_everything():
    pipe, env = piped()
    pipe("a", env)
    assert pipe.clear() is pipe
    assert (pipe.context, pipe.state) == ({}, {})


def test_pipes_do_not_share_their_state():
    first, _ = piped()
    second, _ = piped()
    first.state["a"] = 1
    assert second.state == {}


def test_reset_reaches_every_stage_that_can():
    stages = [look, Counter(), Counter()]
    pipe = Pipe(stages=stages, duration=10)
    pipe("data")
    assert pipe.reset(start=5) == "reset to 5"
    assert [stage.calls for stage in stages[1:]] == [5, 5]
    assert Pipe(stages=[look], duration=10).reset() is None


def test_get_stage_by_type_or_name():
    counter, window = Counter(), Slice(stop=5)
    pipe = Pipe(stages=[look, counter, window], duration=10)
    assert pipe.get_stage(Counter) is pipe.get_stage("Counter") is counter
    assert pipe.get_stage(Slice) is pipe.get_stage("Slice") is window
    assert pipe.get_stage("look") is look
    assert pipe.get_stage("Absent") is pipe.get_stage(Pipe) is None


def test_an_error_names_its_stage():
    with pytest.raises(ValueError, match="no data") as caught:
        Pipe(stages=[look, fail], duration=10)("data")
    assert caught.value.__notes__ == ["in stage 1 (fail) of a Pipe"]


def merge_then_count(subworld):
    dish = Dish(subworld)
    pipe = Pipe(stages=[GatherAndMerge(duration=10), count], duration=10)
    return pipe(dish.run("spikes"), dish)


@pytest.mark.mpi
def test_behind_a_merging_stage_the_other_ranks_keep_their_share():
    assert run_on_ranks(merge_then_count, 3) == [5, 2, 1]
