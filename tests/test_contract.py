"""The house rules: who may import whom, what importing does, and what the public surface promises."""

import ast
import graphlib
import inspect
import subprocess
import sys
import types
from collections import defaultdict
from pathlib import Path

import pytest

import overspill as osp

PACKAGE = Path(osp.__file__).parent

FLOORS = (
    {"cli", "runs", "doctor", "dashboard"},
    {"linalg", "simulate"},
    {"sparse"},
    {"ops"},
    {"cluster"},
    {"stream"},
    {"storage"},
    {"kernels"},
    {"memory"},
    {"planning", "machine", "profile"},
    {"backend", "errors", "units"},
)
"""The packages and modules from the top of the house down; imports go down, or along a floor without going round."""

FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}

MAY_IMPORT_CUPY = (
    "backend.py",
    "doctor/gpus.py",
    "doctor/probes_cuda.py",
    "kernels/",
    "linalg/resident/nccl.py",
    "memory/frames_cuda.py",
    "memory/pinning.py",
    "memory/store/cuda.py",
    "memory/store/memory_cuda.py",
    "memory/store/pool_cuda.py",
    "stream/cuda.py",
    "stream/landing_cuda.py",
    "stream/slots_cuda.py",
    "stream/upload_cuda.py",
)

ARRAY_LIBRARIES = {"numpy", "cupy", "cupyx", "scipy", "dask", "distributed", "zarr"}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """Absolute dotted names that a module imports anywhere in its body."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively"
            assert node.module is not None
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def rooms_imported(path: Path) -> set[str]:
    """Rooms of the house that a module imports from; ``overspill`` itself for names of the top level."""
    found = set()
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "overspill":
            first = rest.partition(".")[0]
            found.add(first if first in FLOOR_OF else "overspill")
    return found


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in MODULES} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_go_down(path: Path) -> None:
    here = FLOOR_OF[room(path)]
    for other in rooms_imported(path):
        if other == "overspill":
            assert here == 0, f"{relative(path)} imports the top level, which imports it"
        else:
            assert FLOOR_OF[other] >= here, f"{relative(path)} imports {other}, which lies above it"


def test_imports_do_not_go_round() -> None:
    graph: defaultdict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        graph[room(path)] |= rooms_imported(path) - {room(path), "overspill"}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_some_modules_import_cupy(path: Path) -> None:
    if not relative(path).startswith(MAY_IMPORT_CUPY):
        assert not [name for name in imports(path) if name.partition(".")[0] in {"cupy", "cupyx", "cupy_backends"}]


@pytest.mark.parametrize("path", sorted((PACKAGE / "planning").glob("*.py")), ids=relative)
def test_planning_imports_no_array_library(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imports(path)} & ARRAY_LIBRARIES


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_say_what_they_do(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree)
    assert docstring or not tree.body, f"{relative(path)} does not say in its first line what it does"


IMPORT_STARTS_NOTHING = """
import sys

asked = []

class Absent:
    # Dask asks for cupy too, and does without; only our own code must not ask at all, wherever it is installed.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cupy", "cupyx", "dask_cuda", "rmm", "numba"):
            frame = sys._getframe(1)
            while "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            asked.append((frame.f_globals["__name__"], name))
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import overspill
import threading, psutil
from pathlib import Path

assert not [pair for pair in asked if pair[0].startswith("overspill")], asked
assert threading.active_count() == 1, threading.enumerate()
assert not psutil.Process().children(recursive=True)
assert "overspill-" not in Path("/proc/self/maps").read_text()
"""


def test_import_starts_nothing() -> None:
    program = [sys.executable, "-W", "error", "-c", IMPORT_STARTS_NOTHING]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_all_is_the_public_surface() -> None:
    public = {
        name
        for name in dir(osp)
        if not name.startswith("_") and (name in osp.__all__ or not inspect.ismodule(getattr(osp, name)))
    }
    assert public == set(osp.__all__) - {"__version__"}
    assert list(osp.__all__) == sorted(set(osp.__all__), key=str)


@pytest.mark.parametrize("name", sorted(set(osp.__all__) - {"__version__"}))
def test_public_names_are_documented(name: str) -> None:
    thing = getattr(osp, name)
    docstring = inspect.getdoc(thing)
    assert docstring
    is_error = isinstance(thing, type) and issubclass(thing, Exception)
    if not is_error and not isinstance(thing, types.ModuleType):
        assert ">>>" in docstring, f"{name} has no example"
