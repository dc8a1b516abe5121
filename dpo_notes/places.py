"""Where the package stands, and where it finds its data and notebooks: in its clone, or, installed as a wheel, in itself."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
IS_CLONE = not (PACKAGE / "data").is_dir()  # a wheel carries them (hatch_build.py)
DATA, NOTEBOOKS = ((ROOT if IS_CLONE else PACKAGE) / name for name in ("data", "notebooks"))
WORK = ROOT if IS_CLONE else Path.cwd()  # runs/ and my_notebooks/ are made there
