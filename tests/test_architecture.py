"""The house keeps its rules: who may import whom, and how large a module may grow."""

import ast
import graphlib
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "livn_ipp"

BASE = {
    "errors", "extras", "content", "display", "types", "run", "signals", "samples",
    "stimulus", "policy", "subworld",
}  # fmt: skip
GROUND = {"io", "json_file", "positions", "volume_conductor"}
BELOW_NEURON = BASE | GROUND | {"system", "models", "encoding", "decoding", "export"}
BELOW_ENV = BELOW_NEURON | {"neuron", "cluster"}
HOUSE = BELOW_ENV | {"env", "search", "view"}

MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    "run": BASE | {"export"},  # its to_... methods, when they are called
    "display": BASE | {"view"},  # draws cards, when a notebook asks for them
    "export": BASE,
    "volume_conductor": BASE,
    "json_file": BASE,
    "positions": BASE,
    "io": BASE | GROUND,
    "system": BASE | GROUND,
    "models": BASE,
    "encoding": BASE | GROUND,
    "decoding": BASE,
    "neuron": BELOW_NEURON,
    "cluster": {
        "errors",
        "content",
        "display",
        "types",
        "subworld",
        "run",
        "signals",
    },
    "env": BELOW_ENV | {"view"},
    "search": BELOW_ENV | {"env", "view"},
    "testing": BASE | GROUND | {"system", "cluster", "env"},  # nobody imports it
    "view": BASE | GROUND | {"system", "decoding"},
    "demo": HOUSE,
    "cli": HOUSE | {"demo"},
    "magics": HOUSE,
    "livn_ipp": HOUSE | {"magics"},
}
# Which rooms may reach which heavy libraries, and nowhere when a module is loaded.
MAY_START = {
    "neuron": {"neuron", "env"},
    "mpi4py": {"subworld", "neuron", "cluster", "env", "testing", "cli"},
    "scipy": {"decoding", "search", "system"},
}
# Libraries of the extras: only through extras.extra(), which tells what to install.
EXTRAS = {
    "cmaes", "gymnasium", "hdmf", "neat", "neo", "optuna", "pandas", "pyarrow", "pynwb",
    "stable_baselines3", "xarray",
}  # fmt: skip
# Where their types are named for type checkers.
TYPED = {
    "livn_ipp.run",
    "livn_ipp.env.gymnasium",
    "livn_ipp.env.loop.pool",
    "livn_ipp.env.vector",
}
MAX_LINES = 600


@dataclass(frozen=True)
class Import:
    module: str
    at_load: bool


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imports(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return list(_imports(tree.body, at_load=True))


def _imports(nodes, *, at_load):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                inner = name in MODULES or node.module == "livn_ipp"
                yield Import(name if inner else node.module, at_load)
        else:
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            yield from _imports(
                ast.iter_child_nodes(node), at_load=at_load and not (inside or typing)
            )


def test_there_is_a_rule_for_every_room():
    assert {room(module) for module in MODULES} <= MAY_IMPORT.keys()


def test_the_rules_themselves_have_no_circles():
    above = {r: below - {r} for r, below in MAY_IMPORT.items() if r not in BASE}
    list(graphlib.TopologicalSorter(above).static_order())


@pytest.mark.parametrize("module", MODULES)
def test_a_room_uses_only_rooms_below_it(module):
    mine = room(module)
    used = {i.module for i in imports(module) if i.module.startswith("livn_ipp")}
    allowed = MAY_IMPORT[mine] | {mine, "__version__"}
    wrong = {module for module in used if room(module) not in allowed}
    assert not wrong, f"{module} ({mine}) may not import {sorted(wrong)}"


def test_modules_load_without_circles():
    graph = {
        module: {
            i.module
            for i in imports(module)
            if i.at_load and i.module in MODULES and i.module != module
        }
        for module in MODULES
    }
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", MODULES)
def test_heavy_libraries_start_late_and_where_they_belong(module):
    for found in imports(module):
        library = found.module.partition(".")[0]
        if library in MAY_START:
            assert room(module) in MAY_START[library], f"{module} imports {library}"
            assert not found.at_load, f"{module} imports {library} when it is loaded"
        typing = module in TYPED and not found.at_load
        assert library not in EXTRAS or typing, f"{module}: extra({library!r}, ...)"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_small_and_tells_its_job(module):
    text = MODULES[module].read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, f"{module} needs a docstring that tells its job"
    assert docstring.splitlines()[0].endswith("."), f"{module}: one line, then more"
    assert len(text.splitlines()) <= MAX_LINES, f"{module} is too long; split it"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_offers(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    defines = any(isinstance(n, (ast.FunctionDef, ast.ClassDef)) for n in tree.body)
    offers = any(
        isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for node in tree.body
    )
    assert offers or not defines, f"{module} needs __all__"
