// In which words two answers differ.

export interface Piece {
  text: string;
  /** Whether the other answer has no such word in this place. */
  isOther: boolean;
}

/** Beyond this product of their lengths, answers are too long to be compared. */
const MOST = 1_000_000;

/** `text` in pieces, those marked that are not in `base`: what is left by a longest common subsequence of words. */
export function differences(base: string, text: string): Piece[] {
  const [ours, theirs] = [words(text), words(base)];
  if (base === text || ours.length * theirs.length > MOST) return [{ text, isOther: false }];
  const width = theirs.length + 1;
  // longest[i * width + j]: of ours from i on and theirs from j on.
  const longest = new Uint16Array((ours.length + 1) * width);
  for (let i = ours.length - 1; i >= 0; i -= 1) {
    for (let j = theirs.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] =
        ours[i] === theirs[j]
          ? longest[(i + 1) * width + j + 1]! + 1
          : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!);
    }
  }
  const found: Piece[] = [];
  const push = (word: string, isOther: boolean) => {
    const last = found.at(-1);
    if (last?.isOther === isOther) last.text += word;
    else if (last?.isOther) {
      // Words are marked, not the blank behind the last of them.
      const marked = last.text.trimEnd();
      found.push({ text: last.text.slice(marked.length) + word, isOther });
      last.text = marked;
    } else found.push({ text: word, isOther });
  };
  let [i, j] = [0, 0];
  while (i < ours.length) {
    if (ours[i] === theirs[j]) {
      push(ours[i]!, false);
      [i, j] = [i + 1, j + 1];
    } else if (j < theirs.length && longest[i * width + j + 1]! >= longest[(i + 1) * width + j]!) {
      j += 1;
    } else {
      push(ours[i]!, true);
      i += 1;
    }
  }
  return found;
}

/** Words with the blanks behind them; of Chinese, characters. */
function words(text: string): string[] {
  return text.match(/[\p{Script=Han}]|[^\s\p{Script=Han}]+\s*|\s+/gu) ?? [];
}
