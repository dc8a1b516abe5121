"""Where the package stands, and what the repository keeps around it."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
DATA, NOTEBOOKS = ROOT / "data", ROOT / "notebooks"
