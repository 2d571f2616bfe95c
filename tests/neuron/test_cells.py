"""Parameters of cells: by population, by gid, for each."""

import numpy as np
import pytest

from livn_ipp.errors import ConfigError

pytestmark = pytest.mark.neuron


@pytest.fixture
def env():
    from livn_ipp.env import Env

    env = Env("EI1").record_spikes()
    yield env
    env.close()


def test_the_registry_is_a_mapping_of_populations(env):
    assert list(env.cells) == ["EXC", "INH"]
    assert len(env.cells) == 2
    assert list(env.cells["INH"]) == [8, 9]
    assert env.cells[8].population == "INH"
    assert env.cells["EXC"][3].gid == 3
    assert repr(env.cells) == "Cells(8 EXC, 2 INH)"
    with pytest.raises(KeyError, match="0 to 9"):
        env.cells[10]
    with pytest.raises(KeyError, match="EXC"):
        env.cells["PV"]


def test_sections_are_neurons_where_the_network_is(env):
    with pytest.raises(ConfigError, match=r"init\(\)"):
        _ = env.cells[3].sections
    env.init()
    assert set(env.cells[3].sections) == {"soma", "dend"}
    assert env.cells[3].sections["soma"].L > 0


def test_values_for_all_for_a_population_for_each_and_for_one(env):
    default = env.cells[0].get_params()["gna"]
    assert env.cells.set_params({"gna": 31.0}) is env
    env.cells.set_params({"INH:gna": 59.0, "gl": np.linspace(0.1, 0.2, 10)})
    env.cells[4].set_params({"gna": 33.0})
    params = env.cells.get_params()
    assert default != 31.0
    assert params["gna"].tolist() == [31, 31, 31, 31, 33, 31, 31, 31, 59, 59]
    assert np.allclose(params["gl"], np.linspace(0.1, 0.2, 10))


def test_parameters_act_from_the_next_time_zero_on(env):
    env.init()
    plain = env.run(400).digest()
    env.clear(trial=0).run(200)
    env.set_params({"cells-EXC:gna": 20.0, "cells-INH:gl": 0.2})
    rest = env.run(200)
    assert env.clear(trial=0).run(400).slice(200).digest() != rest.digest()
    changed = env.clear(trial=0).run(400).digest()
    assert changed != plain
    env.close()
    assert env.init().clear(trial=0).run(400).digest() == changed
    defaults = {n: p.default for n, p in env.model.parameters("EXC").items()}
    env.set_params({"cells-EXC:gna": defaults["gna"]})
    env.set_params({"cells-INH:gl": env.model.parameters("INH")["gl"].default})
    assert env.clear(trial=0).run(400).digest() == plain


def test_parameters_of_receptors_are_set_like_weights(env):
    env.init()
    env.set_noise({"std_e": 2e-3})
    plain = env.run(500).digest()
    names = env.admissible_params()["mechanisms"]
    assert "EXC-dend-AMPA-use" in names
    env.set_weights({"EXC-dend-AMPA-use": 0.9})
    assert env.clear(trial=0).run(500).digest() != plain


def test_every_admissible_name_is_taken(env):
    admissible = env.admissible_params()
    assert set(admissible) == {"weights", "mechanisms", "noise", "cells", "io"}
    values = dict.fromkeys((*admissible["weights"], *admissible["noise"]), 0.001)
    env.set_params(values)
    bounds = env.model.parameters("EXC") | env.model.parameters("INH")
    for name in admissible["cells"]:
        env.set_params(
            {name: bounds[name.removeprefix("cells-").split(":")[-1]].default}
        )
    for name in admissible["mechanisms"]:
        env.set_params({name: bounds[name.partition("-")[2]].default})
    for name in admissible["io"]:
        env.set_params({name: env.io.params[name.removeprefix("io-")]})


def test_electrodes_are_set_with_everything_else_or_not_at_all(env):
    env.init().record_potential(1.0)
    name = "volume_conductor-recording_gain"
    before = env.io.params[name]
    plain = env.run(20).potential.values
    with pytest.raises(ConfigError, match="gna"):
        env.set_params({f"io-{name}": 2 * before, "cells-gnaa": 1})
    assert env.io.params[name] == before
    with pytest.raises(ConfigError):
        env.set_params({f"io-{name}x": 2 * before, "cells-EXC:gna": 1.0})
    assert env.cells[0].get_params()["gna"] != 1.0
    env.set_params({f"io-{name}": 2 * before}).clear(trial=0)
    heard = env.run(20).potential.values
    assert np.allclose(heard, 2 * plain, rtol=1e-3, atol=1e-2)
    assert np.abs(heard).max() > 1e-1


def test_unknown_parameters_of_a_group_warn_unless_strict(env, monkeypatch):
    params = {"EXC_EXC-dend-AMPA-weight": 2e-3, "EXC_EX-dend-AMPA-weight": 1.0}
    groups = {"PinskyRinzel": {"default": {"params": params}}}
    monkeypatch.setattr(type(env.system), "default_params", lambda *_: groups)
    with pytest.raises(ConfigError, match="EXC_EX-"):
        env.apply_default_params(strict=True)
    with pytest.warns(UserWarning, match="EXC_EXC-dend-AMPA-weight"):
        env.apply_default_params()
    key = env._settings.keys["EXC_EXC-dend-AMPA-weight"]
    assert env._settings.weights()[key] == 2e-3


def test_settings_are_as_they_were_after_a_while(env):
    env.init().record_spikes()
    env.set_params({"cells-EXC:gna": 27.0, "noise-std_e": 4e-4})
    before = env.clear(trial=3).run(100).digest(), dict(env.io.params)
    meanwhile = {
        "cells-EXC:gna": 20.0,
        "cells-EXC:gk": 12.0,
        "noise-std_e": 8e-4,
        "io-volume_conductor-recording_gain": 3.0,
        "EXC_EXC-dend-AMPA-weight": 4e-3,
    }
    with env.settings_kept() as same:
        assert same is env
        env.set_params(meanwhile)
        assert env.clear(trial=3).run(100).digest() != before[0]
        assert env.io.params != before[1]
    assert (env.clear(trial=3).run(100).digest(), env.io.params) == before
    with pytest.raises(ConfigError, match="gna"), env.settings_kept():
        env.set_params(meanwhile).set_params({"cells-EXC:gna": -1})
    assert (env.clear(trial=3).run(100).digest(), env.io.params) == before
