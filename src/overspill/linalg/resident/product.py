"""The product of a rank's rows with a vector: rows that need nobody else while the others' entries are on their way."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from overspill import backend
from overspill.kernels import csr
from overspill.linalg.resident.bands import bands, occupied
from overspill.linalg.resident.communicator import Communicator
from overspill.linalg.resident.halo import Needs, halo, needed


class Product:
    """A square matrix distributed over the ranks by rows, as an operator on each rank's entries of vectors.

    Parameters
    ----------
    communicator
        Of all ranks.
    blocks
        The rank's row blocks, in their order.
    firsts
        The columns of the matrix that theirs count from.
    cuts
        The rows where ranks begin, and their number at the end.
    """

    def __init__(
        self, communicator: Communicator, blocks: Sequence[Any], firsts: Sequence[int], cuts: Sequence[int]
    ) -> None:
        self.communicator = communicator
        self.size = cuts[communicator.rank + 1] - cuts[communicator.rank]
        self.halo = halo(*occupied(blocks, firsts), cuts, communicator.rank)
        self._xp: Any = backend.array_namespace(blocks[0].data)
        self._dtype = np.result_type(*(block.dtype for block in blocks))
        self._asked = _asked(communicator, self.halo.needs, self._xp)
        self._bands = bands(blocks, firsts, self.halo, cuts, communicator.rank)
        self._rooms: dict[Any, Any] = {}

    def __call__(self, x: Any) -> Any:
        """``A x``: the rank's entries of it, of shape (rows,) or (rows, k), from those of `x`."""
        x = self._xp.ascontiguousarray(x)
        operands = [self._operand(number, x) for number in range(len(self._bands))]
        finish = self.communicator.exchange(self._owned(x), self._foreign(operands))
        y = self._xp.empty((self.size, *x.shape[1:]), np.result_type(self._dtype, x.dtype))
        for needy in (False, True):
            if needy:
                finish()
            for band, operand in zip(self._bands, operands, strict=True):
                if needy == bool(band.left or band.right):
                    for piece in band.pieces:
                        csr.matvec(piece.matrix, operand[piece.operand], out=y[piece.rows])
        return y

    def transposed(self, y: Any) -> Any:
        """``A^T y``: the rank's entries of it, from those of `y`; nothing is conjugated."""
        y = self._xp.ascontiguousarray(y)
        sums = []
        for band in self._bands:
            partial: Any = None
            for piece in band.pieces:
                found = csr.rmatvec(piece.matrix, y[piece.rows])
                if partial is None:
                    partial = self._xp.zeros((band.size, *y.shape[1:]), found.dtype)
                partial[piece.operand] += found
            sums.append(partial)
        z = self._xp.zeros((self.size, *y.shape[1:]), sums[0].dtype)
        for band, partial in zip(self._bands, sums, strict=True):
            z[band.own] += partial[band.left : band.size - band.right]
        arrived = [
            None if asked is None else self._room(("arrived", peer), asked.count, z) for peer, asked in self._asking()
        ]
        self.communicator.exchange(self._foreign(sums), arrived)()
        for (_, asked), part in zip(self._asking(), arrived, strict=True):  # in the ranks' order: the same bits always
            if asked is not None:
                z[_places(asked)] += part
        return z

    def adjoint(self, y: Any) -> Any:
        """``A^H y``: the rank's entries of it, from those of `y`."""
        return self.transposed(y.conj()).conj()

    def _asking(self) -> list[tuple[int, Needs | None]]:
        return list(enumerate(self._asked))

    def _operand(self, number: int, x: Any) -> Any:
        """What a band reads, but for what is still to come."""
        band = self._bands[number]
        if not (band.left or band.right):
            return x[band.own]
        room = self._room(("operand", number), band.size, x)
        room[band.left : band.size - band.right] = x[band.own]
        return room

    def _foreign(self, operands: Sequence[Any]) -> list[Any]:
        """What parts of the bands' operands are each owner's."""
        parts: list[Any] = []
        ends = {False: 0, True: 0}
        for owner, need in enumerate(self.halo.needs):
            if need is None:
                parts.append(None)
                continue
            right = owner > self.communicator.rank
            number = next(i for i, band in enumerate(self._bands) if (band.right if right else band.left))
            start = ends[right] + (self._bands[number].size - self.halo.right if right else 0)
            ends[right] += need.count
            parts.append(operands[number][start : start + need.count])
        return parts

    def _owned(self, x: Any) -> list[Any]:
        """What each peer needs of `x`."""
        parts: list[Any] = []
        for peer, asked in self._asking():
            if asked is None or asked.entries is None:
                parts.append(None if asked is None else x[_places(asked)])
                continue
            room = self._room(("asked", peer), asked.count, x)
            parts.append(self._xp.take(x, asked.entries, axis=0, out=room))
        return parts

    def _room(self, key: tuple[str, int], count: int, like: Any) -> Any:
        """An array of `count` rows like those of `like`, the same one for the same `key` and kind of vector."""
        full = (*key, like.shape[1:], like.dtype)
        if full not in self._rooms:
            self._rooms[full] = self._xp.empty((count, *like.shape[1:]), like.dtype)
        return self._rooms[full]


def _places(asked: Needs) -> Any:
    return slice(asked.first, asked.first + asked.count) if asked.entries is None else asked.entries


def _asked(communicator: Communicator, needs: Sequence[Needs | None], xp: Any) -> list[Needs | None]:
    """What each peer needs of this rank: the ranks tell each other, and thereby open the ways between them."""
    told = communicator.allgather(xp.asarray(needed(needs)), 0).parts[:, communicator.rank]
    entries = [xp.empty(int(count), xp.int64) if single else None for _, count, single in told]
    communicator.exchange([None if need is None else need.entries for need in needs], entries)()
    return [
        Needs(int(first), int(count), entries[peer]) if count else None for peer, (first, count, _) in enumerate(told)
    ]
