// The engine in the browser, as a web worker: a picture is encoded once and reused for every question.

import * as teaching from "./heads.js";
import { cutOut } from "./prompts.js";
import { bankOf, namesOf, segmentsOf, warningsOf, warningsOfPrompts } from "./semantic.js";
import { readerOf } from "./words.js";
import { ready as kernel, resized } from "../masks/kernel.js";

const KEPT_PICTURES = 8; // of 4 MB, and up to 12 more where it was clicked on
const TOWER = new Set(["tower.onnx", "reading.onnx", "tokens.json"]); // loaded for the first word that is not in the table
const RARE_WORD = "A word is not among those of this page, and the part that reads other words can only be loaded online.";
const UNREACHABLE = "The page's files cannot be loaded: it was never opened online, its server is gone, or the line broke.";
const port = /** @type {any} */ (self); // typed as a window, whose postMessage differs from a worker's
const root = new URL("../../model/", import.meta.url);
const sessions = {};
const pictures = new Map(); // least recently used first
let ready = null;
let [rules, read, Ort] = /** @type {any[]} */ ([]); // set by `loaded`: `model.json`, the text reader, and ONNX Runtime
let last = Promise.resolve();
const dropped = new Set();

port.onmessage = ({ data: { id, act, args, drop } }) => {
  if (drop) dropped.add(drop);
  else last = last.then(() => answer(id, act, args));
};

async function answer(id, act, args) {
  if (dropped.delete(id)) return;
  try {
    await (ready ??= loaded());
    port.postMessage({ id, answer: await acts[act](...args) });
  } catch (error) {
    const isFull = error instanceof RangeError || /memory|alloc/i.test(error.message);
    const own = error.constructor === Error ? error.message : "A part of this page failed: reload it."; // in the words of no browser
    const detail = isFull ? "There is too little memory here: close other tabs, or take a smaller picture." : own;
    port.postMessage({ id, problem: { status: error.status ?? 422, detail, type: error.type } });
  }
}

/** Wraps `act` to take a picture, and to add model, size and time to its answer. */
const timed = (act) => async (picture, question) => {
  const began = performance.now();
  const view = await pictureOf(picture);
  const content = await act(view, question);
  const { name, version } = rules.card;
  return { model: `${name}@${version}`, size: view.size, timings_ms: { total: performance.now() - began }, ...content };
};
const engine = () => ({ rules, run, read, viewOf: pictureOf });
const acts = {
  ...Object.fromEntries(["heads", "head", "forget", "teach"].map((act) => [act, (...args) => teaching[act](engine(), ...args)])),
  describe: () => ({ models: [rules.card], features: ["heads"] }),
  segment: timed(segment),
  prompt: timed(prompt),
};

async function loaded() {
  const missing = ["WebAssembly", "Float16Array"].find((needed) => !(needed in globalThis));
  if (missing) throw new Error(`This browser has no ${missing}, which the page needs to find things by itself.`);
  const files = ["model.json", "words.json", "words.bin", "ort-wasm-simd-threaded.wasm"];
  const [model, words, content, wasmBinary] = await Promise.all(files.map(load));
  Ort = await import(new URL("ort.wasm.min.mjs", root).href);
  const numThreads = port.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  Object.assign(Ort.env.wasm, { numThreads, wasmBinary, wasmPaths: root.href });
  rules = model;
  read = readerOf(rules, words, content, { run, load });
  await Promise.all([kernel, ...["image", "scores"].map(sessionOf)]);
}

async function load(name) {
  const url = new URL(name, root).href;
  let detail = UNREACHABLE;
  try {
    const answer = (await port.caches?.match(url)) ?? (await fetch(url)); // on a first visit offline.js may not control this worker yet
    if (answer.ok) return await (name.endsWith(".json") ? answer.json() : answer.arrayBuffer());
    detail = `${name} cannot be loaded (${answer.status}).`;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // fetch throws TypeError for network errors
  }
  throw TOWER.has(name) ? new Error(RARE_WORD) : Object.assign(new Error(detail), { status: 0 }); // it may be tried again
}

function sessionOf(name) {
  const options = { graphOptimizationLevel: "disabled" }; // takes a second of a start, and makes no answer quicker
  const made = (sessions[name] ??= load(`${name}.onnx`).then((bytes) => Ort.InferenceSession.create(bytes, options)));
  made.catch(() => delete sessions[name]); // a later call may succeed
  return made;
}

