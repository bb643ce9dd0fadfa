// What can be taken along: files, a request for one's own program, a link that asks the same again.

import { nameOf, shown } from "/playground/answer.js";
import { key } from "/playground/api.js";
import { $, element, tell } from "/playground/page.js";
import { paint } from "/playground/rle.js";
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
    if (await copied(text)) tell("Copied.");
    else tell("This browser does not let the page copy.", true);
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
  for (const [id, made, ending] of [["masks", maskOf, "-mask"], ["cutouts", cutOut, ""]]) {
    $(id).addEventListener("click", withAnswer(async () => {
      for (const [one, name] of visibleOnes()) save(await made(one, subject().image), named(`-${name}${ending}.png`));
    }));
  }
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

/** The segments that are shown, each with a name of its own. */
function visibleOnes() {
  const visible = shown();
  const seen = new Map();
  return state.answer.segments
    .filter((_, index) => visible[index] >= 0)
    .map((one) => {
      const name = nameOf(one);
      seen.set(name, (seen.get(name) ?? 0) + 1);
      return [one, seen.get(name) > 1 ? `${name}-${seen.get(name)}` : name];
    });
}

/** Every pixel's 1 or 0, row by row, whatever lies over the segment. */
function cellsOf({ mask: { size: [height, width], counts } }) {
  const cells = new Uint8Array(width * height);
  paint(cells, width, 1, counts, height, 1);
  return cells;
}

/** White on black. */
function maskOf(one) {
  const [height, width] = one.mask.size;
  const pixels = new ImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  cellsOf(one).forEach((held, place) => (words[place] = held ? 0xffffffff : 0xff000000));
  return fileOf(pixels);
}

/** The picture inside one segment, everything else transparent. */
function cutOut(one, image) {
  const [left, top, across, down] = one.bbox;
  const context = new OffscreenCanvas(across, down).getContext("2d");
  context.drawImage(image, -left, -top);
  const pixels = context.getImageData(0, 0, across, down);
  const cells = cellsOf(one);
  const width = one.mask.size[1];
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      if (!cells[(top + y) * width + left + x]) pixels.data[4 * (y * across + x) + 3] = 0;
    }
  }
  return fileOf(pixels);
}

function fileOf(pixels) {
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas.convertToBlob();
}

/** Whether the text is on the clipboard now: pages that came without TLS are not given one, but may copy what is marked. */
async function copied(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const field = document.body.appendChild(element("textarea", { value: text }));
  const stood = document.activeElement;
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  stood.focus();
  return done;
}

const KEY = "LEXISEG_API_KEY";

export function curl(question, picture) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const name = fileNameOf(picture);
  // curl's own quotes: a comma or a semicolon would end the name.
  const safe = /[",;\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
  const parts = [`image=@${safe}`, `request=${JSON.stringify(question)}`].map((part) => `-F ${quoted(part)}`);
  return ["curl -sS", `${location.origin}/v1/segment`, ...(key() ? [`-H "Authorization: Bearer $${KEY}"`] : []), ...parts].join(" ");
}

export function python(question, picture) {
  const headers = key() ? [`headers = {"Authorization": f"Bearer {os.environ['${KEY}']}"}`] : [];
  return [
    "import json",
    ...(key() ? ["import os"] : []),
    "",
    "import httpx",
    "",
    `url = "${location.origin}/v1/segment"`,
    ...headers,
    `question = json.loads(${JSON.stringify(JSON.stringify(question))})`,
    `with open(${JSON.stringify(fileNameOf(picture))}, "rb") as image:`,
    '    files, data = {"image": image}, {"request": json.dumps(question)}',
    `    answer = httpx.post(url, files=files, data=data, ${key() ? "headers=headers, " : ""}timeout=60)`,
    'for segment in answer.raise_for_status().json()["segments"]:',
    '    print(segment["label"], segment["score"], segment["area"])',
    "",
  ].join("\n");
}

function fileNameOf(picture) {
  return picture?.file.name || "picture.jpg";
}
