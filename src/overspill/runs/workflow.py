"""A workflow: a Python file with parameters, a function that builds lazy arrays, and a check of what they become."""

import dataclasses
import hashlib
import importlib.util
import sys
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from overspill.errors import OverspillError, UsageError, WorkflowError
from overspill.ops.check import Check
from overspill.runs.outputs import Outputs, lazy, take_apart

_CONTRACT = {
    "Params": "a frozen dataclass of parameters",
    "build": "a function of the parameters that returns named lazy arrays",
    "check": "a function of the parameters and the results that returns a Check",
}


class WorkflowCrash(WorkflowError):
    """An exception that a workflow did not mean to raise; the message is one line, the cause has the traceback."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A loaded workflow.

    Attributes
    ----------
    path
        The file, absolute.
    sha256
        Of its content.
    Params, build, check
        What it defines, see docs/workflows.md.
    solve, present
        What it defines to go on from stored results, and to present them to people, if it does.
    """

    path: Path
    sha256: str
    Params: type
    build: Callable[[Any], Mapping[str, Any]]
    check: Callable[[Any, Mapping[str, Any]], Check | Sequence[Check]]
    solve: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]] | None
    present: Callable[[Any, Mapping[str, Any], Path], Sequence[Path]] | None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def load(path: Path) -> Workflow:
    """Execute the file at `path`, once, and see that it keeps the contract.

    Its functions travel to workers by value, so that workers need not find the file.

    Raises
    ------
    UsageError
        If there is no such file.
    WorkflowError
        If it is not Python, fails when executed, or misses a part of the contract.
    """
    path = path.resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"workflow {path} cannot be read ({error.strerror}): name a Python file") from None
    module = _execute(path, source)
    for name, what in _CONTRACT.items():
        if not hasattr(module, name):
            raise WorkflowError(f"workflow {path.name} has no {name}, {what}: see docs/workflows.md")
    params = module.Params
    if not (
        isinstance(params, type) and dataclasses.is_dataclass(params) and vars(params)["__dataclass_params__"].frozen
    ):
        raise WorkflowError(f"Params of workflow {path.name} is no frozen dataclass: see docs/workflows.md")
    for name in ("build", "solve", "check", "present"):
        if hasattr(module, name) and not callable(getattr(module, name)):
            raise WorkflowError(f"{name} of workflow {path.name} is no function: see docs/workflows.md")
    solve, present = (getattr(module, name, None) for name in ("solve", "present"))
    return Workflow(path, hashlib.sha256(source).hexdigest(), params, module.build, module.check, solve, present)


def build(workflow: Workflow, params: Any) -> Outputs:
    """The lazy arrays of `workflow`.

    Raises
    ------
    WorkflowError
        If `build` fails, or returns anything else than named arrays that can be stored.
    """
    return take_apart(call(workflow.path, workflow.build, params), "build", workflow.path.name)


def solve(workflow: Workflow, params: Any, results: Mapping[str, Any]) -> Outputs:
    """What the workflow's `solve`, which it must have, makes of `results`.

    Raises
    ------
    WorkflowError
        If it fails, or returns anything else than named arrays and numbers that can be stored.
    """
    assert workflow.solve is not None
    solved = call(workflow.path, workflow.solve, params, results)
    if isinstance(solved, Mapping):
        solved = {name: lazy(value) for name, value in solved.items()}
        for name in solved.keys() & results.keys():
            raise WorkflowError(f"solve names a result {name!r}, as build does: take another name")
    return take_apart(solved, "solve", workflow.path.name)


def check(workflow: Workflow, params: Any, results: Mapping[str, Any]) -> tuple[Check, ...]:
    """What the workflow's `check` says of `results`.

    Raises
    ------
    WorkflowError
        If it fails, or returns anything else than checks.
    """
    checks = call(workflow.path, workflow.check, params, results)
    listed = (checks,) if isinstance(checks, Check) else checks
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(item, Check) for item in listed):
        raise WorkflowError(f"check of workflow {workflow.path.name} returns no overspill.Check")
    return tuple(listed)


def present(workflow: Workflow, params: Any, results: Mapping[str, Any], directory: Path) -> tuple[Path, ...]:
    """The files that the workflow's `present`, if it has one, makes of `results` in `directory`.

    Raises
    ------
    WorkflowError
        If it fails, or returns anything else than paths of files in `directory`.
    """
    if workflow.present is None:
        return ()
    files = call(workflow.path, workflow.present, params, results, directory)
    if not isinstance(files, Sequence) or not all(isinstance(file, Path) for file in files):
        raise WorkflowError(f"present of workflow {workflow.path.name} returns no list of paths")
    for file in files:
        if not file.is_file() or not file.is_relative_to(directory):
            raise WorkflowError(
                f"present of workflow {workflow.path.name} names {file}, which is no file in {directory}"
            )
    return tuple(files)


def call(path: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns; what it raises without meaning to as a `WorkflowCrash` that names the line of `path`."""
    try:
        return function(*arguments)
    except OverspillError:
        raise
    except (Exception, SystemExit) as error:
        # The exit status is for what became of the run, not for the workflow to choose.
        raise crash(path, error) from error


def crash(path: Path, error: BaseException) -> WorkflowCrash:
    """`error` in one line, with the last line of the workflow at `path` that it passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f" ({path.name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return WorkflowCrash(f"{type(error).__name__}{': ' if text else ''}{text}{where}")


def _execute(path: Path, source: bytes) -> ModuleType:
    name = f"overspill_workflow_{path.stem}"
    specification = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
        if isinstance(getattr(module, "Params", None), type):
            # Types written as text can be found only now.
            module.Params.__annotations__ = typing.get_type_hints(module.Params)
    except OverspillError:
        raise
    except SyntaxError as error:
        raise WorkflowError(f"workflow {path.name} is not Python: {error.msg} (line {error.lineno})") from None
    except (Exception, SystemExit) as error:
        raise crash(path, error) from error
    finally:
        # What no module can be found for is pickled by value, in the middle of a graph too: registering the module
        # with cloudpickle would not do, since distributed tries pickle first and that refers to functions by name.
        del sys.modules[name]
    return module
