"""Pixels are read back by another program than the one that wrote them."""

import io

import matplotlib.image as mpimg
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.view.palette import SCREEN, rgb
from livn_ipp.view.png import png
from livn_ipp.view.raster import Rows, raster_png


def read(content):
    """Colours and opacities [height, width, 4], 0 to 255."""
    return (mpimg.imread(io.BytesIO(content), "png") * 255).round().astype(int)


@given(
    st.integers(1, 15),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 2**32 - 1),
)
def test_an_image_is_read_back(number, shape, seed):
    rng = np.random.default_rng(seed)
    colours = [f"#{value:06x}" for value in rng.integers(0, 2**24, number)]
    pixels = rng.integers(0, number + 1, shape).astype(np.uint8)
    seen = read(png(pixels, colours))
    assert ((seen[..., 3] == 255) == (pixels > 0)).all()
    for index, code in enumerate(colours):
        assert (seen[pixels == index + 1][:, :3] == rgb(code)).all()


def test_a_colour_may_be_pale():
    seen = read(png(np.array([[0, 1, 2]], np.uint8), ["#10203040", "#102030ff"]))
    assert seen[0, :, 3].tolist() == [0, 0x40, 255]


def test_spikes_are_where_their_cell_and_time_are():
    rows = [Rows(0, 80, SCREEN[0]), Rows(100, 20, SCREEN[1])]
    gids = np.array([0, 79, 100, 119, 90, 500, 7, 7])
    times = np.array([0.0, 5.0, 5.0, 9.99, 5.0, 5.0, -1.0, 10.5])
    seen = read(raster_png(gids, times, (0.0, 10.0), rows, (200, 100)))
    found = {(int(x), int(y)) for y, x in np.argwhere(seen[..., 3] > 0)}
    # The first cell is at the bottom; what is no cell, or outside, is not drawn.
    assert found == {(0, 99), (100, 20), (100, 19), (199, 0)}
    assert tuple(seen[20, 100, :3]) == rgb(SCREEN[0])
    assert tuple(seen[19, 100, :3]) == rgb(SCREEN[1])


def test_few_cells_are_drawn_tall():
    rows = [Rows(3, 2, SCREEN[0])]
    seen = read(raster_png(np.array([4]), np.array([1.0]), (0, 2), rows, (10, 100)))
    tall = np.flatnonzero(seen[:, 5, 3])
    assert (tall[0], tall[-1]) == (15, 49)


def test_without_spikes_or_cells_it_is_empty():
    for rows in ([], [Rows(0, 5, SCREEN[0])]):
        image = raster_png(np.zeros(0, int), np.zeros(0), (0, 1), rows, (8, 8))
        assert not read(image)[..., 3].any()
