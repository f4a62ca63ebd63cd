"""The notebooks in JupyterLab, in a headless browser.

    python -m venv lab && lab/bin/pip install -r tests/jupyter/requirements-lab.txt
    lab/bin/python tests/jupyter/lab.py target/release/tunebook /usr/bin/chromium pictures            # all that are executed
    lab/bin/python tests/jupyter/lab.py target/release/tunebook /usr/bin/chromium pictures 01-tutorial --dark
    lab/bin/python tests/jupyter/lab.py target/release/tunebook /usr/bin/chromium pictures --colours
    lab/bin/python tests/jupyter/lab.py target/release/tunebook /usr/bin/chromium --readme
    lab/bin/python tests/jupyter/lab.py target/release/tunebook /usr/bin/chromium pictures --restart

Installs the kernel beside this Python, opens a copy of the notebooks, runs all cells of each and takes a picture of every
cell. Exits non-zero if a cell failed or a picture is missing. `--readme` makes the README's picture, notebooks/training.png:
a notebook in the middle of a training. `--colours` looks how lines are coloured in cells, which the extension in
kernel/jupyter/lab does. `--restart` begins a training in the background, closes the browser in the middle of
it, and looks in another one whether `watch` shows the whole curve, and whether the first cell's display has gone on.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import nbformat
from playwright.sync_api import sync_playwright

from notebooks import FOLDER, executed
from support import drawings

PORT = 8897
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tunebook")
    parser.add_argument("chromium")
    parser.add_argument("pictures", nargs="?", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--colours", action="store_true")
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--restart", action="store_true")
    given = parser.parse_args()
    subprocess.run([given.tunebook, "kernel", "install", "--prefix", sys.prefix], check=True)
    with lab(given.dark) as folder, sync_playwright() as playwright:
        launch = lambda: playwright.chromium.launch(executable_path=given.chromium, args=FLAGS)
        browser = launch()
        if given.readme:
            readme(browser, folder)
        elif given.colours:
            colours(browser, folder, given.pictures)
        elif given.restart:
            browser = restart(browser, launch, folder, given.pictures)
        else:
            check_faults(browser, folder)
            for name in given.names or executed():
                look(browser, name, given.pictures / name)
        browser.close()


@contextlib.contextmanager
def lab(dark):
    """A JupyterLab on a copy of the notebooks."""
    with tempfile.TemporaryDirectory() as home:
        copy = pathlib.Path(home, "notebooks")
        shutil.copytree(FOLDER, copy)
        options = [f"--port={PORT}", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=t"]
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        settings = write_settings(pathlib.Path(home, "settings"), dark)
        environment = os.environ | {"HOME": home, "JUPYTERLAB_SETTINGS_DIR": settings, "LC_ALL": "C.UTF-8"}
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=copy, env=environment, **quiet)
        try:
            wait_for(f"http://127.0.0.1:{PORT}/api")
            yield copy
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def write_settings(folder, dark):
    """Every cell stays in the page, and nobody asks about news."""
    settings = {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false"},
        "apputils-extension/themes": {"theme": "JupyterLab Dark" if dark else "JupyterLab Light"},
    }
    for name, values in settings.items():
        file = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    return str(folder)


def wait_for(url):
    for _ in range(120):
        try:
            return urllib.request.urlopen(url)
        except OSError:
            time.sleep(0.5)
    sys.exit("JupyterLab does not start")


def open_notebook(browser, name, width, height, scale=1, state="Idle"):
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
    page.set_default_timeout(120_000)
    # In a workspace of its own, so that no other notebook is open in the page.
    page.goto(f"http://127.0.0.1:{PORT}/lab/workspaces/{name}/tree/{name}.ipynb?token=t")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.get_by_text(f"tunebook | {state}").wait_for()
    # The file browser is not what is looked at.
    page.keyboard.press("Control+b")
    return page


def run_all(page):
    page.locator("text=Run >> nth=0").click()
    page.get_by_text("Restart Kernel and Run All Cells").click()
    page.locator(".jp-Dialog button", has_text="Restart").last.click()
    page.locator(".jp-InputPrompt", has_text="[*]").first.wait_for()


def faults(page):
    """What cells show of errors: JupyterLab draws a traceback as it draws standard error."""
    return page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()


def check_faults(browser, folder):
    """Whether a cell that fails would be seen."""
    page = open_cells(browser, folder, "failing", ["print a", "trian"], 1000, 620)
    for index, expected in enumerate(([], ["UnknownCommand in line 1: trian"])):
        run_cell(page, index)
        page.wait_for_timeout(500)
        found = faults(page)
        assert [text.splitlines()[0] for text in found] == expected, found
    page.close()


def open_cells(browser, folder, name, sources, width, height, **options):
    """Opens a new notebook with these cells."""
    notebook = nbformat.read(FOLDER / "00-quickstart.ipynb", as_version=4)
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return open_notebook(browser, name, width, height, **options)


def look(browser, name, pictures):
    """Runs all cells of a notebook, and takes a picture of each."""
    pictures.mkdir(parents=True, exist_ok=True)
    page = open_notebook(browser, name, 1200, 1000)
    run_all(page)
    # Cells that wait or run have a star.
    page.wait_for_function("![...document.querySelectorAll('.jp-InputPrompt')].some(p => p.innerText.includes('[*]'))")
    assert not faults(page), f"a cell failed: {faults(page)}"
    count = page.locator(".jp-OutputArea-output img, .jp-OutputArea-output svg").count()
    assert count >= 3, f"only {count} pictures"
    cells = page.locator(".jp-Notebook .jp-Cell")
    for index, cell in enumerate(cells.all()):
        cell.evaluate("cell => cell.scrollIntoView()")
        page.wait_for_timeout(100)
        cell.screenshot(path=pictures / f"cell-{index:02}.png")
    print(f"{name}: {count} pictures in {cells.count()} cells; look at {pictures}", flush=True)
    page.close()


# An apostrophe and quotes in a message, with commands behind it; Rust; Rust among commands; lines of the shell, and times.
COLOURED = [
    """# what it says, before and after
