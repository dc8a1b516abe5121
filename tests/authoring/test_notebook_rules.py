"""Each rule for notebooks accepts a good one, and names the fault that it is made for."""

import json
from pathlib import Path

import notebook_rules
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_page import Page

TITLE = """# 01 Language models

**What does a language model say?**

You will be able to sample from one.

You need: 00.

Time: about 30 minutes of reading, 20 seconds of computing on two cores

Video: chapter *Language models*, from [0:02:10](https://www.youtube.com/watch?v=hvGa5Mba4c8&t=130s)"""
ALT = "the line falls"


def words(text: str):
    return new_output("stream", name="stdout", text=text)


def picture(**data):
    bundle = {"image/png": "iVBORw0KGgo=", "text/plain": ALT, **data}
    return new_output("execute_result", data=bundle, metadata={"image/png": {"alt": ALT}}, execution_count=1)


def guess(number: int) -> list:
    asked = new_output("execute_result", data={"text/plain": f"Make a guess: how many? ({number})"}, execution_count=1)
    return [
        new_code_cell(f"guess = predict('how many?', high={number})\nguess", outputs=[asked], id=f"guess-{number}"),
        new_code_cell("guess.beside(3)", outputs=[words("how many?\n  it is: 3\n")], id=f"beside-{number}"),
    ]


def exercise(number: int) -> list:
    statement = f"### Exercise 01.{number} · A sum\n★★☆ · 5 minutes\n\nAdd [these](01_language_models.ipynb)."
    hint = "<details><summary>Hint</summary>\n\nCarry.\n\n</details>\n\n[Solution](solutions/01_language_models.ipynb)"
    blank = f'answer = ...\ncheck("01.{number}", answer)'
    said = [words(f"01.{number}: not tried yet\n")]
    return [
        new_markdown_cell(statement, metadata={"tags": ["exercise"]}, id=f"exercise-{number}"),
        new_markdown_cell(hint, metadata={"tags": ["hint"]}, id=f"hint-{number}"),
        new_code_cell(blank, metadata={"tags": ["answer"]}, outputs=said, id=f"answer-{number}"),
    ]


def good_lesson():
    explorers = "from dpo_notes.lessons.language_models.explorers import NextToken, load_run"
    cells = [
        new_markdown_cell(TITLE, id="title"),
        new_code_cell('import sys\n\nif "google.colab" in sys.modules:\n    pass', id="colab"),
        new_code_cell(f"{explorers}\nSEED = 0", id="imports"),
        new_code_cell("model = load_run(SEED)", id="settings"),
        new_markdown_cell("## Question\n\n[A paper](https://arxiv.org/abs/2305.18290)", id="question"),
        new_markdown_cell("## Derivation\n\n$$a = b \\tag{01.1}$$", id="derivation"),
        new_markdown_cell("## Code\n\n```\n## no heading, and [no](link)\n```", id="code"),
        new_markdown_cell("## Check", id="check"),
        new_code_cell('verify("01.1 a is b", 1, 1)', outputs=[words("✓ 01.1 a is b (largest 0)\n")], id="verify"),
        new_markdown_cell("## Play", id="play"),
        *guess(4),
        *guess(5),
        new_code_cell("explorer = NextToken(model)\nexplorer", outputs=[picture()], id="explorer"),
        new_markdown_cell("## Notice", id="notice"),
        new_markdown_cell("## Exercises", id="exercises"),
        *(cell for number in (1, 2, 3, 4) for cell in exercise(number)),
        *(new_markdown_cell(f"## {name}", id=f"end-{n}") for n, name in enumerate(notebook_rules.HEADINGS[7:])),
    ]
    return numbered(new_notebook(cells=cells))


def good_solutions():
    solved = [
        new_code_cell(f'check("01.{n}", {n})', outputs=[words(f"01.{n}: right\n")], id=f"solution-{n}")
        for n in range(1, 5)
    ]
    return numbered(new_notebook(cells=[new_markdown_cell("# Solutions", id="title"), *solved]))


