"""A role as a child of a chaos run: `python -m ops.chaos.wrapped ROLE`. The role itself is the product's own command.

`CHAOS_FOLDER` and `CHAOS_NAME` say where the child's files are; `CHAOS_PATCHES` (`module:function`, separated by commas) are run first:
that is how tests break a rule.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from ops import cli
from ops.chaos import child, points


def main() -> None:
    """Wrap, then run the role."""
    role, folder, name = sys.argv[1], Path(os.environ["CHAOS_FOLDER"]), os.environ["CHAOS_NAME"]
    for patch in filter(None, os.environ.get("CHAOS_PATCHES", "").split(",")):
        module, _, function = patch.partition(":")
        getattr(importlib.import_module(module), function)(role)
    points.install(role, child.Point(child.point_file(folder, name)), child.Status(child.status_file(folder, name)))
    sys.argv = ["remora", role]
    cli.main()


if __name__ == "__main__":
    main()
