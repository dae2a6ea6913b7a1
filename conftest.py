"""Which modules pytest may look into for examples: those of the CUDA side cannot be imported without cupy."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent


def cuda_side() -> list[str]:
    """Modules that import cupy as they are imported themselves."""
    modules = (ROOT / "src").rglob("*.py")
    return [
        str(path.relative_to(ROOT)) for path in modules if re.search(r"^(import|from) cupy", path.read_text(), re.M)
    ]


collect_ignore = [] if importlib.util.find_spec("cupy") else cuda_side()
