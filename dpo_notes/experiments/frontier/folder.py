"""The folder of a frontier's jobs: one JSON file per finished job, so that a stopped experiment can continue."""

import json
import os
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.training.identity import differences, in_one_line

Result = dict[str, object]


class JobFolder:
    """Reads and writes job results, in a folder that was taken (`take_folder`) with the maker "frontier".

    Results are written atomically, and each names the experiment that it belongs to.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def has(self, name: str, identity: dict) -> bool:
        """Whether this job has finished. Raises InputError if its file is damaged or from another experiment."""
        try:
            theirs = self.read(name)["identity"]
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._file(name)} is damaged ({error}); expected a job's result: remove it") from error
        if found := differences(theirs, json.loads(json.dumps(identity))):
            place, changed = self._file(name), in_one_line(found)
            raise InputError(f"{place} is from another experiment: {changed}; expected the same, or another folder")
        return True

    def read(self, name: str) -> Result:
        """The result of a finished job."""
        return json.loads(self._file(name).read_text(encoding="utf-8"))

    def write(self, name: str, identity: dict, result: Result) -> None:
        """Save the result of a job atomically."""
        aside = self.path / f".{name}.{os.getpid()}.writing"
        aside.write_text(json.dumps({"identity": identity, **result}), encoding="utf-8")
        os.replace(aside, self._file(name))

    def model_path(self, name: str) -> Path:
        """Where a job saves a model that other jobs need."""
        return self.path / name

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"
