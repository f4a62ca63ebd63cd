// Small pictures of creatures, made here.

import { deflateSync, crc32 } from "node:zlib";

const SIZE = 96;
const COLOURS = [
  [220, 70, 60],
  [60, 110, 210],
  [70, 160, 80],
  [235, 190, 60],
  [140, 80, 180],
  [120, 125, 130],
] as const;

/** A round or square body with ears and eyes, as a PNG. */
export function picture(index: number): Buffer {
  const colour = COLOURS[index % COLOURS.length]!;
  const isRound = index % 3 !== 0;
  const rows = Buffer.alloc(SIZE * (1 + SIZE * 3), 0xf4);
  for (let y = 0; y < SIZE; y += 1) {
    rows[y * (1 + SIZE * 3)] = 0;
    for (let x = 0; x < SIZE; x += 1) {
      const [dx, dy] = [x - 48, y - 54];
      const isBody = isRound ? dx * dx + dy * dy < 30 * 30 : Math.abs(dx) < 27 && Math.abs(dy) < 27;
      const isEar = (Math.abs(x - 30) + Math.abs(y - 20) < 14 || Math.abs(x - 66) + Math.abs(y - 20) < 14) && index % 2 === 0;
      const isEye = Math.hypot(Math.abs(dx) - 11, y - 46) < 4;
      const paint = isEye ? [25, 25, 25] : isBody || isEar ? colour : null;
      paint?.forEach((part, channel) => (rows[y * (1 + SIZE * 3) + 1 + x * 3 + channel] = part));
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIZE, 0);
  header.writeUInt32BE(SIZE, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

export function address(index: number): string {
  return `data:image/png;base64,${picture(index).toString("base64")}`;
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}
