"""A training in the background of a notebook: other cells run, displays go on, and clients come and go."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path

import pexpect

from support import READY, client, drawings, finish, kernel, reply_to, run, text_of, wait_for

TUNEBOOK = os.environ["TUNEBOOK"]


def text(message):
    return text_of([message])


def is_at(step, origin=None):
    """Whether a message is a display of a training that has made so many steps, of the cell `origin` if it is given."""

    def found(message):
        made = re.match(r"step (\d+) ", text(message))
        return bool(made) and int(made[1]) > step and origin in (None, message["parent_header"].get("msg_id"))

    return found


def steps_of(data):
    """The steps of the curve that a display shows."""
    line = re.search(r'<polyline[^>]*points="([^"]+)"', "".join(drawings(data["text/html"])))
    return len(line[1].split()) if line else 0


class Live(unittest.TestCase):
    def setUp(self):
        self.output = self.enterContext(tempfile.TemporaryDirectory())
        self.manager, self.kc = self.enterContext(kernel())
        self.ok(READY)
        self.ok(f"set output_dir={self.output}/out logging_steps=1 save_steps=1000000")

    def ok(self, code, kc=None):
        reply, outputs = run(kc or self.kc, code)
        self.assertEqual(reply["status"], "ok", reply)
        return outputs

    def job(self, kc=None):
        return text_of(self.ok("jobs", kc))

    def logged(self):
        lines = Path(self.output, "out", "trainer_log.jsonl").read_text().splitlines()
        return [json.loads(line)["current_steps"] for line in lines]

    def test_a_cell_runs_while_the_one_before_it_trains_and_goes_on_drawing(self):
        message_id = self.kc.execute("train &")
        reply, outputs = finish(self.kc, message_id)
        self.assertEqual(reply["status"], "ok")
        self.assertIn("in the background, steps 1 to", text_of(outputs))
        self.assertIn("tokens/s", text_of(self.ok("chat Hello")))
        # The display is that of the first cell.
        wait_for(self.kc, is_at(2, message_id))
        self.assertIn("training", self.job())
        # What is shown at the end is there as well.
        stop = self.kc.execute("stop")
        last = wait_for(self.kc, lambda m: m["parent_header"].get("msg_id") == message_id and "continues from there" in text(m))
        self.assertEqual(last["msg_type"], "display_data")
        self.assertEqual(reply_to(self.kc, stop)["status"], "ok")
        self.assertIn("stopped", self.job())

    def test_an_interrupt_stops_what_is_waited_for_and_nothing_else(self):
        self.ok("train &")
        # Nobody waits.
        self.manager.interrupt_kernel()
        time.sleep(0.5)
        self.assertIn("training", self.job())
        # For an answer.
        chat = self.kc.execute("chat max_new_tokens=100000 Tell me a story.")
        wait_for(self.kc, lambda m: m["msg_type"] == "stream" and m["parent_header"].get("msg_id") == chat)
        self.manager.interrupt_kernel()
        self.assertEqual(finish(self.kc, chat)[0]["ename"], "Interrupted")
        self.assertIn("training", self.job())
        # For the training.
        wait = self.kc.execute("wait")
        wait_for(self.kc, is_at(0, wait))
        self.manager.interrupt_kernel()
        reply = finish(self.kc, wait)[0]
        self.assertEqual(reply["ename"], "Interrupted")
        self.assertIn("continues from there", reply["evalue"])
        self.assertIn("stopped", self.job())
        # What is refused says what to do.
        self.ok("train &")
        reply = run(self.kc, "lora")[0]
        self.assertEqual(reply["ename"], "CommandFailed")
        self.assertIn("`stop` stops it", reply["traceback"][-1])

    def test_watch_shows_the_whole_curve_to_whoever_comes(self):
        self.ok("train &")
        wait_for(self.kc, is_at(5))
        with client(self.manager) as other:
            watching = other.execute("watch")
            self.assertEqual(reply_to(other, watching)["status"], "ok")
            seen = wait_for(other, is_at(8, watching))["content"]["data"]
            step = int(re.match(r"step (\d+)", seen["text/plain"])[1])
            self.assertIn(steps_of(seen), (step - 1, step))
        self.ok("stop")
        # And after the end.
        outputs = self.ok("watch")
        self.assertIn("no training is running", text_of(self.ok("wait")))
        self.assertEqual(steps_of(outputs[0]["content"]["data"]), len(self.logged()))

    def test_a_client_that_is_killed_takes_nothing_with_it(self):
        program = f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from jupyter_client.blocking.client import BlockingKernelClient
            kc = BlockingKernelClient(connection_file={self.manager.connection_file!r})
            kc.load_connection_file()
            kc.start_channels()
            kc.wait_for_ready(timeout=60)
            kc.execute_interactive("train &")
            print("begun", flush=True)
            kc.execute_interactive("wait")
        """
        started = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
        while "begun" not in started.stdout.readline():
            pass
        wait_for(self.kc, is_at(3))
        started.send_signal(signal.SIGKILL)
        started.wait()
        started.stdout.close()
        # Its last cell still waits for the training, and an interrupt stops both.
        self.manager.interrupt_kernel()
        self.assertIn("stopped", self.job())
        made = self.logged()
        self.assertEqual(made, list(range(1, len(made) + 1)))
        self.assertGreater(len(made), 2)
        self.ok("train 2")
        self.assertEqual(self.logged(), list(range(1, len(made) + 3)))

    def test_two_clients_at_once_lose_nothing_and_do_nothing_twice(self):
        self.ok("train 150 save_steps=1000000 &")
        with client(self.manager) as other:
            cells = ["chat Hello", "status", "plot", "evaluate creatures max_samples=3", "probe list", "print {}"] * 4
            replies = {}

            def ask(name, kc):
                replies[name] = [(code.format(name), *run(kc, code.format(name))) for code in cells]

            threads = [threading.Thread(target=ask, args=each) for each in (("one", self.kc), ("two", other))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
        for name in ("one", "two"):
            self.assertEqual([reply["status"] for _, reply, _ in replies[name]], ["ok"] * len(cells), replies[name])
            self.assertEqual([text_of(outputs) for code, _, outputs in replies[name] if code.startswith("print")], [f"{name}\n"] * 4)
        counts = sorted(reply["execution_count"] for name in replies for _, reply, _ in replies[name])
        self.assertEqual(len(set(counts)), 2 * len(cells))
        self.assertIn("150 steps in", text_of(self.ok("wait")))
        self.assertEqual(self.logged(), list(range(1, 151)))

    def test_an_attached_prompt_watches_and_stops(self):
        self.ok("train &")
        environment = {**os.environ, "NO_COLOR": "1"}
        repl = pexpect.spawn(TUNEBOOK, ["attach", self.manager.connection_file], encoding="utf-8", timeout=60, env=environment)
        repl.expect("attached> ")
        repl.sendline("jobs")
        repl.expect("`default`: training, step")
        repl.expect("attached> ")
        repl.sendline("wait")
        repl.expect("step [0-9]+ of")
        repl.sendcontrol("c")
        repl.expect("Interrupted in line 1: wait")
        repl.expect("attached> ")
        repl.sendcontrol("d")
        repl.expect(pexpect.EOF)
        self.assertIn("stopped", self.job())

    def test_a_kernel_that_is_ended_keeps_what_trains_in_the_background(self):
        self.ok("train &")
        wait_for(self.kc, is_at(4))
        self.manager.provisioner.process.send_signal(signal.SIGTERM)
        self.manager.provisioner.process.wait(30)
        made = self.logged()
        checkpoint = Path(self.output, "out", f"checkpoint-{len(made)}")
        self.assertTrue((checkpoint / "optimizer.safetensors").is_file(), made)


if __name__ == "__main__":
    unittest.main(verbosity=2)
