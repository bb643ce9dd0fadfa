// The engine in this browser: a web worker answers, and no data leaves the page.

import { $, problemOf } from "../page.js";

export const remote = false;

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let [last, failure] = [0, null]; // a failed worker answers no question, also if it failed before the first

worker.onmessage = ({ data: { id, answer, problem } }) => {
  const one = waiting.get(id);
  waiting.delete(id);
  if (problem) one?.reject(problemOf(problem.detail, problem.status, { type: problem.type }));
  else one?.resolve(answer);
};
worker.onerror = () => {
  failure = problemOf("The part of this page that finds things cannot start in this browser.");
  for (const { reject } of waiting.values()) reject(failure);
};

async function ask(act, args, signal) {
  if (failure) throw failure;
  const id = (last += 1);
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    signal?.addEventListener("abort", () => {
      if (!waiting.delete(id)) return;
      worker.postMessage({ drop: id });
      reject(new DOMException("", "AbortError"));
    });
    worker.postMessage({ id, act, args });
  });
}

/** Cards of the `models` and the `features` that are on, after loading everything that a first question needs. */
export async function describe() {
  await keepOffline().catch(() => null); // not available in private windows
  $("loading").hidden = true;
  return ask("describe", []);
}

export const vocabularies = async () => []; // servers only

/** Caches all files by a service worker; if that fails, each is fetched when it is needed. */
async function keepOffline() {
  navigator.serviceWorker.onmessage = ({ data: { what, loaded, total } }) => {
    $("loading").hidden = loaded >= total;
    Object.assign($("loading-bar"), { max: total, value: loaded });
    const [some, all] = [loaded, total].map((bytes) => (bytes / 1e6).toFixed(0));
    $("loading-words").textContent = `Loading ${what}, once: ${some} of ${all} MB. Pictures and words may be chosen meanwhile.`;
  };
  const { installing, active } = await navigator.serviceWorker.register("./offline.js");
  if (installing && !active) await new Promise((ended) => (installing.onstatechange = () => ["activated", "redundant"].includes(installing.state) && ended())()); // called at once, too: it may have ended before
}

function sent(picture) {
  picture.id ??= `${Date.now()}-${Math.random()}`;
  return { key: picture.id, file: picture.file };
}

export const [segment, prompt] = ["segment", "prompt"].map((act) => (picture, question, signal) => ask(act, [sent(picture), question], signal));

export const [heads, head, forget] = ["heads", "head", "forget"].map((act) => (...args) => ask(act, args)); // heads: as in server.js
export const teach = (name, { pictures, ...change }) =>
  ask("teach", [name, { ...change, pictures: pictures.map(({ picture, ...one }) => ({ ...one, picture: sent(picture) })) }]);
