// Service worker of a static site: caches all files on the first visit, so that the page works offline.

const FILES = "{files}".split(" ");
const TOTAL = Number("{bytes}"); // of all files
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" }; // threads need it
const scope = /** @type {any} */ (self);
const SITE = scope.registration.scope; // part of the cache's name: other pages of the origin have caches, too
const CACHE = `${SITE} {version}`;

scope.addEventListener("install", (event) => event.waitUntil(keepAll())); // no skipWaiting: an open page loads further files of its own version
scope.addEventListener("activate", (event) => event.waitUntil(Promise.all([forgetOthers(), scope.clients.claim()])));
scope.addEventListener("fetch", (event) => new URL(event.request.url).origin === location.origin && event.respondWith(response(event)));

async function keepAll() {
  const cache = await caches.open(CACHE);
  const count = scope.registration.active ? () => null : await counterOf("the model", TOTAL); // pages do not wait for an update
  const keep = async (file) => {
    const kept = await cache.match(file);
    if (kept) return count((await kept.blob()).size);
    const answer = await fetch(file, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
    return cache.put(file, counted(answer, count));
  };
  await Promise.all(FILES.map(keep));
}

async function counterOf(what, total) {
  const pages = await scope.clients.matchAll({ includeUncontrolled: true });
  let loaded = 0;
  return (bytes) => {
    loaded += bytes;
    for (const page of pages) page.postMessage({ what, loaded, total });
  };
}

function counted(answer, count) {
  const transform = (part, out) => {
    count(part.length);
    out.enqueue(part);
  };
  return new Response(answer.body.pipeThrough(new TransformStream({ transform })), answer);
}

async function forgetOthers() {
  for (const name of await caches.keys()) if (name.startsWith(`${SITE} `) && name !== CACHE) await caches.delete(name);
}

/** The response to a request, from the cache if possible; others, such as the text tower, are cached when fetched. */
async function response(event) {
  const { request } = event;
  const cache = await caches.open(CACHE);
  let answer = await cache.match(request, { ignoreSearch: true });
  if (!answer) {
    answer = await fetch(request);
    if (answer.ok && request.method === "GET") {
      if (request.url.endsWith("/tower.onnx")) answer = counted(answer, await counterOf("what reads rare words", Number(answer.headers.get("content-length"))));
      event.waitUntil(cache.put(request, answer.clone()));
    }
  }
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
