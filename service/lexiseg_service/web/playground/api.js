// The service, as the page asks it. A picture is sent once; later questions name its id.

export class Problem extends Error {
  /** `after`: seconds after which a busy service may be asked again, or null. */
  constructor(status, type, detail, after = null) {
    super(detail);
    this.status = status;
    this.type = type;
    this.after = after;
  }
}

const KEY = "lexiseg-key";

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

/** Segments of a picture: `{file, id}`; the id that the answer gives is kept in it. */
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
  const answer = await request("/v1/segment", { method: "POST", body: form, signal });
  picture.id = answer.image_id;
  return answer;
}

async function request(path, options) {
  return (await send(path, options)).content;
}

async function send(path, options) {
  const headers = { ...options.headers };
  if (key()) headers.authorization = `Bearer ${key()}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The server does not answer. Is it running?");
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok) {
    const detail = content?.detail ?? `The server answered ${answer.status}.`;
    const after = Number(answer.headers.get("retry-after")) || null;
    throw new Problem(answer.status, content?.type ?? "unknown", detail, after);
  }
  return { content, etag: answer.headers.get("etag") };
}