/** Runs a graph. Inputs are tensors or [numbers, dimensions]; outputs are by name, without the suffix `_maps`. */
async function run(name, inputs) {
  const session = await sessionOf(name);
  const feeds = session.inputNames.map((input) => [input, Array.isArray(inputs[input]) ? new Ort.Tensor(...inputs[input]) : inputs[input]]);
  const outputs = await session.run(Object.fromEntries(feeds));
  return Object.fromEntries(Object.entries(outputs).map(([output, tensor]) => [output.replace(/_maps$/, ""), tensor]));
}

const pictureOf = ({ key, file }) => recent(pictures, key, KEPT_PICTURES, () => opened(file));

/** The value for a key, made by `make`; a cache of the `most` recently used. */
async function recent(known, key, most, make) {
  const one = known.get(key) ?? (await make());
  known.delete(key);
  known.set(key, one);
  if (known.size > most) known.delete(known.keys().next().value);
  return one;
}

async function decoded(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" }).catch(() => {
    throw new Error("This picture cannot be opened: its file is damaged.");
  });
  const { height, width } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

const halfToEven = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

async function opened(file) {
  const { data, height: H, width: W } = await decoded(file);
  const { short_side: short, long_side: long, multiple } = rules.card.input;
  const { largest, cached } = rules.looks;
  const factor = Math.min(short / Math.min(H, W), long / Math.max(H, W));
  const tile = [H, W].map((side) => Math.max(multiple, halfToEven((side * factor) / multiple) * multiple));
  const most = tile.map((side) => side * largest);
  const kept = most[0] * most[1] >= H * W ? [H, W] : most;
  const rgb = resized(data, [H, W], tile, 4, 3);
  const view = await viewOf(rgb, tile, [H, W]);
  const looks = new Map();
  let canvas = null; // of the kept picture; not needed for frames of a video
  const lookAt = async ({ top, left, bottom, right, input }) => {
    const size = [bottom - top, right - left];
    const part = (await (canvas ??= drawn(file, kept[0], kept[1]))).getImageData(left, top, size[1], size[0]);
    return viewOf(resized(part.data, size, input, 4, 3), input, size);
  };
  return { ...view, kept: { size: kept }, look: (look) => recent(looks, JSON.stringify(look), cached, () => lookAt(look)) };
}

async function drawn(file, height, width) {
  const whole = await decoded(file);
  const isNear = 2 * height >= whole.height && 2 * width >= whole.width; // the reduction is small: no averaging
  const pixels = resized(whole.data, [whole.height, whole.width], [height, width], 4, 4, isNear);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
  return context;
}

/** The view of a tile [h, w] of a picture of that size. @param {number[]} tile @param {number[]} size */
async function viewOf(rgb, tile, size) {
  const [height, width] = tile;
  const planes = new Uint8Array(3 * height * width);
  for (let i = 0; i < rgb.length; i++) planes[(i % 3) * height * width + Math.floor(i / 3)] = rgb[i];
  const features = await run("image", { tiles: [planes, [1, 3, height, width]] });
  let [made, shared] = [null, null];
  const palette = () => (made ??= run("palette", { tile: [planes, [3, height, width]] }));
  const maps = async () => run("prompt-maps", { pixels: features.pixels.reshape(features.pixels.dims.slice(1)), guide: (await palette()).guide });
  return { size, tile, cells: [height / 4, width / 4], features, palette, shared: () => (shared ??= maps()) };
}

async function segment(view, asked) {
  const question = await teaching.withHead(engine(), asked, view.features);
  const bank = await bankOf(rules, question, read);
  return { ...(await segmentsOf(rules, question, bank, view, run)), warnings: warningsOf(rules, bank, question.task) };
}

async function prompt(view, question) {
  const masks = [];
  for (const [index, one] of question.prompts.entries()) masks.push({ prompt_index: index, mask_index: 0, ...(await cutOut(rules, view, one, run)) });
  const named = await namedMasks(view, question, masks);
  return { task: "prompt", ...named, warnings: [...warningsOfPrompts(rules, question.prompts), ...named.warnings] };
}

async function namedMasks(view, question, masks) {
  const bank = question.classes && (await bankOf(rules, await teaching.withHead(engine(), question, view.features), read));
  const names = bank && masks.length ? await namesOf(view, bank, masks.map(({ logits }) => logits), run) : [];
  const named = masks.map(({ logits: _, ...one }, index) => {
    const unnamed = { label: null, class_index: null, score: one.quality, least: question.threshold ?? 0 };
    return { ...unnamed, ...(one.area && names[index]), ...one };
  });
  const segments = named.filter(({ score, least }) => score >= least).map(({ least: _, ...one }, index) => ({ id: index + 1, ...one }));
  return { segments, absent: [], warnings: bank ? warningsOf(rules, bank) : [] };
}
