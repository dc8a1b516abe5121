"""One room for each notebook, named like it: its explorers, exercises and pictures, and what only it needs."""
