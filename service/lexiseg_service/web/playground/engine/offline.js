// The service worker of a site: all files of a first visit are kept, so that the page opens without a network.

const FILES = "{files}".split(" ");
const TOTAL = Number("{bytes}"); // of all files
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" }; // threads need it
const scope = /** @type {any} */ (self);
const SITE = scope.registration.scope; // other pages of the same origin have caches, too
const CACHE = `${SITE} {version}`;

scope.addEventListener("install", (event) => event.waitUntil(keepAll().then(() => scope.skipWaiting())));
scope.addEventListener("activate", (event) => event.waitUntil(Promise.all([forgetOthers(), scope.clients.claim()])));
scope.addEventListener("fetch", (event) => new URL(event.request.url).origin === location.origin && event.respondWith(response(event)));

/** Fetches the files that are not here from an earlier attempt. */
async function keepAll() {
  const cache = await caches.open(CACHE);
  const count = await counterOf("the model", TOTAL);
  const keep = async (file) => {
    const kept = await cache.match(file);
    if (kept) return count((await kept.blob()).size);
    const answer = await fetch(file, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
    return cache.put(file, counted(answer, count));
  };
  await Promise.all(FILES.map(keep));
}

/** Takes numbers of bytes that have arrived; pages are told their sum. */
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

/** A file from the cache; what a word needs beside, the text tower, is kept when it comes. */
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
