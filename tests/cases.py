"""Programs of their own that tests start, with all that they leave running."""

import os
import subprocess
import sys
import time
import uuid

from livn_ipp.cluster.machine.processes import marked


class Case:
    """A script of its own, and all that it starts."""

    def __init__(self, directory):
        self.mark = {"LIVN_IPP_CASE": uuid.uuid4().hex}
        self.environment = {**os.environ, **self.mark}
        self._script = directory / "script.py"

    def start(self, text, *, python=sys.executable, before=()):
        self._script.write_text(text)
        return subprocess.Popen(
            [*before, python, str(self._script)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, text, **options):
        process = self.start(text, **options)
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err

    def left(self, seconds):
        """Processes that are still there after so long; returns as soon as none is."""
        deadline = time.monotonic() + seconds
        while (found := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found
