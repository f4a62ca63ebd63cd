import assert from "node:assert/strict";
import { test } from "node:test";
import { StringStream } from "@codemirror/streamparser";
import { commands } from "../src/commands";

/** The coloured parts of a cell, a list for each line. */
function coloured(cell: string): string[][] {
  let state = commands.startState!(2);
  return cell.split("\n").map((line) => {
    // As CodeMirror does it: from any line on it may begin anew.
    state = commands.copyState!(state);
    const found: string[] = [];
    if (line === "") commands.blankLine!(state, 2);
    const stream = new StringStream(line, 4, 2);
    while (!stream.eol()) {
      stream.start = stream.pos;
      const style = commands.token(stream, state);
      assert(stream.pos > stream.start, `no progress in ${line} at ${stream.pos}`);
      if (style) found.push(`${stream.current()} ${style}`);
    }
    return found;
  });
}

test("an apostrophe in a message leaves the lines behind it alone", () => {
  const cell = "chat What's this?\ntrain 5 lr=1e-4 # it's\nchat image=\"a b.png\" top_p=0.5 is x=3 \"it\"? # no\nplot";
  assert.deepEqual(coloured(cell), [
    ["chat keyword"],
    ["train keyword", "5 number", "lr= propertyName", "1e-4 number", "# it's comment"],
    ["chat keyword", "image= propertyName", '"a b.png" string', "top_p= propertyName", "0.5 number"],
    ["plot keyword"],
  ]);
});

test("words of commands", () => {
  assert.deepEqual(coloured("%adapter load 'a b' as x\nset packing=true --seed 7\nlr=2e-4 template=qwen2_vl"), [
    ["%adapter keyword", "'a b' string"],
    ["set keyword", "packing= propertyName", "true atom", "--seed propertyName", "7 number"],
    ["lr= propertyName", "2e-4 number", "template= propertyName"],
  ]);
  assert.deepEqual(coloured("# a comment\ntrain 10 &\ntrain?\nload it's"), [
    ["# a comment comment"],
    ["train keyword", "10 number", "& operator"],
    ["train keyword"],
    ["load keyword"],
  ]);
  assert.deepEqual(coloured("chat Is this \\\nplot # one\nset lr=1 \\\n  batch=2"), [
    ["chat keyword"],
    [],
    ["set keyword", "lr= propertyName", "1 number", "\\ operator"],
    ["batch= propertyName", "2 number"],
  ]);
  assert.deepEqual(coloured("对话 学习率=1\nchat 这是什么？"), [["对话 keyword", "学习率= propertyName", "1 number"], ["chat keyword"]]);
});

test("a line of the shell's is the shell's", () => {
  assert.deepEqual(coloured("!ls -l 'a b' | wc # it's\ntrain 5\n!echo it's \\\n  5\nplot"), [
    ["! keyword", "ls builtin", "-l attribute", "'a b' string", "wc builtin", "# it's comment"],
    ["train keyword", "5 number"],
    ["! keyword", "echo builtin", "'s \\ string"],
    ["5 string"],
    ["plot keyword"],
  ]);
});

test("a line that is timed, and one that asks", () => {
  assert.deepEqual(coloured("%time train 5 lr=1\ntime !ls\ntime rust 1 as f32\n?train\ntrain??\nset time=1"), [
    ["%time keyword", "train keyword", "5 number", "lr= propertyName", "1 number"],
    ["time keyword", "! keyword", "ls builtin"],
    ["time keyword", "rust keyword", "1 number", "as keyword", "f32 atom"],
    ["? operator", "train keyword"],
    ["train keyword"],
    ["set keyword", "time= propertyName", "1 number"],
  ]);
  const lines = coloured("%%time\n%%rust\nlet x = 1;\n\nlet y = 2;");
  assert.deepEqual([lines[0], lines[1], lines[4]![0]], [["%%time keyword"], ["%%rust keyword"], "let keyword"]);
  assert.deepEqual(coloured("%%time\n!ls\nplot"), [["%%time keyword"], ["! keyword", "ls builtin"], ["plot keyword"]]);
});

test("a cell of Rust is Rust to its end", () => {
  const [head, first, , last] = coloured("%%rust\nlet x: &'static str = \"plot\"; // it's\n\nfor i in 0..3 {}");
  assert.deepEqual(head, ["%%rust keyword"]);
  assert.equal(first![0], "let keyword");
  assert(first!.includes("// it's comment") && first!.includes('" string'));
  assert(last!.includes("for keyword") && last!.includes("in keyword"));
});

test("a block of Rust among commands ends with an empty line", () => {
  const lines = coloured("train 5\n%%rust\nfn f() {\n\n    1\n}\n\nplot\nrust session().step() as f32\ntrain");
  assert.deepEqual(lines[2]![0], "fn keyword");
  assert.deepEqual(lines[4], ["1 number"]);
  assert.deepEqual(lines[7], ["plot keyword"]);
  assert(lines[8]!.includes("rust keyword") && lines[8]!.includes("as keyword") && lines[8]!.includes("f32 atom"));
  assert.deepEqual(lines[9], ["train keyword"]);
});

test("a message is text", () => {
  assert.deepEqual(coloured("%%chat image=a.png\nWhat's this?\n\ntrain 5"), [["%%chat image=a.png keyword"], [], [], []]);
  assert.deepEqual(coloured("train\n%%chat\nWhat's this?\n\ntrain"), [["train keyword"], ["%%chat keyword"], [], [], ["train keyword"]]);
});
