"""The rules for every notebook of the series: python authoring/notebook_rules.py [NOTEBOOK ...]

A rule takes a `Page` and yields (cell id, what is wrong). LESSON_RULES apply to a notebook, SOLUTION_RULES to its
solutions. Nothing is executed and nothing of the notebook is imported: the saved file is judged.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from notebook_page import Page, checks, claim_of, printed, prose, tags

from dpo_notes.places import NOTEBOOKS

HEADINGS = [
    *("Question", "Derivation", "Code", "Check", "Play", "Notice"),
    *("Exercises", "What we proved", "Next", "References"),
]
VIDEO = "hvGa5Mba4c8"
LINES_PER_CELL, EXERCISES, PREDICTIONS, EXPLORERS = 15, 4, 2, 1
OPENING = {  # what the first cell must contain, as a pattern
    "a question in bold": r"\*\*[^*]+\?\*\*",
    "You will be able to": r"You will be able to",
    "You need": r"You need",
    "Time with minutes and seconds": r"Time\b.*\bminutes?\b.*\bseconds?\b",
    "a link into the video": rf"\]\(https://www\.youtube\.com/watch\?v={VIDEO}&t=\d+s\)",
}
WIDGETS = "application/vnd.jupyter.widget"
ANYWHERE_ELSE = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|mnt|opt|usr|var|Users)/\w|\b[A-Z]:\\+Users\b")
Complaints = Iterator[tuple[str, str]]


def opening(page: Page) -> Complaints:
    """The title cell is first, then the cell for Colab (see authoring/addresses.py), imports with SEED, settings."""
    title, *following = page.cells[:4]
    if title.cell_type != "markdown" or not re.match(rf"# {page.number} \S", title.source):
        yield title.id, f"the first cell begins with '# {page.number} Title'"
    for what, looks in OPENING.items():
        if not re.search(looks, title.source):
            yield title.id, f"the first cell lacks {what}"
    if [cell.cell_type for cell in following] != ["code", "code", "code"]:
        yield title.id, "three code cells follow the title: what Colab needs, imports with SEED, and settings"
        return
    colab, imports, _ = following
    if colab.id != "colab" or "google.colab" not in colab.source:
        yield colab.id, "the second cell has the id 'colab' and fetches the package there"
    if "import " not in imports.source or not re.search(r"^SEED = \d+", imports.source, re.MULTILINE):
        yield imports.id, "the third cell has the imports and SEED"


def headings(page: Page) -> Complaints:
    """The ten sections, each once and in order, and no others at their level."""
    lines = [line for cell in page.markdown for line in prose(cell).splitlines()]
    found = [line.removeprefix("## ").strip() for line in lines if line.startswith("## ")]
    if found != HEADINGS:
        yield page.cells[0].id, f"the sections are {found}; expected {HEADINGS}"


def short_cells(page: Page) -> Complaints:
    """A code cell is short enough to read at a glance."""
    for cell in page.code:
        lines = len(cell.source.splitlines())
        if not 1 <= lines <= LINES_PER_CELL:
            yield cell.id, f"has {lines} lines; expected 1 to {LINES_PER_CELL} in a code cell"


def equations(page: Page) -> Complaints:
    """Every numbered equation is verified below it, and every verification belongs to an equation."""
    order = {cell.id: place for place, cell in enumerate(page.cells)}
    tagged, verified = {}, {}
    for cell in page.markdown:
        for number in re.findall(r"\\tag\{([^}]*)\}", cell.source):
            if number in tagged:
                yield cell.id, f"equation {number} has its number twice"
            if not re.fullmatch(rf"{page.number}\.\d+", number):
                yield cell.id, f"equation {number} is not numbered {page.number}.k"
            tagged.setdefault(number, cell.id)
    for cell, call in page.calls("verify"):
        number = claim_of(call).split(" ")[0]
        verified.setdefault(number, cell.id)
        if number not in tagged:
            yield cell.id, f"verify({claim_of(call)!r}) begins with the number of no equation"
        elif order[cell.id] < order[tagged[number]]:
            yield cell.id, f"{number} is verified before it is stated"
        if f"✓ {number} " not in printed(cell):
            yield cell.id, f"did not print '✓ {number} …'"
    for number in tagged.keys() - verified:
        yield tagged[number], f"equation {number} has no verify('{number} …')"


def executed(page: Page) -> Complaints:
    """Executed once from the top by the one command, without an error or a warning."""
    counts = [cell.execution_count for cell in page.code]
    if counts != list(range(1, len(counts) + 1)):
        yield page.code[0].id, f"execution counts are {counts}: execute with `python run.py notebooks`"
    for cell in page.code:
        if "execution" in cell.metadata:
            yield cell.id, "contains the times of its execution: execute with `python run.py notebooks`"
        for output in cell.outputs:
            if output.output_type == "error":
                yield cell.id, f"raised {output.ename}"
            elif output.get("name") == "stderr":
                yield cell.id, f"warns: {output.text.strip()[:80]!r}"


def no_widget_state(page: Page) -> Complaints:
    """Nothing is saved that only a running kernel could use."""
    if "widgets" in page.notebook.metadata:
        yield page.cells[0].id, "the notebook's metadata contain widget state"
    for cell in page.code:
        if any(kind.startswith(WIDGETS) for output in cell.outputs for kind in output.get("data", {})):
            yield cell.id, "an output contains a widget view"


def pictures(page: Page) -> Complaints:
    """Every picture has an alternative text, also in Markdown."""
    for cell in page.code:
        for output in cell.outputs:
            kinds, alt = output.get("data", {}), output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if "image/png" in kinds and not alt.strip():
                yield cell.id, "a picture has no alternative text: show it with Picture(figure, 'what it shows')"
            elif "image/png" in kinds and kinds.get("text/plain") != alt:
                yield cell.id, "a picture's plain text is not its alternative text"
    for cell in page.markdown:
        if re.search(r"!\[\s*\]\(", prose(cell)) or re.search(r"<img(?![^>]*\balt=\"[^\"])", prose(cell)):
            yield cell.id, "a picture has no alternative text"


def explorers(page: Page) -> Complaints:
    """There is at least one, and each leaves a picture for readers without a kernel."""
    if len(page.explorer_cells) < EXPLORERS:
        yield page.cells[0].id, f"{len(page.explorer_cells)} explorers; expected at least {EXPLORERS}"
    for cell in page.explorer_cells:
        if cell.execution_count is None:
            yield cell.id, "the explorer has not been executed: `python run.py notebooks NOTEBOOK` leaves its picture"
        elif not any("image/png" in output.get("data", {}) for output in cell.outputs):
            yield cell.id, "the explorer leaves no picture: make it and show it as the last expression of one cell"


def predictions(page: Page) -> Complaints:
    """Predict, then run: each guess has a cell of its own and is later shown beside the answer."""
    asked = page.calls("predict")
    if len(asked) < PREDICTIONS:
        yield page.cells[0].id, f"{len(asked)} predictions; expected at least {PREDICTIONS}"
    if len(page.calls("beside")) < len(asked):
        yield page.cells[0].id, f"{len(asked)} guesses, but {len(page.calls('beside'))} shown beside their answer"
    for cell, _ in asked:
        if not any(output.get("data", {}).get("text/plain", "").startswith("Make a guess") for output in cell.outputs):
            yield cell.id, "the prediction is not shown: make it the last expression of its cell"


def exercises(page: Page) -> Complaints:
    """There are at least four: statement, hint with a link to the solution, and a blank that says "not tried yet"."""
    answers = [cell for cell in page.code if "answer" in tags(cell)]
    if len(answers) < EXERCISES:
        yield page.cells[0].id, f"{len(answers)} exercises; expected at least {EXERCISES}"
    for cell, _ in page.calls("check"):
        if "answer" not in tags(cell):
            yield cell.id, "a cell with check(…) needs the tag 'answer'"
    parts = [cell for cell in page.cells if tags(cell) & {"exercise", "hint", "answer"}]
    wanted = ["exercise", "hint", "answer"] * len(answers)
    if [kind for cell in parts for kind in sorted(tags(cell) & {"exercise", "hint", "answer"})] != wanted:
        yield page.cells[0].id, "exercise, hint and answer cells do not follow each other in threes, tagged so"
        return
    numbers = {cell.id: number for number, cell in checks(page).items()}
    for statement, hint, answer in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        number = numbers.get(answer.id, "?")
        if not re.fullmatch(rf"{page.number}\.\d+", number):
            yield answer.id, f"has no check('{page.number}.k', …) with a number of its own"
        if not re.match(rf"### Exercise {re.escape(number)} · \S", statement.source):
            yield statement.id, f"does not begin with '### Exercise {number} · title'"
        if not re.search(r"^(★☆☆|★★☆|★★★) · \d+ minutes?", statement.source, re.MULTILINE):
            yield statement.id, "has no line such as '★☆☆ · 5 minutes'"
        if "<details><summary>Hint</summary>\n\n" not in hint.source or "</details>" not in hint.source:
            yield hint.id, "a hint is folded in <details><summary>Hint</summary>, with an empty line after it"
        if f"](solutions/{page.path.name}" not in hint.source:
            yield hint.id, f"has no link to solutions/{page.path.name}"
        if not any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(page.trees[answer.id])):
            yield answer.id, "is no blank: expected '...' in place of the answer"
        if f"{number}: not tried yet" not in printed(answer).splitlines():
            yield answer.id, f"did not print '{number}: not tried yet'"


def links(page: Page) -> Complaints:
    """A link to a file finds it, and a link to a video leads to the talk."""
    for cell in page.markdown:
        for target in re.findall(r"\]\(([^)\s]+)|\b(?:href|src)=\"([^\"]+)\"", prose(cell)):
            target = "".join(target)
            if re.match(r"https://(www\.)?(youtube\.com|youtu\.be)/", target):
                if VIDEO not in target:
                    yield cell.id, f"{target} is another video"
            elif not re.match(r"https?://|#|mailto:", target):
                file = page.path.parent / target.split("#")[0]
                if target.startswith("/") or not file.exists():
                    yield cell.id, f"the link {target} leads nowhere"


def ids(page: Page) -> Complaints:
    """Cells have unique ids, by which we can refer to them."""
    found = [cell.get("id") for cell in page.cells]
    for name in sorted({name for name in found if found.count(name) > 1}, key=str):
        yield str(name), "several cells have this id"


def nothing_of_this_machine(page: Page) -> Complaints:
    """There is no folder of the author's machine and no traceback."""
    for cell in page.cells:
        text = cell.source + "\n" + (printed(cell) if cell.cell_type == "code" else "")
        if found := ANYWHERE_ELSE.search(text):
            yield cell.id, f"names a folder of one machine: …{text[found.start() : found.start() + 40]!r}"
        if "Traceback (most recent call last)" in text:
            yield cell.id, "shows a traceback"


