"""Weights and background: names and values are checked, changes whole or none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livn_ipp.errors import ConfigError
from livn_ipp.models import NOISE_NAMES
from livn_ipp.models.pinsky_rinzel import PinskyRinzel
from livn_ipp.neuron.settings import Settings
from livn_ipp.system import System

AMPA = "EXC_EXC-dend-AMPA-weight"
SYSTEM = System("EI1")


@pytest.fixture
def settings():
    return Settings(SYSTEM, PinskyRinzel())


def weight(settings, name):
    return settings.weights()[settings.keys[name]]


def test_defaults_are_the_models(settings):
    model = PinskyRinzel()
    assert set(settings.keys) == set(model.weights)
    assert {str(k): v for k, v in settings.weights().items()} == dict(model.weights)
    assert settings.noise()["INH"] == model.default_noise("INH")


def test_weights_are_set_and_reset(settings):
    settings.set_weights({AMPA: 2e-3})
    assert weight(settings, AMPA) == 2e-3
    settings.set_defaults(weights=False, noise=True)
    assert weight(settings, AMPA) == 2e-3
    settings.set_defaults(weights=True, noise=False)
    assert weight(settings, AMPA) == 1.1e-3


def test_noise_is_set_for_all_or_one_population(settings):
    settings.set_noise({"INH-std_e": 3e-4, "std_e": 1e-4})
    assert settings.noise()["EXC"]["std_e"] == 1e-4
    assert settings.noise()["INH"]["std_e"] == 3e-4
    assert settings.noise()["INH"]["g_e0"] == 0.05e-3


@pytest.mark.parametrize(
    ("setter", "values", "words"),
    [
        ("set_weights", {"EXC_EXC-dend-AMPA": 1e-3}, AMPA),
        ("set_weights", {AMPA: -1.0}, "from 0"),
        ("set_weights", {AMPA: math.nan}, "finite"),
        ("set_weights", {AMPA: "strong"}, "strong"),
        ("set_weights", {AMPA: None}, "None"),
        ("set_noise", {"EXC-stde": 1e-4}, "EXC-std_e"),
        ("set_noise", {"PV-std_e": 1e-4}, "did you mean"),
        ("set_noise", {"tau_e": 0}, "ms"),
        ("set_noise", {"std_i": math.inf}, "uS"),
        ("set_params", {"cells-gn": 1}, "gna"),
        ("set_params", {"cells-gna": -1}, "gna"),
        ("set_params", {"cells-gna": [1.0, 2.0]}, "each of the 10 cells"),
        ("set_params", {"cells-PV:gna": 1}, "EXC:gna"),
        ("set_params", {"noise-gna": 1}, "noise parameter"),
        ("set_weights", {"EXC-dend-AMPA-us": 0.2}, "EXC-dend-AMPA-use"),
        ("set_weights", {"EXC-dend-AMPA-use": 1.2}, "use"),
        ("set_params", {"noise-EXC-g_i0": -1}, "uS"),
    ],
)
def test_what_cannot_be_leaves_no_trace(settings, setter, values, words):
    before = settings.weights(), settings.noise()
    mixed = {AMPA: 5e-3, **values} if setter != "set_noise" else {"g_e0": 1, **values}
    with pytest.raises(ConfigError, match=words):
        getattr(settings, setter)(mixed)
    assert (settings.weights(), settings.noise()) == before


def test_params_take_names_with_and_without_prefix(settings):
    settings.set_params({f"weight-{AMPA}": 1e-3, "noise-EXC-tau_e": 5, "INH-E_i": -70})
    assert weight(settings, AMPA) == 1e-3
    assert settings.noise()["EXC"]["tau_e"] == 5
    assert settings.noise()["INH"]["E_i"] == -70


@pytest.mark.parametrize("name", ["EI1", "EI2", "EI3"])
def test_shipped_groups_can_be_applied(name):
    system = System(name)
    groups = system.default_params()["PinskyRinzel"]
    assert {"default", "calm"} <= set(groups)
    default = Settings(system, PinskyRinzel())
    default.set_params(groups["default"]["params"])
    plain = Settings(system, PinskyRinzel())
    assert default.weights() == plain.weights()
    assert default.noise() == plain.noise()


@given(st.text())
def test_unknown_names_never_pass(name):
    settings = Settings(SYSTEM, PinskyRinzel())
    if name not in settings.keys:
        with pytest.raises(ConfigError):
            settings.set_weights({name: 0.0})
    if name.rpartition("-")[2] not in NOISE_NAMES:
        with pytest.raises(ConfigError):
            settings.set_noise({name: 0.0})


def test_what_was_set_meanwhile_goes_back_to_what_it_was(settings):
    gid = SYSTEM.gids.tolist()[0]
    defaults = settings.cell(gid, "EXC")
    settings.set_cells({"EXC:gna": 27.0})
    settings.set_weights({AMPA: 2e-3})
    before, copied = settings.cell(gid, "EXC"), settings.copied()
    settings.set_cells({"EXC:gna": 25.0, "gk": 14.0})
    settings.set_weights({AMPA: 5e-3})
    settings.set_noise({"EXC-std_e": 1e-3})
    settings.restore(copied)
    assert settings.cell(gid, "EXC") == before != defaults
    assert weight(settings, AMPA) == pytest.approx(2e-3)
    assert (
        settings.noise()["EXC"]["std_e"] == PinskyRinzel().default_noise("EXC")["std_e"]
    )
    # A cell that was built keeps what it was assigned until it is told otherwise.
    assert settings.cells()[gid]["gk"] == defaults["gk"]
