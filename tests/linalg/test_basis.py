"""Orthonormal bases of vectors that all but depend on each other, and the random numbers that further ones come of."""

from types import ModuleType

import numpy as np
import pytest

from overspill import backend
from overspill.linalg.basis import NotFiniteError, another, elsewhere, extended, orthonormal
from overspill.linalg.space import InMemory
from overspill.linalg.start import random_vector

SPACE = InMemory()


def deviation(V: np.ndarray) -> float:
    return float(abs(V.conj().T @ V - np.eye(V.shape[1])).max(initial=0))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-9])
def test_blocks_that_lie_close(xp: ModuleType, apart: float, dtype: str) -> None:
    rng = np.random.default_rng(0)
    V = np.linalg.qr(rng.standard_normal((80, 5)))[0].astype(dtype)
    W = (V @ rng.standard_normal((5, 4)) + apart * rng.standard_normal((80, 4)) * 10.0 ** np.arange(4)).astype(dtype)
    found = backend.to_numpy(orthonormal(SPACE, xp.asarray(W), xp.asarray(V[:, :2]), xp.asarray(V[:, 2:])))
    eps = np.finfo(dtype).eps
    assert deviation(np.hstack([V, found])) < 200 * eps
    if apart > 100 * eps:
        assert found.shape == (80, 4)
        out = W - V @ (V.conj().T @ W)
        assert abs(out - found @ (found.conj().T @ out)).max() < 1000 * eps * abs(W).max()


def test_what_depends_is_dropped() -> None:
    rng = np.random.default_rng(0)
    V = np.linalg.qr(rng.standard_normal((80, 5)))[0]
    W = rng.standard_normal((80, 2)) @ rng.standard_normal((2, 6))
    assert orthonormal(SPACE, W).shape == (80, 2)
    assert orthonormal(SPACE, np.hstack([V @ rng.standard_normal((5, 3)), W[:, :1]]), V).shape == (80, 1)
    assert orthonormal(SPACE, np.zeros((80, 2))).shape == (80, 0)
    assert orthonormal(SPACE, W * 1e-150).shape == (80, 2)


def test_a_vector_is_its_parts() -> None:
    rng = np.random.default_rng(0)
    V = np.linalg.qr(rng.standard_normal((80, 5)) + 1j * rng.standard_normal((80, 5)))[0]
    for apart in (1.0, 1e-10):
        w = V @ np.arange(1, 6) + apart * rng.standard_normal(80)
        v, coefficients, norm = extended(SPACE, (V,), w)
        assert deviation(np.hstack([V, v])) < 1e-13
        assert abs(V @ coefficients + norm * v[:, 0] - w).max() < 1e-14 * 10
    assert extended(SPACE, (V,), V @ np.arange(1, 6))[2] == 0
    assert extended(SPACE, (V,), np.zeros(80, complex))[2] == 0
    with pytest.raises(NotFiniteError):
        extended(SPACE, (V,), np.full(80, np.nan))


def test_random_vectors_stay_random() -> None:
    """A hundred of them, between -1 and 1, none like another."""
    spare = random_vector(np.eye(2), 10_000)
    vectors = [spare := another(SPACE, spare) for _ in range(100)]
    assert all(abs(x).max() < 1 for x in vectors)
    block = np.stack(vectors, axis=1)
    block /= np.linalg.norm(block, axis=0)
    assert deviation(block) < 0.06  # six standard deviations of independent ones
    assert 60 < np.linalg.norm(vectors[-1]) < 80


def test_elsewhere() -> None:
    V = np.eye(80)[:, :30]
    v, spare = elsewhere(SPACE, (V,), np.cos(np.arange(80.0)))
    w, _ = elsewhere(SPACE, (V, v), spare)
    assert deviation(np.hstack([V, v, w])) < 1e-14
