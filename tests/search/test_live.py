"""A search in the output of a notebook's cell."""

import pytest

from livn_ipp.search import Search, live
from livn_ipp.search.live import Live
from livn_ipp.testing import LightEnv


class Display:
    """What IPython gives back for an output that can be drawn anew."""

    def __init__(self):
        self.drawn = []

    def display(self, thing, *, display_id):
        assert display_id
        self.drawn.append(thing._repr_html_())
        return self

    def update(self, thing):
        self.drawn.append(thing._repr_html_())


@pytest.fixture
def display(monkeypatch):
    import IPython.display

    display = Display()
    monkeypatch.setattr(live, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", display.display)
    return display


def search(objective=lambda env, candidate, seed: candidate["x"]):
    env = LightEnv("EI1").init()
    return Search(env, {"x": (0, 1)}, objective, population_size=4)


def test_a_running_search_is_drawn_after_each_generation(display):
    search().run(3)
    told = [page.partition(" generations</td>")[0][-4:] for page in display.drawn]
    assert told == ["in 1", "in 2", "in 3"]
    assert all("data:image/svg+xml" in page for page in display.drawn)


def test_nothing_is_drawn_that_is_not_wanted(display):
    search().run(3, progress=False)
    assert display.drawn == []


def test_nothing_is_drawn_in_tests_and_programs():
    with Live(None) as shown:
        shown.update()


def test_an_output_that_is_gone_does_not_end_the_search(display, monkeypatch):
    def gone(thing):
        raise RuntimeError("the kernel's front end has left")

    monkeypatch.setattr(display, "update", gone)
    assert search().run(3)[-1].generation == 2


def test_what_failed_is_drawn_as_far_as_it_came(display):
    values = iter([1.0, 2.0])
    with pytest.raises(StopIteration):
        search(lambda env, candidate, seed: next(values)).run(3)
    assert "2 in 0 generations" in display.drawn[-1]
