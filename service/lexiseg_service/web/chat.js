// The page in a chat, an MCP App: what `segment` found, and what `cut_out` makes of clicks on it. The host calls the tools.

const $ = (id) => /** @type {any} */ (document.getElementById(id));
const asked = []; // [resolve, reject] of requests, whose ids are their places
let [answer, points] = /** @type {any[]} */ ([null, []]); // of `segment`; {x, y, positive} in pixels of the picture

const send = (message) => parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
const ask = (method, params) => new Promise((...both) => send({ id: asked.push(both) - 1, method, params }));
const tell = (text) => ($("told").textContent = text);

addEventListener("message", ({ source, data: { id, method, params, result, error } }) => {
  if (source !== parent) return;
  if (method === "ui/notifications/tool-result") show(params);
  else if (!method) asked[id]?.[error ? 1 : 0](error ?? result);
  else if (id !== undefined) send({ id, result: {} }); // a ping, or the end
});

/** The content of a tool's result, whose picture an element shows; null where the tool refused, which is told. */
function shown({ isError, content, structuredContent }, id) {
  if (isError) return tell(content[0].text) && null;
  for (const { type, data, mimeType } of content) if (type === "image") $(id).setAttribute("href", `data:${mimeType};base64,${data}`);
  return structuredContent;
}

function show(result) {
  answer = shown(result, "picture");
  if (!answer) return;
  $("stage").setAttribute("viewBox", `0 0 ${answer.width} ${answer.height}`);
  tell([...answer.segments.map(({ label, percent }) => `${label} ${percent.toFixed(1)} %`), ...answer.absent.map((word) => `no ${word}`)].join(", "));
}

async function cut(clicks) {
  points = clicks;
  const dot = ({ x, y, positive }) => `<circle cx="${x}" cy="${y}" r="${answer.width / 80}" class="${positive ? "on" : "outside"}"/>`;
  $("points").innerHTML = points.map(dot).join(""); // numbers alone
  if (!points.length) return $("piece").removeAttribute("href");
  const question = { image: answer.image, points };
  const result = await ask("tools/call", { name: "cut_out", arguments: question });
  const segment = points === clicks && shown(result, "piece")?.segment; // else another click came
  if (!segment) return null;
  ["x", "y", "width", "height"].forEach((name, side) => $("piece").setAttribute(name, segment.box[side]));
  tell(`Cut out: ${segment.percent.toFixed(1)} % of the picture.`);
  return ask("ui/update-model-context", { structuredContent: { ...question, segment } }).catch(() => null); // a host may refuse it
}

$("stage").addEventListener("click", ({ clientX, clientY, shiftKey }) => {
  const { x, y } = new DOMPoint(clientX, clientY).matrixTransform($("stage").getScreenCTM().inverse());
  if (answer) cut([...points, { x, y, positive: ($("tools").sign.value === "+") !== shiftKey }]).catch(({ message }) => tell(message));
});
$("tools").addEventListener("reset", () => cut([]));

await ask("ui/initialize", { protocolVersion: "2026-01-26", appInfo: { name: "lexiseg", version: "1" }, appCapabilities: {} });
send({ method: "ui/notifications/initialized", params: {} });
const tellSize = (/** @type {any} */ [{ contentRect: { width, height } }]) => send({ method: "ui/notifications/size-changed", params: { width, height } });
new ResizeObserver(tellSize).observe(document.documentElement);
