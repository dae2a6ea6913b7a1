"""Which modules pytest may look into for examples: those that import a package which is not here cannot be imported."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent


def importing(package: str) -> list[str]:
    """Modules that import `package` as they are imported themselves."""
    modules = (ROOT / "src").rglob("*.py")
    start = re.compile(rf"^(import|from) {package}", re.M)
    return [str(path.relative_to(ROOT)) for path in modules if start.search(path.read_text())]


absent = [package for package in ("cupy", "distributed_ucxx") if importlib.util.find_spec(package) is None]
collect_ignore = [path for package in absent for path in importing(package)]
