// Axes: where a value lies, and which values are marked.

export interface Scale {
  min: number;
  max: number;
  isLog: boolean;
  /** From 0 at the lower end to 1 at the upper one. */
  at(value: number): number;
  /** The value that lies there. */
  value(part: number): number;
}

/** From `min` to `max`; a range without extent is widened. */
export function scale(min: number, max: number, isLog = false): Scale {
  if (!(max > min)) [min, max] = isLog ? [min / 2, max * 2] : [min - (Math.abs(min) || 1) / 2, max + (Math.abs(max) || 1) / 2];
  if (isLog) {
    const [low, high] = [Math.log(min), Math.log(max)];
    return {
      min,
      max,
      isLog,
      at: (value) => (Math.log(value) - low) / (high - low),
      value: (part) => Math.exp(low + part * (high - low)),
    };
  }
  return { min, max, isLog, at: (value) => (value - min) / (max - min), value: (part) => min + part * (max - min) };
}

/** Round values within the scale, about `most` of them and at least three. */
export function marks({ min, max, isLog }: Scale, most: number): number[] {
  if (isLog) {
    // Powers of ten, or a few digits of each; within one decade the marks are as far apart as on a linear axis.
    for (const digits of [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7]]) {
      const found = powers(min, max).flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)));
      const within = thinned(found.filter((mark) => mark >= min && mark <= max), most);
      if (within.length >= 3) return within;
    }
  }
  const all = (step: number) => {
    const found = [];
    for (let index = Math.ceil(min / step - 1e-9); index * step <= max + step * 1e-9; index += 1) {
      found.push(Number((index * step).toPrecision(12)));
    }
    return found;
  };
  const rough = 10 ** Math.floor(Math.log10((max - min) / most));
  // From coarse to fine; the finest that is not too fine, but never fewer than three.
  const found = [20, 10, 5, 2.5, 2, 1, 0.5].map((factor) => all(factor * rough)).filter(({ length }) => length >= 3);
  return found.findLast(({ length }) => length <= most) ?? found[0] ?? [min, max];
}

function powers(min: number, max: number): number[] {
  const [low, high] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
  return Array.from({ length: high - low + 1 }, (_, index) => low + index);
}

/** Every n-th of them, so that no more than `most` are left. */
function thinned(marks: number[], most: number): number[] {
  const every = Math.ceil(marks.length / Math.max(most, 3));
  return every <= 1 ? marks : marks.filter((_, index) => index % every === 0);
}

/** The marks as texts, all with as many decimals as the closest two need. */
export function texts(marks: number[], isLog: boolean): string[] {
  // On a logarithmic axis of several powers of ten, each mark has its own.
  if (isLog && (marks.at(-1) ?? 0) >= 10 * (marks[0] ?? 0)) return marks.map(short);
  const gap = Math.min(...marks.slice(1).map((mark, index) => mark - (marks[index] ?? 0)));
  const size = Math.max(...marks.map(Math.abs));
  if (size > 0 && (size < 1e-3 || size >= 1e6)) return marks.map(short);
  const decimals = [0, 1, 2, 3, 4, 5, 6, 7].find((count) => Math.abs(gap - Number(gap.toFixed(count))) < gap * 1e-6) ?? 7;
  return marks.map((mark) => mark.toFixed(decimals));
}

function short(mark: number): string {
  if (mark === 0) return "0";
  const size = Math.abs(mark);
  return size < 1e-3 || size >= 1e6 ? mark.toExponential().replace("e+", "e") : String(Number(mark.toPrecision(6)));
}
