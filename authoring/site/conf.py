"""How Sphinx writes the website; authoring/build_site.py calls it."""

from docutils import nodes

project = html_title = "DPO notes"
author = "the dpo-notes authors"
copyright = f"{author}. Text CC BY 4.0, code MIT"
extensions = ["myst_nb"]

nb_execution_mode = "off"  # the pages are the notebooks as they were executed
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # of the solutions some have no level between title and exercise

html_theme = "furo"
pygments_dark_style = "github-dark"
html_static_path = ["explorer.js", "site.css"]
html_js_files = ["explorer.js"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_show_search_summary = False  # pages opened from a folder may not fetch each other
mathjax_path = "tex-svg.js"  # copied beside the pages: they work without a network


def keep_as_written(app, doctree):
    """Leave displayed formulas as they are: Sphinx would put those of several lines where \\tag is not allowed."""
    for formula in doctree.findall(nodes.math_block):
        formula.children = [nodes.Text(rf"\[{formula.astext()}\]")]
        formula["no-wrap"] = True


def setup(app):
    app.connect("doctree-read", keep_as_written)
