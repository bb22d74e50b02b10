"""Named SQL: a file of statements enters, each under its name leaves. Names stand in the file as `-- name: get_signal`."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from typing import Final, LiteralString, cast

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@lru_cache(maxsize=8)
def load(file_name: str) -> dict[str, LiteralString]:
    """The statements of one file beside this module. They come from the project's own files, hence literal."""
    parts = _NAME.split(files("projections").joinpath(file_name).read_text())
    found = {name: cast("LiteralString", body.strip()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    assert len(found) == len(parts) // 2, f"a name is used twice in {file_name}"
    return found
