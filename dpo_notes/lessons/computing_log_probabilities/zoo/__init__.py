"""The bug zoo of notebook 09: a right DPO pipeline, its one-line faults, and the tests that tell them apart."""
