"""Recipes: the description of a culture as a TOML file, to write, edit and repeat."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, asdict, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from livn_ipp import __version__
from livn_ipp.errors import ConfigError
from livn_ipp.system.culture import CultureSpec, PopulationSpec, ProjectionSpec

__all__ = ["read_recipe", "recipe"]

_Spec = TypeVar("_Spec", PopulationSpec, ProjectionSpec)
_TABLES: Final = ("populations", "projections")
_NUMBERS: Final = [f.name for f in fields(CultureSpec) if f.name not in _TABLES]
_HEAD: Final = (
    "# How this culture was made, in full.",
    "# livn-ipp generate FILE --out DIRECTORY makes it again from this file.",
    "",
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def recipe(spec: CultureSpec) -> str:
    """Write a culture's description as TOML, whole.

    Examples
    --------
    >>> print(recipe(CultureSpec.preset("EI1"))[110:144])
    <BLANKLINE>
    cells = 10
    side = 400.0
    seed = 21
    """
    numbers = spec.as_dict()
    lines = [
        *_HEAD,
        *_entries({name: numbers[name] for name in _NUMBERS if name in numbers}),
        *(f"{label} = []" for label in _TABLES if not numbers[label]),
        *_table("[made_by]", {"generator": "livn_ipp", "version": __version__}),
    ]
    for label in _TABLES:
        for each in getattr(spec, label):
            lines += _table(f"[[{label}]]", asdict(each))
    return "\n".join(lines) + "\n"


def read_recipe(path: str | Path) -> CultureSpec:
    """Read a culture's description from a TOML file.

    What it does not give is as in the preset that it names, ``preset = "EI2"``, or else
    as in :class:`CultureSpec`, where `cells` and `side` are due. If there are tables
    ``[[populations]]`` or ``[[projections]]``, there are no others; what one of them
    leaves out is as in the usual one of the same name, or pre and post.

    Raises
    ------
    ConfigError
        If the file cannot be read, or an entry cannot be used; it names file and entry.
    """
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}") from error
    try:
        return _spec(content)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _spec(content: dict[str, Any]) -> CultureSpec:
    content.pop("made_by", None)
    preset = content.pop("preset", None)
    _known(content, [*_NUMBERS, *_TABLES, "preset"], "")
    if preset is None and not {"cells", "side"} <= set(content):
        raise ConfigError("cells and side (um), or a preset, are due")
    numbers = {name: content[name] for name in _NUMBERS if name in content}
    base = CultureSpec(1, 1.0) if preset is None else CultureSpec.preset(preset)
    populations, projections = base.populations, base.projections
    if "populations" in content:
        populations = _read(
            PopulationSpec, content, "populations", ["name"], populations
        )
        names = {population.name for population in populations}
        projections = tuple(p for p in projections if {p.pre, p.post} <= names)
    if "projections" in content:
        projections = _read(
            ProjectionSpec, content, "projections", ["pre", "post"], projections
        )
    return replace(base, **numbers, populations=populations, projections=projections)


def _read(
    kind: type[_Spec],
    content: dict[str, Any],
    label: str,
    key: list[str],
    usual: tuple[_Spec, ...],
) -> tuple[_Spec, ...]:
    """Read tables; what one leaves out is as in the usual one of the same key."""
    tables = content[label]
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError(f"{label} are due as tables [[{label}]], not {tables!r}")
    found = []
    for own in tables:
        _known(own, [f.name for f in fields(kind)], f"of {label} named ")
        same = [u for u in usual if all(getattr(u, k) == own.get(k) for k in key)]
        whole = {f.name: getattr(same[0], f.name) for f in fields(kind)} if same else {}
        whole |= own
        missing = [f.name for f in fields(kind) if f.name not in whole and _due(f)]
        if missing:
            raise ConfigError(f"{label}: {own} lacks {', '.join(missing)}")
        found.append(kind(**whole))
    return tuple(found)


def _due(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _known(content: Iterable[str], names: list[str], prefix: str) -> None:
    for name in content:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {names}"
            raise ConfigError(f"there is no entry {prefix}{name!r}; {hint}")


def _table(head: str, content: Mapping[str, Any]) -> list[str]:
    return ["", head, *_entries(content)]


def _entries(content: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in content.items()]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_entries(value))} }}" if value else "{}"
    # JSON's numbers, booleans and lists are TOML's; strings differ in one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
