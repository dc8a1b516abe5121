"""What a wheel carries besides the package: data/ and notebooks/, so that it works without a clone.

Hatchling calls this at every build (https://hatch.pypa.io/latest/plugins/build-hook/custom/). Only files that git tracks
are taken, where there is git. An editable install gets none: it finds them in its clone.
"""

import subprocess
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = ("data", "notebooks")


class CarriedFiles(BuildHookInterface):
    """Adds them to the wheel, as dpo_notes/data and dpo_notes/notebooks, and as they are to the source distribution."""

    def initialize(self, version: str, build_data: dict) -> None:
        if version == "standard":
            inside = "dpo_notes/" if self.target_name == "wheel" else ""
            for name in tracked(Path(self.root)):
                build_data["force_include"][str(Path(self.root, name))] = inside + name


def tracked(root: Path) -> list[str]:
    """The files to carry, as paths below `root`. A source distribution has no git, and only tracked files to begin with."""
    if not (root / ".git").exists():
        found = [path for folder in CARRIED for path in (root / folder).rglob("*") if path.is_file()]
        return sorted(path.relative_to(root).as_posix() for path in found)
    listed = subprocess.run(["git", "ls-files", "-z", "--", *CARRIED], cwd=root, capture_output=True, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (root / name).is_file()]