def solved(page: Page) -> Complaints:
    """Every exercise of the notebook is solved, and its check says "right"."""
    lesson = page.path.parent.parent / page.path.name
    asked = checks(Page(lesson)) if lesson.exists() else {}
    given = checks(page)
    for number in sorted(asked.keys() ^ given.keys()):
        yield page.cells[0].id, f"{number} is {'not solved' if number in asked else 'no exercise of the notebook'}"
    for number, cell in given.items():
        if f"{number}: right" not in printed(cell).splitlines():
            yield cell.id, f"did not print '{number}: right'"


COMMON_RULES = (short_cells, executed, no_widget_state, pictures, links, ids, nothing_of_this_machine)
LESSON_RULES = (opening, headings, equations, explorers, predictions, exercises, *COMMON_RULES)
SOLUTION_RULES = (solved, *COMMON_RULES)


def rules_for(path: Path) -> tuple:
    return SOLUTION_RULES if path.resolve().parent.name == "solutions" else LESSON_RULES


def complaints(path: Path) -> list[str]:
    """Everything that is wrong with the notebook at `path`, each with the id of its cell."""
    page = Page(path)
    return [f"{cell}: {words}" for rule in rules_for(path) for cell, words in rule(page)]


def main(names: list[str]) -> int:
    paths = [Path(name) for name in names]
    paths = paths or sorted([*NOTEBOOKS.glob("[0-9]*.ipynb"), *NOTEBOOKS.glob("solutions/[0-9]*.ipynb")])
    total = 0
    for path in paths:
        found = complaints(path)
        total += len(found)
        print(f"{path}: {len(found) or 'no'} complaints", *found, sep="\n  ")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
