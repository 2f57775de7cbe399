"""The import contracts in pyproject.toml detect violations and cover every library."""

import ast
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

PACKAGES = "Packages of app import downward only, and each has its layer"
ENGINE = "Modules of the engine import downward only, and each has its layer"
HTTP_PROCESS = "No HTTP process loads torch, transformers, Pillow or a font package"
PLANTED = [
    (PACKAGES, "errors.py", "import app.telemetry.logs"),
    (PACKAGES, "errors.py", "def late():\n    import app.telemetry.logs"),
    (PACKAGES, "grounding/tasks.py", "from app import service"),
    (PACKAGES, "pictures/tiles.py", "import app.detect.nms"),
    (PACKAGES, "model/vision.py", "import app.service"),
    (PACKAGES, "new_room.py", '"""A module without a layer."""'),
    (ENGINE, "engine/sampling.py", "import app.engine.loop"),
    (ENGINE, "engine/new_part.py", '"""A module without a layer."""'),
    ("No packages import each other", "http/problems.py", "import app.http.routes.ground"),
    (HTTP_PROCESS, "pictures/marks.py", "from PIL import Image"),
    (HTTP_PROCESS, "grounding/tokenizer.py", "def late():\n    import transformers"),
    (HTTP_PROCESS, "checkpoint/files.py", "import torch"),
    (HTTP_PROCESS, "detect/nms.py", "import torch"),
    ("No supervisor loads torch", "supervisor/supervisor.py", "import app.engine.process"),
    ("Home of the web framework", "service.py", "from fastapi import Request"),
    ("Home of torch", "ipc/engine_messages.py", "import torch.cuda"),
    ("Home of Pillow", "commands/ground.py", "import PIL.Image"),
    ("The client needs nothing of the service", "../kosmos2_client/cli.py", "import app.errors"),
    ("Only commands use the client", "detect/nms.py", "import kosmos2_client.results"),
]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of `make check` in a checkout."""
    command = [LINT_IMPORTS, "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of the contracts."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("*.safetensors", "__pycache__")
    shutil.copytree(ROOT / "app", root / "app", ignore=ignored)
    shutil.copytree(CLIENT / "src" / "kosmos2_client", root / "kosmos2_client", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.mark.parametrize(("contract", "file", "violation"), PLANTED)
def test_a_planted_violation_breaks_its_contract(
    checkout: Path, contract: str, file: str, violation: str
) -> None:
    """A contract that cannot fail checks nothing."""
    path = checkout / "app" / file
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{violation}\n")
    try:
        result = lint_imports(checkout)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract} BROKEN" in " ".join(result.stdout.split())


def test_every_library_is_declared_and_has_a_home() -> None:
    """A library that only another library requires may disappear with an update."""
    roots = {"app", "kosmos2_client"}
    graph = grimp.build_graph(*roots, include_external_packages=True, cache_dir=None)
    modules = {module for module in graph.modules if module.partition(".")[0] in roots}
    libraries = graph.modules - modules - sys.stdlib_module_names
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    with_home = {name for each in contracts for name in each.get("protected_modules", ())}
    assert libraries == with_home
    extras = PROJECT["project"]["optional-dependencies"]
    client = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    declared = [*PROJECT["project"]["dependencies"], *extras["heic"]]
    declared += [*extras["ray"], *extras["tracing"], "pyarrow"]  # which ray[data] requires
    declared += [*client["dependencies"], *chain(*client["optional-dependencies"].values())]
    names = {canonicalize_name(Requirement(text).name) for text in declared}
    providers = packages_distributions()
    undeclared = {
        library
        for library in libraries
        # The extras of the client are not installed here; their names are those of the modules.
        if names.isdisjoint(map(canonicalize_name, providers.get(library, [library])))
    }
    assert undeclared == set()


def test_an_http_process_loads_no_model_and_no_picture_decoder() -> None:
    """The contracts do not cover the imports of libraries."""
    program = (
        "import sys, app.http.process\n"
        "heavy = {'torch', 'transformers', 'PIL', 'pillow_heif', 'fontTools', 'pymupdf_fonts'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_picture_process_loads_no_settings() -> None:
    """Its settings are arguments: pydantic would take a quarter of its start, in each process."""
    program = (
        "import sys, app.pictures.workers.process\n"
        "sys.exit(', '.join({'app.settings', 'pydantic'} & sys.modules.keys()) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_every_file_starts_with_a_docstring() -> None:
    """It is the line that readers see in search results."""
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [path for name in tracked.stdout.split() if (path := ROOT / name).exists()]
    assert [file for file in files if not ast.get_docstring(ast.parse(file.read_text()))] == []


def test_packages_import_nothing_when_they_are_imported() -> None:
    """Importing one module of a package must not load the others."""
    packages = (ROOT / "app").rglob("__init__.py")
    assert [path for path in packages if len(ast.parse(path.read_text()).body) > 1] == []
