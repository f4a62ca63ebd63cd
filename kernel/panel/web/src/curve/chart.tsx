// The live curve: drawn as SVG, with a crosshair, zoom along the steps, smoothing and a logarithmic axis.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Curve } from "../protocol";
import { useHint, useSay } from "../store";
import { fixed, number, rate } from "../format";
import { decimated, path } from "./decimate";
import { marks, scale, texts, type Scale } from "./scale";
import { automaticWeight } from "./smooth";
import { METRICS, best, nearest, series, type Metric, type Series } from "./series";

const MARGIN = { left: 58, right: 14, top: 10, bottom: 36 };
const HEIGHT = 280;

/** Colours are told apart by CSS, lines also by their dashes. */
const COLOURS = 6;

export function Chart({ curves, version }: { curves: Record<string, Curve>; version: number }) {
  const say = useSay();
  const hint = useHint("", say("curveKeys"));
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  const [metric, setMetric] = useState<Metric>("loss");
  const [weight, setWeight] = useState<number | null>(null);
  const [isLog, setLog] = useState(false);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [zoom, setZoom] = useState<[number, number] | null>(null);
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const [cursor, setCursor] = useState<number | null>(null);

  const lines = useMemo(
    () => series(curves, metric, weight, (adapter) => hidden.has(adapter)),
    [curves, version, metric, weight, hidden],
  );
  const name = metricName(metric, say);
  const { x, y } = useMemo(() => axes(lines, zoom, isLog), [lines, zoom, isLog]);
  const plot = { width: Math.max(80, width - MARGIN.left - MARGIN.right), height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const px = (step: number) => MARGIN.left + x.at(step) * plot.width;
  const py = (value: number) => MARGIN.top + (1 - y.at(value)) * plot.height;
  const drawn = useMemo(() => lines.map((line) => draw(line, px, py, x)), [lines, x, y, plot.width]);

  const isEmpty = lines.every((line) => line.steps.length === 0);
  const longest = Math.max(0, ...lines.map((line) => line.steps.length));
  const lowest = metric === "loss" || metric === "eval_loss" ? best(lines) : null;
  const adapters = Object.keys(curves);

  const stepAt = (event: PointerEvent) => {
    const box = frame.current!.getBoundingClientRect();
    const part = (event.clientX - box.left - MARGIN.left) / plot.width;
    return x.value(Math.min(1, Math.max(0, part)));
  };
  const onDown = (event: PointerEvent) => {
    if (event.button !== 0 || isEmpty) return;
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    const step = stepAt(event);
    setDrag([step, step]);
  };
  const onMove = (event: PointerEvent) => {
    if (isEmpty) return;
    const step = stepAt(event);
    setCursor(step);
    if (drag) setDrag([drag[0], step]);
  };
  const onUp = () => {
    if (drag) {
      const [from, to] = [Math.min(...drag), Math.max(...drag)];
      if (Math.abs(px(to) - px(from)) > 6) setZoom([from, to]);
    }
    setDrag(null);
  };
  const zoomBy = (factor: number) => {
    const middle = cursor ?? (x.min + x.max) / 2;
    setZoom([middle - (middle - x.min) * factor, middle + (x.max - middle) * factor]);
  };
  const onKey = (event: KeyboardEvent) => {
    const all = lines[0]?.steps ?? [];
    const move = (by: number) => {
      const at = cursor === null ? all.length - 1 - Math.min(0, by + 1) : nearest(all, cursor) + by;
      setCursor(all[Math.min(all.length - 1, Math.max(0, at))] ?? null);
    };
    const large = Math.max(1, Math.round(all.length / 10));
    const keys: Record<string, () => void> = {
      ArrowLeft: () => move(-1),
      ArrowRight: () => move(1),
      ArrowDown: () => move(-1),
      ArrowUp: () => move(1),
      PageDown: () => move(-large),
      PageUp: () => move(large),
      Home: () => setCursor(all[0] ?? null),
      End: () => setCursor(all.at(-1) ?? null),
      "+": () => zoomBy(0.5),
      "=": () => zoomBy(0.5),
      "-": () => zoomBy(2),
      Escape: () => (setZoom(null), setCursor(null)),
    };
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };

  const at = cursor !== null && lines[0] && lines[0].steps.length > 0 ? cursor : null;
  const here = at === null ? null : (lines.find((line) => line.steps.length > 0) ?? null);
  const shownStep = at !== null && here ? here.steps[nearest(here.steps, at)]! : null;
  const summary = isEmpty ? say("noCurve") : describe(lines, name, metric, say, lowest);
  const [xMarks, yMarks] = [marks(x, Math.max(3, Math.floor(plot.width / 90))), marks(y, 6)];
  const [xTexts, yTexts] = [texts(xMarks, false), texts(yMarks, y.isLog)];

  return (
    <div class="tb-chart">
      <div class="tb-chart-tools">
        <label class="tb-inline">
          <span class="tb-hidden">{say("metric")}</span>
          <select value={metric} onChange={(event) => setMetric(event.currentTarget.value as Metric)}>
            {METRICS.map((one) => (
              <option key={one} value={one}>
                {metricName(one, say)}
              </option>
            ))}
          </select>
        </label>
        <label class="tb-inline">
          <span>{say("smoothing")}</span>
          <input
            type="range"
            min="0"
            max="0.99"
            step="0.01"
            value={weight ?? automaticWeight(longest)}
            onInput={(event) => setWeight(Number(event.currentTarget.value))}
          />
          <output class="tb-number">{(weight ?? automaticWeight(longest)).toFixed(2)}</output>
        </label>
        <button type="button" class="tb-quiet" aria-pressed={weight === null} onClick={() => setWeight(null)}>
          {say("automatic")}
        </button>
        <label class="tb-inline">
          <input type="checkbox" checked={isLog} onChange={(event) => setLog(event.currentTarget.checked)} />
          <span>{say("logScale")}</span>
        </label>
        {zoom && (
          <button type="button" class="tb-quiet" onClick={() => setZoom(null)}>
            {say("resetZoom")}
          </button>
        )}
      </div>
      <div class="tb-legend">
        {adapters.map((adapter, place) => {
          const line = lines.find((one) => one.adapter === adapter);
          const index = line && shownStep !== null ? indexOf(line, shownStep) : null;
          return (
            <button
              key={adapter}
              type="button"
              class={`tb-series tb-colour-${place % COLOURS}`}
              aria-pressed={!hidden.has(adapter)}
              onClick={() => setHidden(toggled(hidden, adapter))}
            >
              <svg width="22" height="8" aria-hidden="true">
                <line x1="0" x2="22" y1="4" y2="4" class="tb-line" />
              </svg>
              <span>{adapter}</span>
              {line && index !== null && (
                <span class="tb-number tb-muted">
                  {valueText(line.values[index]!, metric)}
                  {line.smooth && ` (${valueText(line.smooth[index]!, metric)})`}
                </span>
              )}
            </button>
          );
        })}
        {shownStep !== null && <span class="tb-number tb-muted">{say("atStep", shownStep)}</span>}
        {shownStep === null && metric === "loss" && !isEmpty && (
          <span class="tb-key tb-muted">
            <svg width="22" height="8" aria-hidden="true">
              <line x1="0" x2="22" y1="4" y2="4" class="tb-line tb-raw" />
            </svg>
            {say("original")}
            <svg width="22" height="8" aria-hidden="true">
              <line x1="0" x2="22" y1="4" y2="4" class="tb-line" />
            </svg>
            {say("smoothed")}
            <svg width="10" height="10" aria-hidden="true">
              <circle cx="5" cy="5" r="3.2" class="tb-dot" />
            </svg>
            {say("evalLoss")}
          </span>
        )}
      </div>
      <div class="tb-plot" ref={frame}>
        <svg width={width} height={HEIGHT} role="img" aria-label={summary}>
          <g class="tb-grid" aria-hidden="true">
            {yMarks.map((mark, index) => (
              <g key={mark} transform={`translate(0 ${py(mark).toFixed(1)})`}>
                <line x1={MARGIN.left} x2={MARGIN.left + plot.width} />
                <text x={MARGIN.left - 8} dy="0.32em" text-anchor="end">
                  {yTexts[index]}
                </text>
              </g>
            ))}
            {xMarks.map((mark, index) => (
              <g key={mark} transform={`translate(${px(mark).toFixed(1)} ${MARGIN.top + plot.height})`}>
                <line y2="4" />
                <text y="16" text-anchor="middle">
                  {xTexts[index]}
                </text>
              </g>
            ))}
            <line class="tb-axis" x1={MARGIN.left} x2={MARGIN.left + plot.width} y1={MARGIN.top + plot.height} y2={MARGIN.top + plot.height} />
            <text class="tb-title" x={MARGIN.left + plot.width} y={HEIGHT - 4} text-anchor="end">
              {say("stepAxis")}
            </text>
            <text class="tb-title" transform={`translate(12 ${MARGIN.top + plot.height / 2}) rotate(-90)`} text-anchor="middle">
              {name}
            </text>
          </g>
          <svg x={MARGIN.left} y={MARGIN.top - 6} width={plot.width + MARGIN.right} height={plot.height + 6} aria-hidden="true">
            <g transform={`translate(${-MARGIN.left} ${6 - MARGIN.top})`}>
              {drawn.map(({ line, raw, smooth, dots }) => (
                <g key={line.adapter} class={`tb-colour-${line.place % COLOURS}`}>
                  <path d={raw} class={smooth ? "tb-line tb-raw" : "tb-line"} />
                  {smooth && <path d={smooth} class="tb-line" />}
                  {dots.map((dot) => (
                    <circle key={dot.x} cx={dot.x} cy={dot.y} r="3.2" class="tb-dot" />
                  ))}
                </g>
              ))}
              {lowest && (
                <g class={`tb-best tb-colour-${lowest.line.place % COLOURS}`}>
                  <circle cx={px(lowest.step)} cy={py(lowest.value)} r="6.5" />
                  <text
                    x={px(lowest.step)}
                    y={py(lowest.value) - 11}
                    text-anchor={x.at(lowest.step) > 0.8 ? "end" : x.at(lowest.step) < 0.2 ? "start" : "middle"}
                  >
                    {`${say("best")} ${fixed(lowest.value)}`}
                  </text>
                </g>
              )}
              {drag && (
                <rect
                  class="tb-drag"
                  x={Math.min(px(drag[0]), px(drag[1]))}
                  width={Math.abs(px(drag[1]) - px(drag[0]))}
                  y={MARGIN.top}
                  height={plot.height}
                />
              )}
              {shownStep !== null && (
                <g class="tb-cursor">
                  <line x1={px(shownStep)} x2={px(shownStep)} y1={MARGIN.top} y2={MARGIN.top + plot.height} />
                  {lines.map((line) => {
                    const index = indexOf(line, shownStep);
                    return index === null ? null : (
                      <circle
                        key={line.adapter}
                        class={`tb-dot tb-colour-${line.place % COLOURS}`}
                        cx={px(line.steps[index]!)}
                        cy={py((line.smooth ?? line.values)[index]!)}
                        r="3.5"
                      />
                    );
                  })}
                </g>
              )}
            </g>
          </svg>
        </svg>
        <div
          class="tb-catch"
          style={`left:${MARGIN.left}px;top:${MARGIN.top}px;width:${plot.width}px;height:${plot.height}px`}
          role="slider"
          tabIndex={0}
          aria-label={`${name}, ${say("stepAxis")}`}
          aria-description={say("curveKeys")}
          aria-valuemin={Math.floor(x.min)}
          aria-valuemax={Math.ceil(x.max)}
          aria-valuenow={shownStep ?? Math.ceil(x.max)}
          aria-valuetext={shownStep === null ? summary : spoken(lines, shownStep, metric, say)}
          onPointerDown={onDown}
          onPointerMove={onMove}
          onPointerUp={onUp}
          onPointerCancel={() => setDrag(null)}
          onPointerLeave={() => (drag ? undefined : setCursor(null))}
          onDblClick={() => setZoom(null)}
          onKeyDown={onKey}
          onFocus={hint.onFocus}
          onBlur={() => (hint.onBlur(), setCursor(null))}
        />
        {isEmpty && <p class="tb-empty tb-muted">{say("noCurve")}</p>}
      </div>
    </div>
  );
}

type Say = ReturnType<typeof useSay>;

function metricName(metric: Metric, say: Say): string {
  const words = { loss: "loss", eval_loss: "evalLoss", learning_rate: "learningRate", grad_norm: "gradNorm" } as const;
  return say(words[metric]);
}

function valueText(value: number, metric: Metric): string {
  return metric === "learning_rate" ? rate(value) : metric === "grad_norm" ? number(value) : fixed(value);
}

/** The ranges that hold all lines, or those of the steps that are zoomed in on. */
function axes(lines: Series[], zoom: [number, number] | null, isLog: boolean): { x: Scale; y: Scale } {
  let [first, last] = [Infinity, -Infinity];
  for (const { steps } of lines) {
    first = Math.min(first, steps[0] ?? Infinity);
    last = Math.max(last, steps.at(-1) ?? -Infinity);
  }
  if (first > last) [first, last] = [0, 10];
  const [from, to] = zoom ? [Math.max(first, zoom[0]), Math.min(last, zoom[1])] : [first, last];
  let [low, high] = [Infinity, -Infinity];
  const hold = (step: number, value: number) => {
    if (step < from || step > to || !Number.isFinite(value) || (isLog && value <= 0)) return;
    low = Math.min(low, value);
    high = Math.max(high, value);
  };
  for (const { steps, values, dots } of lines) {
    steps.forEach((step, index) => hold(step, values[index]!));
    for (const dot of dots) hold(dot.step, dot.value);
  }
  if (low > high) [low, high] = isLog ? [0.1, 1] : [0, 1];
  if (isLog) return { x: scale(from, to), y: scale(low / 1.1, high * 1.1, true) };
  const room = (high - low) * 0.06;
  return { x: scale(from, to), y: scale(low >= 0 ? Math.max(0, low - room) : low - room, high + room) };
}

interface Drawn {
  line: Series;
  raw: string;
  smooth: string | null;
  dots: { x: number; y: number }[];
}

function draw(line: Series, px: (step: number) => number, py: (value: number) => number, x: Scale): Drawn {
  // One step on either side goes along, so that the line runs out of the picture.
  const from = Math.max(0, nearest(line.steps, x.min) - 1);
  const to = nearest(line.steps, x.max) + 2;
  const points = (values: number[]) =>
    line.steps.slice(from, to).map((step, index) => ({ x: px(step), y: py(values[from + index]!) }));
  return {
    line,
    raw: path(decimated(points(line.values))),
    smooth: line.smooth && path(decimated(points(line.smooth))),
    dots: line.dots.map(({ step, value }) => ({ x: px(step), y: py(value) })),
  };
}

/** Where the line has `step`, if it reaches as far. */
function indexOf(line: Series, step: number): number | null {
  const [first, last] = [line.steps[0], line.steps.at(-1)];
  if (first === undefined || last === undefined || step < first || step > last) return null;
  return nearest(line.steps, step);
}

function toggled(hidden: ReadonlySet<string>, adapter: string): Set<string> {
  const now = new Set(hidden);
  if (!now.delete(adapter)) now.add(adapter);
  return now;
}

function describe(lines: Series[], name: string, metric: Metric, say: Say, lowest: ReturnType<typeof best>): string {
  const texts = lines
    .filter((line) => line.values.length > 0)
    .map((line) => {
      const ends = [valueText(line.values[0]!, metric), valueText(line.values.at(-1)!, metric)] as const;
      return `${line.adapter}: ${say("curveOf", name, line.steps.length, ...ends)}`;
    });
  if (lowest) texts.push(say("bestAt", fixed(lowest.value), lowest.step));
  return texts.join(" ");
}

function spoken(lines: Series[], step: number, metric: Metric, say: Say): string {
  const values = lines.flatMap((line) => {
    const index = indexOf(line, step);
    return index === null ? [] : [`${line.adapter} ${valueText(line.values[index]!, metric)}`];
  });
  return `${say("atStep", step)}: ${values.join(", ")}`;
}

/** The width of an element in pixels, followed without reading the layout. */
function useWidth(element: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(640);
  useEffect(() => {
    const observer = new ResizeObserver((entries) => {
      const seen = entries.at(-1)?.contentRect.width;
      if (seen) setWidth(Math.round(seen));
    });
    if (element.current) observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return width;
}

