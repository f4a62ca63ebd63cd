"""wheel.py WHEEL: installs the wheel in each of the ways that pip knows, uses it there, and takes it away again.

The Python is that of an environment with Jupyter's clients; the program itself, which the wheel should hold, is named by
TUNEBOOK. No registry is asked.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import venv
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager

WHEEL = sys.argv.pop()
TUNEBOOK = os.environ["TUNEBOOK"]
SCRIPTS = Path(sysconfig.get_path("scripts"))
# As a shell has it in which nobody has activated the environment.
UNACTIVATED = os.environ | {"PATH": "/usr/bin:/bin"}


def ask(*command, **options):
    """What a command prints; it has to succeed."""
    options = {"env": UNACTIVATED} | options
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{command}: {done.stderr}\n{done.stdout}"
    return done.stdout


def pip(python, *arguments, **options):
    return ask(python, "-m", "pip", "--disable-pip-version-check", *arguments, **options)


def install(python, *arguments, **options):
    pip(python, "install", "--quiet", "--no-index", *arguments, WHEEL, **options)


def install_alone(python, *arguments, **options):
    """The same where what it needs is not there."""
    install(python, "--no-deps", *arguments, **options)


def files(folder):
    """All files in a folder but what Python compiles as it runs, and folders of ours; `pip` leaves empty ones of others."""
    found = (path for path in Path(folder).rglob("*") if "__pycache__" not in path.parts)
    return {path for path in found if path.is_file() or "tunebook" in path.name}


class Wheel(unittest.TestCase):
    def test_jupyter_finds_the_kernel_and_runs_a_notebook(self):
        before = files(sys.prefix)
        install(sys.executable)
        try:
            self.it_needs_anywidget_alone()
            self.kernelspec_is_that_of_kernel_install()
            self.a_notebook_runs()
        finally:
            pip(sys.executable, "uninstall", "--quiet", "--yes", "tunebook")
        self.assertEqual(files(sys.prefix), before)
        self.assertNotIn("tunebook", KernelSpecManager().find_kernel_specs())

    def kernelspec_is_that_of_kernel_install(self):
        listed = json.loads(ask(sys.executable, SCRIPTS / "jupyter", "kernelspec", "list", "--json"))["kernelspecs"]
        ours = Path(listed["tunebook"]["resource_dir"])
        self.assertTrue(ours.is_relative_to(sys.prefix), ours)
        with tempfile.TemporaryDirectory() as prefix:
            ask(TUNEBOOK, "kernel", "install", "--prefix", prefix)
            theirs = Path(prefix, "share/jupyter/kernels/tunebook")
            self.is_the_same(ours, theirs, except_for="kernel.json")
            extension = "share/jupyter/labextensions/tunebook"
            self.is_the_same(Path(sys.prefix, extension), Path(prefix, extension))
            spec, installed = (json.loads((folder / "kernel.json").read_text()) for folder in (ours, theirs))
        starts, names = spec.pop("argv"), installed.pop("argv")
        self.assertEqual(spec, installed)
        # The one is found by Jupyter's interpreter, the other by its path.
        self.assertEqual(starts[:3], ["python3", "-m", "tunebook"])
        self.assertEqual(names[:1], [TUNEBOOK])
        self.assertEqual(starts[3:], names[1:])

    def is_the_same(self, ours, theirs, except_for=None):
        """Two folders have the same files."""
        names = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (ours, theirs)]
        self.assertEqual(*names)
        self.assertTrue(names[0])
        for name in names[0] - {Path(str(except_for))}:
            self.assertEqual((ours / name).read_bytes(), (theirs / name).read_bytes(), name)

    def it_needs_anywidget_alone(self):
        """The panel's frontend comes with it, and nothing else."""
        self.assertEqual(importlib.metadata.requires("tunebook"), ["anywidget>=0.9"])

    def a_notebook_runs(self):
        kernel = {"name": "tunebook", "display_name": "tunebook", "language": "rust"}
        cells = ["version", "demo\nlora\ntrain 2 batch=2"]
        notebook = nbformat.v4.new_notebook(
            metadata={"kernelspec": kernel}, cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "notebook.ipynb")
            nbformat.write(notebook, path)
            ask(sys.executable, SCRIPTS / "jupyter-execute", "--inplace", path, cwd=folder)
            executed = nbformat.read(path, as_version=4)
        outputs = [json.dumps(cell.outputs) for cell in executed.cells]
        self.assertIn(ask(TUNEBOOK, "version").split()[1], outputs[0])
        self.assertIn("2 steps in", outputs[1])

    def test_a_new_environment_has_the_program_and_loses_it_without_a_trace(self):
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            before, python = files(folder), Path(folder, "bin/python")
            install_alone(python)
            self.is_the_program(python)
            self.assertEqual(ask(Path(folder, "bin/tunebook"), "version"), ask(TUNEBOOK, "version"))
            pip(python, "uninstall", "--quiet", "--yes", "tunebook")
            self.assertEqual(files(folder), before)

    def test_the_program_is_found_beside_a_users_packages(self):
        with tempfile.TemporaryDirectory() as folder:
            # Only one that sees the system's packages sees a user's.
            venv.create(Path(folder, "environment"), with_pip=True, system_site_packages=True)
            python, user = Path(folder, "environment/bin/python"), Path(folder, "user")
            environment = UNACTIVATED | {"PYTHONUSERBASE": str(user)}
            install_alone(python, "--user", env=environment)
            self.assertTrue((user / "bin/tunebook").is_file())
            self.is_the_program(python, env=environment)

    def test_the_program_is_found_in_any_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            install_alone(sys.executable, "--target", folder)
            self.is_the_program(sys.executable, env=UNACTIVATED | {"PYTHONPATH": folder})

    def test_a_program_that_is_missing_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            install_alone(sys.executable, "--target", folder)
            Path(folder, "bin/tunebook").unlink()
            environment = UNACTIVATED | {"PYTHONPATH": folder}
            done = subprocess.run([sys.executable, "-m", "tunebook"], env=environment, capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("--force-reinstall", done.stderr)

    def is_the_program(self, python, **options):
        """As a module it is the program, with its arguments, input, output and status."""
        self.assertEqual(ask(python, "-m", "tunebook", "version", **options), ask(TUNEBOOK, "version"))
        options = {"env": UNACTIVATED} | options
        lines = "print from a pipe\nnonsense\n"
        command = [str(python), "-m", "tunebook"]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, **options)
        self.assertEqual((done.stdout, done.returncode), ("from a pipe\n", 1), done.stderr)


if __name__ == "__main__":
    unittest.main()