def numbered(notebook):
    for place, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = place
    return notebook


def written(folder: Path, lesson, solutions) -> tuple[Path, Path]:
    """Both notebooks as files, in their usual places."""
    (folder / "solutions").mkdir()
    paths = folder / "01_language_models.ipynb", folder / "solutions" / "01_language_models.ipynb"
    for path, notebook in zip(paths, (lesson, solutions), strict=True):
        path.write_text(json.dumps(notebook), encoding="utf-8")
    return paths


def test_a_good_notebook_and_its_solutions_cause_no_complaint(tmp_path):
    for path in written(tmp_path, good_lesson(), good_solutions()):
        assert notebook_rules.complaints(path) == []


def edit(cell_id: str, old: str, new: str):
    """A fault in the source of one cell."""

    def make(notebook):
        cell = cell_of(notebook, cell_id)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return make


def output(cell_id: str, *outputs):
    """A fault in the outputs of one cell."""

    def make(notebook):
        cell_of(notebook, cell_id).outputs = list(outputs)

    return make


def metadata(cell_id: str, **entries):
    """A fault in the metadata of one cell."""

    def make(notebook):
        cell_of(notebook, cell_id).metadata.update(entries)

    return make


def without(*cell_ids: str):
    """The notebook without these cells."""

    def make(notebook):
        notebook.cells = [cell for cell in notebook.cells if cell.id not in cell_ids]
        numbered(notebook)

    return make


def swapped(first: str, second: str):
    """Two cells in each other's place."""

    def make(notebook):
        order = [cell.id for cell in notebook.cells]
        one, two = order.index(first), order.index(second)
        notebook.cells[one], notebook.cells[two] = notebook.cells[two], notebook.cells[one]
        numbered(notebook)

    return make


def cell_of(notebook, cell_id: str):
    return next(cell for cell in notebook.cells if cell.id == cell_id)


def times_kept(notebook):
    notebook.cells[1].metadata["execution"] = {"iopub.execute_input": "2026-01-01"}


def twice_executed(notebook):
    notebook.cells[1].execution_count = 7


def never_executed(notebook):
    cell_of(notebook, "explorer").update(execution_count=None, outputs=[])


def widget_state(notebook):
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}


def same_id(notebook):
    notebook.cells[3].id = "title"


def many_lines(notebook):
    cell_of(notebook, "settings").source = "\n".join(f"x{n} = {n}" for n in range(16))


