"""What a notebook relies on: interrupts, cells in line, several clients, and messages that are not as they should be."""

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import zmq
from jupyter_client.kernelspec import KernelSpecManager

from support import READY, TIMEOUT, client, drawings, finish, kernel, reply_to, run, text_of, wait_for


class Session(unittest.TestCase):
    """On a kernel of their own, ready to train."""

    @classmethod
    def setUpClass(cls):
        cls.manager, cls.kc = cls.enterClassContext(kernel())
        reply, outputs = run(cls.kc, READY)
        assert reply["status"] == "ok", (reply, outputs)

    def ok(self, code, **options):
        reply, outputs = run(self.kc, code, **options)
        self.assertEqual(reply["status"], "ok", reply)
        return outputs

    def step(self):
        return int(re.search(r"training +step (\d+)", text_of(self.ok("status")))[1])


class Protocol(Session):
    def start_training(self):
        """Trains without an end, and returns when steps are being made."""
        message_id = self.kc.execute("train")
        wait_for(self.kc, lambda m: m["msg_type"] == "update_display_data")
        return message_id

    def test_an_interrupt_keeps_the_steps_and_the_next_cell_goes_on(self):
        for interrupt in (self.manager.interrupt_kernel, lambda: self.manager.provisioner.process.send_signal(2)):
            message_id = self.start_training()
            interrupt()
            reply, outputs = finish(self.kc, message_id)
            self.assertEqual((reply["status"], reply["ename"]), ("error", "Interrupted"))
            stopped = int(re.search(r"stopped at step (\d+) of", reply["evalue"])[1])
            self.assertEqual([m["msg_type"] for m in outputs[-2:]], ["update_display_data", "error"])
            self.assertIn("continues from there", reply["evalue"])
            self.assertEqual(self.step(), stopped)
            self.ok("train 1")
            self.assertEqual(self.step(), stopped + 1)

    def test_everything_else_answers_while_a_cell_trains(self):
        message_id = self.start_training()
        self.assertTrue(self.kc.is_alive())
        self.assertEqual(reply_to(self.kc, self.kc.kernel_info())["implementation"], "tunebook")
        self.assertEqual(reply_to(self.kc, self.kc.complete("tr"))["matches"], ["train"])
        self.assertIn("usage: plot", reply_to(self.kc, self.kc.inspect("plot"))["data"]["text/plain"])
        self.assertEqual(reply_to(self.kc, self.kc.is_complete("plot"))["status"], "complete")
        self.assertEqual(reply_to(self.kc, self.kc.comm_info())["comms"], {})
        # Clients show the last state that they hear, and the cell still runs.
        asked = self.kc.complete("tr")
        reply_to(self.kc, asked)
        state = lambda m, of: m["msg_type"] == "status" and m["parent_header"].get("msg_id") == of
        wait_for(self.kc, lambda m: state(m, asked) and m["content"]["execution_state"] == "idle")
        last = wait_for(self.kc, lambda m: m["msg_type"] == "status")
        self.assertTrue(state(last, message_id) and last["content"]["execution_state"] == "busy", last)
        self.manager.interrupt_kernel()
        self.assertEqual(finish(self.kc, message_id)[0]["ename"], "Interrupted")

    def test_progress_is_one_display_in_which_nothing_is_left_at_the_end(self):
        *outputs, result = self.ok("train 30")
        self.assertEqual(result["msg_type"], "execute_result")
        self.assertIn("30 steps in", result["content"]["data"]["text/plain"])
        self.assertEqual(outputs[0]["msg_type"], "display_data")
        self.assertEqual({m["msg_type"] for m in outputs[1:]}, {"update_display_data"})
        self.assertEqual(len({m["content"]["transient"]["display_id"] for m in outputs}), 1)
        last = outputs[-1]["content"]["data"]
        for word in ("loss ", "learning rate ", "tokens/s ", "took "):
            self.assertIn(word, last["text/plain"])
        self.assertIn("<polyline", "".join(drawings(last["text/html"])))
        # Paler, the bar shows what the call has still to do.
        bars = [re.findall(r"opacity:([\d.]+);background:#1f77b4", data["text/html"]) for data in (outputs[0]["content"]["data"], last)]
        self.assertEqual(bars, [["1", "0.35"], ["1"]])

    def test_cells_behind_a_failing_one_are_aborted(self):
        count = reply_to(self.kc, self.kc.execute("print a"))["execution_count"]
        cells = [self.kc.execute(code) for code in ("trian 5", "print b", "print c", "print d")]
        replies = [reply_to(self.kc, cell) for cell in cells]
        self.assertEqual([r["status"] for r in replies], ["error", "aborted", "aborted", "aborted"])
        # Clients number a cell by it, and these have not run.
        self.assertEqual([r.get("execution_count") for r in replies], [count + 1, None, None, None])
        self.assertEqual(reply_to(self.kc, self.kc.execute("print e"))["execution_count"], count + 2)

        cells = [self.kc.execute(code, stop_on_error=False) for code in ("trian 5", "print b")]
        self.assertEqual([reply_to(self.kc, cell)["status"] for cell in cells], ["error", "ok"])

    def test_an_error_names_command_cause_and_remedy(self):
        reply, outputs = run(self.kc, "print first\n\ntrain 5 lr=fast\nprint never")
        self.assertEqual(reply["ename"], "CommandFailed")
        self.assertEqual([m["msg_type"] for m in outputs], ["stream", "error"])
        self.assertEqual(reply["traceback"], outputs[1]["content"]["traceback"])
        traceback = re.sub("\x1b\\[[0-9;]*m", "", "\n".join(reply["traceback"]))
        self.assertIn("in line 3: train 5 lr=fast\n  `fast` is not a value for learning_rate", traceback)
        self.assertIn("\n  → `help train` shows what it takes", traceback)

    def test_chat_streams_and_a_cell_can_be_a_message(self):
        outputs = self.ok("%%chat\nWhat's \"this\",\nand that?")
        *streamed, about = outputs
        self.assertEqual({m["msg_type"] for m in streamed}, {"stream"})
        self.assertIn("answer 4 tokens", about["content"]["data"]["text/plain"])

    def test_a_conversation_asks_the_client_that_sent_the_cell(self):
        message_id = self.kc.execute("chat", allow_stdin=True)
        for line in ("Who is this?", "/exit"):
            asked = self.kc.get_stdin_msg(timeout=TIMEOUT)
            self.assertEqual((asked["msg_type"], asked["content"]["prompt"]), ("input_request", "you: "))
            self.kc.input(line)
        reply, outputs = finish(self.kc, message_id)
        self.assertEqual(reply["status"], "ok")
        self.assertIn("answer 4 tokens", text_of(outputs))

        outputs = self.ok("chat", allow_stdin=False)
        self.assertIn("write `chat TEXT`", text_of(outputs))

    def test_a_question_is_given_up_when_the_cell_is_interrupted(self):
        message_id = self.kc.execute("chat", allow_stdin=True)
        self.kc.get_stdin_msg(timeout=TIMEOUT)
        self.manager.interrupt_kernel()
        self.assertEqual(finish(self.kc, message_id)[0]["ename"], "Interrupted")

    def test_silent_cells_leave_no_trace(self):
        count = reply_to(self.kc, self.kc.execute("print a"))["execution_count"]
        self.assertEqual(run(self.kc, "print b", silent=True)[1], [])
        self.assertEqual(run(self.kc, "trian", silent=True)[1], [])
        self.assertEqual(reply_to(self.kc, self.kc.execute("print c", store_history=False))["execution_count"], count)
        tail = reply_to(self.kc, self.kc.history(hist_access_type="tail", n=1))["history"]
        self.assertEqual(tail[0][2], "print a")

    def test_expressions_are_lines(self):
        reply, _ = run(self.kc, "", user_expressions={"seed": "show seed", "wrong": "trian"})
        self.assertEqual(reply["user_expressions"]["seed"]["data"], {"text/plain": "seed = 42"})
        self.assertEqual(reply["user_expressions"]["wrong"]["ename"], "UnknownCommand")

    def test_twenty_thousand_lines_arrive(self):
        outputs = self.ok("\n".join(f"print line {i}" for i in range(20_000)))
        self.assertEqual(text_of(outputs), "".join(f"line {i}\n" for i in range(20_000)))

    def test_two_clients_share_the_session_and_hear_each_other(self):
        with client(self.manager) as other:
            message_id = self.kc.execute("train 3")
            reply, heard = finish(self.kc, message_id)
            self.assertEqual(reply["status"], "ok")
            wait_for(other, lambda m: m["msg_type"] == "execute_input" and m["content"]["code"] == "train 3")
            wait_for(other, lambda m: "3 steps in" in text_of([m]))
            self.assertEqual(run(other, "plot")[1][0]["msg_type"], "display_data")

            # A client that fails takes nothing from the line of another.
            cells = (self.kc.execute("train 200"), other.execute("trian"), self.kc.execute("print mine"))
            self.assertEqual(reply_to(self.kc, cells[0])["status"], "ok")
            self.assertEqual(reply_to(other, cells[1])["status"], "error")
            self.assertEqual(reply_to(self.kc, cells[2])["status"], "ok")

    def test_a_client_that_dies_in_the_middle_harms_nobody(self):
        with client(self.manager) as other:
            other.execute("train 100")
        self.ok("print still here")

    def test_comms_are_closed(self):
        self.kc.shell_channel.send(
            self.kc.session.msg("comm_open", {"comm_id": "c1", "target_name": "jupyter.widget", "data": {}})
        )
        closed = wait_for(self.kc, lambda m: m["msg_type"] == "comm_close")
        self.assertEqual(closed["content"]["comm_id"], "c1")

    def test_help_is_asked_on_any_line(self):
        reply, outputs = run(self.kc, "print one\ntrain?\n?%lora_rank\nprint two\nplot??")
        self.assertEqual((reply["status"], text_of(outputs)), ("ok", "one\ntwo\n"))
        (page,) = reply["payload"]
        found = [page["data"]["text/plain"].find(text) for text in ("usage: train", "lora_rank = 4", "usage: plot")]
        self.assertTrue(-1 < found[0] < found[1] < found[2], page)
        reply, outputs = run(self.kc, "print one\ntrian?\nprint two")
        self.assertEqual((reply["ename"], text_of(outputs)), ("UnknownCommand", "one\n"))
        self.assertIn("in line 2: \x1b[1mtrian?", reply["traceback"][0])

    def test_a_cell_or_a_line_is_timed(self):
        times = r"CPU times: user [\d.]+ \w+, sys: [\d.]+ \w+, total: [\d.]+ \w+\nWall time: [\d.]+ \w+\n$"
        outputs = self.ok("%%time\nprint one\n!sleep 0.2\nadapter list")
        self.assertRegex(text_of(outputs), r"(?s)^one\n.*" + times)
        # What is shown is shown as always.
        self.assertIn("text/html", outputs[1]["content"]["data"])
        self.assertRegex(text_of(self.ok("%time print two\nprint three")), r"^two\n" + times[:-1] + "three\n$")
        reply, outputs = run(self.kc, "print a\n\n%time trian")
        self.assertIn("in line 3: \x1b[1mtrian", reply["traceback"][0])
        reply, outputs = run(self.kc, "%%time\nprint a\ntrian\nprint b")
        self.assertIn("in line 3: \x1b[1mtrian", reply["traceback"][0])
        self.assertIn("Wall time", text_of(outputs))
        message_id = self.kc.execute("%%time\n!sleep 100\nprint never")
        time.sleep(0.5)
        self.manager.interrupt_kernel()
        reply, outputs = finish(self.kc, message_id)
        self.assertEqual(reply["ename"], "Interrupted")
        self.assertNotIn("never", text_of(outputs))
        self.ok("lang zh\n%time print 你好")
        self.assertRegex(text_of(self.ok("%time print 你好\nlang en")), "^你好\nCPU 时间：用户态 .+，内核态 .+，合计 .+\n实际用时：")

    def sent(self, header, content, kind="shell", key=None):
        """Sends a message, signed as it should be, whatever it holds; gives its frames."""
        session = self.kc.session
        frames = [part if isinstance(part, bytes) else session.pack(part) for part in (header, {}, {}, content)]
        frames = [b"<IDS|MSG>", session.sign(frames), *frames]
        getattr(self.kc, f"{kind}_channel").socket.send_multipart(frames)
        return frames

    def test_code_is_run_whatever_its_characters(self):
        for content, text in [
            (rb'{"code": "print a\ud800b \ud83d\ude00"}', "a\ufffdb 😀\n"),
            (b'{"code": "print a\xffb"}', "a\ufffdb\n"),
            (b'{"code": "print \\udc80", "cursor_pos": NaN}', "\ufffd\n"),
        ]:
            header = self.kc.session.msg_header("execute_request")
            self.sent(header, content)
            reply, outputs = finish(self.kc, header["msg_id"])
            self.assertEqual((reply["status"], text_of(outputs)), ("ok", text))

    def test_a_content_that_cannot_be_read_is_no_success(self):
        requests = ["execute", "complete", "inspect", "is_complete", "history", "comm_info", "kernel_info"]
        for request in requests:
            for content in (b"no json", b'{"code": "print a', b"\xff"):
                header = self.kc.session.msg_header(f"{request}_request")
                self.sent(header, content)
                reply = reply_to(self.kc, header["msg_id"])
                self.assertEqual(reply["status"], "error", request)
                self.assertIn("the request cannot be read: ", reply["evalue"])
        for request in ("interrupt", "shutdown", "kernel_info"):
            header = self.kc.session.msg_header(f"{request}_request")
            self.sent(header, b"no json", "control")
            reply = self.kc.get_control_msg(timeout=TIMEOUT)
            self.assertEqual((reply["msg_type"], reply["content"]["status"]), (f"{request}_reply", "error"))
        self.ok("print still here")

    def test_the_parent_is_the_header_as_it_came(self):
        header = {
            "mine": {"a": [1, None, "é"]}, "msg_type": "execute_request", "version": "5.0", "msg_id": "all-of-it",
            "date": "2026-01-02T03:04:05.678901+02:00", "username": "me", "session": "s", "subshell_id": None,
        }
        with raw(self.kc) as heard:
            self.sent(header, {"code": "print a\nadapter list"})
            kinds = [heard() for _ in range(6)]
        self.assertEqual({kind for kind, _ in kinds}, {"status", "execute_input", "stream", "execute_result", "execute_reply"})
        for kind, parent in kinds:
            self.assertEqual(parent, self.kc.session.pack(header), kind)

    def test_a_header_without_what_a_kernel_needs_not_is_answered(self):
        whole = self.kc.session.msg_header("kernel_info_request")
        for missing in ("version", "username", "session", "date"):
            for null in (True, False):
                header = {**whole, "msg_id": f"{missing} {null}", "date": "2026-01-02T03:04:05Z", missing: None}
                if not null:
                    del header[missing]
                self.sent(header, {})
                self.assertEqual(reply_to(self.kc, header["msg_id"])["implementation"], "tunebook", header)

    def test_a_message_that_comes_again_is_not_carried_out(self):
        header = self.kc.session.msg_header("execute_request")
        frames = self.sent(header, {"code": "print once"})
        reply, outputs = finish(self.kc, header["msg_id"])
        self.assertEqual((reply["status"], text_of(outputs)), ("ok", "once\n"))
        self.kc.shell_channel.socket.send_multipart(frames)
        # A shutdown that is sent where it is refused is none elsewhere.
        header = self.kc.session.msg_header("shutdown_request")
        frames = self.sent(header, {"restart": False})
        self.assertEqual(reply_to(self.kc, header["msg_id"])["status"], "error")
        self.kc.control_channel.socket.send_multipart(frames)
        again = reply_to(self.kc, self.kc.execute("print again"))
        self.assertEqual(again["execution_count"], reply["execution_count"] + 1)
        self.assertTrue(self.manager.is_alive())

    def test_messages_that_are_not_as_they_should_be(self):
        session, socket = self.kc.session, self.kc.shell_channel.socket
        good = session.serialize(session.msg("kernel_info_request"))
        bad_signature = [good[0], b"0" * 64, *good[2:]]
        no_hex = [good[0], b"signed", *good[2:]]
        for frames in ([b""], [b"x" * 1000], good[:3], good[:1], bad_signature, no_hex, [b"<IDS|MSG>"] * 6):
            socket.send_multipart(frames)

        def send(header, content, kind="execute_request"):
            """Signed as it should be, whatever it holds."""
            frames = [session.pack(part) for part in (header, {}, {})] + [content]
            socket.send_multipart([b"<IDS|MSG>", session.sign(frames), *frames])

        send([1, 2], b"{}")
        send({"msg_id": "a"}, b"{}")
        send({**session.msg_header("no_such_request")}, b"{}")
        for content in (b"no json", b"[]", b'{"code": 5}'):
            header = session.msg_header("execute_request")
            send(header, content)
            self.assertEqual(reply_to(self.kc, header["msg_id"])["status"], "error")
        send({"msg_type": "kernel_info_request", "msg_id": "bare"}, b"{}")
        self.assertEqual(reply_to(self.kc, "bare")["implementation"], "tunebook")
        header = session.msg_header("history_request")
        send(header, b'{"hist_access_type": "search"}')
        self.assertEqual(reply_to(self.kc, header["msg_id"])["status"], "ok")
        self.ok("print still here")

    def test_a_peer_without_the_key_may_announce_anything(self):
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
        kinds = {"shell": "DEALER", "control": "DEALER", "stdin": "DEALER", "iopub": "SUB", "hb": "REQ"}
        for channel, kind in kinds.items():
            ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind.encode()
            port = self.manager.get_connection_info()[channel + "_port"]
            for length in (2**30, 2**36, 2**40, 2**62, 2**64 - 1):
                with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as peer:
                    peer.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
                    peer.sendall(b"\x02" + struct.pack(">Q", length))
                    with contextlib.suppress(ConnectionResetError):
                        while peer.recv(1000):
                            pass
                self.assertTrue(self.manager.is_alive(), (channel, length))
        self.assertTrue(self.kc.is_alive())
        self.ok("print still here")
        self.ok("print " + "x" * 30_000_000)


