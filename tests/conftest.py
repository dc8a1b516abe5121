"""Shapes and types in signatures are checked at run time in every test; no test reaches the network or a GPU by accident."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("dpo_notes", "runtime_types.typechecker")
