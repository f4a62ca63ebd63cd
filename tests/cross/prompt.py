"""prompt.py COMMAND…: types at the prompt of a program that an emulator runs, as a user does. It needs pexpect.

A terminal of its own is between both, and draws lines anew as it likes: what is expected are words.
"""

import sys

import pexpect

PATIENCE = 300
TAB, CTRL_C, UP = "\t", "\x03", "\x1b[A"


def main():
    command, *arguments = sys.argv[1:]
    terminal = pexpect.spawn(command, arguments, timeout=PATIENCE, encoding="utf-8", dimensions=(40, 120))
    terminal.logfile_read = sys.stdout
    # A key that is read before there is a prompt may be lost.
    terminal.expect("> ")
    terminal.send("vers" + TAB + "\r")
    terminal.expect("0.1.0")
    terminal.expect("> ")
    terminal.send("demo\r")
    terminal.expect("creatures: ")
    terminal.expect("> ")
    terminal.send("lora\r")
    terminal.expect("trainable")
    terminal.expect("> ")
    terminal.send("train output_dir=interrupted\r")
    terminal.expect("step 2/")
    terminal.send(CTRL_C)
    terminal.expect("stopped at step")
    terminal.expect("> ")
    # The prompt remembers lines.
    terminal.send("print remembered\r")
    terminal.expect("> ")
    terminal.send(UP + " twice\r")
    terminal.expect("remembered twice\r+\n")
    terminal.send("quit\r")
    terminal.expect(pexpect.EOF)
    terminal.close()
    print("\nended with", terminal.exitstatus)
    assert terminal.exitstatus == 0, terminal.exitstatus


if __name__ == "__main__":
    main()
