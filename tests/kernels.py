"""Kernels, as notebooks have them: a real one, and one in this process."""

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import KernelManager
from traitlets.config import Config


def shell_with_magics():
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    shell.display_pub = CapturingDisplayPublisher(shell=shell)
    shell.extension_manager.load_extension("livn_ipp")
    return shell


class Notebook:
    """A kernel, and what its cells show."""

    def __init__(self, environment):
        self.manager = KernelManager()
        self.manager.start_kernel(env=environment)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, cell, timeout=60):
        shown = []

        def show(message):
            content = message["content"]
            if message["msg_type"] == "stream":
                shown.append(content["text"])
            elif "data" in content:
                shown.append(content["data"].get("text/plain", ""))
                assert "application/vnd.jupyter.widget-view+json" not in content["data"]
            elif message["msg_type"] == "error":
                shown.append(f"{content['ename']}: {content['evalue']}")

        self.client.execute_interactive(cell, timeout=timeout, output_hook=show)
        return "".join(shown)

    def close(self):
        if self.manager.is_alive():
            self.manager.shutdown_kernel(now=True)
        self.client.stop_channels()
        self.manager.cleanup_resources()
