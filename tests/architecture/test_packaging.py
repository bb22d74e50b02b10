"""What an installed Remora holds: every package and every file that the source tree holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, files
from tests.support import PROJECT


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(file.parent.parts) for file in files(*PACKAGES) if file.name == "__init__.py"}
    assert set(listed) == found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in a copy: a build folder left over from before would hide what is missing."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(PROJECT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(out), str(copy)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    packed = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    on_disk = (file for package in PACKAGES for file in (PROJECT / package).rglob("*") if file.is_file())
    ours = {file.relative_to(PROJECT) for file in on_disk if "__pycache__" not in file.parts}
    assert ours - packed == set()
    assert {name.parts[0] for name in packed if not name.parts[0].endswith(".dist-info")} <= set(PACKAGES)


def test_the_lock_names_no_place_and_hashes_everything() -> None:
    lines = (PROJECT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("-")]
    pins = [line for line in lines if not line.startswith(" ")]
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert len(pins) > 100


def test_the_lock_holds_every_requirement() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    lines = [line for line in (PROJECT / "requirements.lock").read_text().splitlines() if not line.startswith(" ")]
    pins = {canonicalize_name(line.split("==")[0].split("[")[0]): line.split("==")[1].split()[0] for line in lines}
    unmet = [text for text in wanted if not (need := Requirement(text)).specifier.contains(pins.get(canonicalize_name(need.name), "0"))]
    assert unmet == []
