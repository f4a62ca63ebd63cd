// Lines of the command language, quoted as its parser reads them.

/** `text` as one word: as it is, or in double quotes if it would be read as several words, a comment or an option. */
export function word(text: string): string {
  const isPlain = text !== "" && !/[\s'"\\]/.test(text) && !text.startsWith("#") && !isOption(text);
  return isPlain ? text : quoted(text);
}

/** `key=value`. */
export function option(key: string, value: string): string {
  const isPlain = value !== "" && !/[\s'"\\]/.test(value);
  return `${key}=${isPlain ? value : quoted(value)}`;
}

/** Parts with a blank between them; those that are empty are left out. */
export function line(...parts: (string | false | null | undefined)[]): string {
  return parts.filter((part) => typeof part === "string" && part !== "").join(" ");
}

/** A message, or with several lines a cell of one: options come before the text, which is taken as it is. */
export function chat(options: string[], text: string): string {
  const trimmed = text.trim();
  if (trimmed.includes("\n")) return `${line("%%chat", ...options)}\n${trimmed}`;
  return line("chat", ...options, verbatim(trimmed));
}

/** A question to several; it stands on one line. */
export function compare(options: string[], text: string): string {
  return line("compare", ...options, verbatim(text.trim().replace(/\s*\n\s*/g, " ")));
}

/** The line that `time LINE` or `%time LINE` times, or the line itself. */
export function untimed(text: string): string {
  return text.replace(/^(?:\s*%?\s*time\s+)+(?=\S)/, "");
}

/** The verb of a line; a line of settings alone is a `set`. */
export function verbOf(text: string): string {
  const first = text.trim().replace(/^%(?!%)/, "").split(/\s/, 1)[0] ?? "";
  if (first === "%%chat") return "chat";
  return isOption(first) ? "set" : first;
}

function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

function isOption(text: string): boolean {
  return /^-{0,2}[A-Za-z][\w-]*=/.test(text);
}

/** Text at the end of a line, in quotes where its beginning would not be read as text. */
function verbatim(text: string): string {
  const isMisread =
    /^(--|['"#])/.test(text) || /(^|\s)-{0,2}[A-Za-z][\w-]*=/.test(text) || text.endsWith("\\");
  return isMisread ? quoted(text) : text;
}
