"""One question with a few answers: every sum over the answers is a real sum."""
