"""python run.py lint    the rules and the format of pyproject.toml (ruff), and the types of the public names (mypy)"""

import subprocess
import sys

from dpo_notes.places import ROOT

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", "dpo_notes/__init__.py", "tests/typed_use.py"),
)


def main() -> int:
    """Run all of them, whatever the first ones say; 0 where none complains."""
    return max(subprocess.run([sys.executable, "-m", *check], cwd=ROOT, check=False).returncode for check in CHECKS)


if __name__ == "__main__":
    sys.exit(main())
