"""JupyterLab in a headless browser, as a reader sees it: one server, one browser, a page for each notebook.

Server and kernels have their own folders, leave nothing behind, and can reach loopback only.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat.v4 import new_notebook
from notebook_page import Page as Notebook
from playwright.sync_api import Browser, Locator, Page, TimeoutError, sync_playwright

OFFLINE = Path(__file__).resolve().parent / "offline"
TOKEN = "only-for-this-test"
BROWSER_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SETTINGS = {  # no news, and every cell is in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
READY = """
() => {
    const {context, sessionContext} = window.jupyterapp.shell.currentWidget;
    return context.isReady && sessionContext.isReady && sessionContext.session?.kernel?.status === 'idle';
}
"""
RUN_ALL = """
() => {
    window.ran = 'running';
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(
        done => { window.ran = `done: ${done}`; }, error => { window.ran = `failed: ${error}`; });
}
"""
ERROR = ".jp-OutputArea-output [data-mime-type='application/vnd.jupyter.error']"
PICTURES_OR_ERROR = """
([count, error]) => {
    const pictures = [...document.querySelectorAll('.jp-OutputArea-output .widget-html img')];
    return pictures.filter(image => image.naturalWidth).length >= count || document.querySelector(error);
}
"""
# Keeps the time of each new picture in `window.drawn`; `window.said()` is the sentence below it.
COUNT_PICTURES = """
explorer => {
    window.drawn = [];
    window.said = () => explorer.querySelector('[role=status]').innerText;
    let last = explorer.querySelector('img').src;
    new MutationObserver(() => {
        const now = explorer.querySelector('.widget-html img')?.src;
        if (now && now !== last) { window.drawn.push(performance.now()); last = now; }
    }).observe(explorer, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
}
"""


def browser_path() -> str | None:
    """The path of this machine's Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def lab(folder: Path) -> Iterator[str]:
    """A JupyterLab on `folder`/notebooks, for the length of the `with`; yields its address."""
    (folder / "notebooks").mkdir(parents=True)
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    own = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"IPYTHONDIR": str(folder / "ipython"), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    own |= {f"JUPYTERLAB_{kind.upper()}_DIR": str(folder / kind) for kind in ("settings", "workspaces")}
    own |= {"PYTHONPATH": os.pathsep.join([str(OFFLINE), os.environ.get("PYTHONPATH", "")])}
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={folder / 'notebooks'}", f"--IdentityProvider.token={TOKEN}"]
    command += ["--LabApp.news_url=", "--LabApp.extension_manager=readonly", "--ServerApp.terminals_enabled=False"]
    with (folder / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log, cwd=folder)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(server, f"{address}/api/status?token={TOKEN}", folder / "server.log")
        yield address
    finally:
        server.terminate()  # shuts its kernels down
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window, with a new profile."""
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser_path(), headless=True, args=BROWSER_ARGUMENTS)
        try:
            yield program
        finally:
            program.close()


def explorers_only(path: Path, to: Path) -> list[str]:
    """Write a copy of a notebook with only its explorer cells and what they need; returns the cells' ids."""
    notebook = Notebook(path)
    cells = [cell.copy() for cell in notebook.with_needs(notebook.explorer_cells)]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    nbformat.write(new_notebook(cells=cells, metadata=notebook.notebook.metadata), to)
    return [cell.id for cell in notebook.explorer_cells]


def open_and_run(page: Page, address: str, name: str, *, seconds: float) -> None:
    """Open the notebook `name` and start running all of its cells."""
    page.goto(f"{address}/lab/tree/{name}?token={TOKEN}&reset")
    page.wait_for_function(
        "name => window.jupyterapp?.shell.currentWidget?.context?.path === name", arg=name, timeout=1000 * seconds
    )
    page.wait_for_function(READY, timeout=1000 * seconds)
    page.evaluate(RUN_ALL)


def explorers(page: Page, count: int, *, seconds: float) -> list[Locator]:
    """The explorers of the page, once each shows its picture. Raises AssertionError with the page's text otherwise."""
    with contextlib.suppress(TimeoutError):
        page.wait_for_function(PICTURES_OR_ERROR, arg=[count, ERROR], timeout=1000 * seconds)
    found = page.locator(".jp-OutputArea-output:has(.widget-html img)").all()
    if page.locator(ERROR).count() or len(found) != count:
        cells = page.locator(".jp-Notebook").inner_text()
        ran = page.evaluate("window.ran")
        raise AssertionError(f"{len(found)} of {count} explorers; run {ran}; the page:\n{cells}")
    return found


def close(page: Page) -> None:
    """End the page's kernel and the page."""
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(server: subprocess.Popen, address: str, log: Path, *, seconds: float = 120) -> None:
    """Return when the server answers. Raises RuntimeError with the end of its log if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab does not answer:\n{log.read_text(encoding='utf-8')[-2000:]}")
