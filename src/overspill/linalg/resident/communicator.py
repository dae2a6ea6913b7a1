"""What the processes of a round can do together, wherever their vectors lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Gathered:
    """What all ranks put together.

    Attributes
    ----------
    parts
        Of shape (ranks, *part.shape), on the host.
    words
        A small number of each rank.
    """

    parts: NDArray[Any]
    words: NDArray[Any]


class Communicator(Protocol):
    """A process among those of a round. All call the same methods in the same order.

    Any method may raise `overspill.linalg.resident.mesh.EndedError` where a peer has gone.
    """

    rank: int
    size: int

    def allgather(self, part: Any, word: int) -> Gathered:
        """The small arrays of all ranks, all of one shape and dtype, and a number of each from 0 to 255."""

    def exchange(self, sends: Sequence[Any], receives: Sequence[Any]) -> Callable[[], None]:
        """Begin to send ``sends[rank]``, and to receive into ``receives[rank]``; what is returned waits for the end.

        Contiguous arrays, None where there is nothing. They are not to be touched before the end, and no other method
        is to be called.
        """

    def close(self) -> None:
        """Leave, once all have come so far."""

    def abort(self) -> None:
        """Leave at once: those who wait for this process learn that it has gone."""