@contextlib.contextmanager
def raw(kc):
    """The kind and the parent's frame of the next message on shell or iopub, as it came."""
    sockets = [kc.shell_channel.socket, kc.iopub_channel.socket]

    def heard():
        ready, _, _ = zmq.select(sockets, [], [], TIMEOUT)
        frames = ready[0].recv_multipart()
        frames = frames[frames.index(b"<IDS|MSG>") + 1 :]
        return json.loads(frames[1])["msg_type"], frames[2]

    # What others have caused has come.
    while zmq.select(sockets, [], [], 0.5)[0]:
        heard()
    yield heard


def is_running(process):
    with contextlib.suppress(FileNotFoundError):
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    return False


class Shell(Session):
    def test_a_line_of_the_shell_streams_while_a_training_goes_on(self):
        self.ok("train &")
        before = self.step()
        message_id = self.kc.execute("!echo first; sleep 1; cat; echo second >&2; printf 'a\\033]52;c;x\\007\\377'; exit 3\nprint never")
        first = wait_for(self.kc, lambda m: m["msg_type"] == "stream")
        self.assertEqual(first["content"], {"name": "stdout", "text": "first\n"})
        reply, outputs = finish(self.kc, message_id)
        streams = [(m["content"]["name"], m["content"]["text"]) for m in outputs if m["msg_type"] == "stream"]
        self.assertIn(("stderr", "second\n"), streams)
        self.assertIn(("stdout", "a␛]52;c;x␇\ufffd"), streams)
        self.assertEqual((reply["ename"], reply["evalue"]), ("CommandFailed", "the command has ended with status 3"))
        # An interrupt ends what the line has started, and not the training.
        message_id = self.kc.execute("!sleep 100 & echo $!; sleep 100")
        process = int(wait_for(self.kc, lambda m: m["msg_type"] == "stream")["content"]["text"])
        self.manager.interrupt_kernel()
        reply, _ = finish(self.kc, message_id)
        self.assertEqual((reply["ename"], reply["evalue"]), ("Interrupted", "stopped"))
        until = time.monotonic() + 10
        while time.monotonic() < until and is_running(process):
            time.sleep(0.05)
        self.assertFalse(is_running(process))
        self.assertIn("training, step", text_of(self.ok("jobs")))
        self.assertGreater(self.step(), before)

    def test_a_line_that_writes_faster_than_clients_read_waits(self):
        message_id = self.kc.execute("!yes")
        time.sleep(3)
        status = Path(f"/proc/{self.manager.provisioner.process.pid}/status").read_text()
        self.assertLess(int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]), 200_000)
        self.manager.interrupt_kernel()
        self.assertEqual(finish(self.kc, message_id)[0]["ename"], "Interrupted")


