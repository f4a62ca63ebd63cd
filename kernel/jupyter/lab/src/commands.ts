// The command language, line by line, as `kernel/commands` reads it: a verb, options as `key=value`, comments behind `#`, and
// free text behind some verbs. `%%rust` begins Rust and `%%chat` a message, up to the end of the cell or an empty line; `!`
// begins a line of the shell's, `time` one of any kind.
import { rust } from "@codemirror/legacy-modes/mode/rust";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import type { StreamParser, StringStream } from "@codemirror/streamparser";
import words from "./words.json";

/** What the lines are; what begins with the cell lasts to its end. */
type Mode = "commands" | "rust" | "message";
/** What comes next in a line of commands. */
type Part = "verb" | "words" | "value" | "text" | "rust" | "shell";

interface State {
  mode: Mode;
  isWholeCell: boolean;
  /** Whether there was a line that is not empty. */
  isBegun: boolean;
  part: Part;
  verb: string;
  /** Whether this line goes on in the next one. */
  joins: boolean;
  rust: unknown;
  shell: { tokens: unknown[] };
  /** Brackets that are open in a block of Rust. */
  open: number;
}

const KEY = /^[\p{L}_][\p{L}\p{N}_-]*=/u;
const DASHED = /^--[\p{L}_][\p{L}\p{N}_-]*=?/u;
const QUOTED = /^(?:"(?:[^"\\]|\\.)*"?|'[^']*')/;
const NUMBER = /^[+-]?(?:\d[\d_]*)?\.?\d+(?:e[+-]?\d+)?(?=[\s,]|$)/i;
const SWITCH = /^(?:true|false|none|auto)(?=\s|$)/;

const startRust = () => rust.startState!(2);
const startShell = () => shell.startState!(2) as State["shell"];

export const commands: StreamParser<State> = {
  name: "tunebook",

  startState: () => ({
    mode: "commands",
    isWholeCell: false,
    isBegun: false,
    part: "verb",
    verb: "",
    joins: false,
    rust: null,
    shell: startShell(),
    open: 0,
  }),

  copyState: (state) => ({
    ...state,
    rust: state.rust && rust.copyState!(state.rust),
    shell: { tokens: state.shell.tokens.slice() },
  }),

  token(stream, state) {
    if (stream.sol() && state.mode === "commands") {
      if (!state.joins) state.part = "verb";
      state.joins = /^(?!\s*#).*\\$/.test(stream.string);
    }
    if (state.mode === "message") {
      stream.skipToEnd();
      return null;
    }
    if (state.mode === "rust") return rustToken(stream, state);
    if (stream.eatSpace()) return null;
    const begins = !state.isBegun;
    state.isBegun = true;
    return commandToken(stream, state, begins);
  },

  blankLine(state) {
    if (state.isWholeCell || state.open > 0) return;
    state.mode = "commands";
    state.joins = false;
  },

  indent(state, textAfter, context) {
    return state.mode === "rust" ? (rust.indent?.(state.rust, textAfter, context) ?? null) : null;
  },

  languageData: { commentTokens: { line: "#" } },
};

function commandToken(stream: StringStream, state: State, beginsCell: boolean): string | null {
  if (state.part === "rust") return rustToken(stream, state);
  if (state.part === "shell") return shell.token(stream, state.shell) ?? null;
  if (state.part === "verb") {
    if (stream.match(/^\?+/)) return "operator";
    state.part = "words";
    if (stream.match(/^!+/)) {
      [state.part, state.shell] = ["shell", startShell()];
      return "keyword";
    }
    if (stream.match(/^%%time\s*$/)) {
      // What is below it is a cell, too.
      state.isBegun = false;
      return "keyword";
    }
    if (stream.match(/^%%rust\s*$/)) return begin("rust", stream, state, beginsCell);
    if (/^%%chat(\s|$)/.test(stream.string.slice(stream.pos))) return begin("message", stream, state, beginsCell);
    if (!KEY.test(stream.string.slice(stream.pos)) && stream.match(/^%?[\p{L}][\p{L}\p{N}_-]*(?=\s|\?|$)/u)) {
      state.verb = stream.current().replace("%", "");
      if (state.verb === "rust") {
        [state.part, state.rust] = ["rust", startRust()];
      }
      if (state.verb === "time") state.part = "verb";
      return "keyword";
    }
  }
  if (state.part === "text") {
    stream.skipToEnd();
    return null;
  }
  return wordToken(stream, state);
}

function wordToken(stream: StringStream, state: State): string | null {
  if (state.part === "value") {
    state.part = "words";
    if (stream.match(QUOTED)) return "string";
    if (stream.match(NUMBER)) return "number";
    if (stream.match(SWITCH)) return "atom";
    stream.match(/^\S+/);
    return null;
  }
  if (stream.match(KEY) || stream.match(DASHED)) {
    // The value of `--key value` is a word of its own.
    state.part = "value";
    return "propertyName";
  }
  if (words.text.includes(state.verb)) {
    state.part = "text";
    stream.skipToEnd();
    return null;
  }
  if (stream.match(/^#.*/)) return "comment";
  if (stream.match(QUOTED)) return "string";
  if (stream.match(NUMBER)) return "number";
  if (stream.match(/^(?:&|\\)$/)) return "operator";
  stream.match(/^\S[^\s"]*/);
  return null;
}

/** A line that begins a block; the options of a message are coloured as those of `chat`. */
function begin(mode: Mode, stream: StringStream, state: State, beginsCell: boolean): string {
  stream.skipToEnd();
  [state.mode, state.isWholeCell, state.open, state.rust] = [mode, beginsCell, 0, startRust()];
  return "keyword";
}

function rustToken(stream: StringStream, state: State): string | null {
  const style = rust.token(stream, state.rust);
  if (style === null || style === undefined) {
    for (const c of stream.current()) {
      if ("([{".includes(c)) state.open += 1;
      if (")]}".includes(c)) state.open -= 1;
    }
  }
  return style ?? null;
}
