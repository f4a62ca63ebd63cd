"""A kernel and its clients, for the tests beside this file."""

import base64
import contextlib
import os
import queue
import re
import tempfile
import time
from pathlib import Path

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_core.paths import jupyter_runtime_dir

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
TIMEOUT = 120

READY = f"""
load {FIXTURES}/tiny
data creatures dataset_dir={FIXTURES}/train cutoff_len=512
lora rank=4
set batch=2 accum=1 epochs=100000 logging_steps=1000 max_new_tokens=4
"""

# Of the user's history nothing is found or changed, however these scripts are started.
HISTORY = tempfile.TemporaryDirectory()
os.environ["XDG_DATA_HOME"] = HISTORY.name


@contextlib.contextmanager
def kernel(latest=False, **options):
    """A running kernel: its manager and a client that it has answered. `latest`: where Jupyter keeps those of notebooks."""
    manager = KernelManager(**{"kernel_name": "tunebook", **options})
    if latest:
        Path(jupyter_runtime_dir()).mkdir(parents=True, exist_ok=True)
        manager.connection_file = str(Path(jupyter_runtime_dir()) / "kernel-test.json")
    manager.start_kernel(cwd=str(ROOT))
    try:
        with client(manager) as first:
            yield manager, first
    finally:
        manager.shutdown_kernel(now=True)


@contextlib.contextmanager
def client(manager):
    """One more client, which the kernel has answered. It has a session of its own, as another program would."""
    made = BlockingKernelClient(connection_file=manager.connection_file)
    made.load_connection_file()
    made.start_channels()
    try:
        made.wait_for_ready(timeout=60)
        yield made
    finally:
        made.stop_channels()


def run(kc, code, **options):
    """Runs a cell: its reply, and the messages that it caused on iopub, without status and execute_input."""
    return finish(kc, kc.execute(code, **options))


def finish(kc, message_id):
    reply = reply_to(kc, message_id)
    outputs = []
    while True:
        message = kc.get_iopub_msg(timeout=TIMEOUT)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if message["msg_type"] == "status":
            if message["content"]["execution_state"] == "idle":
                return reply, outputs
        elif message["msg_type"] != "execute_input":
            outputs.append(message)


def reply_to(kc, message_id):
    while True:
        reply = kc.get_shell_msg(timeout=TIMEOUT)
        if reply["parent_header"].get("msg_id") == message_id:
            return reply["content"]


def wait_for(kc, found):
    """Reads iopub until `found` says that a message is the one."""
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        with contextlib.suppress(queue.Empty):
            message = kc.get_iopub_msg(timeout=1)
            if found(message):
                return message
    raise AssertionError("the message did not come")


def drawings(html):
    """The SVGs that a page shows as images."""
    return [base64.b64decode(data).decode() for data in re.findall(r'"data:image/svg\+xml;base64,([^"]+)"', html)]


def text_of(outputs):
    """Streams and plain texts of outputs, in order."""
    texts = (m["content"].get("text") or m["content"].get("data", {}).get("text/plain", "") for m in outputs)
    return "".join(texts)