class EndAndStart(unittest.TestCase):
    def test_shutdown_and_restart(self):
        with kernel() as (manager, kc):
            self.assertEqual(run(kc, "set seed=7")[0]["status"], "ok")
            manager.restart_kernel()
            kc.wait_for_ready(timeout=60)
            self.assertIn("seed = 42", text_of(run(kc, "show seed")[1]))
            message_id = kc.shutdown()
            self.assertEqual(kc.get_control_msg(timeout=TIMEOUT)["parent_header"]["msg_id"], message_id)
            self.assertEqual(manager.provisioner.process.wait(timeout=TIMEOUT), 0)

    def test_a_kernel_whose_server_was_killed_ends(self):
        start = (
            "import time\nfrom jupyter_client.manager import KernelManager\n"
            "manager = KernelManager(kernel_name='tunebook')\nmanager.start_kernel()\n"
            "print(manager.provisioner.pid, flush=True)\ntime.sleep(600)"
        )
        server = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
        pid = int(server.stdout.readline())
        os.kill(pid, 0)
        server.kill()
        server.communicate()
        for _ in range(100):
            time.sleep(0.1)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
        self.fail("the kernel lives on")

    def test_a_kernel_of_another_name_has_its_environment(self):
        with tempfile.TemporaryDirectory() as prefix:
            tunebook = [os.environ["TUNEBOOK"], "kernel"]
            place = ["--prefix", prefix, "--name", "Other-1"]
            given = ["--display-name", "tunebook (other)", "--env", "TUNE_A=1", "TUNE_B=x=y z", "--env", "TUNE_C="]
            subprocess.run([*tunebook, "install", *place, *given], check=True, capture_output=True)
            specs = KernelSpecManager(kernel_dirs=[f"{prefix}/share/jupyter/kernels"], ensure_native_kernel=False)
            self.assertEqual(list(specs.find_kernel_specs()), ["other-1"])
            spec = specs.get_kernel_spec("other-1")
            self.assertEqual((spec.display_name, spec.language), ("tunebook (other)", "bash"))
            self.assertEqual(spec.env, {"TUNE_A": "1", "TUNE_B": "x=y z", "TUNE_C": ""})
            with kernel(kernel_name="other-1", kernel_spec_manager=specs) as (_, kc):
                self.assertEqual(text_of(run(kc, '!echo "$TUNE_A, $TUNE_B, ${TUNE_C-none}"')[1]), "1, x=y z, \n")
            environment = {**os.environ, "JUPYTER_PATH": f"{prefix}/share/jupyter"}
            listed = subprocess.run([*tunebook, "list"], check=True, capture_output=True, text=True, env=environment)
            self.assertIn(f"tunebook (other): {prefix}/share/jupyter/kernels/other-1  runs ", listed.stdout)
            subprocess.run([*tunebook, "uninstall", *place], check=True, capture_output=True)
            self.assertEqual(list(specs.find_kernel_specs()), [])
            wrong = subprocess.run([*tunebook, "install", "--prefix", prefix, "--env", "TUNE_A"], capture_output=True, text=True)
            self.assertEqual(wrong.returncode, 2)
            self.assertIn("write KEY=VALUE", wrong.stderr)

    def test_the_history_outlives_the_kernel(self):
        with kernel() as (_, kc):
            run(kc, "print remember me")
        with kernel() as (_, kc):
            found = reply_to(kc, kc.history(hist_access_type="search", pattern="*remember me", n=1))["history"]
            self.assertEqual(found[0][2], "print remember me")


if __name__ == "__main__":
    unittest.main(verbosity=2)
