"""The notebooks in nbclient and `jupyter execute`, and consoles on a running kernel."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import nbformat
import pexpect
import pypandoc
from nbformat.v4 import new_code_cell
from nbformat.v4 import new_notebook

import notebooks
from support import READY, kernel, run, text_of, wait_for

TUNEBOOK = os.environ["TUNEBOOK"]


class Notebooks(unittest.TestCase):
    def test_every_notebook_runs_without_a_fault(self):
        for name in notebooks.executed():
            with self.subTest(name):
                self.assertEqual(notebooks.faults(notebooks.execute(name)), [])

    def test_every_notebook_is_saved_with_its_outputs(self):
        for name in notebooks.executed():
            with self.subTest(name):
                notebook = nbformat.read(notebooks.FOLDER / f"{name}.ipynb", as_version=4)
                nbformat.validate(notebook)
                self.assertEqual(notebooks.faults(notebook), [])

    def test_the_creature_is_named_after_the_training_and_not_before(self):
        notebook = nbformat.read(notebooks.FOLDER / "00-quickstart.ipynb", as_version=4)
        texts = [
            (output.get("data") or {"text/plain": output.get("text", "")})["text/plain"]
            for cell in notebook.cells
            for output in cell.get("outputs", [])
        ]
        plain = [i for i, text in enumerate(texts) if re.search(r"This is a \w+ creature\. It has", text)]
        named = [i for i, text in enumerate(texts) if re.search(r"This is [A-Z]\w+, a creature of the \w+ type\.", text)]
        # What the samples say is shown all along; it is the answers that change.
        self.assertTrue(plain and named and max(plain) < max(named), texts)
        scores = [float(score) for text in texts for score in re.findall(r"^ *bleu-4 +([\d.]+)$", text, re.MULTILINE)]
        self.assertEqual(len(scores), 2)
        self.assertLess(scores[0], 60)
        self.assertGreater(scores[1], 90)

    def test_what_is_not_executed_names_only_what_there_is(self):
        notebook = nbformat.read(notebooks.FOLDER / f"{notebooks.NOT_EXECUTED}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.assertFalse([cell for cell in cells if cell.outputs])
        # The same settings and verbs, on the demo's model and data.
        lines = "\n".join(cell.source for cell in cells)
        lines = lines.replace("load Qwen/Qwen2.5-VL-3B-Instruct", "demo").replace("pokemon dataset_dir=data", "creatures eval_dataset=none")
        lines = re.sub(r"images/000(\d)\.png", r"images/creatures_000\1.png", lines)
        lines = lines.replace("train 20", "train 2").replace("\ntrain\n", "\ntrain 2\n").replace("max_samples=20", "max_samples=2")
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "real.tune"
            script.write_text(lines)
            ended = subprocess.run([TUNEBOOK, "run", script], cwd=folder, capture_output=True, text=True, timeout=120)
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_jupyter_execute_runs_a_notebook(self):
        notebook = nbformat.read(notebooks.FOLDER / "00-quickstart.ipynb", as_version=4)
        notebook.cells = [cell for cell in notebook.cells if cell.source.startswith(("demo", "chat image="))][:2]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "short.ipynb")
            nbformat.write(notebook, path)
            jupyter = [sys.executable, "-m", "jupyter", "execute", "--inplace", str(path)]
            ended = subprocess.run(jupyter, capture_output=True, text=True, timeout=300)
            self.assertEqual(ended.returncode, 0, ended.stderr)
            notebook = nbformat.read(path, as_version=4)
        self.assertEqual(notebooks.faults(notebook), [])

    def test_papermill_gives_a_notebook_its_parameters(self):
        shown = "show learning_rate\nshow plot_loss\nshow overwrite_output_dir\nshow default_system"
        cells = [new_code_cell("learning_rate=2e-4\nplot_loss=false", metadata={"tags": ["parameters"]}), new_code_cell(shown)]
        given = {"learning_rate": "1e-4", "overwrite_output_dir": "True", "default_system": "It's \"brief\" # always"}
        with tempfile.TemporaryDirectory() as folder:
            # As a notebook is that was never run, and one that was.
            for metadata in [{}, {"language_info": {"name": "bash"}}]:
                kernelspec = {"name": "tunebook", "language": "bash", "display_name": "tunebook"}
                path = Path(folder, "in.ipynb")
                nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernelspec, **metadata}), path)
                ended = papermill(folder, given)
                self.assertEqual(ended.returncode, 0, ended.stderr)
                texts = [text_of_cell(cell) for cell in nbformat.read(Path(folder, "out.ipynb"), as_version=4).cells]
                self.assertEqual(texts[0], "learning_rate = 2e-4\nplot_loss = false")
                self.assertTrue(texts[1].startswith("learning_rate = 1e-4\noverwrite_output_dir = true\n"), texts)
                expected = "learning_rate = 1e-4\nplot_loss = false\noverwrite_output_dir = true\n"
                self.assertEqual(texts[2], f"{expected}default_system = It's \"brief\" # always")
            ended = papermill(folder, {"learning_rat": "1e-4"})
            self.assertEqual(ended.returncode, 1)
            self.assertIn("did you mean `learning_rate`?", ended.stderr)


class Converted(unittest.TestCase):
    def test_every_notebook_is_converted(self):
        paths = sorted(notebooks.FOLDER.glob("*.ipynb"))
        for to, ending, picture in [
            ("latex", "tex", r"\\adjustimage"),
            ("html", "html", "<img|<svg"),
            ("markdown", "md", r"\.png\)|<img|<svg"),
        ]:
            with self.subTest(to), tempfile.TemporaryDirectory() as folder:
                convert(to, folder, *paths)
                for path in paths:
                    text = Path(folder, f"{path.stem}.{ending}").read_text()
                    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
                    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
                    self.assertGreaterEqual(len(re.findall(picture, text)), pictures, path.stem)
                    # What Pygments takes for a fault.
                    self.assertNotIn('class="err"', text, path.stem)

    def test_the_script_of_a_notebook_runs(self):
        for name in ("00-quickstart", "04-rust-cells"):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                convert("script", folder, notebooks.FOLDER / f"{name}.ipynb")
                ended = subprocess.run([TUNEBOOK, "run", f"{name}.tune"], cwd=folder, capture_output=True, text=True, timeout=300)
                self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_a_picture_of_a_rust_cell_needs_no_inkscape(self):
        drawing = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 3'><circle r='1'/></svg>"
        cell = f"%%rust\nprintln!(\"EVCXR_BEGIN_CONTENT image/svg+xml\\n{drawing}\\nEVCXR_END_CONTENT\");"
        with kernel() as (_, kc):
            output = run(kc, cell)[1][-1]["content"]["data"]
        self.assertEqual(sorted(output), ["text/html", "text/plain"])
        self.assertIn('<img src="data:image/svg+xml;base64,', output["text/html"])


def convert(to, folder, *paths):
    """`jupyter nbconvert --to …` of notebooks into a folder."""
    # It looks for pandoc on the PATH.
    environment = os.environ | {"PATH": f"{Path(pypandoc.get_pandoc_path()).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", to, "--output-dir", folder, *map(str, paths)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert ended.returncode == 0, ended.stderr


def papermill(folder, parameters):
    """`papermill in.ipynb out.ipynb -p …` in a folder."""
    given = [word for name, value in parameters.items() for word in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", *given]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def text_of_cell(cell):
    outputs = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
    return "".join(outputs).rstrip("\n")


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
            repl.expect("answer 4 tokens")
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
        self.assertIn("no running tunebook kernel was found", ended.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
