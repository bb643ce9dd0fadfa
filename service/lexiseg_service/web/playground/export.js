// Exports: files for one picture or many, the request as curl or Python, a link to the same question.

import { isVisible } from "./answer.js";
import * as engine from "./engine/server.js";
import { address, key, segment } from "./engine/server.js";
import { coco, cvat, dataYaml, geojson, labelStudio, yolo, zip } from "./formats.js";
import { pixelsOf } from "./masks.js";
import {
  $, baseName, drawn, element, emit, question, refusalText, state, subject, tell, timeOf, withRetry, wordsQuestion,
} from "./page.js";
import { askLatest, combined } from "./question.js";
import { view } from "./view.js";

const KEY = "LEXISEG_API_KEY";
const [WHITE, BLACK, TRANSPARENT] = [0xffffffff, 0xff000000, 0]; // ABGR
const MAX_BYTES = 4e9; // of a zip
const OF_A_PICTURE = [413, 415, 422]; // status codes that concern one picture; the others continue
const MAX_NAMES = 3; // of skipped pictures in the message
let control = null; // AbortController of the batch

$("cancel").addEventListener("click", () => control.abort());

/** Handles an export button; its value is the path prefix of the files to save, empty for requests and links. */
export async function act({ id, value }) {
  if (!value && id !== "zip") return pass(id);
  if (!state.answer) return tell("There is no answer yet.");
  const { file, image, width, height } = subject();
  const segments = state.answer.segments.filter(isVisible).map((one) => ({ ...one, name: one.label ?? one.name })); // without the object numbers of a clip
  const picture = { name: file.name || "picture", size: state.answer.size, model: state.answer.model, segments, file };
  const base = baseName(picture.name);
  const titles = distinct(segments.map(({ name }) => name));
  const cutOuts = segments.map((one, index) => [`cut-outs/${base}-${titles[index]}.png`, () => cutOut(one, image)]);
  const painted = () => drawn(width, height, (context) => view.paint(context, image, width, height)).convertToBlob();
  const files = [...filesOf([picture]), ...cutOuts, ["painted.png", painted]];
  if (id === "zip") return save(await zip(files), `${base}.zip`);
  for (const [path, content] of files.filter(([path]) => path.startsWith(value))) {
    const name = path.split("/").at(-1);
    save(await content(), name.startsWith(base) ? name : `${base}-${name}`);
  }
}

/** Files `[path, content]` of pictures {name, size, model, segments, file} in all formats; `content` is a function. */
function* filesOf(pictures) {
  const names = [...new Set(pictures.flatMap(({ segments }) => segments.map((one) => one.name)))];
  for (const picture of pictures) {
    const base = baseName(picture.name);
    yield [`images/${picture.name}`, () => picture.file];
    yield [`labels/${base}.txt`, () => yolo(picture, names)];
    yield [`geojson/${base}.geojson`, () => geojson(picture)];
    for (const [index, title] of distinct(picture.segments.map(({ name }) => name)).entries()) {
      yield [`masks/${base}-${title}-mask.png`, () => stencilOf(picture.segments[index], BLACK).convertToBlob()];
    }
  }
  yield ["coco.json", () => coco(pictures, names)];
  yield ["data.yaml", () => dataYaml(names)];
  yield ["label-studio.json", () => labelStudio(pictures)];
  yield ["cvat.xml", () => cvat(pictures)];
}

