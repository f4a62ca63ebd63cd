"""Rust cells: variables that stay, the session at hand, what is shown while a cell runs, and how cells end."""

import os
import re
import signal
import subprocess
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

from support import FIXTURES, READY, finish, kernel, reply_to, run, text_of, wait_for


def rust(code):
    return f"%%rust\n{code}"


class RustCells(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.manager, cls.kc = cls.enterClassContext(kernel())
        reply, outputs = run(cls.kc, READY)
        assert reply["status"] == "ok", (reply, outputs)
        reply, outputs = run(cls.kc, rust("let mut counted = vec![1, 2];"))
        assert reply["status"] == "ok", (reply, outputs)

    def ok(self, code, **options):
        reply, outputs = run(self.kc, code, **options)
        self.assertEqual(reply["status"], "ok", reply)
        return outputs

    def value(self, code):
        return text_of(m for m in self.ok(rust(code)) if m["msg_type"] == "execute_result")

    def error(self, code):
        reply, outputs = run(self.kc, rust(code))
        self.assertEqual(reply["status"], "error")
        self.assertEqual([m["msg_type"] for m in outputs][-1], "error")
        return reply, outputs

    def child(self):
        """The process that cells run in."""
        kernel = self.manager.provisioner.process.pid
        found = subprocess.run(["pgrep", "-P", str(kernel)], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])

    def test_variables_and_functions_stay_over_cells(self):
        self.ok(rust("counted.push(3);\nfn twice(n: usize) -> usize { 2 * n }"))
        self.assertEqual(self.value("twice(counted.len())"), "6")
        self.assertEqual(text_of(self.ok("rust println!(\"{}\", counted[2]);")), "3\n")

    def test_the_tokens_of_an_answer_come_with_what_else_was_likely(self):
        cell = """let tokens = session().chat_tokens("Hello!", &[], 5)?;
session().chat_clear()?;
tokens.len() >= 4 && tokens.iter().all(|token| token.likeliest.len() == 5 && token.likeliest[0].1 >= token.probability)"""
        self.assertEqual(self.value(cell), "true")

    def test_every_training_of_a_cell_has_a_display_that_ends(self):
        with kernel() as (_, kc):
            self.assertEqual(run(kc, f"{READY}\nset eval_dataset=creatures eval_steps=3 max_samples=8")[0]["status"], "ok")
            cell = """
session().train(3)?;
session().train(3)?;
session().evaluate()?;
session().chat("Hello", &[])?;
session().compare("Hello", &[])?;
session().lora("second")?;
session().train(4)?;
session().use_adapter("default")?;
session().train(2)?;
session().undo(1)?;
session().train(1)?;
session().sweep("learning_rate=1e-4,1e-3", 2)?;
session().run("train 2")?;
session().train(1)?;"""
            displays = {}
            reply, outputs = run(kc, rust(cell))
            self.assertEqual(reply["status"], "ok", reply)
            for message in outputs:
                display_id = message["content"].get("transient", {}).get("display_id")
                if display_id:
                    displays[display_id] = message["content"]["data"]
            texts = [data["text/plain"] for data in displays.values()]
            steps = [int(re.match(r"step (\d+) of", text)[1]) for text in texts if text.startswith("step")]
            # The sweep goes on from there, and has one display for all its trainings.
            self.assertEqual((steps, len(texts)), ([6, 4, 8, 8, 10, 12, 13], 7), texts)
            for text, data in zip(texts, displays.values()):
                self.assertRegex(text, " · took ", texts)
                self.assertNotRegex(text, "left|evaluating|micro-batch", texts)

    def test_what_a_cell_trains_a_command_plots(self):
        before = int(self.value("session().step()"))
        cell = "let made = session().train(10)?;\nprintln!(\"{} {}\", made.step, made.steps.len());"
        outputs = self.ok(rust(cell))
        self.assertEqual(text_of(m for m in outputs if m["msg_type"] == "stream"), f"{before + 10} 10\n")
        self.assertIn("display_data", [m["msg_type"] for m in outputs])
        plot = self.ok("plot")[-1]["content"]["data"]
        self.assertIn("image/png", plot)
        self.assertIn(f"step {before + 10} of", " ".join(text_of(self.ok("status")).split()))
        losses = self.value("session().history()?.iter().map(|step| step.loss).collect::<Vec<_>>().len()")
        self.assertEqual(int(losses), before + 10)

    def test_progress_arrives_before_the_cell_ends(self):
        cell = "session().train(30)?;\nprintln!(\"trained\");\nstd::thread::sleep(std::time::Duration::from_secs(2));"
        start = time.monotonic()
        message_id = self.kc.execute(rust(cell))
        wait_for(self.kc, lambda m: m["msg_type"] in ("display_data", "update_display_data"))
        wait_for(self.kc, lambda m: m["content"].get("text") == "trained\n")
        shown = time.monotonic()
        self.assertEqual(finish(self.kc, message_id)[0]["status"], "ok")
        self.assertGreater(time.monotonic() - shown, 1.5, f"of {time.monotonic() - start} s")

    def test_what_is_printed_without_a_line_feed_is_shown_at_once(self):
        cell = """
print!("10 %");
eprint!("almost");
std::thread::sleep(std::time::Duration::from_secs(2));
print!("\\r100 %");
"""
        message_id = self.kc.execute(rust(cell))
        shown = [wait_for(self.kc, lambda m: m["msg_type"] == "stream")["content"] for _ in range(2)]
        self.assertEqual({(m["name"], m["text"]) for m in shown}, {("stdout", "10 %"), ("stderr", "almost")})
        before = time.monotonic()
        reply, outputs = finish(self.kc, message_id)
        self.assertGreater(time.monotonic() - before, 1)
        self.assertEqual((reply["status"], text_of(outputs)), ("ok", "\r100 %"))

    def test_what_other_code_writes_is_shown_in_its_place(self):
        # As a crate prints, or a library of C: without the macros of cells.
        cell = """
use std::io::Write;
fn of_a_crate(text: &str) { std::print!("{text}") }
write!(std::io::stdout(), "written, ")?;
std::io::stdout().flush()?;
of_a_crate("kept back, ");
print!("printed ");
6 * 7"""
        outputs = self.ok(rust(cell))
        self.assertEqual([m["msg_type"] for m in outputs], ["stream", "execute_result"])
        self.assertEqual(text_of(outputs), "written, kept back, printed 42")
        self.assertEqual(text_of(self.ok(rust("of_a_crate(\"at the end\");"))), "at the end")
        cell = "for i in 0..50 { std::println!(\"{i}\"); session().run(\"print between\")?; print!(\"behind \"); }"
        self.assertEqual(text_of(self.ok(rust(cell))), "".join(f"{i}\nbetween\nbehind " for i in range(50)))
        many = "for i in 0..100_000 { println!(\"{i}\"); }"
        self.assertEqual(text_of(self.ok(rust(many))), "".join(f"{i}\n" for i in range(100_000)))
        # Colours pass, and nothing else that steers.
        self.assertEqual(text_of(self.ok(rust("print!(\"\\x1b[31mred\\x1b[0m \\x1b[2Jx\");"))), "\x1b[31mred\x1b[0m ␛[2Jx")

    def test_a_thread_that_panics_is_heard(self):
        outputs = self.ok(rust("std::thread::spawn(|| panic!(\"far away\")).join().is_err()"))
        self.assertIn("far away", text_of(m for m in outputs if m["content"].get("name") == "stderr"))
        self.assertEqual(text_of(outputs[-1:]), "true")

    def ask(self, cell, *answers):
        """Runs a cell that reads standard input; what was asked, and how it ended."""
        message_id, asked = self.kc.execute(rust(cell), allow_stdin=True), []
        for answer in answers:
            asked.append(self.kc.get_stdin_msg(timeout=60)["content"])
            self.kc.input(answer)
        return asked, *finish(self.kc, message_id)

    def test_a_cell_that_reads_is_answered_by_the_user(self):
        cell = """
print!("Who? ");
let mut name = String::new();
let read = std::io::stdin().read_line(&mut name)?;
let second = std::io::stdin().lines().next().unwrap()?;
(read, name.trim().to_string(), second)"""
        asked, reply, outputs = self.ask(cell, "Ada", "图")
        self.assertEqual(asked, [{"prompt": "", "password": False}] * 2)
        self.assertEqual((reply["status"], text_of(outputs)), ("ok", 'Who? (4, "Ada", "图")'))
        # As the crate evcxr_input asks.
        cell = """
std::println!("EVCXR_INPUT_REQUEST_PASSWORD:Token");
let mut token = String::new();
std::io::stdin().read_line(&mut token)?;
token"""
        asked, reply, outputs = self.ask(cell, "s")
        self.assertEqual((asked, text_of(outputs)), ([{"prompt": "Token", "password": True}], '"s\\n"'))

    def test_nobody_to_ask_is_the_end_of_the_input(self):
        cell = "let mut line = String::new();\nstd::io::stdin().read_line(&mut line)?"
        self.assertEqual(text_of(self.ok(rust(cell), allow_stdin=False)), "0")
        self.assertEqual(text_of(self.ok(rust("std::io::read_to_string(std::io::stdin())?"), allow_stdin=False)), '""')

    def test_an_interrupt_ends_a_question_and_takes_no_variables(self):
        cell = "let mut heard = 0;\nfor line in std::io::stdin().lines() { heard += line?.len(); }"
        message_id = self.kc.execute(rust(cell), allow_stdin=True)
        self.kc.get_stdin_msg(timeout=60)
        self.kc.input("three")
        self.kc.get_stdin_msg(timeout=60)
        self.manager.interrupt_kernel()
        reply, _ = finish(self.kc, message_id)
        self.assertEqual((reply["ename"], reply["evalue"]), ("Interrupted", "stopped; the session and the variables are still there"))
        self.assertEqual(self.value("(heard, counted[0])"), "(5, 1)")

    def test_a_picture_of_the_session_and_one_of_its_own(self):
        self.ok("train 2")
        kinds = [set(m["content"]["data"]) for m in self.ok(rust("session().plot(\"loss\")?;")) if "data" in m["content"]]
        self.assertTrue(any("image/png" in kind for kind in kinds), kinds)
        cell = "println!(\"EVCXR_BEGIN_CONTENT text/html\\n<b>bold</b>\\nEVCXR_END_CONTENT\");"
        self.assertEqual(self.ok(rust(cell))[-1]["content"]["data"]["text/html"], "<b>bold</b>")

    def test_calls_are_refused_as_commands_are(self):
        for call, command in [
            ("load(\"nowhere/at/all\")", "load nowhere/at/all"),
            ("set(\"learning_rte\", 1e-4)", "set learning_rte=0.0001"),
            ("set(\"lora_rank\", 0)", "set lora_rank=0"),
            ("data(\"nothing\")", "data nothing"),
            ("run(\"trian 5\")", "trian 5"),
            ("use_adapter(\"defualt\")", "adapter use defualt"),
            ("chat(\"What?\", &[\"no.png\"])", "chat image=no.png What?"),
        ]:
            with self.subTest(call):
                wanted, _ = run(self.kc, command)
                reply, outputs = self.error(f"session().{call}?;")
                self.assertEqual(reply["evalue"], wanted["evalue"])
                self.assertEqual([m["msg_type"] for m in outputs], ["error"])
        reply, _ = self.error("let number: i32 = \"x\".parse()?;")
        self.assertEqual(reply["evalue"], "invalid digit found in string")
        self.assertEqual(self.value("match session().get(\"colour\") { Err(error) => error.kind, Ok(_) => todo!() }"), "Refused")

    def test_a_panic_is_an_error_and_takes_nothing_away(self):
        step = self.value("session().step()")
        reply, outputs = self.error("let lost = 1;\ncounted[99]")
        self.assertEqual(reply["ename"], "Panic")
        self.assertIn("index out of bounds: the len is", reply["evalue"])
        self.assertIn("are unchanged", reply["evalue"])
        self.assertEqual([m["msg_type"] for m in outputs], ["error"])
        self.assertEqual(self.value("counted[0]"), "1")
        self.assertEqual(self.value("session().step()"), step)

    def test_the_compiler_says_where(self):
        reply, _ = self.error("let 图 = 1;\nlet wrong: String = 图;")
        self.assertEqual((reply["ename"], reply["evalue"].split(";")[0]), ("CompilationError", "mismatched types"))
        drawn = reply["traceback"][1]
        self.assertIn("let wrong: String = 图;", drawn)
        self.assertIn("^^", drawn)
        self.assertIn("E0308", drawn)

    def test_values_of_the_session(self):
        self.ok("train 1")
        self.assertEqual(self.value("session().get(\"lora_rank\")?"), '"4"')
        self.ok(rust("session().set(\"learning_rate\", 2e-5)?;"))
        self.assertEqual(text_of(self.ok("show lr")), "learning_rate = 2e-5\n")
        self.assertEqual(self.value("session().adapters()?[0].name"), '"default"')
        shapes = self.value("session().tensors()?.iter().all(|t| t.data.len() == t.shape.iter().product::<usize>())")
        self.assertEqual(shapes, "true")
        name = self.value("session().tensors()?[0].name").strip('"')
        self.assertEqual(self.value(f"session().tensor(\"{name}\")?.shape[0]"), "4")
        reply, _ = self.error(f"session().tensor(\"{name}s\")?;")
        self.assertIn(f"(did you mean `{name}`?)", reply["evalue"])
        picture = f"{FIXTURES}/pictures/creature_0.png"
        cell = f"""
            let mut pieces = String::new();
            let answer = session().chat_streamed("What is it?", &["{picture}"], |piece| pieces.push_str(piece))?;
            session().chat_clear()?;
            (pieces == answer, answer == session().chat("What is it?", &["{picture}"])?)"""
        self.assertEqual(self.value(cell), "(true, true)")
        cell = f"""
            session().chat_clear()?;
            let one = session().chat("What is it?", &["{picture}"])?;
            session().chat_clear()?;
            let several = session().chat_n("What is it?", &["{picture}"], 3)?;
            let compared = session().compare("What is it?", &["{picture}"])?;
            (several.len(), several[0].text == one, several[2].name.clone(), compared[1].name.clone())"""
        self.assertEqual(self.value(cell), '(3, true, "3", "default")')
        self.assertEqual(self.value("session().evaluations()?.len()"), "0")

    def test_an_interrupt_stops_the_engine_first(self):
        self.ok(rust("let kept = 7;"))
        before = int(self.value("session().step()"))
        message_id = self.kc.execute(rust("let own = 8;\nloop { session().train(1)?; }"))
        wait_for(self.kc, lambda m: m["msg_type"] == "update_display_data")
        self.manager.interrupt_kernel()
        reply, _ = finish(self.kc, message_id)
        self.assertEqual(reply["ename"], "Interrupted")
        left = "the session and the variables of earlier cells are still there; this cell's own are not"
        self.assertEqual(reply["evalue"], f"stopped; {left}")
        self.assertIn("cannot find value `own`", self.error("own")[0]["evalue"])
        self.assertGreater(int(self.value("session().step()")), before)
        self.assertEqual(self.value("kept"), "7")

    def test_a_cell_that_does_not_end_is_ended_and_the_session_stays(self):
        with kernel() as (manager, kc):
            for code in (READY, "train 3", rust("let gone = 1;")):
                self.assertEqual(run(kc, code)[0]["status"], "ok")
            message_id = kc.execute(rust("println!(\"on\"); loop { std::hint::spin_loop(); }"))
            wait_for(kc, lambda m: m["content"].get("text") == "on\n")
            manager.interrupt_kernel()
            reply, _ = finish(kc, message_id)
            self.assertEqual(reply["ename"], "Interrupted")
            self.assertIn("variables are lost", reply["evalue"])
            reply, outputs = run(kc, rust("session().step()"))
            self.assertEqual((reply["status"], text_of(outputs)), ("ok", "3"))
            reply, _ = run(kc, rust("gone"))
            self.assertIn("cannot find value `gone`", reply["evalue"])
            # The same where the process dies of itself; what it has said is heard.
            for end, how in [("std::process::exit(3)", "exit status: 3"), ("std::process::abort()", "signal: 6")]:
                reply, outputs = run(kc, rust(f"print!(\"last words\"); {end}"))
                self.assertIn(how, reply["evalue"])
                self.assertEqual(text_of(m for m in outputs if m["msg_type"] == "stream"), "last words")
            reply, outputs = run(kc, rust("session().train(1)?.step"))
            self.assertEqual((reply["status"], text_of(outputs[-1:])), ("ok", "4"))

    def test_other_processes_are_not_let_in(self):
        environment = Path(f"/proc/{self.child()}/environ").read_text()
        socket = next(v for v in environment.split("\0") if v.startswith("TUNEBOOK_SOCKET="))[16:]
        self.assertEqual(os.stat(socket).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(socket)).st_mode & 0o777, 0o700)
        stranger = rust(
            f"""
            let mut stream = std::os::unix::net::UnixStream::connect("{socket}")?;
            let hello = [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
            std::io::Write::write_all(&mut stream, &hello)?;
            let mut answer = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut answer).ok();
            answer.len()"""
        )
        self.assertEqual(text_of(self.ok(stranger)), "0")

    def test_completion_inspection_and_completeness(self):
        code = rust("session().trai")
        reply = reply_to(self.kc, self.kc.complete(code))
        self.assertIn("train", {match.split("(")[0] for match in reply["matches"]})
        self.assertEqual(reply["cursor_start"], len(code) - len("trai"))
        found = reply_to(self.kc, self.kc.inspect(rust("counted"), len("%%rust\ncounted")))
        self.assertTrue(found["found"])
        self.assertIn("Vec<i32>", found["data"]["text/plain"])
        for text, status in [("%%rust\nfn f() {\n\n", "incomplete"), ("%%rust\n1\n\n", "complete"), ("rust 1", "complete")]:
            self.assertEqual(reply_to(self.kc, self.kc.is_complete(text))["status"], status)


class Shutdown(unittest.TestCase):
    def test_what_was_compiled_goes_with_the_kernel(self):
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.dict(os.environ, TMPDIR=folder):
            with kernel() as (manager, kc):
                self.assertEqual(run(kc, rust("1 + 1"))[0]["status"], "ok")
                self.assertNotEqual(os.listdir(folder), [])
                manager.shutdown_kernel()
                self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main()
