// Keeps a project in this browser (IndexedDB): files, and pictures with their documents. Apart, so that files are read late.

const [FILES, PICTURES] = ["files", "pictures"];
let opening = null;

export const ended = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

function database() {
  const request = indexedDB.open("lexiseg-project", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(FILES);
    request.result.createObjectStore(PICTURES, { keyPath: "key" });
  };
  return ended(request);
}

/** The result of `act` with these stores, once it is on disk; rejects with a DOMException, as when the disk is full. */
async function within(names, act) {
  const transaction = (await (opening ??= database())).transaction(names, "readwrite");
  const done = new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
  const request = act(...names.map((name) => transaction.objectStore(name)));
  await done;
  return request?.result;
}

export const load = () => within([PICTURES], (pictures) => pictures.getAll());
export const fileOf = (key) => within([FILES], (files) => files.get(key));
export const keep = (picture) => within([PICTURES], (pictures) => pictures.put(picture));
export const keepFile = (file, key) => within([FILES], (files) => files.put(file, key));
export const forget = (key) => within([PICTURES, FILES], (pictures, files) => pictures.delete(key) && files.delete(key));
