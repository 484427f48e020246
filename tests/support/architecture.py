"""The rules of the house, as functions from a checkout to its violations.

tests/test_architecture.py holds the project to them, and shows that each can fail. That imports go
downward only is a contract of import-linter, in pyproject.toml.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "skin_pipeline"
ENTRIES = ("dags", "plugins", "scripts")  # code outside of the package that tests mirror
OUTSIDE = (*ENTRIES, "benchmarks")
MOST_LINES = 400
MOST_FUNCTION_LINES = 50
FEWEST_WORDS = 30  # of a room's description
# They end like a verb in the third person and are none.
NO_VERBS = {"always", "as", "its", "less", "plus", "this", "thus", "unless", "was"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Violations = list[str]


@dataclass(frozen=True)
class Module:
    """A Python file of the checkout."""

    root: Path
    path: Path

    @property
    def shown(self) -> str:
        """The path below the checkout."""
        return self.path.relative_to(self.root).as_posix()

    @property
    def name(self) -> str:
        """The dotted name; a package is called by its folder."""
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def is_init(self) -> bool:
        """Whether the file is the `__init__` of a package."""
        return self.path.name == "__init__.py"

    @property
    def room(self) -> str:
        """The room that the module is in; empty outside of all rooms."""
        parts = self.path.relative_to(self.root).parts
        return parts[1] if parts[0] == PACKAGE and len(parts) > 2 else ""

    @property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.path.read_text(), self.shown)


def modules(root: Path, *folders: str) -> list[Module]:
    """Returns all Python files below folders of a checkout, in order."""
    return [
        Module(root, path)
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
        if "__pycache__" not in path.parts
    ]


def rooms(root: Path) -> dict[str, list[str]]:
    """Returns the rooms of the package, each with the names that its `__all__` lists."""
    inits = sorted((root / PACKAGE).glob("*/__init__.py"))
    return {init.parent.name: _handed_on(Module(root, init)) for init in inits}


def doors(root: Path) -> Violations:
    """Returns each import that enters a room other than by a name of its `__all__`."""
    handed_on = rooms(root)
    found = []
    for module in modules(root, PACKAGE, *OUTSIDE):
        for line, origin, name in _imports(module):
            parts = origin.split(".")
            inner = parts[1] if len(parts) > 1 else name
            if parts[0] != PACKAGE or inner not in handed_on or inner == module.room:
                continue
            if len(parts) != 2 or name not in handed_on[inner]:
                what = f"{origin} import {name}" if name else origin
                found.append(f"{module.shown}:{line}: {what} is not handed on by {PACKAGE}.{inner}")
    return found


def handing_on(root: Path) -> Violations:
    """Returns each name of an `__all__` that the room does not have, and each room without one."""
    found = []
    for room, names in rooms(root).items():
        init = Module(root, root / PACKAGE / room / "__init__.py")
        here = _bound(init.tree) | _parts(init)
        if not names:
            found.append(f"{init.shown}: lists nothing in __all__")
        found += [f"{init.shown}: {name} is not there" for name in names if name not in here]
    return found


def sizes(root: Path) -> Violations:
    """Returns each file and each function that is too long."""
    found = []
    for module in modules(root, PACKAGE):
        lines = len(module.path.read_text().splitlines())
        if lines > MOST_LINES:
            found.append(f"{module.shown}: {lines} lines, over {MOST_LINES}")
    for module in modules(root, PACKAGE, *ENTRIES):
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    limit = f"{lines} lines, over {MOST_FUNCTION_LINES}"
                    found.append(f"{module.shown}:{node.lineno}: {node.name} has {limit}")
    return found


def mirrors(root: Path) -> Violations:
    """Returns each module that has no test file in the same place below `tests/`."""
    found = []
    for module in modules(root, PACKAGE, *ENTRIES):
        # What a room's `__init__` hands on is tested where it is made.
        if module.path.stem in {"__init__", "__main__"}:
            continue
        path = module.path.relative_to(root)
        inner = path.relative_to(PACKAGE) if path.parts[0] == PACKAGE else path
        test = Path("tests", inner.parent, f"test_{inner.name}")
        if not (root / test).is_file():
            found.append(f"{module.shown}: there is no {test.as_posix()}")
    return found


def docstrings(root: Path) -> Violations:
    """Returns each docstring that is missing or begins with the wrong kind of word.

    Modules, public classes and public functions need one; a method may have the docstring of the
    class that it overrides. That of a function begins with a verb in the third person, that of a
    class or a property with a noun.
    """
    found = []
    for module in modules(root, PACKAGE, *OUTSIDE):
        tree = module.tree
        if not ast.get_docstring(tree):
            found.append(f"{module.shown}: has no docstring")
        for node, is_method in _public(tree):
            text = ast.get_docstring(node)
            where = f"{module.shown}:{node.lineno}: {node.name}"
            if not text and not is_method:
                found.append(f"{where} has no docstring")
            if text and isinstance(node, Function) and not _is_property(node):
                first = text.split()[0]
                if not _is_verb(first):
                    found.append(f"{where}: {first!r} is no verb in the third person")
    return found


def descriptions(root: Path) -> Violations:
    """Returns each room whose `__init__` does not describe it and name its modules."""
    found = []
    for room in rooms(root):
        init = Module(root, root / PACKAGE / room / "__init__.py")
        text = ast.get_docstring(init.tree) or ""
        words = len(text.split())
        if words < FEWEST_WORDS:
            found.append(f"{init.shown}: {words} words, under {FEWEST_WORDS}")
        unnamed = sorted(part for part in _parts(init) if part not in text)
        if unnamed:
            found.append(f"{init.shown}: does not name {', '.join(unnamed)}")
    return found


def _imports(module: Module) -> Iterator[tuple[int, str, str]]:
    """Yields line, module and name of each import, wherever in the file it is."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(module, node)
            yield from ((node.lineno, origin, alias.name) for alias in node.names)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """Returns the module that is imported from, where the import is relative as well."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    # In an `__init__`, one dot is the package itself.
    kept = parts[: len(parts) - node.level + module.is_init]
    return ".".join([*kept, *filter(None, [node.module])])


def _public(tree: ast.Module) -> Iterator[tuple[Function | ast.ClassDef, bool]]:
    """Yields the public functions and classes of a module, and the methods of these classes."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node, False
            if isinstance(node, ast.ClassDef):
                methods = (inner for inner in node.body if isinstance(inner, Function))
                yield from ((inner, True) for inner in methods if not inner.name.startswith("_"))


def _handed_on(init: Module) -> list[str]:
    for node in init.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                return [str(name) for name in ast.literal_eval(node.value)]
    return []


def _bound(tree: ast.Module) -> set[str]:
    """Returns the names that a module binds at its top."""
    names = set()
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _parts(init: Module) -> set[str]:
    """Returns the modules and packages in the folder of an `__init__`."""
    folder = init.path.parent
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def _is_property(node: Function) -> bool:
    names = {ast.unparse(decorator).rsplit(".", 1)[-1] for decorator in node.decorator_list}
    return bool(names & {"property", "cached_property", "setter"})


def _is_verb(word: str) -> bool:
    plain = word.strip("`.,:;").lower()
    if plain == "see":  # a method that implements a protocol refers to it
        return True
    return plain.endswith("s") and plain not in NO_VERBS
