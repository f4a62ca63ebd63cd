"""kernel.py [COMMAND…]: speaks to the kernel of a program that an emulator runs as a notebook does.

Without a command that starts the program, Jupyter starts the kernel as its kernelspec says. It needs jupyter_client.
"""

import atexit
import subprocess
import sys
import time
import urllib.request

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_client.manager import KernelManager

PATIENCE = 300


def said(outputs):
    """All texts of a cell's outputs."""
    contents = [message["content"] for message in outputs]
    return "".join(it.get("text", "") + it.get("data", {}).get("text/plain", "") for it in contents)


def run(client, code):
    """A cell that has to succeed: its texts."""
    outputs = []
    reply = client.execute_interactive(code, timeout=PATIENCE, output_hook=outputs.append)["content"]
    text = said(outputs)
    print(f"In: {code}\nOut: {text}", flush=True)
    assert reply["status"] == "ok", reply
    return text


def a_cell_is_interrupted(client):
    request = client.execute("train 100000 epochs=100000")
    # The training has begun when it shows how far it is.
    while client.get_iopub_msg(timeout=PATIENCE)["msg_type"] not in ("display_data", "update_display_data"):
        pass
    time.sleep(2)
    client.control_channel.send(client.session.msg("interrupt_request", {}))
    while (reply := client.get_shell_msg(timeout=PATIENCE))["parent_header"]["msg_id"] != request:
        pass
    print("interrupted:", reply["content"]["status"], reply["content"].get("ename", ""))


def notebook(client):
    print(client.kernel_info(reply=True, timeout=PATIENCE)["content"]["banner"])
    completed = client.complete("ada", reply=True, timeout=PATIENCE)["content"]["matches"]
    assert "adapter" in completed, completed
    assert run(client, "print from a cell").strip() == "from a cell"
    assert "step 3 of" in run(client, "demo\nlora\ntrain 3 batch=2")
    run(client, "chat image=images/creatures_held_out_0001.png max_new_tokens=4 Describe this creature.")
    assert "answer 4 tokens" in run(client, "chat max_new_tokens=4 And this?")
    run(client, "plot")
    a_cell_is_interrupted(client)
    address = next(word for word in run(client, "serve port=0").split() if word.startswith("http://"))
    with urllib.request.urlopen(f"{address.rstrip('/').removesuffix('/v1')}/health", timeout=PATIENCE) as answer:
        print("health:", answer.status)


def start(command):
    """The kernel's process and connection file."""
    if command:
        # A path without a drive is one of the drive that the program is started on.
        file, _ = write_connection_file("connection.json")
        return subprocess.Popen([*command, "kernel", "start", "--connection-file", file]), file
    manager = KernelManager(kernel_name="tunebook")
    manager.start_kernel()
    # It deletes the file when it goes.
    atexit.register(manager.cleanup_resources)
    return manager.provisioner.process, manager.connection_file


def main():
    process, file = start(sys.argv[1:])
    try:
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        notebook(client)
        client.shutdown()
        code = process.wait(PATIENCE)
        print("ended with", code)
        assert code == 0, code
    finally:
        process.kill()


if __name__ == "__main__":
    main()
