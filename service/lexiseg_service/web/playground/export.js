// Exports: files, a request for one's own program, a link that asks the same again.

import { isVisible } from "./answer.js";
import { address, key, segment } from "./engine/server.js";
import { coco, cvat, dataYaml, geojson, labelStudio, yolo, zip } from "./formats.js";
import { pixelsOf } from "./masks.js";
import { $, baseName, drawn, element, happened, question, state, subject, tell } from "./page.js";
import { combined, inTurn } from "./question.js";
import { view } from "./view.js";

const REQUESTS = ["curl", "python", "send", "link"];
const [WHITE, BLACK, TRANSPARENT] = [0xffffffff, 0xff000000, 0]; // ABGR

/** What a button does; its value is how the paths of its files begin. */
export async function act({ id, value }) {
  if (REQUESTS.includes(id)) return pass(id);
  if (!state.answer) return tell("There is no answer yet.");
  const { file, image } = subject();
  const segments = state.answer.segments.filter(isVisible).map((one) => ({ ...one, name: one.label ?? one.name })); // without the numbers of a clip
  const picture = { name: file.name || "picture", size: state.answer.size, model: state.answer.model, segments, file };
  const base = baseName(picture.name);
  const cutOuts = numbered(segments).map(([one, title]) => [`cut-outs/${base}-${title}.png`, () => cutOut(one, image)]);
  const files = [...filesOf([picture]), ...cutOuts, ["painted.png", painted]];
  if (id === "zip") return save(await zip(files), `${base}.zip`);
  for (const [path, content] of files.filter(([path]) => path.startsWith(value))) {
    const name = path.split("/").at(-1);
    save(await content(), name.startsWith(base) ? name : `${base}-${name}`);
  }
}

/** Files `[path, content]` of pictures {name, size, model, segments, file} in all formats; `content` makes it. */
export function* filesOf(pictures) {
  const names = [...new Set(pictures.flatMap(({ segments }) => segments.map((one) => one.name)))];
  for (const picture of pictures) {
    const base = baseName(picture.name);
    yield [`images/${picture.name}`, () => picture.file];
    yield [`labels/${base}.txt`, () => yolo(picture, names)];
    yield [`geojson/${base}.geojson`, () => geojson(picture)];
    for (const [one, title] of numbered(picture.segments)) yield [`masks/${base}-${title}-mask.png`, () => stencilOf(one, BLACK).convertToBlob()];
  }
  yield ["coco.json", () => coco(pictures, names)];
  yield ["data.yaml", () => dataYaml(names)];
  yield ["label-studio.json", () => labelStudio(pictures)];
  yield ["cvat.xml", () => cvat(pictures)];
}

function painted() {
  const { image, width, height } = subject();
  return drawn(width, height, (context) => view.paint(context, image, width, height)).convertToBlob();
}

export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Segments, each with a name of its own. */
function numbered(segments) {
  return segments.map((one, index) => {
    const before = segments.slice(0, index).filter(({ name }) => name === one.name).length;
    return [one, before ? `${one.name}-${before + 1}` : one.name];
  });
}

/** A canvas that is white in the mask; what is around it is an ABGR word. */
function stencilOf({ mask }, around) {
  const { cells, width, height } = pixelsOf(mask);
  const pixels = new ImageData(width, height);
  new Uint32Array(pixels.data.buffer).set(Uint32Array.from(cells, (held) => (held ? WHITE : around)));
  return drawn(width, height, (context) => context.putImageData(pixels, 0, 0));
}

/** The picture inside one segment, everything else transparent. */
function cutOut(one, image) {
  const [left, top, across, down] = one.bbox;
  const cut = drawn(across, down, (context) => {
    context.drawImage(stencilOf(one, TRANSPARENT), -left, -top);
    context.globalCompositeOperation = "source-in";
    context.drawImage(image, -left, -top);
  });
  return cut.convertToBlob();
}

/** Whether the text is on the clipboard now: pages that came without TLS are not given one, but may copy what is marked. */
async function copied(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const field = document.body.appendChild(element("textarea", { value: text }));
  const stood = $("export").querySelector(":focus");
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  stood?.focus();
  return done;
}

const KEY = "LEXISEG_API_KEY";

/** The question goes to a server, or to the clipboard as a request or a link. */
async function pass(id) {
  const obstacle = id !== "link" && noServer(id);
  if (obstacle) return tell(obstacle, true);
  if (id === "send") return send();
  const name = subject()?.file.name || "picture.jpg";
  const texts = { curl: () => curl(question(), name), python: () => python(question(), name), link: () => location.href };
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

function curl(question, name) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  // curl's own quotes: a comma or a semicolon would end the name.
  const safe = /[",;\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
  const parts = [`image=@${safe}`, `request=${JSON.stringify(question)}`].map((part) => `-F ${quoted(part)}`);
  return ["curl -sS", `${address()}/v1/segment`, ...(key() ? [`-H "Authorization: Bearer $${KEY}"`] : []), ...parts].join(" ");
}

function python(question, name) {
  const asks = Boolean(key());
  const headers = `headers = {"Authorization": f"Bearer {os.environ['${KEY}']}"}\n`;
  return `import json
${asks ? "import os\n" : ""}
import httpx

url = "${address()}/v1/segment"
${asks ? headers : ""}question = json.loads(${JSON.stringify(JSON.stringify(question))})
with open(${JSON.stringify(name)}, "rb") as image:
    files, data = {"image": image}, {"request": json.dumps(question)}
    answer = httpx.post(url, files=files, data=data, ${asks ? "headers=headers, " : ""}timeout=60)
for segment in answer.raise_for_status().json()["segments"]:
    print(segment["label"], segment["score"], segment["area"])
`;
}
