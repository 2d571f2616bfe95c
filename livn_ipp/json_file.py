"""JSON files whose faults are named."""

import json
from pathlib import Path
from typing import Any

from livn_ipp.errors import SystemFormatError

__all__ = ["read_json"]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    SystemFormatError
        If the file is missing, not JSON or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SystemFormatError(path, "", "the file is missing") from error
    except (OSError, ValueError) as error:
        raise SystemFormatError(path, "", f"cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise SystemFormatError(
            path, "", f"holds a {type(content).__name__}; a JSON object is due"
        )
    return content
