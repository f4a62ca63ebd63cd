// A line of many points as one of few that looks the same.

export interface Point {
  x: number;
  y: number;
}

/**
 * Of the points in each column of pixels the first, the lowest, the highest and the last: the line through them covers
 * the same pixels. `x` must not fall.
 */
export function decimated(points: Point[]): Point[] {
  const found: Point[] = [];
  let index = 0;
  while (index < points.length) {
    const column = Math.floor(points[index]!.x);
    let [first, low, high] = [index, index, index];
    for (; index < points.length && Math.floor(points[index]!.x) === column; index += 1) {
      if (points[index]!.y < points[low]!.y) low = index;
      if (points[index]!.y > points[high]!.y) high = index;
    }
    for (const at of new Set([first, Math.min(low, high), Math.max(low, high), index - 1])) found.push(points[at]!);
  }
  return found;
}

/** The points as an SVG path; where a value is missing, the line is broken. */
export function path(points: Point[]): string {
  let text = "";
  let isOn = false;
  for (const { x, y } of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      isOn = false;
      continue;
    }
    text += `${isOn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isOn = true;
  }
  return text;
}
