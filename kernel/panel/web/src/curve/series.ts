// The numbers of a training as lines to draw.

import type { Curve } from "../protocol";
import { automaticWeight, smoothed } from "./smooth";

export const METRICS = ["loss", "eval_loss", "learning_rate", "grad_norm"] as const;
export type Metric = (typeof METRICS)[number];

/** One adapter's line. */
export interface Series {
  adapter: string;
  /** Its place among the adapters, which chooses its colour. */
  place: number;
  steps: number[];
  values: number[];
  /** Nothing where it is not smoothed. */
  smooth: number[] | null;
  /** Evaluations, drawn as dots along with the loss. */
  dots: { step: number; value: number }[];
}

/** What a metric is of each adapter; `weight` null is automatic. */
export function series(
  curves: Record<string, Curve>,
  metric: Metric,
  weight: number | null,
  isHidden: (adapter: string) => boolean,
): Series[] {
  return Object.entries(curves).flatMap(([adapter, curve], place) => {
    if (isHidden(adapter)) return [];
    const evaluations = curve.evaluations.map(({ step, loss }) => ({ step, value: loss }));
    if (metric === "eval_loss") {
      const [steps, values] = [evaluations.map((one) => one.step), evaluations.map((one) => one.value)];
      return [{ adapter, place, steps, values, smooth: null, dots: evaluations }];
    }
    const values = curve.steps.map((record) => record[metric]);
    const strength = weight ?? automaticWeight(values.length);
    const smooth = metric === "learning_rate" || strength === 0 ? null : smoothed(values, strength);
    const dots = metric === "loss" ? evaluations : [];
    return [{ adapter, place, steps: curve.steps.map((record) => record.step), values, smooth, dots }];
  });
}

/** The lowest evaluation of all lines. */
export function best(lines: Series[]): { line: Series; step: number; value: number } | null {
  let found: { line: Series; step: number; value: number } | null = null;
  for (const line of lines) {
    for (const dot of line.dots) if (!found || dot.value < found.value) found = { line, ...dot };
  }
  return found;
}

/** The index of the step closest to `step`, in steps that rise. */
export function nearest(steps: number[], step: number): number {
  let [low, high] = [0, steps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle]! < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - steps[low - 1]! <= steps[low]! - step ? low - 1 : low;
}
