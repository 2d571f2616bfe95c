"""Generations and studies: whatever ends in whatever order, the table is the same."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.search.generation import Generation
from livn_ipp.search.records import State, best_of, evaluation_seed, table_digest
from livn_ipp.search.study import Study

FEW = st.lists(st.integers(0, 5), min_size=1, max_size=12)


class Remembers:
    """Proposes few different candidates; what comes next follows from what it heard."""

    def __init__(self, size=6, generations=4):
        self.size, self.left, self.heard = size, generations, []

    def ask(self):
        if len(self.heard) == self.left:
            return []
        chosen = random.Random(repr(self.heard))
        return [{"x": chosen.randrange(8)} for _ in range(self.size)]

    def tell(self, candidates, losses):
        self.heard.append((candidates, losses))


def value(job):
    """What an objective would say; some candidates always fail."""
    return None if job.candidate["x"] == 7 else math.sqrt(job.seed % 1000)


def end(job):
    found = value(job)
    if found is None:
        return job.ended(State.FAILED, error="ValueError: 7")
    return job.ended(State.COMPLETE, value=found)


def work(generation, chance, budget=math.inf):
    """Evaluate in random order, several at a time, up to so many."""
    recorded = list(generation.served())
    flying = []
    while budget > 0:
        while len(flying) < 3 and (job := generation.take()) is not None:
            flying.append(job)
        if not flying:
            break
        job = flying.pop(chance.randrange(len(flying)))
        recorded += generation.record(end(job))
        budget -= 1
    for job in flying:
        generation.give_back(job.index)
    return recorded


def whole(seed=5, **options):
    study = Study(Remembers(), seed, **options)
    while (generation := study.begin()) is not None:
        work(generation, random.Random(0))
        study.end()
    return study.table


@given(FEW, st.integers(0, 2**32), st.booleans())
def test_the_table_does_not_depend_on_the_order_of_ends(numbers, order, cache):
    def table(chance):
        generation = Generation(
            3, [{"x": n} for n in numbers], 9, {} if cache else None
        )
        work(generation, chance)
        assert generation.done
        return generation.table

    one, other = table(random.Random(0)), table(random.Random(order))
    assert one == other
    assert [each.index for each in one] == list(range(len(numbers)))
    assert [each.seed for each in one] == [
        evaluation_seed(9, 3, index) for index in range(len(numbers))
    ]
    evaluated = [each for each in one if each.source is None and each.complete]
    if cache:
        assert len(evaluated) == len(set(numbers) - {7})
    else:
        assert len(evaluated) + numbers.count(7) == len(numbers)


@given(st.integers(0, 2**32), st.integers(0, 30), st.booleans())
def test_a_search_that_is_broken_off_and_resumed_has_the_same_table(
    order, budget, cache
):
    calm = whole(cache=cache)
    chance = random.Random(order)
    on_disk = []
    while True:  # processes, each of which ends after `budget` + 1 evaluations
        study = Study(Remembers(), 5, cache=cache)
        study.resume(on_disk)
        left = budget + 1
        while left and (generation := study.begin()) is not None:
            before = len(generation.table)
            on_disk += work(generation, chance, left)
            left = max(0, left - (len(generation.table) - before))
            if generation.done:
                study.end()
        if study.begin() is None:
            break
    places = [each.place for each in on_disk]
    assert len(set(places)) == len(places)
    assert study.table == calm
    assert table_digest(study.table) == table_digest(calm)


def test_who_has_an_equal_candidate_waits_and_goes_on_if_that_fails():
    generation = Generation(0, [{"x": 1}] * 3, 5, {})
    first = generation.take()
    assert generation.take() is None
    assert len(generation.record(first.ended(State.FAILED, error="no"))) == 1
    second = generation.take()
    assert (second.index, generation.take()) == (1, None)
    ended = generation.record(second.ended(State.COMPLETE, value=2.0))
    assert [(each.index, each.source) for each in ended] == [(1, None), (2, (0, 1))]
    assert generation.done


def test_a_later_generation_takes_values_from_the_first_that_was_evaluated():
    study = Study(Fixed([[1, 1], [1, 2]]), 5)
    work(study.begin(), random.Random(0))
    study.end()
    served = study.begin().served()
    assert [(each.place, each.source) for each in served] == [((1, 0), (0, 0))]


class Fixed:
    def __init__(self, generations):
        self.left, self.losses = list(generations), []

    def ask(self):
        return [{"x": x} for x in self.left[0]] if self.left else []

    def tell(self, candidates, losses):
        del self.left[0]
        self.losses.append(losses)


@pytest.mark.parametrize(
    ("direction", "penalty", "losses"),
    [
        ("minimize", None, [2.0, None]),
        ("maximize", None, [-2.0, None]),
        ("minimize", 9.0, [2.0, 9.0]),
        ("maximize", 9.0, [-2.0, -9.0]),
    ],
)
def test_algorithms_hear_losses(direction, penalty, losses):
    algorithm = Fixed([[1, 7]])
    study = Study(algorithm, 5, direction, penalty=penalty)
    generation = study.begin()
    generation.record(generation.take().ended(State.COMPLETE, value=2.0))
    generation.record(generation.take().ended(State.LOST))
    study.end()
    assert algorithm.losses == [losses]
    assert [each.value for each in study.table] == [2.0, None]


def test_nothing_to_go_on_from_is_an_error():
    study = Study(Fixed([[7]]), 5)
    work(study.begin(), random.Random(0))
    with pytest.raises(ConfigError, match=r"none of the 1 .*ValueError: 7"):
        study.end()


def test_a_generation_that_is_not_done_is_not_ended():
    study = Study(Fixed([[1, 2]]), 5)
    work(study.begin(), random.Random(0), 1)
    with pytest.raises(ConfigError, match="not done"):
        study.end()


def test_what_does_not_belong_is_refused():
    generation = Generation(0, [{"x": 1}, {"x": 2}], 5, {})
    job = generation.take()
    generation.record(end(job))
    with pytest.raises(ConfigError, match="already"):
        generation.record(end(job))
    with pytest.raises(ConfigError, match="none of generation 0"):
        generation.record(end(Generation(1, [{"x": 2}], 5, {}).take()))
    other = Generation(0, [{"x": 1}, {"x": 3}], 5, {})
    other.take()
    with pytest.raises(ConfigError, match="proposes"):
        generation.record(end(other.take()))


def test_a_table_of_another_algorithm_is_refused():
    table = whole()
    with pytest.raises(ConfigError, match="proposes"):
        Study(Fixed([[1] * 6]), 5).resume(table)
    with pytest.raises(ConfigError, match="no place"):
        Study(Remembers(generations=1), 5).resume(table)
    with pytest.raises(ConfigError, match="no place"):
        Study(Remembers(), 5).resume([each for each in table if each.generation == 1])


def test_candidates_that_no_journal_can_hold_are_refused():
    with pytest.raises(ConfigError, match="journal"):
        Generation(0, [{"x": math.nan}], 5, {})
    with pytest.raises(ConfigError, match="journal"):
        Generation(0, [object()], 5, {})


def test_the_best_is_the_first_of_equals_and_never_one_without_value():
    jobs = Generation(0, [{"x": n} for n in range(4)], 5, {}).jobs
    table = [
        jobs[0].ended(State.FAILED),
        jobs[1].ended(State.COMPLETE, value=2.0),
        jobs[2].ended(State.COMPLETE, value=1.0),
        jobs[3].ended(State.COMPLETE, value=1.0),
    ]
    assert best_of(table, "minimize").index == 2
    assert best_of(table, "maximize").index == 1
    assert best_of(table[:1], "minimize") is None
