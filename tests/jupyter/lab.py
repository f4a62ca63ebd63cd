"""lab.py TUNEBOOK CHROMIUM PICTURE_FOLDER: the tutorial in JupyterLab, in a headless browser.

    python -m venv lab && lab/bin/pip install -r tests/jupyter/requirements-lab.txt
    lab/bin/python tests/jupyter/lab.py target/release/tunebook /usr/bin/chromium pictures

Installs the kernel beside this Python, opens a copy of notebooks/tutorial.ipynb, runs all its cells, types one more that
trains 5 steps, and takes a picture of every cell. Exits non-zero if a curve is missing or the training did not go on.
"""

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

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = 8897


def main(tunebook, chromium, pictures):
    pictures = pathlib.Path(pictures).resolve()
    pictures.mkdir(parents=True, exist_ok=True)
    subprocess.run([tunebook, "kernel", "install", "--prefix", sys.prefix], check=True)
    with tempfile.TemporaryDirectory() as home:
        copy = pathlib.Path(home, "repository")
        shutil.copytree(ROOT / "notebooks", copy / "notebooks")
        shutil.copytree(ROOT / "tests/fixtures/tiny", copy / "tests/fixtures/tiny")
        options = [f"--port={PORT}", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--IdentityProvider.token=t"]
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        environment = os.environ | {"HOME": home, "JUPYTERLAB_SETTINGS_DIR": write_settings(pathlib.Path(home, "settings"))}
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=copy, env=environment, **quiet)
        try:
            wait_for(f"http://127.0.0.1:{PORT}/api")
            with sync_playwright() as playwright:
                browse(playwright, chromium, pictures)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def write_settings(folder):
    """Every cell stays in the page, and nobody asks about news."""
    settings = {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false"},
    }
    for name, values in settings.items():
        file = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    return str(folder)


def wait_for(url):
    for _ in range(120):
        try:
            return urllib.request.urlopen(url)
        except OSError:
            time.sleep(0.5)
    sys.exit("JupyterLab does not start")


def browse(playwright, chromium, pictures):
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    browser = playwright.chromium.launch(executable_path=chromium, args=flags)
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"http://127.0.0.1:{PORT}/lab/tree/notebooks/tutorial.ipynb?token=t")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.get_by_text("tunebook | Idle").wait_for()
    page.locator("text=Run >> nth=0").click()
    page.get_by_text("Restart Kernel and Run All Cells").click()
    page.locator(".jp-Dialog button", has_text="Restart").last.click()

    # Cells that wait or run have a star.
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    page.locator(".jp-InputPrompt", has_text="[*]").first.wait_for()
    page.wait_for_function("![...document.querySelectorAll('.jp-InputPrompt')].some(p => p.innerText.includes('[*]'))")
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0, "a cell failed"
    curves = page.locator(".jp-OutputArea-output img, .jp-OutputArea-output svg").count()
    assert curves >= 6, f"only {curves} pictures"
    step = int(re.findall(r"at step (\d+) of \d+, the end", page.locator(".jp-Notebook").inner_text())[-1])

    cells.last.click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type("train 5 epochs=100")
    page.keyboard.press("Shift+Enter")
    page.get_by_text(re.compile(rf"at step {step + 5} of \d+; `train` goes on")).wait_for()

    for index, cell in enumerate(cells.all()):
        cell.scroll_into_view_if_needed()
        page.wait_for_timeout(200)
        page.screenshot(path=pictures / f"cell-{index:02}.png")
    print(f"{curves} pictures after all cells; step {step}, then {step + 5}; look at {pictures}")
    browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
