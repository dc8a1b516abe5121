"""One loop per file; loops import step, checkpoint and evaluate, never each other."""
