"""The program as people get it: a wheel built from here, installed where no checkout is near."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.support.cli import ROOT


def call(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run to its end, without this checkout on the path."""
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(cwd), **env}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=surroundings, text=True, capture_output=True, check=False,
        timeout=110,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("the build backend (hatchling) is not installed, and a test fetches nothing from the network")
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    built = call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir", "-w", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("reconciler-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The `reconciler` command of a fresh environment; only the libraries are those of ours."""
    folder = wheel.parent / "environment"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    done = call(*pip, "install", "--no-deps", "--no-index", wheel, cwd=wheel.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = call(python, "-c", "import reconciler, sys; sys.stdout.write(reconciler.__file__)", cwd=wheel.parent)
    assert where.stdout.startswith(str(folder)), where.stdout + where.stderr
    return folder / "bin" / "reconciler"


def works(program: Path, folder: Path) -> None:
    """Version, schema, a first file, its check and a rehearsal."""
    assert call(program, "version", cwd=folder).stdout.startswith("reconciler ")
    assert '"deployments"' in call(program, "schema", cwd=folder).stdout
    for command in ("init", "validate", "--sandbox plan"):
        done = call(program, *command.split(), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "4 to deploy" in done.stdout


def test_the_wheel_works_by_itself(installed: Path, tmp_path: Path) -> None:
    """Installed from the wheel alone the program finds its schemas and plans in the sandbox."""
    works(installed, tmp_path)


def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    """Schemas are in it, marked as typed; tests, examples and states are not."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "reconciler/schemas/desired-state.v1.schema.json" in names
    assert "reconciler/schemas/providers/nugen.schema.json" in names
    assert "reconciler/py.typed" in names
    strangers = [name for name in names if not name.startswith(("reconciler/", "reconciler-"))]
    assert not strangers


def test_an_editable_install_works(tmp_path: Path) -> None:
    """The checkout, installed for development, finds the schemas beside the package."""
    try:
        distribution("reconciler")
    except PackageNotFoundError:
        pytest.skip("the package is not installed here (make setup does it)")
    program = Path(sys.executable).with_name("reconciler")
    works(program, tmp_path)
