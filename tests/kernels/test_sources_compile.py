"""Every kernel that is ever launched compiles for the GPUs it is made for, where nvcc is installed."""

import hashlib
import shutil
import subprocess
from importlib import resources

import pytest

from overspill.kernels import sources

ARCHITECTURES = ("80", "90")


def program(file: str) -> str:
    """The source of `file`, and something that needs all instantiations of it."""
    expressions = sorted(sources.instantiations()[file])
    needed = "\n".join(f"auto* needed_{i} = {expression};" for i, expression in enumerate(expressions))
    return f"{sources.text(file)}\n{needed}\n"


def test_every_source_is_known() -> None:
    files = {path.name for path in resources.files("overspill.kernels").iterdir() if path.name.endswith(".cu")}
    assert files == {f"{file}.cu" for file in sources.instantiations()}


@pytest.mark.parametrize("file", sorted(sources.instantiations()))
def test_sources_compile(file: str, request: pytest.FixtureRequest) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc, which is not installed")
    folder = request.config.cache.mkdir("kernels_compiled")
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    key = hashlib.sha256((program(file) + version + str(ARCHITECTURES)).encode()).hexdigest()[:16]
    compiled = folder / f"{key}.fatbin"
    if not compiled.exists():
        source, partial = folder / f"{key}.cu", folder / f"{key}.partial"
        source.write_text(program(file), encoding="utf-8")
        codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
        command = [nvcc, "-std=c++17", "-Werror=all-warnings", "--threads=2", "-fatbin", *codes]
        done = subprocess.run([*command, str(source), "-o", str(partial)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        partial.rename(compiled)
    binary = compiled.read_bytes()
    for expression in sources.instantiations()[file]:
        assert expression.partition("<")[0].encode() in binary
