"""The rules of the house, read from the imports themselves; ARCHITECTURE.md tells the reasons."""

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.imports import imports_of, reachable, read_package

ROOT = Path(__file__).parents[1]

# Each row may import from the rows below it, and a package from itself; the modules of one row do
# not know each other. A side may import from both sides' rows, never from the other side.
HTTP_SIDE = (
    ("app.commands.cli",),
    ("app.commands.demo", "app.commands.info", "app.bench", "app.commands.ground"),
    ("app.commands.offline",),
    ("app.supervisor.supervisor",),
    ("app.supervisor.engine_keeper",),
    ("app.http",),
    ("app.service", "app.http.outcomes", "app.telemetry.tracing"),
    ("app.pictures.workers",),
    ("app.pictures.drawing.annotator", "app.grounding.prompts", "app.grounding.answer_reader"),
    (
        "app.grounding.answers",
        "app.grounding.token_decoder",
        "app.grounding.requests",
        "app.telemetry.timeline",
    ),
    ("app.ipc.engine_client", "app.supervisor.listener"),
    ("app.ipc.pending_request",),
    ("app.grounding.tasks", "app.contract.examples", "app.commands.plain_text"),
    ("app.pictures",),
)
ENGINE_SIDE = (
    ("app.engine.describe",),
    ("app.engine.process",),
    ("app.engine.loop",),
    ("app.engine.scheduler", "app.engine.runner", "app.engine.sizing"),
    ("app.engine.cuda_graphs", "app.engine.prefixes", "app.engine.prefill"),
    ("app.engine.phases", "app.engine.sequence", "app.engine.decode"),
    ("app.engine.kv_slots", "app.engine.sampling", "app.engine.service_rate"),
    ("app.model",),
)
BOTH_SIDES = (
    ("app.ipc.run_directory",),
    ("app.checkpoint", "app.grounding.tokenizer"),
    ("app.grounding", "app.ipc.engine_messages", "app.ipc.shared_state", "app.ipc.child_process"),
    ("app.telemetry.metrics", "app.settings", "app.telemetry.logs"),
    ("app.errors",),
)

TORCH = (
    "describe",
    "graphs",
    "kv_slots",
    "prefixes",
    "prompts",
    "runner",
    "sampling",
    "sizing",
    "start",
    "steps",
)
HOMES = {
    "aiohttp": ("app.bench",),
    "fastapi": ("app.http",),
    "fontTools": ("app.pictures",),
    "httpx": ("app.commands.demo",),
    "huggingface_hub": ("app.checkpoint",),
    "msgspec": ("app.engine", "app.pictures.workers"),
    "numpy": ("app.engine", "app.pictures"),
    "opentelemetry": ("app.telemetry.tracing",),
    "PIL": ("app.pictures",),
    "prometheus_client": ("app.telemetry.metrics",),
    "psutil": ("app.engine.sizing",),
    "pydantic": ("app.commands.cli", "app.http", "app.settings"),
    "pydantic_settings": ("app.settings",),
    "pymupdf_fonts": ("app.pictures",),
    "python_multipart": ("app.http",),
    "rich": ("app.engine.process", "app.bench", "app.commands.ground"),
    "starlette": ("app.http",),
    "structlog": ("app.http", "app.telemetry.logs"),
    "tokenizers": ("app.grounding.tokenizer",),
    "torch": (*(f"app.engine.{name}" for name in TORCH), "app.model"),
    "transformers": ("app.model", "app.grounding.tokenizer"),
    "typer": ("app.commands.cli",),
    "uvicorn": ("app.http",),
    "zmq": ("app.engine",),
}


def imports_below(root: Path) -> dict[str, set[str]]:
    """What each module of `app` imports; the packages themselves are left out."""
    modules = read_package(root / "app")
    imports = imports_of(modules)
    return {name: imports[name] for name in modules if not is_package(root, name)}


def is_package(root: Path, name: str) -> bool:
    """Whether it is a folder."""
    return root.joinpath(*name.split(".")).is_dir()


def lies_in(module: str, place: str) -> bool:
    """Whether a module is the one named, or belongs to the package named."""
    return module == place or module.startswith(f"{place}.")


def row_of(module: str) -> tuple[str, int, str]:
    """The side of a module, the number of its row, and the entry of that row; blank: no row."""
    sides = {"http": HTTP_SIDE, "engine": ENGINE_SIDE, "both": BOTH_SIDES}
    for side, rows in sides.items():
        for number, row in enumerate(rows):
            for entry in row:
                if lies_in(module, entry):
                    return side, number, entry
    return "", 0, ""


def may_import(importer: str, imported: str) -> bool:
    """What the tables say of one import within `app`."""
    side, row, entry = row_of(importer)
    side_below, row_below, entry_below = row_of(imported)
    if side != side_below:
        return side_below == "both"
    return entry == entry_below or row < row_below


def modules_without_row(root: Path) -> list[str]:
    """Modules that the tables do not know."""
    return [f"{module} has no row" for module in imports_below(root) if not row_of(module)[0]]


def upward_imports(root: Path) -> list[str]:
    """Imports that do not point down."""
    return [
        f"{importer} imports {imported}"
        for importer, names in imports_below(root).items()
        for imported in sorted(names)
        if lies_in(imported, "app") and not may_import(importer, imported)
    ]


def circular_imports(root: Path) -> list[str]:
    """Modules that import each other; within a package too."""
    try:
        TopologicalSorter(imports_below(root)).prepare()
    except CycleError as error:
        return [" imports ".join(reversed(error.args[1]))]
    return []


def homeless_libraries(root: Path) -> list[str]:
    """Libraries imported outside their home, or that have none."""
    return [
        f"{importer} imports {library}"
        for importer, names in imports_below(root).items()
        for library in sorted(names - sys.stdlib_module_names)
        if not lies_in(library, "app")
        and not any(lies_in(importer, home) for home in HOMES.get(library, ()))
    ]


