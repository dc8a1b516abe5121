"""The run-time type checker that tests put on every annotated function: an int is accepted where a float is asked for."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
