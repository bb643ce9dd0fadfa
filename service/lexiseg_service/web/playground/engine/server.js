// The engine on a server, over REST: a picture is sent once and asked about by its id afterwards. `lexiseg site` writes the
// browser's own in its place where all of it is imported as `engine`.

import { $, problemOf, tell } from "../page.js";

export const remote = true; // vocabularies, streams and keys are of a server

/** Of the server, without a slash at its end: the page's own, or the one that the visitor of a site named. */
export const address = () => (document.body.matches(".local") ? $("server").value.trim().replace(/\/+$/, "") : location.origin);

export const describe = async () => (await request("GET", "/v1/models")).models;
export const vocabularies = async () => (await request("GET", "/v1/vocabularies")).vocabularies;

export const key = () => localStorage.getItem("lexiseg-key") ?? "";

/** Goes out even when the page is left. */
export const remove = (path) => fetch(path, { method: "DELETE", keepalive: true, headers: authorization() });

/** Segments of a picture `{file, id}`; the id from the answer is stored in the picture. `report` gets the upload's progress. */
export async function segment(picture, question, signal, report = tell) {
  const known = { image: { id: picture.id }, ...question };
  const answer = picture.id && (await request("POST", "/v1/segment", known, signal).catch((problem) => {
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

/** What the server answers to a form or to JSON. fetch would not report how much has been sent. @returns {Promise<any>} */
export function request(method, path, body = null, signal = null, report = tell) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const sent = new XMLHttpRequest();
    const abort = () => sent.abort();
    signal?.addEventListener("abort", abort);
    sent.open(method, address() + path);
    sent.responseType = "json";
    const isForm = body instanceof FormData;
    const headers = { ...(body && !isForm && { "content-type": "application/json" }), ...authorization() };
    for (const [name, value] of Object.entries(headers)) sent.setRequestHeader(name, value);
    if (isForm) {
      sent.upload.onprogress = ({ loaded, total }) => report(loaded < total ? `Sending the picture: ${Math.round((100 * loaded) / total)} %` : "Looking…");
    }
    sent.onload = () => {
      const { status, response } = sent; // null where it is no JSON, as a proxy's error page
      if (status >= 200 && status < 300 && (response || status === 204)) return resolve(response);
      const detail = response?.detail ?? `The server answered ${status}.`;
      reject(problemOf(detail, status, { type: response?.type, after: Number(sent.getResponseHeader("retry-after")) }));
    };
    const allowed = address() === location.origin ? "" : `, and does its LEXISEG_CORS_ORIGINS name ${location.origin}`;
    sent.onerror = () => reject(problemOf(`The server does not answer. Is it running${allowed}?`, 0));
    sent.onabort = () => reject(new DOMException("", "AbortError"));
    sent.onloadend = () => signal?.removeEventListener("abort", abort);
    sent.send(isForm ? body : JSON.stringify(body));
  });
}

const authorization = () => (key() ? { authorization: `Bearer ${key()}` } : {});

/** As `segment`, where the visitor has asked for nothing that could be reported: a preview, or the next frame of a clip. */
export const hover = (picture, question, signal) => segment(picture, question, signal, () => null);
export { segment as prompt, hover as frame };

/** What is shown in a picture, as a question has it; null before the picture is known. */
export const examples = async (picture, prompt) => picture.id && { ...prompt, image: { id: picture.id } };
