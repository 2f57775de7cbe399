"""Reads from the source which module imports which, wherever in a file the import stands."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

UNKNOWN = "(a name that is not written out)"
_BY_CALL = ("import_module", "__import__")


def read_package(folder: Path) -> dict[str, ast.Module]:
    """Every module of a package by its full name; a sub-package by its own.

    Args:
        folder: the package's, such as `app`.
    """
    files = sorted(folder.rglob("*.py"))
    return {_module_name(file, folder.parent): ast.parse(file.read_text()) for file in files}


def imports_of(modules: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """What each module imports: modules of the package by their full name, else a library's name.

    An import within a function counts, and so does one by `importlib` or `__import__`; one that is
    relative, or whose name is computed, is `UNKNOWN`.
    """
    return {
        name: {_resolve(imported, modules) for imported in _imported_names(tree)}
        for name, tree in modules.items()
    }


def reachable(start: str, imports: Mapping[str, set[str]]) -> set[str]:
    """All that importing a module imports in turn, itself included."""
    reached, waiting = set[str](), [start]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imports.get(module, ())
    return reached


def _module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module if node.level == 0 and node.module else UNKNOWN
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called_name(node) in _BY_CALL:
            name = node.args[0] if node.args else None
            is_text = isinstance(name, ast.Constant) and isinstance(name.value, str)
            yield name.value if is_text else UNKNOWN


def _called_name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _resolve(imported: str, modules: Mapping[str, ast.Module]) -> str:
    """The module that an imported name is or lies in: `app.errors` of `app.errors.FieldError`."""
    parts = imported.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in modules), parts[0])
