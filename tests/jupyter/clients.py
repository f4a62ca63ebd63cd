"""The tutorial in nbclient and `jupyter execute`, and consoles on a running kernel."""

import os
import re
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

TUNEBOOK = os.environ["TUNEBOOK"]
TUTORIAL = ROOT / "notebooks" / "tutorial.ipynb"
QUICKSTART = ROOT / "notebooks" / "00-quickstart.ipynb"


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

    def check_quickstart(self, notebook):
        texts = [data["text/plain"] for data in data_of(notebook)]
        self.assertFalse([cell for cell in notebook.cells if any(o.output_type == "error" for o in cell.get("outputs", []))])
        plain = [i for i, text in enumerate(texts) if re.search(r"This is a \w+ creature\. It has", text)]
        named = [i for i, text in enumerate(texts) if re.search(r"This is [A-Z]\w+, a creature of the \w+ type\.", text)]
        # What the samples say is shown all along; it is the answers that change.
        self.assertTrue(plain and named and max(plain) < max(named), texts)
        scores = [float(score) for text in texts for score in re.findall(r"^ *bleu-4 +([\d.]+)$", text, re.MULTILINE)]
        self.assertEqual(len(scores), 2)
        self.assertLess(scores[0], 60)
        self.assertGreater(scores[1], 90)

    def test_nbclient_runs_the_quickstart(self):
        notebook = nbformat.read(QUICKSTART, as_version=4)
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(QUICKSTART.parent)}}).execute()
        self.check_quickstart(notebook)

    def test_the_quickstart_is_saved_with_its_outputs(self):
        self.check_quickstart(nbformat.read(QUICKSTART, as_version=4))


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

    def test_the_repl_attaches_and_both_hold_one_session(self):
        with kernel() as (manager, kc):
            run(kc, READY)
            environment = {**os.environ, "NO_COLOR": "1"}
            arguments = ["attach", manager.connection_file]
            repl = pexpect.spawn(TUNEBOOK, arguments, encoding="utf-8", timeout=60, env=environment)
            repl.expect("attached> ")
            # The REPL trains, and the notebook plots what it trained.
            repl.sendline("train 5")
            repl.expect("5 steps in")
            wait_for(kc, lambda m: "5 steps in" in text_of([m]))
            self.assertIn("step 5", text_of(run(kc, "plot")[1]))
            # It shows what the notebook runs, above the line that is being typed.
            repl.expect("attached> ")
            run(kc, "print from the notebook")
            repl.expect(r"\[another client\] print from the notebook")
            repl.expect("from the notebook")
            repl.send("adapter u\t")
            repl.expect("use")
            repl.sendcontrol("c")
            # Ctrl-C stops the command and not the kernel.
            repl.sendline("train")
            repl.expect("step [0-9]+ of")
            wait_for(kc, lambda m: m["msg_type"] == "update_display_data")
            repl.sendcontrol("c")
            repl.expect("Interrupted in line 1: train")
            repl.sendline("chat")
            repl.expect("you: ")
            repl.sendline("Who is this?")
            repl.expect("4 tokens after")
            repl.sendline("/exit")
            repl.expect("attached> ")
            repl.sendcontrol("d")
            repl.expect(pexpect.EOF)
            self.assertEqual(run(kc, "status")[0]["status"], "ok")

    def test_a_pipe_attaches_to_the_latest_kernel_and_ends_at_an_error(self):
        with kernel(latest=True) as (_, kc):
            lines = "print one\ntrian 5\nprint two\n"
            ended = subprocess.run([TUNEBOOK, "attach", "latest"], input=lines, capture_output=True, text=True, timeout=60)
            self.assertEqual((ended.returncode, ended.stdout), (1, "one\n"))
            self.assertIn("UnknownCommand in line 2: trian 5\n  there is no command `trian`", ended.stderr)
            self.assertEqual(run(kc, "print three")[0]["status"], "ok")
        ended = subprocess.run([TUNEBOOK, "attach"], input="", capture_output=True, text=True, timeout=60)
        self.assertEqual(ended.returncode, 1)
        self.assertIn("no running tunebook kernel is known", ended.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