def roads_to_torch(root: Path) -> list[str]:
    """Modules of the HTTP side that import torch, be it through others."""
    imports = imports_below(root)
    reaching = [module for module in imports if "torch" in reachable(module, imports)]
    return [f"{module} reaches torch" for module in reaching if row_of(module)[0] == "http"]


def files_without_docstring(root: Path) -> list[str]:
    """Files that do not begin with what they are for."""
    files = [
        file
        for folder in ("app", "benchmarks", "reliability", "tests", "training")
        for file in sorted((root / folder).rglob("*.py"))
        if not ast.get_docstring(ast.parse(file.read_text()))
    ]
    return [f"{file.relative_to(root)} has no docstring" for file in files]


def busy_packages(root: Path) -> list[str]:
    """Packages that import: whoever wants one of their modules would load others too."""
    modules = read_package(root / "app")
    packages = {name: tree for name, tree in modules.items() if is_package(root, name)}
    return [f"{name} does more" for name, tree in packages.items() if len(tree.body) > 1]


RULES: dict[str, Callable[[Path], list[str]]] = {
    "every module has its row": modules_without_row,
    "imports point down only": upward_imports,
    "no modules import each other": circular_imports,
    "every library has one home": homeless_libraries,
    "nothing of the HTTP side reaches torch": roads_to_torch,
    "every file says first what it is for": files_without_docstring,
    "packages hold a docstring alone": busy_packages,
}

PLANTED = {
    "every module has its row": [("new.py", "", "app.new has no row")],
    "imports point down only": [
        ("tasks.py", "from app.service import Service", "app.grounding.tasks imports app.service"),
        ("tasks.py", "from app import service", "app.grounding.tasks imports app.service"),
        (
            "errors.py",
            "def late():\n    import app.telemetry.logs",
            "app.errors imports app.telemetry.logs",
        ),
        (
            "logs.py",
            "import_module('app.telemetry.metrics')",
            "app.telemetry.logs imports app.telemetry.metrics",
        ),
        (
            "answers.py",
            "import app.engine.runner",
            "app.grounding.answers imports app.engine.runner",
        ),
        (
            "model/vision.py",
            "import app.grounding.tasks",
            "app.model.vision imports app.grounding.tasks",
        ),
    ],
    "no modules import each other": [
        (
            "http/fields.py",
            "import app.http.routes.annotate",
            "app.contract.request_models imports app.http.routes.annotate",
        ),
    ],
    "every library has one home": [
        ("service.py", "from fastapi import Request", "app.service imports fastapi"),
        ("outcomes.py", "import prometheus_client", "app.http.outcomes imports prometheus_client"),
        ("engine/process.py", "import torch.cuda", "app.engine.loop imports torch"),
        ("http/ground.py", "import PIL.Image", "app.http.routes.ground imports PIL"),
        ("cli.py", "import a_new_library", "app.commands.cli imports a_new_library"),
        ("cli.py", "__import__(name)", "app.commands.cli imports (a name that is not written out)"),
        (
            "cli.py",
            "from . import errors",
            "app.commands.cli imports (a name that is not written out)",
        ),
    ],
    "nothing of the HTTP side reaches torch": [
        ("checkpoint.py", "def late():\n    import torch", "app.http.process reaches torch"),
        ("supervisor.py", "import app.engine.process", "app.commands.cli reaches torch"),
    ],
    "every file says first what it is for": [
        ("http/new.py", "", "app/http/new.py has no docstring")
    ],
    "packages hold a docstring alone": [
        ("http/__init__.py", "import app.telemetry.logs", "app.http does more")
    ],
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule: str) -> None:
    """Strangers find their way by these rules, so no change may bend one unseen."""
    assert RULES[rule](ROOT) == []


@pytest.mark.parametrize(
    ("rule", "file", "planted", "found"),
    [(rule, *fault) for rule, faults in PLANTED.items() for fault in faults],
)
def test_a_fault_planted_against_the_rule_is_found(
    tmp_path: Path, rule: str, file: str, planted: str, found: str
) -> None:
    """A rule that cannot fail would be none."""
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("*.safetensors"))
    with (tmp_path / "app" / file).open("a") as source:
        source.write(f"\n{planted}\n")
    assert any(found in fault for fault in RULES[rule](tmp_path))


def test_every_rule_has_a_fault_planted_against_it() -> None:
    """So the test above covers a new rule as well."""
    assert PLANTED.keys() == RULES.keys()


def test_the_tables_name_nothing_that_is_gone() -> None:
    """It could come back without anybody looking at it."""
    imports = imports_below(ROOT)
    rows = {entry for row in (*HTTP_SIDE, *ENGINE_SIDE, *BOTH_SIDES) for entry in row}
    homes = {(library, home) for library in HOMES for home in HOMES[library]}
    used_homes = {
        (library, home)
        for library, home in homes
        if any(library in names for module, names in imports.items() if lies_in(module, home))
    }
    assert rows - {row_of(module)[2] for module in imports} == set()
    assert homes - used_homes == set()


def test_every_library_is_a_dependency_of_its_own() -> None:
    """One that only another library brings along goes when that one no longer needs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["tracing"]]
    names = {canonicalize_name(Requirement(text).name) for text in declared}
    providers = packages_distributions()
    brought = {
        library for library in HOMES if names.isdisjoint(map(canonicalize_name, providers[library]))
    }
    assert brought == set()


def test_processes_of_the_http_side_never_load_torch() -> None:
    """What libraries import counts too, which no rule above sees."""
    modules = [module for module in imports_below(ROOT) if row_of(module)[0] == "http"]
    program = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
