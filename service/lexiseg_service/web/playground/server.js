// The service over REST: a picture is sent once and asked about by its id afterwards; a busy service is asked again.

import { $, state, tell } from "/playground/page.js";

const MIN_TRIES = 8;
const MAX_RETRY_TIME = 60_000; // milliseconds; a model may take longer to load than Retry-After says
const MAX_WAIT = 60; // seconds that are waited for without a click on the button
const MAX_SHOWN = 24; // characters of a refused word
const KEY = "lexiseg-key";

export class Problem extends Error {
  /** `after`: seconds after which a busy service may be asked again, or null. */
  constructor(status, type, detail, after = null) {
    super(detail);
    this.status = status;
    this.type = type;
    this.after = after;
  }
}

export function key() {
  return localStorage.getItem(KEY) ?? "";
}

export function keepKey(value) {
  if (value) localStorage.setItem(KEY, value);
  else localStorage.removeItem(KEY);
}

/** A GET route's JSON. */
export function get(path) {
  return request(path, {});
}

/** A GET route's JSON, with the ETag of its content. */
export function tagged(path) {
  return send(path, {});
}

export function put(path, content, conditions, signal) {
  const headers = { "content-type": "application/json", ...conditions };
  return request(path, { method: "PUT", body: JSON.stringify(content), headers, signal });
}

export function post(path, content, signal) {
  const headers = { "content-type": "application/json" };
  return request(path, { method: "POST", body: JSON.stringify(content), headers, signal });
}

/** Goes out even when the page is left. */
export function remove(path) {
  return request(path, { method: "DELETE", keepalive: true });
}

/** Segments of a picture `{file, id}`; the id from the answer is stored in the picture. */
export async function segment(picture, question, signal) {
  if (picture.id) {
    try {
      return await post("/v1/segment", { image: { id: picture.id }, ...question }, signal);
    } catch (problem) {
      if (problem.type !== "image-expired") throw problem;
      picture.id = null;
    }
  }
  const form = new FormData();
  form.append("image", picture.file, picture.file.name || "picture");
  form.append("request", JSON.stringify(question));
  const answer = await upload("/v1/segment", form, signal);
  picture.id = answer.image_id;
  return answer;
}

/** XMLHttpRequest, because fetch does not report how much has been sent. */
function upload(path, form, signal) {
  return new Promise((resolve, reject) => {
    const sent = new XMLHttpRequest();
    const abort = () => sent.abort();
    signal?.addEventListener("abort", abort, { once: true });
    sent.open("POST", path);
    for (const [name, value] of Object.entries(authorization())) sent.setRequestHeader(name, value);
    sent.upload.onprogress = ({ loaded, total }) => {
      if (loaded < total) tell(`Sending the picture: ${Math.round((100 * loaded) / total)} %`);
    };
    sent.upload.onload = () => signal && tell("Looking…");
    sent.onload = () => {
      signal?.removeEventListener("abort", abort);
      let content = null;
      try {
        content = JSON.parse(sent.responseText);
      } catch {
        // A proxy's error page: the status says enough.
      }
      if (sent.status >= 200 && sent.status < 300 && content) resolve(content);
      else reject(problemOf(sent.status, content, sent.getResponseHeader("retry-after")));
    };
    sent.onerror = () => reject(unreachable());
    sent.onabort = () => reject(new DOMException("", "AbortError"));
    sent.send(form);
  });
}

async function request(path, options) {
  return (await send(path, options)).content;
}

async function send(path, options) {
  const headers = { ...options.headers, ...authorization() };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw problemOf(answer.status, content, answer.headers.get("retry-after"));
  return { content, etag: answer.headers.get("etag") };
}

function authorization() {
  return key() ? { authorization: `Bearer ${key()}` } : {};
}

function unreachable() {
  return new Problem(0, "unreachable", "The server does not answer. Is it running?");
}

function problemOf(status, content, after) {
  const detail = content?.detail ?? `The server answered ${status}.`;
  return new Problem(status, content?.type ?? "unknown", detail, Number(after) || null);
}

/** The result of `act`; a refusal that names a time is retried then. */
export async function patiently(act, signal) {
  const began = performance.now();
  for (let tries = 1; ; tries++) {
    try {
      return await act();
    } catch (problem) {
      const seconds = problem instanceof Problem ? problem.after : null;
      const enough = tries >= MIN_TRIES && performance.now() - began > MAX_RETRY_TIME;
      if (!seconds || seconds > MAX_WAIT || enough) throw problem;
      tell(`${why(problem)}. Asking again in ${seconds} s.`);
      await pause(seconds, signal);
      tell("Asking again…");
    }
  }
}

/** The text of a final refusal; shows the button where a retry may help. */
export function wordsOf(problem, retry) {
  if (problem.after || !problem.status) offerRetry(retry);
  if (problem.status === 401) return key() ? "The service does not know this API key." : "The service asks for an API key: enter it under More.";
  if (!problem.after) return named(problem.message);
  return `${why(problem)}. It may be asked again in ${timeOf(problem.after)}.`;
}

function why({ status, message }) {
  return `The service is ${status === 503 ? "not ready" : "busy"}: ${message}`;
}

/** `classes.0: ...` with the word in place of its index. */
function named(message) {
  return message.replace(/^classes\.(\d+)[^:]*/, (place, index) => {
    const name = state.words[index]?.name;
    if (!name) return place;
    return name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}…` : name;
  });
}

/** Shows a refusal where no answer is awaited. */
export function refusal(problem) {
  if (!(problem instanceof Problem)) throw problem;
  tell(problem.message, true);
}

export function withdraw() {
  $("again").hidden = true;
  $("again").onclick = null;
}

function offerRetry(act) {
  $("again").hidden = false;
  $("again").onclick = () => {
    withdraw();
    act();
  };
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      withdraw();
      resolve();
    };
    const timer = setTimeout(done, 1000 * seconds);
    offerRetry(done);
    const left = () => {
      clearTimeout(timer);
      withdraw();
      reject(new DOMException("", "AbortError"));
    };
    signal.addEventListener("abort", left, { once: true });
  });
}

function timeOf(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.ceil(seconds / 60)} minutes` : `${Math.ceil(seconds / 3600)} hours`;
}
