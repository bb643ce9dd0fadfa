// Ultralytics YOLO: lines `CLASS x y x y ...`, coordinates relative to width and height; and the lists that a trainer reads.

import { crc, joined, polygonsOf } from "../masks/kernel.js";

const SCALE = 1e6; // of a coordinate, written with six decimals
const VAL_SHARE = 10; // one picture in ten is for validation
const [TRAIN, VAL] = ["train.txt", "val.txt"];

export function* yolo({ pictures, categories }) {
  for (const { base, segments, size: [height, width] } of pictures) {
    const share = (place, side) => String(Math.floor((place * SCALE) / side + 0.5)).padStart(7, "0").replace(/(\d{6})$/, ".$1");
    const line = (one) => `${one.category} ${joined(polygonsOf(one.mask).flat()).map(([x, y]) => `${share(x, width)} ${share(y, height)}`).join(" ")}\n`;
    yield [`labels/${base}.txt`, () => segments.map(line).join("")];
  }
  for (const split of [TRAIN, VAL]) yield [split, () => {
    const lines = pictures.filter(({ base }) => (crc(new TextEncoder().encode(base)) % VAL_SHARE === 0) === (split === VAL));
    return (lines.length ? lines : pictures.slice(0, 1)).map(({ name }) => `./images/${name}\n`).join(""); // trainers refuse an empty one
  }];
  yield ["data.yaml", () => `train: ${TRAIN}\nval: ${VAL}\nnames:\n${categories.map((name, index) => `  ${index}: ${JSON.stringify(name)}\n`).join("")}`];
}
