"""Every kernel that is ever launched compiles for the GPUs it is made for, where nvcc is installed."""

import hashlib
import shutil
import subprocess
from importlib import resources

import pytest

from overspill.kernels import sources

ARCHITECTURES = ("80", "90")

MANY, EVERY = 100, 9
"""Of so many instantiations that it takes minutes, every ninth: every type, and every number, is among them."""


def chosen(file: str, all_of_them: bool) -> list[str]:
    """The instantiations of `file` to compile."""
    expressions = sorted(sources.instantiations()[file])
    return expressions if all_of_them or len(expressions) < MANY else expressions[::EVERY]


def program(file: str, expressions: list[str]) -> str:
    """The source of `file`, and something that needs these instantiations of it."""
    needed = "\n".join(f"auto* needed_{i} = {expression};" for i, expression in enumerate(expressions))
    return f"{sources.text(file)}\n{needed}\n"


def test_every_source_is_known() -> None:
    files = {path.name for path in resources.files("overspill.kernels").iterdir() if path.name.endswith(".cu")}
    assert files == {f"{file}.cu" for file in sources.instantiations()}


def test_what_is_left_out_is_compiled_with_other_types() -> None:
    parameters = [set(e.partition("<")[2].rstrip(">").split(", ")) for e in sources.instantiations()["csr_vector"]]
    kept = [set(e.partition("<")[2].rstrip(">").split(", ")) for e in chosen("csr_vector", False)]
    assert set().union(*kept) == set().union(*parameters)


@pytest.mark.parametrize("file", sorted(sources.instantiations()))
@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
def test_sources_compile(file: str, all_of_them: bool, request: pytest.FixtureRequest) -> None:
    expressions = chosen(file, all_of_them)
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc, which is not installed")
    folder = request.config.cache.mkdir("kernels_compiled")
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    swift = [] if all_of_them else ["-Xcicc=-O1", "-Xptxas=-O1"]
    asked = f"{program(file, expressions)}{version}{ARCHITECTURES}{swift}"
    key = hashlib.sha256(asked.encode()).hexdigest()[:16]
    compiled = folder / f"{key}.fatbin"
    if not compiled.exists():
        source, partial = folder / f"{key}.cu", folder / f"{key}.partial"
        source.write_text(program(file, expressions), encoding="utf-8")
        codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
        command = [nvcc, "-std=c++17", "-Werror=all-warnings", "--threads=2", *swift, "-fatbin", *codes]
        done = subprocess.run([*command, str(source), "-o", str(partial)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        partial.rename(compiled)
    binary = compiled.read_bytes()
    for expression in expressions:
        assert expression.partition("<")[0].encode() in binary
