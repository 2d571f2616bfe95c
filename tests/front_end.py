"""A front end as people have it: a Jupyter server, and notebooks in a browser."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat

PATIENCE = 90.0  # s, for what takes a few on a quiet machine
_SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # no cell is left out
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
_DIRECTORIES = (
    "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
)  # fmt: skip


def chromium():
    """Path of this machine's Chromium, if it has one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def launch(playwright):
    """Start the browser; it talks to nobody but the server."""
    return playwright.chromium.launch(
        executable_path=chromium(),
        args=[
            "--no-sandbox",  # root has none
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    )


class Server:
    """A Jupyter server with directories, a port and a token of its own."""

    def __init__(self, directory, mark):
        self.files = directory / "files"
        self.files.mkdir()
        self.token = secrets.token_hex(16)
        self._log = directory / "server.log"
        environment = {**os.environ, **mark}
        for name in [name for name in environment if name.startswith("PYTEST")]:
            del environment[name]  # readers see bars, tests do not
        for name in _DIRECTORIES:
            (directory / name).mkdir()
            environment[name] = str(directory / name)
        self._runtime = Path(environment["JUPYTER_RUNTIME_DIR"])
        settings = Path(environment["JUPYTERLAB_SETTINGS_DIR"])
        for name, values in _SETTINGS.items():
            file = settings / f"@jupyterlab/{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]  # if it is taken, the server tries others
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                    f"--ServerApp.port={port}", f"--ServerApp.root_dir={self.files}",
                    f"--IdentityProvider.token={self.token}",
                    "--LabApp.expose_app_in_browser=True",
                    "--JupyterNotebookApp.expose_app_in_browser=True",
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            self.url = self._find()
        except BaseException:
            self.close()
            raise

    def _find(self):
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            for file in self._runtime.glob("jpserver-*.json"):
                return json.loads(file.read_text())["url"]
            time.sleep(0.1)
        raise AssertionError(f"no server:\n{self._log.read_text()[-3000:]}")

    def write(self, name, notebook=None):
        """Put a notebook into the server's files."""
        notebook = notebook or nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        )
        nbformat.write(notebook, self.files / name)

    def read(self, name):
        """Read a notebook that a front end has saved."""
        return nbformat.read(self.files / name, as_version=4)

    def close(self):
        """End all kernels, whose clusters end with them, and the server."""
        if self._process.poll() is None:
            for kernel in self._ask("GET", "api/kernels"):
                self._ask("DELETE", f"api/kernels/{kernel['id']}")
            self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _ask(self, method, path):
        request = urllib.request.Request(
            self.url + path,
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


class Notebook:
    """A notebook that is open in JupyterLab or Notebook 7."""

    def __init__(self, page, server, name, app="lab/tree"):
        self.page = page
        page.goto(f"{server.url}{app}/{name}?reset&token={server.token}")
        self.until(
            """name => {
                const panel = window.jupyterapp?.shell.currentWidget;
                const session = panel?.sessionContext;
                return panel?.context?.path === name && session?.isReady
                    && session.session?.kernel?.status === 'idle';
            }""",
            name,
        )

    def until(self, condition, argument=None, patience=PATIENCE):
        """Wait until something is so in the page."""
        self.page.wait_for_function(
            condition, arg=argument, polling=100, timeout=1000 * patience
        )

    def command(self, name, arguments=None):
        """Run one of the front end's commands; does not wait for its end."""
        self.page.evaluate(
            "([name, given]) => { jupyterapp.commands.execute(name, given ?? {}); }",
            [name, arguments],
        )

    def start(self, source):
        """Run a new cell at the end; does not wait for its end."""
        number = self.page.evaluate(
            """source => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const index = notebook.model.sharedModel.cells.length;
                const cell = {cell_type: 'code', source};
                notebook.model.sharedModel.insertCell(index, cell);
                notebook.activeCellIndex = index;
                notebook.deselectAll();
                jupyterapp.commands.execute('notebook:run-cell');
                return index;
            }""",
            source,
        )
        return Cell(self, number)

    def run(self, source, patience=PATIENCE):
        """Run a new cell at the end, and wait for its end."""
        return self.start(source).ended(patience)

    def fill(self, source):
        """Run the first cell with this in it, and wait for its end."""
        self.page.evaluate(
            """source => {
                const notebook = jupyterapp.shell.currentWidget.content;
                notebook.model.sharedModel.cells[0].setSource(source);
                notebook.activeCellIndex = 0;
                jupyterapp.commands.execute('notebook:run-cell');
            }""",
            source,
        )
        return self.cell(0).ended()

    def cell(self, number):
        """Return one of its cells."""
        return Cell(self, number)

    def busy(self):
        """Tell whether the kernel runs something."""
        return (
            self.page.evaluate(
                "jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
            )
            != "idle"
        )

    def shorten(self, cells):
        """Remove all cells but the first few."""
        if self.busy():
            self.command("notebook:interrupt-kernel")
            self.until(_IDLE)
        self.page.evaluate(
            """keep => {
                const model = jupyterapp.shell.currentWidget.content.model.sharedModel;
                if (model.cells.length > keep)
                    model.deleteCellRange(keep, model.cells.length);
            }""",
            cells,
        )

    def save(self):
        """Save it, and wait until that is done."""
        self.page.evaluate("jupyterapp.commands.execute('docmanager:save')")

    def theme(self, name):
        """Change the colours of the front end."""
        self.command("apputils:change-theme", {"theme": name})
        light = "false" if "Dark" in name else "true"
        self.until("light => document.body.dataset.jpThemeLight === light", light)


_IDLE = (
    "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
    " === 'idle'"
)


class Cell:
    """A cell of an open notebook, and what it shows."""

    def __init__(self, notebook, number):
        self._notebook = notebook
        self._whole = notebook.page.locator(".jp-Notebook .jp-Cell").nth(number)
        self.output = self._whole.locator(".jp-Cell-outputArea")

    @property
    def node(self):
        """Its element, for programs in the page."""
        return self._whole.element_handle()

    @property
    def text(self):
        """What it shows, line by line."""
        return self.output.inner_text().strip() if self.output.count() else ""

    @property
    def words(self):
        """What it shows, with one space between words."""
        return " ".join(self.text.split())

    @property
    def labels(self):
        """What its pictures are said to show."""
        return self.output.locator("[role=img]").evaluate_all(
            "pictures => pictures.map(each => each.ariaLabel)"
        )

    @property
    def busy(self):
        """Whether it is being run."""
        return "*" in self._whole.locator(".jp-InputPrompt").inner_text()

    def press(self, button):
        """Press one of its buttons."""
        self.output.get_by_role("button", name=button, exact=True).click()

    def ended(self, patience=PATIENCE):
        """Wait until it has a number, and so has ended."""
        self._notebook.until(
            "node => /\\d/.test(node.querySelector('.jp-InputPrompt').innerText)",
            self.node,
            patience,
        )
        return self

    def shows(self, text, patience=PATIENCE):
        """Wait until it shows a text, one space between words."""
        try:
            self._notebook.until(
                "([node, text]) => node.innerText.replace(/\\s+/g, ' ').includes(text)",
                [self.node, text],
                patience,
            )
        except Exception as error:
            raise AssertionError(f"{text!r} is not in {self.words!r}") from error
        return self
