import numpy as np
import pytest
from dask.sizeof import sizeof
from distributed.protocol import deserialize, serialize
from scipy.sparse import csr_array, random_array

from overspill import memory
from overspill.memory.store.accounts import holdings
from overspill.memory.transfer import HANDLE_NBYTES


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("shape", [(30, 40), (0, 5), (5, 0)])
def test_blocks_survive_the_way(shape: tuple[int, int], index: type) -> None:
    A = csr_array(random_array(shape, density=0.2, rng=0))
    A.indices, A.indptr = A.indices.astype(index), A.indptr.astype(index)
    header, frames = serialize(A, serializers=("dask",))
    B = deserialize(header, frames)
    assert type(B) is csr_array
    assert (B.shape, B.dtype, B.indices.dtype, B.indptr.dtype) == (A.shape, A.dtype, A.indices.dtype, A.indptr.dtype)
    np.testing.assert_array_equal(B.toarray(), A.toarray())


def test_unsorted_ones_do_not_pass_for_canonical() -> None:
    A = csr_array((np.ones(3), np.array([2, 0, 0]), np.array([0, 3])), shape=(1, 3))
    B = deserialize(*serialize(A, serializers=("dask",)))
    assert not B.has_canonical_format
    np.testing.assert_array_equal(B.toarray(), [[2, 0, 1]])


def test_their_size_is_that_of_what_has_to_move() -> None:
    A = csr_array(random_array((1000, 1000), density=0.1, rng=0))
    nbytes = A.data.nbytes + A.indices.nbytes + A.indptr.nbytes
    assert nbytes <= sizeof(A) < nbytes + 1000
    assert sum(size for _, size in holdings(A, None).host) == nbytes
    A.data, A.indices = memory.as_tile(A.data), memory.as_tile(A.indices)
    assert A.indptr.nbytes <= sizeof(A) <= A.indptr.nbytes + 2 * HANDLE_NBYTES + 1000
