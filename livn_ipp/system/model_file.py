"""The model that a culture asks to be simulated with: ``model.json``."""

import importlib
from pathlib import Path
from typing import Any

from livn_ipp.errors import SystemFormatError

__all__ = ["make_model"]


def make_model(path: Path, document: dict[str, Any]) -> Any:
    """Build a model from the class and the arguments that a file names.

    Parameters
    ----------
    path
        The file, for messages.
    document
        ``{"cls": "package.module.Class", "kwargs": {}}``.

    Raises
    ------
    SystemFormatError
        If there is no such class, or it is no model of livn_ipp.
    """
    name, kwargs = document.get("cls"), document.get("kwargs", {})
    if not isinstance(name, str) or "." not in name or not isinstance(kwargs, dict):
        raise SystemFormatError(
            path, "cls", "a class as 'package.module.Class' with kwargs is due"
        )
    module, _, attribute = name.rpartition(".")
    try:
        model = getattr(importlib.import_module(module), attribute)(**kwargs)
    except Exception as error:
        raise SystemFormatError(
            path, "cls", f"{name} cannot be made here ({error}); pass model=..."
        ) from error
    if not callable(getattr(model, "build", None)):
        raise SystemFormatError(
            path, "cls", f"{name} is no model of livn_ipp; pass model=..."
        )
    return model
