// The service, as the page asks it. A picture is sent once; later questions name its id.

export class Problem extends Error {
  constructor(status, type, detail) {
    super(detail);
    this.status = status;
    this.type = type;
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

/** Segments of a picture: `{file, id}`; the id that the answer gives is kept in it. */
export async function segment(picture, question, signal) {
  if (picture.id) {
    try {
      return await ask({ image: { id: picture.id }, ...question }, signal);
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

function ask(content, signal) {
  const headers = { "content-type": "application/json" };
  return request("/v1/segment", { method: "POST", body: JSON.stringify(content), headers, signal });
}

async function request(path, options) {
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
    throw new Problem(answer.status, content?.type ?? "unknown", detail);
  }
  return content;
}
