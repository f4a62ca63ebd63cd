"""The tutorial in nbclient and `jupyter execute`, and consoles on a running kernel."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import nbformat
import pexpect
from nbclient import NotebookClient

from support import READY, ROOT, kernel, run, text_of, wait_for

TUTORIAL = ROOT / "notebooks" / "tutorial.ipynb"


def data_of(notebook):
    """Every output's forms, by media type; a stream is `text/plain`."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("data") or {"text/plain": output.get("text", "")}


class Notebooks(unittest.TestCase):
    def check(self, notebook):
        found = list(data_of(notebook))
        self.assertTrue(any("image/png" in data and "image/svg+xml" in data for data in found), "a plot")
        progress = [data for data in found if "tokens/s" in data["text/plain"] and "<polyline" in data.get("text/html", "")]
        self.assertEqual(len(progress), 2)
        self.assertIn("step 200 of 200", progress[1]["text/plain"])
        self.assertIn("width:100.0%", progress[1]["text/html"])
        self.assertTrue(any("tokens after" in data["text/plain"] for data in found), "an answer")
        self.assertTrue(any("adapter_model.safetensors" in data["text/plain"] for data in found), "an adapter")

    def test_nbclient_runs_the_tutorial(self):
        notebook = nbformat.read(TUTORIAL, as_version=4)
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(TUTORIAL.parent)}}).execute()
        self.check(notebook)

    def test_jupyter_execute_runs_the_tutorial(self):
        with tempfile.TemporaryDirectory() as folder:
            # Notebooks run in their own folder, and this one looks beside it.
            (Path(folder) / "tests").symlink_to(ROOT / "tests")
            shutil.copytree(TUTORIAL.parent, Path(folder) / "notebooks")
            path = Path(folder) / "notebooks" / TUTORIAL.name
            jupyter = [sys.executable, "-m", "jupyter", "execute", "--inplace", str(path)]
            subprocess.run(jupyter, check=True, capture_output=True, timeout=300)
            notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        self.check(notebook)

    def test_the_tutorial_is_saved_with_its_outputs(self):
        self.check(nbformat.read(TUTORIAL, as_version=4))


class Consoles(unittest.TestCase):
    def test_jupyter_console_joins_a_kernel(self):
        with kernel() as (manager, kc):
            run(kc, READY)
            arguments = ["-m", "jupyter", "console", "--simple-prompt", "--existing", manager.connection_file]
            console = pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=60)
            console.expect(r"In \[\d*\]: ")
            console.sendline("train 3")
            console.expect("3 steps in")
            console.sendline("print 2 plus 2")
            console.expect("\n2 plus 2")
            console.close(force=True)
            self.assertIn("step 3 of", text_of(run(kc, "status")[1]))

if __name__ == "__main__":
    unittest.main(verbosity=2)
