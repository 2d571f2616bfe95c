"""Lay livn's public names beside ours: ``python docs/livn_names.py`` writes livn.md.

The names come from the livn that is installed. What we do not offer under the same name
is explained in livn_absent.toml.
"""

import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "livn.md"

# Heading, what livn has, what we have: modules, or classes in them.
GROUPS = [
    ("Env", "livn.env:Env livn.types:Env", "livn_ipp.env:Env"),
    (
        "DistributedEnv",
        "livn.env.distributed:DistributedEnv",
        "livn_ipp.env.distributed:DistributedEnv",
    ),
    ("Gymnasium", "livn.env.gymnasium", "livn_ipp.env.gymnasium"),
    (
        "GymnasiumEnv",
        "livn.env.gymnasium:GymnasiumEnv",
        "livn_ipp.env.gymnasium:GymnasiumEnv",
    ),
    ("Decodings", "livn.decoding", "livn_ipp.decoding"),
    ("Pipe", "livn.decoding:Pipe", "livn_ipp.decoding:Pipe"),
    ("Encodings", "livn.encoding", "livn_ipp.encoding"),
    ("Policies", "livn.policy", "livn_ipp.policy"),
    ("Policy", "livn.policy:Policy", "livn_ipp.policy:Policy"),
    ("Stimuli", "livn.stimulus", "livn_ipp.stimulus"),
    ("Stimulus", "livn.stimulus:Stimulus", "livn_ipp.stimulus:Stimulus"),
    ("IO", "livn.io", "livn_ipp.io"),
    ("MEA", "livn.io:MEA", "livn_ipp.io:MEA"),
    ("ComposedIO", "livn.io:ComposedIO", "livn_ipp.io:ComposedIO"),
    ("Signals", "livn.run", "livn_ipp.run"),
    ("Run", "livn.run:Run", "livn_ipp.run:Run"),
    ("Events", "livn.run:Events", "livn_ipp.run:Events"),
    ("Series", "livn.run:Series", "livn_ipp.run:Series"),
    ("Systems", "livn.system", "livn_ipp.system"),
    ("System", "livn.system:System", "livn_ipp.system:System"),
    ("Types", "livn.types", "livn_ipp.types"),
]
Reasons = dict[tuple[str, str], str]
PYDANTIC = {"model_config", "model_post_init"}


def found(place: str) -> Any:
    """Import ``module`` or ``module:name``."""
    module, _, name = place.partition(":")
    try:
        thing = importlib.import_module(module)
    except ModuleNotFoundError:
        return None
    return getattr(thing, name, None) if name else thing


def names_of(thing: Any) -> set[str]:
    """Return the public names of a module or class, methods and attributes alike."""
    if inspect.ismodule(thing):
        names = {
            name
            for name, value in vars(thing).items()
            if getattr(value, "__module__", "").partition(".")[0]
            == thing.__name__.partition(".")[0]
            and (inspect.isclass(value) or inspect.isfunction(value))
        }
    else:
        names = {
            name
            for kind in thing.__mro__
            if kind.__module__.partition(".")[0] in ("livn", "livn_ipp")
            for name in {
                *vars(kind),
                *inspect.get_annotations(kind),
                *vars(kind).get("__slots__", ()),
                *(_set_in_constructor(kind) if _is_ours(kind) else ()),
            }
        }
    return {name for name in names if not name.startswith("_")} - PYDANTIC


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "livn_ipp"


def _set_in_constructor(kind: type) -> set[str]:
    """Return the attributes that a class's own constructor sets."""
    constructor = vars(kind).get("__init__")
    if constructor is None or constructor.__code__.co_filename == "<string>":
        return set()  # none, or made by dataclass, whose fields are annotations
    source = inspect.getsource(constructor)
    return set(re.findall(r"self\.(\w+)[^=(]*?=[^=]", source))


def table() -> list[tuple[str, str, str]]:
    """Return rows (heading, name, "same", "other kind" or "absent") of all groups."""
    rows = []
    for heading, theirs, ours in GROUPS:
        thing = found(ours)
        mine = set() if thing is None else names_of(thing)
        if thing is not None and inspect.ismodule(thing):
            mine |= {name for name in vars(thing) if not name.startswith("_")}
        for name in sorted(_own_names(theirs)):
            state = "absent"
            if name in mine:
                kinds = {_is_called(found(place), name) for place in theirs.split()}
                same = _is_called(thing, name) in kinds
                state = "same" if same else "other kind"
            rows.append((heading, name, state))
    return rows


def _is_called(thing: Any, name: str) -> bool:
    return callable(getattr(thing, name, None))


def _own_names(places: str) -> set[str]:
    """Return what a module of livn defines itself, or a class has."""
    names = set()
    for place in places.split():
        thing = found(place)
        names |= {
            name
            for name in names_of(thing)
            if not inspect.ismodule(thing)
            or getattr(thing, name).__module__ == thing.__name__
        }
    return names


def reasons() -> tuple[Reasons, Reasons]:
    """Return {(heading, name): text}: why we lack a name; and notes on the others."""
    content = tomllib.loads((HERE / "livn_absent.toml").read_text(encoding="utf-8"))
    notes = content.pop("notes")
    return _flat(content), _flat(notes)


def _flat(content: dict[str, dict[str, str]]) -> Reasons:
    return {
        (heading, name): text
        for heading, group in content.items()
        for name, text in group.items()
    }


def page() -> str:
    """Write the page as text."""
    why, notes = reasons()
    lines, last = [_HEAD.format(version=version("livn"))], None
    rows = table()
    for heading, name, state in rows:
        if heading != last:
            here = [row[2] == "same" for row in rows if row[0] == heading]
            lines += [
                f"\n## {heading}\n",
                f"{sum(here)} of {len(here)} names are the same.\n",
                "| livn | here |",
                "|---|---|",
            ]
            last = heading
        note = notes.get((heading, name))
        told = f"yes; {note}" if note else "yes"
        if state != "same":
            told = why.get((heading, name), "**not explained**")
        lines.append(f"| `{name}` | {told} |")
    return "\n".join(lines) + "\n"


_HEAD = """\
# livn's names and ours

Made by `python docs/livn_names.py` from livn {version} as installed, with the reasons
of `docs/livn_absent.toml`. A script for livn ports by its import prefix: `livn` becomes
`livn_ipp`. "yes" is the same name for the same thing; otherwise the table says where to
find it, or why it is not here."""

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
