import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from kernels import shell_with_magics

from livn_ipp.env.distributed import DistributedEnv
from livn_ipp.errors import ConfigError
from livn_ipp.testing import LightEnv
from livn_ipp.view.dashboard import Dashboard


@pytest.fixture
def shell():
    return shell_with_magics()


@pytest.fixture
def local():
    opened = []

    def start():
        env = DistributedEnv("EI1", backend=LightEnv, transport="local").init()
        opened.append(env)
        return env

    yield start
    for env in opened:
        env.shutdown()


def line(shell, text):
    return shell.run_line_magic("livn", text)


def test_the_extension_comes_and_goes(shell):
    assert "livn" in shell.magics_manager.magics["cell"]
    shell.extension_manager.unload_extension("livn_ipp")
    assert "livn" not in shell.magics_manager.magics["line"]
    assert "livn" not in shell.magics_manager.magics["cell"]


def test_help_tells_what_there_is(shell):
    text = shell.find_line_magic("livn").__doc__
    assert {"status", "dashboard", "--workers", "--env"} <= set(
        text.replace("<", " ").replace(":", " ").replace("%livn ", "").split()
    )


def test_status_is_the_default(shell, local):
    shell.user_ns["env"] = local()
    for text in ("", "status"):
        status = line(shell, text)
        assert (
            repr(status).splitlines()[0].startswith("DistributedEnv of EI1: 1 worker")
        )
        assert "<table" in status._repr_html_()
    shell.user_ns["env"](100)
    assert "1 done" in repr(line(shell, "status"))


def test_without_an_environment_it_says_so(shell, local):
    with pytest.raises(UsageError, match=r"no environment runs .* start one"):
        line(shell, "status")
    shell.user_ns["mine"] = env = local()
    env.shutdown()
    for text in ("status", "dashboard"):
        with pytest.raises(UsageError, match=r"mine is DistributedEnv\(EI1: shut down"):
            line(shell, text)
    with pytest.raises(UsageError, match="no environment runs"):
        shell.run_cell_magic("livn", "", "1")


def test_the_last_one_that_started_is_meant(shell, local):
    shell.user_ns |= {"second": None, "first": local()}
    shell.user_ns["second"] = local()
    assert line(shell, "status").seen is not None
    shell.user_ns["second"](100)
    assert "1 done" in repr(line(shell, "status"))
    assert "0 done" in repr(line(shell, "status --env first"))
    shell.user_ns["second"].shutdown()
    assert "0 done" in repr(line(shell, "status"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--env nothing", r"NameError.*run env"),
        ("--env len", r"not a DistributedEnv.*run env"),
        ("stauts", "did you mean %livn status"),
        ("nonsense", "there are %livn status and %livn dashboard"),
        ("--workers 0", "is for cells"),
        ("--wrong", "unrecognized|unexpected|no such option|arguments"),
    ],
)
def test_what_makes_no_sense_is_refused(shell, local, text, message):
    shell.user_ns["env"] = local()
    with pytest.raises(UsageError, match=message):
        line(shell, text)


def test_the_dashboard_is_the_environments(shell, local):
    shell.user_ns["env"] = env = local()
    dashboard = line(shell, "dashboard")
    assert isinstance(dashboard, Dashboard)
    assert dashboard is env.dashboard()


def test_cells_need_ranks_to_run_on(shell, local):
    shell.user_ns["env"] = local()
    with pytest.raises(ConfigError, match="not over transport 'local'"):
        shell.run_cell_magic("livn", "", "1")
    with pytest.raises(UsageError, match="a cell takes options only, not 'status'"):
        shell.run_cell_magic("livn", "status", "1")


def test_names_are_completed(shell, local):
    shell.user_ns["mine"] = local()
    shell.Completer.use_jedi = False

    def complete(text):
        with provisionalcompleter():
            found = list(shell.Completer.completions(text, len(text)))
        return {each.text for each in found}

    assert complete("%livn ") >= {"status", "dashboard", "--env"}
    assert "status" in complete("%livn st")
    assert "mine" in complete("%livn status --env ")
    assert complete("%%livn --") >= {"--workers", "--env"}
