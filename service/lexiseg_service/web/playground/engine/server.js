// The engine on a server, over REST: a picture is sent once and asked about by its id afterwards.

import { tell } from "../page.js";
import { Problem } from "../problem.js";

const KEY = "lexiseg-key";

export const remote = true; // vocabularies, streams and keys are of a server

/** Cards of the models, and the vocabularies. */
export async function describe() {
  const [{ models }, { vocabularies }] = await Promise.all([get("/v1/models"), get("/v1/vocabularies")]);
  return { models, vocabularies };
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

export { segment as prompt, segment as hover };

/** What is shown in a picture, as a question has it; null before the picture is known. */
export async function examples(picture, shown) {
  return picture.id && { ...shown, image: { id: picture.id } };
}
