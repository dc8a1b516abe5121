"""`python -m dpo_notes` is `dpo-notes`, also under `accelerate launch -m` and `torchrun -m`."""

import sys

from dpo_notes.cli import main

if __name__ == "__main__":
    sys.exit(main())