function save(content, name) {
  const href = URL.createObjectURL(new Blob([content]));
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** Names, made unique by numbers. */
function distinct(names) {
  const seen = new Set();
  return names.map((name) => {
    let [one, count] = [name, 1];
    while (seen.has(one)) one = `${name}-${(count += 1)}`;
    seen.add(one);
    return one;
  });
}

/** A canvas, white inside the mask and of the ABGR colour `around` outside. */
function stencilOf({ mask }, around) {
  const { cells, width, height } = pixelsOf(mask);
  const pixels = new ImageData(width, height);
  new Uint32Array(pixels.data.buffer).set(Uint32Array.from(cells, (held) => (held ? WHITE : around)));
  return drawn(width, height, (context) => context.putImageData(pixels, 0, 0));
}

/** The picture inside one segment, everything else transparent. */
function cutOut(one, image) {
  const [left, top, across, down] = one.bbox;
  return drawn(across, down, (context) => {
    context.drawImage(stencilOf(one, TRANSPARENT), -left, -top);
    context.globalCompositeOperation = "source-in";
    context.drawImage(image, -left, -top);
  }).convertToBlob();
}

/** Segments many pictures one by one with the page's words and saves a zip; `opened` decodes a file. */
export async function segmentAll(files, opened) {
  control?.abort();
  const question = wordsQuestion();
  if (!question) return tell("Type the words first, or choose everything.", true);
  if (!files.length) return tell("There are no pictures among these files.", true);
  if (files.reduce((sum, { size }) => sum + size, 0) > MAX_BYTES) return tell("More than 4 GB do not fit into a zip: choose fewer pictures.", true);
  const { signal } = (control = new AbortController());
  const least = Number($("threshold").value);
  const done = []; // masks are kept in memory as run lengths, decoded pictures are closed
  const take = async (file, path) => {
    const { image, ...picture } = await opened(file);
    image.close();
    const { model, size, segments } = await withRetry(() => engine.segment(picture, question, signal), signal);
    const shown = segments.filter(({ score }) => score >= least).map((one) => ({ ...one, name: one.label ?? "object" }));
    const name = baseName(path) + picture.file.name.slice(baseName(picture.file.name).length);
    done.push({ name, size, model, segments: shown, file: picture.file });
  };
  $("progress").hidden = false;
  $("progress").scrollIntoView({ block: "nearest" });
  $("done-of").max = files.length;
  tell(`Looking at ${files.length} pictures…`);
  const refused = [];
  const began = performance.now();
  const takeAll = async () => {
    for (const [index, path] of pathsOf(files).entries()) {
      const left = Math.ceil(((performance.now() - began) / 1000 / index) * (files.length - index));
      $("done-of").value = index;
      $("doing").textContent = `${index + 1} of ${files.length}: ${path}${index ? `; about ${timeOf(left)} left` : ""}`;
      signal.throwIfAborted();
      await take(files[index], path).catch((problem) => {
        if (!OF_A_PICTURE.includes(problem.status)) throw problem;
        refused.push(problem.message.startsWith(files[index].name) ? problem.message : `${path}: ${problem.message}`);
      });
    }
    return "";
  };
  const how = await takeAll().catch((problem) => {
    if (problem.name === "AbortError") return "Cancelled.";
    if (problem.status === undefined) throw problem;
    return refusalText(problem, () => null);
  });
  if (signal !== control.signal) return; // another batch was started
  $("progress").hidden = true;
  const more = refused.length > MAX_NAMES ? ` And ${refused.length - MAX_NAMES} more.` : "";
  const leftOut = refused.length ? ` Left out: ${refused.slice(0, MAX_NAMES).join(" ")}${more}` : "";
  tell(`${how} ${done.length} of ${files.length} pictures are done.${leftOut}`, how !== "");
  if (done.length) save(await zip(filesOf(done)), "pictures.zip");
}

/** Paths of files, relative to a chosen folder, made unique without their extensions. */
function pathsOf(files) {
  const paths = files.map((file) => file.webkitRelativePath.split("/").slice(1).join("/") || file.name);
  return distinct(paths.map(baseName)).map((base, index) => base + paths[index].slice(baseName(paths[index]).length));
}

/** Copies a text, returns whether it worked. Without TLS there is no clipboard API; a selection can still be copied. */
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = document.body.appendChild(element("textarea", { value: text }));
  const stood = $("export").querySelector(":focus");
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  stood?.focus();
  return done;
}

/** Sends the question to a server, or copies it as a request or a link. */
async function pass(id) {
  const obstacle = id !== "link" && noServer(id);
  if (obstacle) return tell(obstacle, true);
  if (id === "send") return send();
  const name = subject()?.file.name || "picture.jpg";
  const texts = { curl: () => curl(question(), name), python: () => python(question(), name), link: () => location.href };
  tell(...((await copied(texts[id]())) ? ["Copied."] : ["This browser does not let the page copy.", true]));
}

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

function send() {
  const query = question();
  const picture = (subject().copy ??= { file: subject().file, id: null }); // the server assigns its own id
  const take = (answer) => {
    state.answer = { ...combined(...(query.prompts ? [null, answer] : [answer, null])), model: `${answer.model} at ${new URL(address()).host}` };
    emit("answered");
  };
  askLatest((signal) => segment(picture, query, signal), take, send);
}

function curl(question, name) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  // Quoted for curl: a comma or a semicolon would end the file name.
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
