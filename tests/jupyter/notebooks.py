"""notebooks.py [NAME…]: executes the notebooks anew and writes their outputs back, all but the one that needs real weights.

    tunebook kernel install --sys-prefix
    python tests/jupyter/notebooks.py 01-tutorial

The Python is one with nbclient and a tunebook kernel; the tests make one in target/jupyter-tests. `--check` writes
nothing and says what is wrong with the outputs.
"""

import os
import pathlib
import random
import re
import shutil
import string
import sys

import nbformat
from nbclient import NotebookClient

from support import drawings

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "notebooks"
# Needs weights that are not in the repository; it says so.
NOT_EXECUTED = "05-real-qwen"
# What stands for the reader's home. A home of the same length lets lines of text break where they would there.
HOME = "/home/you"


def executed():
    """The notebooks that have outputs, by name."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb") if path.stem != NOT_EXECUTED)


def execute(name):
    """The notebook with fresh outputs, made in a home of its own: nothing of the user's is read or written."""
    home = pathlib.Path("/tmp", "".join(random.choices(string.ascii_lowercase, k=len(HOME) - len("/tmp/"))))
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "LC_ALL": "C.UTF-8"}
    # Rust cells need Rust, wherever it lies.
    for variable, folder in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]:
        places[variable] = os.environ.get(variable, str(pathlib.Path.home() / folder))
    try:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        resources = {"metadata": {"path": str(home)}}
        NotebookClient(notebook, timeout=300, resources=resources, coalesce_streams=True).execute(env=os.environ | places)
    finally:
        shutil.rmtree(home)
    for cell in notebook.cells:
        if "outputs" in cell:
            # The bar of what is over leaves a display with nothing in it.
            is_empty = lambda output: output.output_type == "display_data" and not any(output.data.values())
            cell.outputs = [output for output in cell.outputs if not is_empty(output)]
        # When it ran is no news in a repository's history.
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            for key, text in (output.get("data") or {}).items():
                if isinstance(text, str):
                    output["data"][key] = text.replace(str(home), HOME)
            if "text" in output:
                output["text"] = output["text"].replace(str(home), HOME)
    return notebook


def faults(notebook):
    """What is wrong with the outputs, in words."""
    found = []
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found += [f"a cell failed: {output['evalue']}" for output in outputs if output.output_type == "error"]
    data = [output.get("data") or {"text/plain": output.get("text", "")} for output in outputs]
    found += [f"no text beside {list(forms)}" for forms in data if any(forms.values()) and not forms.get("text/plain")]
    if not any("image/png" in forms or "<img" in forms.get("text/html", "") for forms in data):
        found.append("no picture")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        forms = [output.get("data", {}) for output in cell.outputs]
        progress = [form for form in forms if re.search(r"(tokens/s|token/秒) \d", form.get("text/plain", "")) and "text/html" in form]
        if len(progress) != trainings_of(cell.source):
            found.append(f"{trainings_of(cell.source)} trainings, but {len(progress)} progress displays: {cell.source}")
        for form in progress:
            done, whole = map(int, re.search(r"(\d+)\D+(\d+)", form["text/plain"]).groups())
            if not any("<polyline" in svg for svg in drawings(form["text/html"])) or not 0 < done <= whole:
                found.append(f"a progress display is not complete: {form['text/plain']}")
            # A cell of Rust has waited for its trainings.
            if cell.source.startswith("%%rust") and not re.search("took|用时", form["text/plain"]):
                found.append(f"a training of Rust has not ended: {form['text/plain']}")
    if any(cell.execution_count is None for cell in cells):
        found.append("a cell was not executed")
    return found


def trainings_of(source):
    """How many progress displays of trainings a cell should have: a cell of Rust has one for each adapter, and a training in
    the background one in each cell that shows it."""
    if source.startswith("%%rust"):
        adapters = re.search(r"for \w+ in \[(.*)\] \{\n(?: .*\n)*?.*session\(\)\.lora", source)
        trains = "session().train" in source or "session().sweep" in source
        return len(adapters[1].split(",")) if adapters and trains else int(trains)
    return len(re.findall(r"^\s*(train|watch|wait)\b", source, re.MULTILINE))


def main(arguments):
    names = [name for name in arguments if name != "--check"] or executed()
    failed = False
    for name in names:
        notebook = execute(name)
        wrong = faults(notebook)
        failed |= bool(wrong)
        print(name, *(wrong or ["is as it should be"]), sep="\n  ", flush=True)
        if "--check" not in arguments:
            nbformat.write(notebook, FOLDER / f"{name}.ipynb")
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
