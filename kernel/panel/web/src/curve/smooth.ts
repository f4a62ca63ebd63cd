// Exponential smoothing, as LLaMA-Factory's plots and TensorBoard's slider do it.

/** The weight that LLaMA-Factory's plots give to what was before, for a curve of so many points. */
export function automaticWeight(points: number): number {
  return 1.8 * (1 / (1 + Math.exp(-0.05 * points)) - 0.5);
}

/** The moving average that begins with the first value; a value that is no finite number is left out. */
export function smoothed(values: number[], weight: number): number[] {
  let last: number | null = null;
  return values.map((value) => {
    if (Number.isFinite(value)) last = last === null ? value : last * weight + (1 - weight) * value;
    return last ?? value;
  });
}
