// Exports: files, a request for one's own program, a link that asks the same again.

import { visibleColours } from "./answer.js";
import { address, key, segment } from "./engine/server.js";
import { coco, cvat, cvatImage, dataYaml, geojson, labelStudio, task, yolo, zip } from "./formats.js";
import { cellsOf } from "./masks.js";
import { $, baseName, element, focusedElement, happened, question, state, subject, tell } from "./page.js";
import { combined, inTurn } from "./question.js";

const REQUESTS = ["curl", "python", "send", "link"];

/** What the button of that id does. */
export async function act(id, view) {
  if (REQUESTS.includes(id)) return pass(id);
  if (!state.answer) return tell("There is no answer yet.");
  const segments = visibleOnes().map(([one]) => ({ ...one, name: one.label ?? one.name })); // without the numbers of a clip
  const picture = { name: subject().file.name || "picture", size: state.answer.size, segments };
  const names = [...new Set(segments.map((one) => one.name))];
  const files = {
    coco: () => [[coco([picture], names), ".json"]],
    yolo: () => [[yolo(picture, names), ".txt"]],
    labelstudio: () => [[labelStudio([task(picture, state.answer.model)]), "-label-studio.json"]],
    cvat: () => [[cvat([cvatImage(picture, 0)]), "-cvat.xml"]],
    geojson: () => [[geojson(picture), ".geojson"]],
    png: () => [[painted(view), "-painted.png"]],
    masks: () => each(maskOf, "-mask"),
    cutouts: () => each(cutOut, ""),
  };
  if (id !== "zip") {
    for (const [made, ending] of files[id]()) save(await made, named(ending));
    return;
  }
  const entries = [[`images/${picture.name}`, subject().file], [`labels/${named(".txt")}`, yolo(picture, names)], ["data.yaml", dataYaml(names)]];
  for (const kind of ["coco", "labelstudio", "cvat", "geojson", "png", "masks"]) {
    for (const [made, ending] of files[kind]()) entries.push([kind === "masks" ? `masks/${named(ending)}` : named(ending), await made]);
  }
  save(await zip(entries), named(".zip"));
}

function named(ending) {
  return baseName(subject().file.name || "picture") + ending;
}

/** A picture of each segment that is shown. */
function each(make, ending) {
  return visibleOnes().map(([one, name]) => [make(one, subject().image), `-${name}${ending}.png`]);
}

function painted(view) {
  const { image, width, height } = subject();
  const canvas = new OffscreenCanvas(width, height);
  view.paint(canvas.getContext("2d"), image, width, height);
  return canvas.convertToBlob();
}

export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The segments that are shown, each with a name of its own. */
function visibleOnes() {
  const colours = visibleColours();
  return numbered(state.answer.segments.filter((_, index) => colours[index] >= 0));
}

/** Segments, each with a name of its own. */
export function numbered(segments) {
  const seen = new Map();
  return segments.map((one) => {
    const count = (seen.get(one.name) ?? 0) + 1;
    seen.set(one.name, count);
    return [one, count > 1 ? `${one.name}-${count}` : one.name];
  });
}

/** A canvas that is white in the mask and transparent around it. */
function stencilOf({ mask }) {
  const [height, width] = mask.size;
  const pixels = new ImageData(width, height);
  new Uint32Array(pixels.data.buffer).set(Uint32Array.from(cellsOf(mask), (held) => (held ? 0xffffffff : 0)));
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** White on black. */
export function maskOf(one) {
  const canvas = stencilOf(one);
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "destination-over";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob();
}

/** The picture inside one segment, everything else transparent. */
function cutOut(one, image) {
  const [left, top, across, down] = one.bbox;
  const canvas = new OffscreenCanvas(across, down);
  const context = canvas.getContext("2d");
  context.drawImage(stencilOf(one), -left, -top);
  context.globalCompositeOperation = "source-in";
  context.drawImage(image, -left, -top);
  return canvas.convertToBlob();
}

/** Whether the text is on the clipboard now: pages that came without TLS are not given one, but may copy what is marked. */
async function copied(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const field = document.body.appendChild(element("textarea", { value: text }));
  const stood = focusedElement();
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  stood.focus();
  return done;
}

const KEY = "LEXISEG_API_KEY";

/** The question goes to a server, or to the clipboard as a request or a link. */
async function pass(id) {
  const obstacle = id !== "link" && noServer(id);
  if (obstacle) return tell(obstacle, true);
  if (id === "send") return send();
  const texts = { curl: () => curl(question(), subject()), python: () => python(question(), subject()), link: () => location.href };
  tell(...((await copied(texts[id]())) ? ["Copied."] : ["This browser does not let the page copy.", true]));
}

/** Why no server can be asked, if none can. */
function noServer(id) {
  const { server } = document.body.dataset;
  if (!address() || !$("server").checkValidity()) return "Enter the address of a server first.";
  if (state.words.some(({ examples = [], negatives = [] }) => [...examples, ...negatives].some(({ kept }) => kept))) {
    return "Examples are kept in this browser, and no server knows them: show them there.";
  }
  if (id !== "send") return "";
  if (new URL(address()).origin !== new URL(server).origin) return `This page may send to ${server} alone; curl and Python ask any server.`;
  return subject() ? "" : "There is no picture yet.";
}

/** Asks the server what this page is asked, and shows its answer. */
function send() {
  const query = question();
  const picture = (subject().copy ??= { file: subject().file, id: null }); // the server has its own id for it
  const take = (answer) => {
    const both = combined(...(query.prompts ? [null, answer] : [answer, null]));
    state.answer = { ...both, model: `${answer.model} at ${new URL(address()).host}` };
    happened("answered");
  };
  inTurn((signal) => segment(picture, query, signal), take, send);
}

export function curl(question, picture) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const name = fileNameOf(picture);
  // curl's own quotes: a comma or a semicolon would end the name.
  const safe = /[",;\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
  const parts = [`image=@${safe}`, `request=${JSON.stringify(question)}`].map((part) => `-F ${quoted(part)}`);
  return ["curl -sS", `${address()}/v1/segment`, ...(key() ? [`-H "Authorization: Bearer $${KEY}"`] : []), ...parts].join(" ");
}

export function python(question, picture) {
  const headers = key() ? [`headers = {"Authorization": f"Bearer {os.environ['${KEY}']}"}`] : [];
  return [
    "import json",
    ...(key() ? ["import os"] : []),
    "",
    "import httpx",
    "",
    `url = "${address()}/v1/segment"`,
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
