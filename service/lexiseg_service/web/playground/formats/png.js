// PNG files. They are written here: a canvas's own encoder waits until the page is idle, a second for each file.

import { crc } from "../masks/kernel.js";

export const [GRAY, INDEXED, COLOUR] = [0, 3, 6]; // PNG's colour types; COLOUR with alpha
const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const [UNCHANGED, DIFFERENCES] = [0, 1]; // PNG's filters of a row

export const packed = (content, format) => new Response(new Blob([content]).stream().pipeThrough(new CompressionStream(format)));

const big = (...values) => values.flatMap((value) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255)); // four bytes each

function chunk(name, content) {
  const named = new Uint8Array(4 + content.length);
  named.set(Array.from(name, (letter) => letter.charCodeAt(0)));
  named.set(content, 4);
  return [Uint8Array.from(big(content.length)), named, Uint8Array.from(big(crc(named)))];
}

/** A PNG of `samples` by rows, of 8 bits, or of 16 in a Uint16Array; `palette`: three numbers an index. @param {any} size @param {number[]} palette */
export async function png(size, kind, samples, palette = []) {
  const { width, height } = size;
  const [channels, bytes] = [kind === COLOUR ? 4 : 1, samples.BYTES_PER_ELEMENT];
  const [n, filter] = [width * channels, kind === COLOUR ? DIFFERENCES : UNCHANGED];
  const rows = new Uint8Array(height * (n * bytes + 1));
  for (let i = 0, end = 0; i < samples.length; i++) {
    if (i % n === 0) rows[end++] = filter;
    if (bytes > 1) rows[end++] = samples[i] >> 8;
    rows[end++] = filter && i % n >= channels ? samples[i] - samples[i - channels] : samples[i];
  }
  const content = new Uint8Array(await packed(rows, "deflate").arrayBuffer());
  const head = [...big(width, height), 8 * bytes, kind, 0, 0, 0];
  const chunks = [chunk("IHDR", head), ...(palette.length ? [chunk("PLTE", palette)] : []), chunk("IDAT", content), chunk("IEND", [])];
  return new Blob([SIGNATURE, ...chunks.flat()], { type: "image/png" });
}