chat What's this?
train 5 lr=1e-4 --seed 7   # it's short
chat image="images/creatures 1.png" top_p=0.5 Is it a "cat"?
plot""",
    """%%rust
// it's Rust to the end of the cell
let names: Vec<&'static str> = vec!["plot", "train"];

for name in &names { println!("{name}"); }""",
    """demo
rust session().step() as f32
status""",
    """%%time
!ls -l "images"   # it's the shell's
%time status""",
]


def colours(browser, folder, pictures):
    """What is coloured in cells, and as what."""
    pictures.mkdir(parents=True, exist_ok=True)
    page = open_cells(browser, folder, "colours", COLOURED, 1000, 700)
    page.wait_for_function("document.querySelectorAll('.jp-Notebook .cm-line span').length > 20")
    page.screenshot(path=pictures / "colours.png")
    # The parts of every line that have a colour of their own, with it.
    parts = page.evaluate(
        """() => [...document.querySelectorAll('.jp-CodeCell')].map(cell => [...cell.querySelectorAll('.cm-line')].map(line =>
            Object.fromEntries([...line.querySelectorAll('span')].map(part => [part.innerText, getComputedStyle(part).color]))))"""
    )
    (comment, chat, train, asked, plot), (head, said, let, _, loop), (_, rust, status), (time, shell, timed) = parts
    verb = chat.pop("chat")
    assert not chat, chat
    assert {train["train"], asked["chat"], plot["plot"], head["%%rust"], let["let"], loop["for"], rust["rust"], rust["as"], status["status"]} == {verb}
    assert {time["%%time"], shell["!"], timed["%time"], timed["status"]} == {verb}
    assert shell["# it's the shell's"] == train["# it's short"] and shell['"images"'] == asked['"images/creatures 1.png"']
    text = asked['"images/creatures 1.png"']
    assert asked.keys() == {"chat", "image=", '"images/creatures 1.png"', "top_p=", "0.5"}, asked
    assert {train["lr="], train["--seed"], asked["image="]} == {asked["top_p="]} and train["5"] == asked["0.5"]
    assert {comment["# what it says, before and after"], train["# it's short"]} == {said["// it's Rust to the end of the cell"]}
    assert text in let.values() and len({verb, text, train["lr="], train["5"]}) == 4, parts
    print(f"the colours are as they should be; look at {pictures}/colours.png")
    page.close()


# What the README's picture shows.
CELLS = [
    "demo",
    "chat image=images/creatures_held_out_0001.png Describe this creature.",
    "lora\ntrain",
]


def readme(browser, folder):
    """A question before a training, and the training in the middle, at twice the resolution."""
    page = open_cells(browser, folder, "creatures", CELLS, 840, 740, scale=1.8)
    run_all(page)
    # Its progress display says which step it is at.
    page.wait_for_function("/step 1[2-9][0-9] of 360/.test(document.querySelector('.jp-Notebook').innerText)")
    page.locator(".jp-CodeCell").nth(1).evaluate("cell => cell.scrollIntoView({block: 'start'})")
    page.wait_for_timeout(300)
    page.screenshot(path=FOLDER / "training.png")
    page.close()


def restart(browser, launch, folder, pictures):
    """A training goes on while there is no browser; the next one."""
    pictures.mkdir(parents=True, exist_ok=True)
    sources = ["demo\nlora", "train 300 batch=4 &", "chat image=images/creatures_held_out_0001.png Describe this creature."]
    page = open_cells(browser, folder, "live", sources + ["watch", "stop"], 1000, 1100)
    cells = page.locator(".jp-CodeCell")
    for index in range(3):
        run_cell(page, index)
    at = step_at(cells.nth(1), 10)
    # The cell behind it was answered meanwhile.
    assert "tokens/s" in cells.nth(2).locator(".jp-OutputArea").inner_text()
    page.screenshot(path=pictures / "before.png")
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1000)
    browser.close()
    time.sleep(2)
    browser = launch()
    page = open_notebook(browser, "live", 1000, 1100, state="")
    cells = page.locator(".jp-CodeCell")
    run_cell(page, 3)
    now = step_at(cells.nth(3), at + 10)
    svg = "".join(drawings(cells.nth(3).locator(".jp-OutputArea").inner_html()))
    points = re.search(r'<polyline[^>]*points="([^"]+)"', svg)[1].split()
    assert at + 10 <= now <= len(points) + 30 and len(points) >= at, (at, now, len(points))
    page.screenshot(path=pictures / "after.png")
    run_cell(page, 4)
    page.wait_for_timeout(1000)
    page.screenshot(path=pictures / "stopped.png")
    print(f"closed at step {at}; `watch` in the next browser shows {len(points)} points at step {now}; look at {pictures}")
    return browser


def run_cell(page, index):
    cell = page.locator(".jp-CodeCell").nth(index)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(200)
    page.wait_for_function(
        "index => /\\[[0-9]+\\]/.test(document.querySelectorAll('.jp-CodeCell')[index].querySelector('.jp-InputPrompt').innerText)",
        arg=index,
    )


def step_at(cell, least):
    """Waits until a cell's display has come to a step, and gives it."""
    for _ in range(600):
        found = re.search(r"step (\d+) of", cell.inner_text())
        if found and int(found[1]) >= least:
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"no step {least}: {cell.inner_text()}")


if __name__ == "__main__":
    main()