OTHER = picture(**{"text/plain": "<Figure>"})
NO_ALT = new_output("execute_result", data=OTHER.data, execution_count=1)
ERROR = new_output("error", ename="KeyError", evalue="x", traceback=[])
FAULTS = [
    ("opening", edit("title", "# 01 ", "# 02 "), "begins with '# 01 Title'"),
    ("opening", edit("title", "?**", "**"), "lacks a question in bold"),
    ("opening", edit("title", "You will be able to", "We"), "lacks You will be able to"),
    ("opening", edit("title", "You need", "Needs"), "lacks You need"),
    ("opening", edit("title", ", 20 seconds", ""), "lacks Time with"),
    ("opening", edit("title", "&t=130s", ""), "lacks a link into the video"),
    ("opening", edit("imports", "SEED = 0", ""), "has the imports and SEED"),
    ("opening", without("imports", "settings"), "three code cells"),
    ("opening", edit("colab", "google.colab", "sys"), "fetches the package there"),
    ("headings", edit("notice", "## Notice", "### Notice"), "the sections are"),
    ("headings", swapped("play", "notice"), "the sections are"),
    ("headings", edit("code", "## Code", "## Code\n\n## More code"), "the sections are"),
    ("short_cells", many_lines, "has 16 lines"),
    ("short_cells", edit("beside-4", "guess.beside(3)", ""), "has 0 lines"),
    ("equations", edit("derivation", "\\tag{01.1}", "\\tag{01.1}$$ and $$c \\tag{01.2}"), "01.2 has no verify"),
    ("equations", edit("derivation", "\\tag{01.1}", "\\tag{1.1}"), "is not numbered 01.k"),
    ("equations", edit("derivation", "\\tag{01.1}", "\\tag{01.1}$$ and $$c \\tag{01.1}"), "number twice"),
    ("equations", edit("verify", "01.1 a", "01.3 a"), "the number of no equation"),
    ("equations", swapped("derivation", "verify"), "verified before it is stated"),
    ("equations", output("verify"), "did not print '✓ 01.1"),
    ("executed", twice_executed, "execution counts are"),
    ("executed", times_kept, "the times of its execution"),
    ("executed", output("settings", ERROR), "raised KeyError"),
    ("executed", output("settings", new_output("stream", name="stderr", text="FutureWarning: x")), "warns: 'FutureW"),
    ("no_widget_state", widget_state, "metadata contain widget state"),
    ("no_widget_state", output("explorer", picture(**{"application/vnd.jupyter.widget-view+json": {}})), "widget view"),
    ("pictures", output("explorer", NO_ALT), "no alternative text"),
    ("pictures", output("explorer", OTHER), "is not its alternative text"),
    ("pictures", edit("notice", "## Notice", "## Notice\n\n![](01_language_models.ipynb)"), "no alternative text"),
    ("pictures", edit("notice", "## Notice", '## Notice\n\n<img src="solutions" alt="">'), "no alternative text"),
    ("explorers", edit("explorer", "NextToken(model)", "model"), "0 explorers"),
    ("explorers", output("explorer"), "leaves no picture"),
    ("explorers", never_executed, "the explorer has not been executed"),
    ("predictions", without("guess-4", "beside-4"), "1 predictions"),
    ("predictions", without("beside-4"), "1 shown beside"),
    ("predictions", output("guess-4"), "the prediction is not shown"),
    ("exercises", without("exercise-4", "hint-4", "answer-4"), "3 exercises"),
    ("exercises", without("hint-4"), "do not follow each other in threes"),
    ("exercises", swapped("hint-1", "answer-1"), "do not follow each other in threes"),
    ("exercises", metadata("hint-1", tags=[]), "do not follow each other in threes"),
    ("exercises", edit("settings", "model", "check('01.9', 1)\nmodel"), "needs the tag 'answer'"),
    ("exercises", edit("answer-2", "01.2", "01.1"), "a number of its own"),
    ("exercises", edit("answer-2", "01.2", "02.2"), "a number of its own"),
    ("exercises", edit("exercise-1", "01.1 ·", "1 ·"), "does not begin with '### Exercise 01.1"),
    ("exercises", edit("exercise-1", "5 minutes", "short"), "no line such as"),
    ("exercises", edit("exercise-1", "★★☆", "★★"), "no line such as"),
    ("exercises", edit("hint-1", "<details>", ""), "a hint is folded"),
    ("exercises", edit("hint-1", "solutions/01_language_models.ipynb", "solutions"), "no link to solutions/01"),
    ("exercises", edit("answer-1", "...", "3"), "is no blank"),
    ("exercises", output("answer-1", words("01.1: right\n")), "did not print '01.1: not tried yet'"),
    ("links", edit("notice", "## Notice", "## Notice\n\n[06](06_bradley_terry.ipynb)"), "06_bradley_terry.ipynb leads nowhere"),
    ("links", edit("notice", "## Notice", "## Notice\n\n[here](/etc)"), "/etc leads nowhere"),
    ("links", edit("notice", "## Notice", '## Notice\n\n<a href="absent.html">x</a>'), "absent.html leads nowhere"),
    ("links", edit("notice", "## Notice", "## Notice\n\n[v](https://youtu.be/dQw4w9WgXcQ)"), "another video"),
    ("ids", same_id, "several cells have this id"),
    ("nothing_of_this_machine", output("settings", words("read /home/me/model\n")), "names a folder of one machine"),
    ("nothing_of_this_machine", edit("settings", "model", "p = 'C:\\\\Users'\nmodel"), "names a folder of one machine"),
    ("nothing_of_this_machine", output("settings", words("Traceback (most recent call last)")), "shows a traceback"),
]  # fmt: skip
SOLUTION_FAULTS = [
    ("solved", without("solution-3"), "01.3 is not solved"),
    ("solved", edit("solution-3", "01.3", "01.9"), "01.9 is no exercise"),
    ("solved", output("solution-3", words("01.3: not yet: carry\n")), "did not print '01.3: right'"),
]


