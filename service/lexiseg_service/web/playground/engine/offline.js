// The service worker of a site: all files of a first visit are kept, so that the page opens without a network.

const VERSION = "{version}";
const FILES = "{files}".split(" ");
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" }; // threads need it
const scope = /** @type {any} */ (self);

scope.addEventListener("install", (event) => event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)).then(() => scope.skipWaiting())));
scope.addEventListener("activate", (event) => event.waitUntil(Promise.all([forgetOthers(), scope.clients.claim()])));
scope.addEventListener("fetch", (event) => new URL(event.request.url).origin === location.origin && event.respondWith(found(event.request)));

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name)));
}

/** A file from the cache; what a word needs beside, the text tower, is kept when it comes. */
async function found(request) {
  const cache = await caches.open(VERSION);
  let answer = await cache.match(request, { ignoreSearch: true });
  if (!answer) {
    answer = await fetch(request);
    if (answer.ok && request.method === "GET") await cache.put(request, answer.clone());
  }
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
