"""The control panel: in a cell, as a widget of the kernel, and as a page of its own, with the token of its address."""

import asyncio
import json
import os
import subprocess
import unittest
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from support import READY, TIMEOUT, finish, kernel, reply_to, run, wait_for
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

VIEW = "application/vnd.jupyter.widget-view+json"


class InACell(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.manager, cls.kc = cls.enterClassContext(kernel())
        run(cls.kc, READY)

    def comm(self, comm_id, data):
        self.kc.shell_channel.send(self.kc.session.msg("comm_msg", {"comm_id": comm_id, "data": data}))

    def open(self):
        """A panel: the id of its comm, and the comms that were opened for it."""
        message_id = self.kc.execute("panel")
        opened, shown = [], None
        while shown is None:
            message = self.kc.get_iopub_msg(timeout=TIMEOUT)
            if message["msg_type"] == "comm_open":
                opened.append(message)
            if message["msg_type"] == "display_data":
                shown = message["content"]["data"]
        finish(self.kc, message_id)
        return shown[VIEW]["model_id"], opened, shown

    def said(self, comm_id, kind, found=lambda said: True):
        """The first message of this kind from the panel. Several threads speak, so the others are kept."""

        def is_from_it(message):
            return message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == comm_id

        while True:
            for at, said in enumerate(self.heard):
                if said.get("type") == kind and found(said):
                    return self.heard.pop(at)
            self.heard.append(wait_for(self.kc, is_from_it)["content"]["data"].get("content", {}))

    def setUp(self):
        self.heard = []

    def test_it_is_a_widget_of_anywidget(self):
        panel, opened, shown = self.open()
        self.assertIn("anywidget", shown["text/plain"])
        self.assertEqual([m["content"]["target_name"] for m in opened], ["jupyter.widget"] * 2)
        self.assertTrue(all(m["metadata"]["version"].startswith("2.") for m in opened))
        state = opened[1]["content"]["data"]["state"]
        layout = opened[0]["content"]["comm_id"]
        self.assertEqual((opened[1]["content"]["comm_id"], state["layout"]), (panel, f"IPY_MODEL_{layout}"))
        self.assertEqual((state["_model_module"], state["_model_name"]), ("anywidget", "AnyModel"))
        self.assertIn("export", state["_esm"])
        self.assertTrue(state["_css"])
        self.assertEqual(state["snapshot"]["type"], "state")
        comms = reply_to(self.kc, self.kc.comm_info())["comms"]
        self.assertLessEqual({panel, layout}, set(comms))

        # A page that is opened anew asks for all of it.
        self.kc.shell_channel.send(
            self.kc.session.msg("comm_open", {"comm_id": "c", "target_name": "jupyter.widget.control", "data": {}})
        )
        self.comm("c", {"method": "request_states"})
        states = wait_for(self.kc, lambda m: m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == "c")
        states = states["content"]["data"]["states"]
        self.assertEqual(states[panel]["state"]["_anywidget_id"], "tunebook.Panel")
        self.assertEqual(states[panel]["model_name"], "AnyModel")

    def test_lines_of_a_panel_are_carried_out_and_those_of_cells_are_told(self):
        panel, _, _ = self.open()
        self.comm(panel, {"method": "custom", "content": {"type": "hello"}})
        state = self.said(panel, "state")
        self.assertEqual(state["model"]["architecture"], "Qwen2_5_VLForConditionalGeneration")
        self.assertTrue(any(adapter["active"] for adapter in state["adapters"]))
        rate = next(setting for setting in state["settings"] if setting["name"] == "learning_rate")
        self.assertEqual((rate["kind"], rate["min"], rate["max"], rate["below"]), ("number", 0, 100, None))
        dropout = next(setting for setting in state["settings"] if setting["name"] == "lora_dropout")
        self.assertEqual((dropout["min"], dropout["max"], dropout["below"]), (0, None, 1))
        changed = self.said(panel, "changed", lambda said: "curves" in said)
        self.assertLessEqual({adapter["name"] for adapter in state["adapters"]}, set(changed["curves"]))

        run_line = {"type": "run", "id": "7", "line": "set learning_rate=3e-4"}
        self.comm(panel, {"method": "custom", "content": run_line})
        begun = self.said(panel, "recorded", lambda said: said["line"] == run_line["line"])
        self.assertEqual((begun["id"], begun["ok"]), ("7", None))
        recorded = self.said(panel, "recorded", lambda said: said["number"] == begun["number"])
        self.assertEqual((recorded["id"], recorded["ok"]), ("7", True))
        self.assertIsNone(self.said(panel, "done")["error"])
        self.comm(panel, {"method": "custom", "content": {"type": "run", "id": "8", "line": "trian"}})
        error = self.said(panel, "done", lambda said: said["id"] == "8")["error"]
        self.assertIn("did you mean `train`", error["cause"])

        message_id = self.kc.execute("train 2")
        step = self.said(panel, "step")
        self.assertGreater(step["record"]["loss"], 0)
        reply_to(self.kc, message_id)
        told = self.kc.execute("set seed=5")
        recorded = self.said(panel, "recorded", lambda said: said["line"] == "set seed=5" and said["ok"])
        self.assertIsNone(recorded["id"])
        reply_to(self.kc, told)

    def test_a_line_is_recorded_with_the_step_behind_which_it_counts(self):
        panel, _, _ = self.open()
        reply_to(self.kc, self.kc.execute("lora counted\nset batch=1 accum=4\ntrain 1"))
        run_line = lambda id, line: self.comm(panel, {"method": "custom", "content": {"type": "run", "id": id, "line": line}})
        run_line("1", "train &")
        self.said(panel, "step", lambda said: said["record"]["step"] == 3)
        run_line("2", "set learning_rate=3e-4")
        line = self.said(panel, "recorded", lambda said: said["id"] == "2" and said["ok"])
        at = line["training"]
        self.assertTrue(at["running"])
        self.assertIn(at["counts_from"] - at["step"], (0, 1))
        # Steps have the rate behind that one.
        rates = {}
        while at["counts_from"] + 1 not in rates:
            record = self.said(panel, "step")["record"]
            rates[record["step"]] = record["learning_rate"]
        run_line("3", "stop")
        run_line("4", "wait")
        run_line("5", "print done")
        line = self.said(panel, "recorded", lambda said: said["id"] == "5")
        self.assertEqual((line["training"]["running"], line["training"]["stopped"]), (False, True))
        before, behind = rates.get(at["counts_from"]), rates[at["counts_from"] + 1]
        self.assertAlmostEqual(behind, 3e-4, delta=1e-5)
        if before is not None:
            self.assertGreater(abs(before - behind), 1e-5)

    def test_the_cursor_counts_characters(self):
        panel, _, _ = self.open()
        line = "print 你好 se"
        asked = {"type": "complete", "id": "c", "line": line, "cursor": len(line)}
        self.comm(panel, {"method": "custom", "content": asked})
        self.assertEqual(self.said(panel, "completions")["start"], len("print 你好 "))

    def test_pages_learn_of_what_was_undone_and_said(self):
        panel, _, _ = self.open()
        reply_to(self.kc, self.kc.execute("lora undone\nset batch=2 accum=1\ntrain 3"))
        reply_to(self.kc, self.kc.execute("undo 2"))
        steps = lambda said: [record["step"] for record in said.get("curves", {}).get("undone", {}).get("steps", [])]
        self.said(panel, "changed", lambda said: steps(said) == [1])
        reply_to(self.kc, self.kc.execute("chat clear\nchat Hi"))
        told = self.said(panel, "changed", lambda said: len(said.get("chat", [])) == 1)
        self.assertEqual((told["chat"][0]["text"], told["chat"][0]["pictures"]), ("Hi", []))
        reply_to(self.kc, self.kc.execute("lang zh"))
        state = self.said(panel, "state", lambda said: said["lang"] == "zh")
        self.assertIn("训练", [group["title"] for group in state["groups"]])
        reply_to(self.kc, self.kc.execute("lang en"))
        adapters = self.said(panel, "state", lambda said: said["lang"] == "en")["adapters"]
        undone = next(adapter for adapter in adapters if adapter["name"] == "undone")
        self.assertEqual(undone["step"], 1)
        self.assertGreater(undone["total_steps"], 1)

    def test_what_is_no_message_harms_nothing(self):
        panel, _, _ = self.open()
        for content in ({}, {"type": "run"}, {"type": 5}, "x", None, {"type": "samples", "id": "1", "split": "?"}):
            self.comm(panel, {"method": "custom", "content": content})
        self.comm("nobody", {"method": "custom", "content": {"type": "hello"}})
        self.kc.shell_channel.send(self.kc.session.msg("comm_close", {"comm_id": "nobody"}))
        self.assertEqual(run(self.kc, "print still here")[0]["status"], "ok")


class InABrowser(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        command = [os.environ["TUNEBOOK"], "panel"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.process.communicate)
        self.addCleanup(self.process.terminate)
        self.url = self.process.stdout.readline().split(": ", 1)[1].strip()
        self.address = urlsplit(self.url)

    def get(self, path, **headers):
        request = urllib.request.Request(f"http://{self.address.netloc}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    async def socket(self, query, **headers):
        request = HTTPRequest(f"ws://{self.address.netloc}/ws{query}", headers=headers)
        return await asyncio.wait_for(websocket_connect(request), TIMEOUT)

    async def said(self, socket, kind):
        while True:
            message = json.loads(await asyncio.wait_for(socket.read_message(), TIMEOUT))
            if message["type"] == kind:
                return message

    async def test_who_has_the_token_has_the_page_and_the_session(self):
        query = f"?{self.address.query}"
        status, page = self.get(f"/{query}")
        self.assertEqual(status, 200)
        self.assertIn("panel.js", page)
        self.assertEqual(self.get("/panel.js")[0], 200)
        socket = await self.socket(query)
        await socket.write_message(json.dumps({"type": "hello"}))
        state = await self.said(socket, "state")
        self.assertIsNone(state["model"])
        await socket.write_message(json.dumps({"type": "run", "id": "1", "line": "print hello"}))
        self.assertEqual((await self.said(socket, "output"))["text"], "hello")
        socket.close()

    async def test_nobody_else_has(self):
        query = f"?{self.address.query}"
        self.assertEqual(self.get("/")[0], 403)
        self.assertEqual(self.get("/?token=guess")[0], 403)
        # Another page in the same browser: under its own name, or with one that it has made lead here.
        self.assertEqual(self.get(f"/{query}", Host="evil.example")[0], 403)
        for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}):
            with self.assertRaises(HTTPClientError) as refused:
                await self.socket(query, **headers)
            self.assertEqual(refused.exception.code, 403)
        with self.assertRaises(HTTPClientError):
            await self.socket("?token=guess")


if __name__ == "__main__":
    unittest.main(verbosity=2)