def complaints_of(path: Path, rule: str) -> list[str]:
    return [said for _, said in getattr(notebook_rules, rule)(Page(path))]


@pytest.mark.parametrize(("rule", "fault", "says"), FAULTS, ids=[f"{rule}: {says}" for rule, _, says in FAULTS])
def test_each_fault_of_a_notebook_is_named_by_its_rule(tmp_path, rule, fault, says):
    lesson = good_lesson()
    fault(lesson)
    path, _ = written(tmp_path, lesson, good_solutions())
    assert any(says in said for said in complaints_of(path, rule)), complaints_of(path, rule)


@pytest.mark.parametrize(("rule", "fault", "says"), SOLUTION_FAULTS, ids=[says for _, _, says in SOLUTION_FAULTS])
def test_each_fault_of_a_solution_is_named(tmp_path, rule, fault, says):
    solutions = good_solutions()
    fault(solutions)
    _, path = written(tmp_path, good_lesson(), solutions)
    assert any(says in said for said in complaints_of(path, rule)), complaints_of(path, rule)


def test_every_rule_has_a_fault_that_it_finds():
    rules = {rule.__name__ for rule in notebook_rules.LESSON_RULES + notebook_rules.SOLUTION_RULES}
    assert {rule for rule, _, _ in FAULTS + SOLUTION_FAULTS} == rules


def test_the_command_prints_complaints_with_their_cells_and_fails(tmp_path, capsys):
    lesson = good_lesson()
    twice_executed(lesson)
    paths = written(tmp_path, lesson, good_solutions())
    assert notebook_rules.main([str(path) for path in paths]) == 1
    assert "1 complaints\n  colab: execution counts are [7," in capsys.readouterr().out
    assert notebook_rules.main([str(paths[1])]) == 0
    assert "no complaints" in capsys.readouterr().out


def test_what_an_explorer_needs_is_found_and_the_rest_left_out(tmp_path):
    """NextToken(model) needs `model` of the settings, which needs load_run and SEED of the imports; no more."""
    lesson = good_lesson()
    cell_of(lesson, "verify").source = "unrelated = model\n" + cell_of(lesson, "verify").source
    page = Page(written(tmp_path, lesson, good_solutions())[0])
    assert [cell.id for cell in page.with_needs(page.explorer_cells)] == ["imports", "settings", "explorer"]


def test_explorers_may_be_called_by_the_name_of_their_file(tmp_path):
    lesson = good_lesson()
    cell_of(lesson, "imports").source = "from dpo_notes.lessons.language_models import explorers\nSEED = 0"
    cell_of(lesson, "settings").source = "model = explorers.load_run(SEED)"
    cell_of(lesson, "explorer").source = "explorers.NextToken(model)"
    path, _ = written(tmp_path, lesson, good_solutions())
    assert notebook_rules.complaints(path) == []
    assert [cell.id for cell in Page(path).explorer_cells] == ["explorer"]


def test_code_and_formulas_are_not_taken_for_links_or_headings(tmp_path):
    lesson = good_lesson()
    cell_of(lesson, "notice").source += "\n\n`x[0](y)` and $E[r](x)$\n\n$$\\mathbb{E}[r](x)$$\n\n```\n[a](b)\n## c\n```"
    path, _ = written(tmp_path, lesson, good_solutions())
    assert notebook_rules.complaints(path) == []
