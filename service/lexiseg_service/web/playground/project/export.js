// Exports: files for one picture or many, the request as curl or Python, a link to the same question.

import { isVisible, shownOf } from "../answer.js";
import { address, key, request, segment } from "../engine/server.js";
import { bySize, stacked } from "../document.js";
import { coco } from "../formats/coco.js";
import { cvat } from "../formats/cvat.js";
import { geojson } from "../formats/geojson.js";
import { labelMaps } from "../formats/label-maps.js";
import { labelStudio } from "../formats/label-studio.js";
import { COLOUR, GRAY, png } from "../formats/png.js";
import { distinct, setOf } from "../formats/set.js";
import { voc } from "../formats/voc.js";
import { yolo } from "../formats/yolo.js";
import { zip } from "../formats/zip.js";
import { pixelsOf } from "../masks/runs.js";
import { $, baseName, drawn, element, emit, question, refuse, state, subject, tell } from "../page.js";
import { all, fileOf } from "./project.js";
import { askLatest, ready } from "../question.js";
import { headFiles } from "./teaching.js";
import { view } from "../view.js";

const KEY = "LEXISEG_API_KEY";
const MAX_BYTES = 4e9; // of a zip
const FORMATS = [coco, yolo, labelStudio, cvat, geojson, labelMaps, voc];
const UNLISTED = /(^|\/)[\s#]+|\s+(?=\.[^.]*$)|[\r\n]/g; // parts of a file's name that readers of lists of names strip, or take for a comment
const OF_CLIENT = { classes: "Class", prompts: "Prompt", points: "Point", examples: "Example", negatives: "Example", image: "ImageId" };

/** Handles an export button; its value is the path prefix of the files to save, empty for requests and links. */
export async function act({ id, value }) {
  if (!value && id !== "zip") return pass(id);
  if (!state.answer) return tell("There is no answer yet.");
  const { image, width, height } = subject();
  const picture = pictureOf(subject(), state.answer);
  const { segments } = picture;
  const base = baseName(picture.name);
  const titles = distinct(segments.map(({ label }) => label ?? "object"));
  const cutOuts = segments.map((one, index) => [`cut-outs/${base}-${titles[index]}.png`, () => pngOf(cutOut(one, image))]);
  const painted = () => pngOf(drawn(width, height, (context) => view.paint(context, image, width, height)));
  const files = [...filesOf([picture]), ...cutOuts, ["painted.png", painted]];
  const wanted = files.filter(([path]) => path.startsWith(value)); // all of an empty one
  if (wanted.length > 1) return save(await zip(wanted), value ? `${base}-${value.slice(0, -1)}.zip` : `${base}.zip`);
  for (const [path, content] of wanted) {
    const name = path.split("/").at(-1);
    save(await content(), name.startsWith(base) ? name : `${base}-${name}`);
  }
}

const listed = (name) => name.replace(UNLISTED, "$1_");

/** A picture of `filesOf`: what shows of an answer and is not doubtful. */
export const pictureOf = ({ file }, { size, model, segments }) =>
  ({ name: listed(file.name || "picture"), size, model, segments: stacked(segments.filter((one) => isVisible(one) && !one.doubtful)), file: () => file });

/** Files `[path, content]` of pictures {name, size, model, segments, reviewed, file} in all formats; `content` is a function. */
export function* filesOf(pictures) {
  const set = setOf(pictures);
  for (const [index, { name, base, segments, file }] of set.pictures.entries()) {
    if (pictures.length > 1) tell(`Packing picture ${index + 1} of ${pictures.length}…`);
    yield [`images/${name}`, file];
    const titles = distinct(segments.map((one) => one.name));
    for (const [at, title] of titles.entries()) yield [`masks/${base}-${title}-mask.png`, () => {
      const { cells, ...size } = pixelsOf(segments[at].mask);
      return png(size, GRAY, Uint8Array.from(cells, (held) => held * 255));
    }];
  }
  for (const filesIn of FORMATS) yield* filesIn(set);
}

export function save(content, name) {
  const href = URL.createObjectURL(new Blob([content]));
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** Saves the project's labelled or reviewed pictures, in all formats of the page or in one that the service writes. */
export async function exportProject() {
  const [pictures, { value: to }, { checked: isReviewed }] = [all(), $("to"), $("only-reviewed")];
  const status = isReviewed ? "reviewed" : "labelled";
  const labelled = pictures.filter(({ doc }) => doc.answer && (doc.isReviewed || !isReviewed));
  if (!labelled.length) return tell(`No picture is ${status} yet.`, true);
  if (labelled.reduce((sum, { bytes }) => sum + bytes, 0) > MAX_BYTES) return tell("More than 4 GB do not fit into a zip.", true);
  const names = distinct(labelled.map(({ name }) => baseName(listed(name))));
  const done = labelled.map((picture, index) => ({
    name: names[index] + picture.name.slice(baseName(picture.name).length),
    size: [picture.height, picture.width],
    model: picture.doc.answer.model,
    segments: to ? bySize(stacked(shownOf(picture.doc))) : stacked(shownOf(picture.doc)),
    reviewed: picture.doc.isReviewed,
    file: () => fileOf(picture),
  }));
  const reviewed = ["reviewed.txt", () => done.filter((one) => one.reviewed).map(({ name }) => `${name}\n`).join("")]; // not all formats mark them
  const content = await (to ? asked(to, done) : zip([...filesOf(done), reviewed, ...(await headFiles())])).catch((problem) => refuse(problem, exportProject));
  if (!content) return;
  save(content, to ? `${to}.${content.type.split("/")[1]}` : "project.zip");
  tell(`Saved ${done.length} of ${pictures.length} pictures: all that are ${status}.`);
}

/** The labels of pictures in a format that the service writes; the pictures are put beside them where it has them there. */
async function asked(to, some) {
  const { classes, pictures } = setOf(some);
  const segmentOf = ({ label = null, score, mask: { size, counts }, track_id }) => ({ label, score, mask: { size, counts }, track_id });
  const sent = pictures.map(({ name, size, model, segments, reviewed }) => ({ name, size, model, reviewed, segments: segments.map(segmentOf) }));
  const content = await request("POST", `/playground/export/${encodeURIComponent(to)}`, { classes, pictures: sent }, null, tell, "blob");
  const folder = JSON.parse(document.body.dataset.formats)[to];
  return folder === null ? content : zip(some.map(({ name, file }) => [`${folder && `${folder}/`}${name}`, file]), content);
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

async function pass(id) {
  const { server } = document.body.dataset;
  if (id !== "link" && (!address() || !$("server").checkValidity())) return tell("Enter the address of a server first.", true);
  const isElsewhere = id === "send" && new URL(address()).origin !== new URL(server).origin;
  if (isElsewhere) return tell(`This page may send to ${server} alone; curl and Python ask any server.`, true);
  if (id === "send") return subject() ? send() : tell("There is no picture yet.", true);
  const name = subject()?.file.name || "picture.jpg";
  const texts = { curl: () => curl(question(), name), python: () => python(question(), name), link: () => location.href };
  tell(...((await copied(texts[id]())) ? ["Copied."] : ["This browser does not let the page copy.", true]));
}

function send() {
  const query = question();
  const picture = (subject().copy ??= { file: subject().file, id: null }); // the server assigns its own id
  const take = (answer) => {
    state.answer = { ...ready(answer), model: `${answer.model} at ${new URL(address()).host}` };
    emit("answered");
  };
  askLatest((signal) => segment(picture, query, signal), take, send);
}

function curl(question, name) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const safe = /[",;\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name; // a comma or a semicolon would end the file name
  const parts = [`-F ${quoted(`image=@${safe}`)}`, `--form-string ${quoted(`request=${JSON.stringify(question)}`)}`]; // -F reads options in words
  return ["curl -sS", `${address()}/v1/segment`, ...(key() ? [`-H "Authorization: Bearer $${KEY}"`] : []), ...parts].join(" ");
}

/** A value as Python's client takes it; `key`: of the field that holds it. Notes the names that it uses. */
function literal(value, key, used) {
  if (Array.isArray(value)) return `[${value.map((one) => literal(one, key, used)).join(", ")}]`;
  if (value === null || typeof value === "boolean") return { null: "None", true: "True", false: "False" }[String(value)];
  if (typeof value !== "object") return JSON.stringify(value);
  const kind = Object.keys(value).every((name) => /^\w+$/.test(name)) && OF_CLIENT[key]; // a link may name a field by a program
  if (kind) used.add(kind);
  const fields = Object.entries(value).map(([name, one]) => (kind ? `${name}=` : `${JSON.stringify(name)}: `) + literal(one, name, used));
  return kind ? `${kind}(${fields.join(", ")})` : `{${fields.join(", ")}}`;
}

function python(question, name) {
  const used = new Set(["Client"]);
  const asked = Object.entries(question).map(([field, value]) => `, ${field}=${literal(value, field, used)}`);
  const access = key() ? `, api_key=os.environ["${KEY}"]` : "";
  return `${key() ? "import os\n\n" : ""}from lexiseg_client import ${[...used].sort().join(", ")}

with Client("${address()}"${access}) as client:
    result = client.segment(${JSON.stringify(name)}${asked.join("")})
for segment in result:
    print(segment.label, segment.score, segment.area)
`;
}

const pngOf = (canvas) => png(canvas, COLOUR, canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);

function cutOut({ mask, bbox: [left, top, across, down] }, image) {
  const { cells, width } = pixelsOf(mask);
  return drawn(across, down, (context) => {
    context.drawImage(image, -left, -top);
    const pixels = context.getImageData(0, 0, across, down);
    for (let i = 0; i < across * down; i++) if (!cells[(top + Math.floor(i / across)) * width + left + (i % across)]) pixels.data[4 * i + 3] = 0;
    context.putImageData(pixels, 0, 0);
  });
}
