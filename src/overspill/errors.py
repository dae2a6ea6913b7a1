"""What goes wrong for a reason the user can mend: one sentence each, naming the value, the limit and the way out."""


class OverspillError(Exception):
    """Base of every error that Overspill raises on purpose; its message is fit to show without a traceback."""


class MemoryBudgetError(OverspillError, MemoryError):
    """The computation cannot fit the stated budget; the message carries both numbers and the way out."""

    def __reduce__(self) -> tuple[type["MemoryBudgetError"], tuple[object, ...]]:
        # Dask rebuilds errors of tasks without calling them, which for a MemoryError that has another base fails.
        return type(self), self.args


class ArrayError(OverspillError, ValueError):
    """Operands an operation cannot take: shapes that do not match, unknown chunk sizes."""


class FusionWarning(UserWarning):
    """A function that cannot be fused into one pass, and why: right all the same, but slower."""


class ConvergenceWarning(UserWarning):
    """A solver that ended without convergence for a reason that `info` does not tell, and what to try."""


class ConvergenceError(OverspillError, RuntimeError):
    """An iteration that did not get to its result, and why; `eigenvalues` and `eigenvectors` are what it found."""

    def __init__(self, message: str, eigenvalues: object = None, eigenvectors: object = None) -> None:
        super().__init__(message)
        self.eigenvalues = eigenvalues
        self.eigenvectors = eigenvectors


class DTypeError(OverspillError, TypeError):
    """An element type an operation cannot take."""


class ClusterError(OverspillError, ValueError):
    """A cluster that cannot be started as asked: an unknown keyword, a GPU where there is none."""


class StorageError(OverspillError, OSError):
    """A store that cannot be read or written as asked."""


class StoreExistsError(StorageError, FileExistsError):
    """The target exists already; nothing was touched."""


class StaleTileError(OverspillError, OSError):
    """A handle came after its tile was recycled or its sender died; an OSError, which Dask takes for a lost worker."""


class UsageError(OverspillError, ValueError):
    """An argument that cannot be used (exit status 2): an unknown parameter, an unparsable value, a missing input."""


class WorkflowError(OverspillError, ValueError):
    """A workflow that breaks its contract or whose input is malformed (exit status 1)."""
