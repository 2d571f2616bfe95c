"""Pictures of a search."""

import re

import pytest

from livn_ipp.display import Card
from livn_ipp.view.fitness import Fitness, fitness_picture
from livn_ipp.view.static import card_html


def drawn(*generations, maximize=False):
    return fitness_picture(Fitness(generations, maximize), ink="#888888")


def test_the_best_so_far_is_kept():
    generations = [[], [3.0, 2.0], [], [5.0], [1.0]]
    assert Fitness(generations).best == [2.0, 2.0, 2.0, 1.0]
    assert Fitness(generations, maximize=True).best == [3.0, 3.0, 5.0, 5.0]
    assert Fitness([[], []]).best == []


def test_nothing_is_drawn_of_nothing():
    assert drawn() is None
    assert drawn([], []) is None
    assert "<img" not in card_html(Card("Search", picture=Fitness([])))


@pytest.mark.parametrize(
    "generations",
    [
        [[1.0]],
        [[0.0, 0.0], [0.0]],
        [[-5.0], [3.0, 4.0]],
        [[], [1e-9, 1e9]],
        [[1e300, -1e300]],
        [[float(n % 97) for n in range(3000)]] * 2,
    ],
    ids=["one", "equal", "signs", "decades", "huge", "many"],
)
def test_all_is_drawn_within_the_picture(generations):
    picture = drawn(*generations)
    width, height = picture.size
    marks = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", picture.content)
    assert marks
    for x, y in marks:
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= height
    assert "nan" not in picture.content
    assert len(picture.svg()) < 40_000
    best = Fitness(generations).best[-1]
    assert f"the best {best:.4g}" in picture.label


def test_values_over_decades_are_drawn_by_their_ratio():
    decades = drawn([1e-3, 1e-2, 1e-1, 1.0])
    assert ">0.01<" in decades.content
    assert ">0.01<" not in drawn([0.5, 0.6, 0.7, 1.0]).content


def test_a_card_shows_it():
    page = card_html(Card("Search", picture=Fitness([[1.0, 2.0], [0.5]])))
    assert "data:image/svg+xml" in page
    assert "3 values in 2 generations" in page
