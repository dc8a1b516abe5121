"""The website's page of the package's public names: signatures and docstrings as they stand in the code."""

import inspect
from dataclasses import is_dataclass

import dpo_notes
from dpo_notes.teaching.source import show_source

BEGINNING = """# The package

The public names of `dpo_notes`. `import dpo_notes` is immediate; each name is loaded when it is first used. Values in nats unless
the text says otherwise.
"""


def api_page() -> str:
    """The page, in Markdown: a section for each name of `dpo_notes.__all__`."""
    return BEGINNING + "".join(_section(name, getattr(dpo_notes, name)) for name in dpo_notes.__all__)


def _section(name: str, thing: object) -> str:
    if not callable(thing):  # LOSSES
        rows = (
            f"| `{key}` | {loss.reduction} | {'yes' if loss.needs_reference else 'no'} |" for key, loss in thing.items()
        )
        return f"\n## {name}\n\n| name | log-probabilities | reference |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    place = f"from {thing.__module__.replace('.', '/')}.py"
    if is_dataclass(thing):  # its fields, with what stands beside each
        signature = show_source(thing).code.partition("\n\n    def ")[0].partition("\n")[2]
    else:
        signature = f"{'class ' * inspect.isclass(thing)}{name}{_short(inspect.signature(thing))}"
    text = inspect.getdoc(thing)
    for method, function in vars(thing).items() if inspect.isclass(thing) else ():
        if inspect.isfunction(function) and not method.startswith("_"):
            text += f"\n\n.{method}{_short(inspect.signature(function))}\n{inspect.getdoc(function)}"
    return f"\n## {name}\n\n```python\n{signature}\n```\n\n```text\n{text}\n```\n\n*{place}*\n"


def _short(signature: inspect.Signature) -> str:
    """A signature, an argument a line where there are several, with types as a reader would write them."""
    parts = [
        str(one).replace("collections.abc.", "").replace("dpo_notes.", "") for one in signature.parameters.values()
    ]
    kinds = [one.kind for one in signature.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    inside = ", ".join(parts) if len(parts) < 3 else "\n    " + ",\n    ".join(parts) + ",\n"
    return f"({inside})"
