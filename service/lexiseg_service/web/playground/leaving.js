// What can be taken along: files, a request for one's own program, a link that asks the same again.

import { mapOf, nameOf, shown } from "/playground/answer.js";
import { $, tell } from "/playground/page.js";
import { question, state, subject } from "/playground/state.js";

/** The question goes into the address, without the picture and what was shown in it. */
export function remember(question) {
  const { prompts, ...kept } = question;
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(kept))}`);
}

export function recalled() {
  try {
    const asked = JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}");
    return asked && typeof asked === "object" ? asked : {};
  } catch {
    return {};
  }
}

export function offer(view) {
  const withAnswer = (act) => () => (state.answer ? act() : tell("There is no answer yet."));
  const named = (ending) => `${(subject().file.name || "picture").replace(/\.[^.]*$/, "")}${ending}`;
  const copy = async (text) => {
    await navigator.clipboard.writeText(text);
    tell("Copied.");
  };

  $("coco").addEventListener("click", withAnswer(() => {
    const content = JSON.stringify(cocoOf(shown()));
    save(new Blob([content], { type: "application/json" }), named(".json"));
  }));
  $("png").addEventListener("click", withAnswer(async () => {
    const canvas = new OffscreenCanvas(subject().width, subject().height);
    const context = canvas.getContext("2d");
    context.drawImage(subject().image, 0, 0);
    context.globalAlpha = view.opacity;
    if (view.painted) context.drawImage(view.painted, 0, 0, canvas.width, canvas.height);
    save(await canvas.convertToBlob(), named("-masks.png"));
  }));
  $("cutouts").addEventListener("click", withAnswer(async () => {
    const visible = shown();
    for (const [index, one] of state.answer.segments.entries()) {
      if (visible[index] >= 0) save(await cutOut(subject().image, mapOf(), index + 1, one.bbox), named(`-${nameOf(one)}.png`));
    }
  }));
  $("curl").addEventListener("click", () => copy(curl(question(), subject())));
  $("python").addEventListener("click", () => copy(python(question(), subject())));
  $("link").addEventListener("click", () => copy(location.href));
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function cocoOf(visible) {
  const [height, width] = state.answer.size;
  const names = [...new Set(state.answer.segments.map(nameOf))];
  return {
    images: [{ id: 1, file_name: subject().file.name || "picture", height, width }],
    categories: names.map((name, index) => ({ id: index + 1, name })),
    annotations: state.answer.segments
      .filter((_, index) => visible[index] >= 0)
      .map((one, index) => ({
        id: index + 1,
        image_id: 1,
        category_id: names.indexOf(nameOf(one)) + 1,
        segmentation: { size: one.mask.size, counts: one.mask.counts },
        area: one.area,
        bbox: one.bbox,
        iscrowd: 0,
        score: one.score,
      })),
  };
}

/** The picture inside one segment, everything else transparent. */
async function cutOut(image, { map, width, step }, number, [left, top, across, down]) {
  const canvas = new OffscreenCanvas(across, down);
  const context = canvas.getContext("2d");
  context.drawImage(image, -left, -top);
  const pixels = context.getImageData(0, 0, across, down);
  for (let y = 0; y < down; y++) {
    const row = Math.floor((top + y) / step) * width;
    for (let x = 0; x < across; x++) {
      if (map[row + Math.floor((left + x) / step)] !== number) pixels.data[4 * (y * across + x) + 3] = 0;
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas.convertToBlob();
}

function curl(question, picture) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const name = picture?.file.name || "picture.jpg";
  return `curl -sS ${location.origin}/v1/segment -F ${quoted(`image=@${name}`)} -F ${quoted(`request=${JSON.stringify(question)}`)}`;
}

function python(question, picture) {
  const name = JSON.stringify(picture?.file.name || "picture.jpg");
  return [
    "import json",
    "",
    "import httpx",
    "",
    `question = json.loads(${JSON.stringify(JSON.stringify(question))})`,
    `with open(${name}, "rb") as image:`,
    `    answer = httpx.post("${location.origin}/v1/segment", files={"image": image}, data={"request": json.dumps(question)})`,
    'for segment in answer.raise_for_status().json()["segments"]:',
    '    print(segment["label"], segment["score"], segment["area"])',
    "",
  ].join("\n");
}
