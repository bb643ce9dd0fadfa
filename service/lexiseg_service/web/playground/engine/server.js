// The engine on a server: a picture is uploaded once, then named by its id. `lexiseg site` replaces imports as `engine` by browser.js.

import { $, problemOf, tell } from "../page.js";

export const remote = true; // vocabularies, streams and API keys exist on servers only

/** Address of the server without a trailing slash: the page's origin, or on a static site the one that the visitor entered. */
export const address = () => (document.body.matches(".local") ? $("server").value.trim().replace(/\/*(\/v1)?\/*$/, "") : location.origin);

/** Cards of the `models`, and the `features`: optional parts of the service that are on. */
export const describe = () => request("GET", "/v1/models");
export const vocabularies = async () => (await request("GET", "/v1/vocabularies")).vocabularies;

export const key = () => localStorage.getItem("lexiseg-key") ?? "";

/** Sends DELETE, even while the page is being closed. */
export const remove = (path) => fetch(path, { method: "DELETE", keepalive: true, headers: authorization() });

/** Segments a picture `{file, id}`, and stores the id from the answer in it. `report` gets the upload's progress. */
export async function segment(picture, { head = null, ...question }, signal, report = tell) {
  question.head = head?.split("@")[0]; // as it is now: other tabs and users may teach it, too
  const answer = picture.id && (await request("POST", "/v1/segment", { image: { id: picture.id }, ...question }, signal).catch((problem) => {
    if (problem.type !== "image-expired") throw problem;
  }));
  if (answer) return answer;
  const form = new FormData();
  form.append("image", picture.file, picture.file.name || "picture");
  form.append("request", JSON.stringify(question));
  const content = await request("POST", "/v1/segment", form, signal, report);
  picture.id = content.image_id;
  return content;
}

export const download = (path) => request("GET", path, null, null, tell, "blob");

export async function encoded({ file }) {
  const bytes = Array.from(new Uint8Array(await file.arrayBuffer()), (one) => String.fromCharCode(one));
  return { base64: btoa(bytes.join("")) };
}

// Heads: what reviewed pictures taught, kept by the service under names.
export const heads = async () => (await request("GET", "/v1/heads")).heads;
export const head = (name) => request("GET", `/v1/heads/${name}`);
export const forget = (name) => remove(`/v1/heads/${name}`);
export const nextOf = async (name, ids) => (await request("POST", `/v1/heads/${name}/next`, { images: ids.map((id) => ({ id })) }, null, () => null)).keys;
export const headFile = (name) => download(`/v1/heads/${name}?export=true`);
export const keepHead = (name, file) => request("PUT", `/v1/heads/${encodeURIComponent(name)}`, file.slice(0, file.size, "application/octet-stream"));

/** Changes or creates a head: `classes`, `pictures` {picture, key, objects, reviewed}, and keys to `remove`. */
export async function teach(name, { pictures, ...change }) {
  const sent = await Promise.all(pictures.map(async ({ picture, ...one }) => ({ ...one, image: picture.id ? { id: picture.id } : await encoded(picture) })));
  return request("PUT", `/v1/heads/${name}`, { ...change, pictures: sent }, null, () => null).catch((problem) => {
    if (problem.type !== "image-expired") throw problem;
    for (const { picture } of pictures) picture.id = null;
    return teach(name, { pictures, ...change });
  });
}

/** Sends a form or JSON, returns the answer as a `kind`. XMLHttpRequest, because fetch reports no upload progress. @returns {Promise<any>} */
export function request(method, path, body = null, signal = null, report = tell, kind = "json") {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const sent = new XMLHttpRequest();
    const abort = () => sent.abort();
    signal?.addEventListener("abort", abort);
    sent.open(method, address() + path);
    sent.responseType = "blob";
    const isSent = body instanceof FormData || body instanceof Blob;
    const headers = { ...(body && !isSent && { "content-type": "application/json" }), ...authorization() };
    for (const [name, value] of Object.entries(headers)) sent.setRequestHeader(name, value);
    sent.upload.onprogress = ({ loaded, total }) => body instanceof FormData && report(loaded < total ? `Sending the picture: ${Math.round((100 * loaded) / total)} %` : "Looking…");
    sent.onload = async () => {
      const { status } = sent;
      const isDone = status >= 200 && status < 300;
      const response = isDone && kind === "blob" ? sent.response : await new Response(sent.response).json().catch(() => null); // a proxy's error page
      if (isDone && (response || status === 204)) return resolve(response);
      const detail = response?.detail ?? `The server answered ${status}.`;
      reject(problemOf(detail, status, { type: response?.type, after: Number(sent.getResponseHeader("retry-after")) }));
    };
    const allowed = address() === location.origin ? "" : `, and does its LEXISEG_CORS_ORIGINS name ${location.origin}`;
    sent.onerror = () => reject(problemOf(`The server does not answer. Is it running${allowed}?`, 0));
    sent.onabort = () => reject(new DOMException("", "AbortError"));
    sent.onloadend = () => signal?.removeEventListener("abort", abort);
    sent.send(isSent ? body : JSON.stringify(body));
  });
}

const authorization = () => (key() ? { authorization: `Bearer ${key()}` } : {});

export { segment as prompt };
