"""Cards survive what JupyterLab, GitHub and nbconvert do to notebooks."""

import base64
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanitizer import sanitized

from livn_ipp.cluster.futures import CallFuture
from livn_ipp.cluster.launch import Cluster
from livn_ipp.cluster.wire import Progress
from livn_ipp.display import Card
from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.io import MEA, ComposedIO
from livn_ipp.run import Events, Run, Series
from livn_ipp.system import System
from livn_ipp.view import palette
from livn_ipp.view.static import card_html, picture_of


def pictures(parser):
    for image in parser.images:
        assert image["alt"]
        kind, content = image["src"].split(";base64,")
        assert kind == "data:image/svg+xml"
        text = base64.b64decode(content).decode()
        assert "currentColor" not in text  # an <img> does not inherit it
        yield ET.fromstring(text)


def run_of(spikes, cells=1000, duration=5000.0):
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, duration, spikes))
    return Run(0, duration, Events.of(rng.integers(0, cells, spikes), times))


def signals(values):
    series = Series(np.arange(len(values)), values, 0.1, 0.1, "mV")
    return Run(0, 100, None, {"voltage": series})


def noise(rows, samples):
    return signals(np.random.default_rng(2).normal(size=(rows, samples)))


class Many(System):
    def __init__(self, cells):
        super().__init__("EI1")
        self._cells = cells

    def coordinates(self, population=None):
        places = np.random.default_rng(3).uniform(0, 1, (self._cells, 3))
        return np.column_stack([np.arange(self._cells), places])


THINGS = {
    "culture": System("EI1"),
    "large culture": System("EI3"),
    "huge culture": Many(100_000),
    "part": System("EI1").select(0.5),
    "no electrodes": System(20),
    "mea": MEA(),
    "one electrode": MEA([[0, 0.0, 0.0, 0.0]]),
    "many electrodes": MEA.grid(4000.0, 64),
    "composed": ComposedIO(MEA(), MEA()),
    "run": run_of(50),
    "busy run": run_of(25_000),
    "noisy run": run_of(400_000),
    "silent run": run_of(0),
    "long run": run_of(10, duration=3.6e6),
    "signal": noise(1, 10),
    "signals": noise(64, 5000),
    "flat": signals(np.ones((1, 1))),
    "nothing recorded": Run(0, 10),
    "cluster": Cluster(num_workers=2),
    "environment": DistributedEnv("EI1", transport="local"),
}  # fmt: skip


@pytest.mark.parametrize("name", THINGS)
def test_a_card_is_static_small_and_well_formed(name):
    parser = sanitized(THINGS[name]._repr_html_())
    assert parser.text.strip()
    for picture in pictures(parser):
        assert picture.get("aria-label")
        assert "nan" not in ET.tostring(picture, "unicode")


@pytest.mark.parametrize("name", ["culture", "huge culture", "mea", "run", "signals"])
def test_a_culture_and_a_run_have_a_picture(name):
    assert len(list(pictures(sanitized(THINGS[name]._repr_html_())))) == 1


def test_a_culture_is_drawn_by_population():
    picture = picture_of(System("EI1")).svg()
    for colour, cells in (palette.colour(0), 8), (palette.colour(1), 2):
        (path,) = re.findall(rf'<path d="([^"]*)" stroke="{colour}"', picture)
        assert path.count("M") == cells


def test_a_future_tells_its_state_and_its_error():
    future = CallFuture(7, lambda _: None, lambda *_: None)
    assert "queued" in sanitized(future._repr_html_()).text
    future.worker, future.attempts = 3, 2
    future.take_progress(Progress(7, 250.0, seconds=1.0))
    told = sanitized(future._repr_html_()).text
    assert all(word in told for word in ("Call 7", "running", "250 ms"))
    future.set_exception(ValueError("<script>alert(1)</script>"))
    told = sanitized(future._repr_html_()).text
    assert "failed" in told
    assert "ValueError: <script>alert(1)</script>" in told


@given(st.text(), st.text(), st.text(max_size=9000))
def test_any_text_is_escaped(title, fact, details):
    told = sanitized(card_html(Card(title, "idle", (("name", fact),), details=details)))
    assert "\x00" in fact or "&" in fact or "\r" in fact or fact in told.text


def test_a_long_table_is_cut_and_says_so():
    rows = tuple((f"{n}", "busy") for n in range(500))
    told = sanitized(card_html(Card("Workers", columns=("worker", "state"), rows=rows)))
    assert "and 468 more" in told.text


@pytest.mark.parametrize("code", [*palette.SCREEN, palette.GREY])
def test_colours_are_seen_on_light_and_on_dark(code):
    parts = [c / 255 for c in palette.rgb(code)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
    ]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    dark = 0.0056  # of #111111, JupyterLab's dark paper
    assert 1.05 / (luminance + 0.05) >= 3
    assert (luminance + 0.05) / (dark + 0.05) >= 3
