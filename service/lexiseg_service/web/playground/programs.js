// The question as a request of one's own program. The key is not in it: it comes from the environment, as the client's does.

import { key } from "/playground/api.js";

const KEY = "LEXISEG_API_KEY";

export function curl(question, picture) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const name = nameOf(picture);
  // curl's own quotes: a comma or a semicolon would end the name.
  const safe = /[",;\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
  const parts = [`image=@${safe}`, `request=${JSON.stringify(question)}`].map((part) => `-F ${quoted(part)}`);
  return ["curl -sS", `${location.origin}/v1/segment`, ...(key() ? [`-H "Authorization: Bearer $${KEY}"`] : []), ...parts].join(" ");
}

export function python(question, picture) {
  const headers = key() ? [`headers = {"Authorization": f"Bearer {os.environ['${KEY}']}"}`] : [];
  return [
    "import json",
    ...(key() ? ["import os"] : []),
    "",
    "import httpx",
    "",
    `url = "${location.origin}/v1/segment"`,
    ...headers,
    `question = json.loads(${JSON.stringify(JSON.stringify(question))})`,
    `with open(${JSON.stringify(nameOf(picture))}, "rb") as image:`,
    '    files, data = {"image": image}, {"request": json.dumps(question)}',
    `    answer = httpx.post(url, files=files, data=data, ${key() ? "headers=headers, " : ""}timeout=60)`,
    'for segment in answer.raise_for_status().json()["segments"]:',
    '    print(segment["label"], segment["score"], segment["area"])',
    "",
  ].join("\n");
}

function nameOf(picture) {
  return picture?.file.name || "picture.jpg";
}
