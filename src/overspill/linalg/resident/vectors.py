"""The space of vectors whose entries lie with the ranks of a round: sums run over all of them, in the ranks' order."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from overspill.kernels.dots import dots
from overspill.linalg import space
from overspill.linalg.resident.communicator import Communicator
from overspill.linalg.resident.mesh import EndedError

GO_ON, HAND_OVER, STOP = 0, 1, 2
"""What a rank has to say to the others, with every sum: nothing; that all are to hand over where they are; to stop."""


class Distributed(space.InMemory):
    """The space of a rank's entries of vectors.

    Parameters
    ----------
    communicator
        Of all ranks.
    word
        Says what this rank has to say to the others.
    """

    def __init__(self, communicator: Communicator, word: Callable[[], int]) -> None:
        self.communicator = communicator
        self.word = word
        self.asked_to_hand_over = False
        """Whether somebody has asked for it, on every rank after the same sum."""

    def dots(self, *pairs: tuple[Any, Any]) -> tuple[Any, ...]:
        """See `overspill.linalg.space.Space.dots`."""
        return tuple(self._sum(dots(*pairs)).tolist()) if pairs else ()

    def gram(self, X: Any, Y: Any) -> NDArray[Any]:
        """See `overspill.linalg.space.Space.gram`."""
        return self._sum(space.gram(X, Y))

    def _sum(self, part: Any) -> NDArray[Any]:
        gathered = self.communicator.allgather(part, self.word())
        if (gathered.words == STOP).any():
            raise EndedError("the round was called off")
        self.asked_to_hand_over |= bool((gathered.words == HAND_OVER).any())
        total: NDArray[Any] = gathered.parts.sum(axis=0)
        return total
