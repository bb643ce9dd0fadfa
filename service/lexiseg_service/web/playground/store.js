// Databases in this browser (IndexedDB), and the project's: files, and pictures with their documents. Apart, so that files are read late.

/**
 * A function of names of stores and `act`: the result of `act` with these stores, once it is on disk. It rejects with a
 * DOMException, as when the disk is full.
 */
export function databaseOf(name, create) {
  let opening = null;
  const opened = () =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => create(request.result);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  return async (names, act) => {
    const transaction = (await (opening ??= opened())).transaction(names, "readwrite");
    const done = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    const request = act(...names.map((each) => transaction.objectStore(each)));
    await done;
    return request?.result;
  };
}

const [FILES, PICTURES] = ["files", "pictures"];
const within = databaseOf("lexiseg-project", (database) => {
  database.createObjectStore(FILES);
  database.createObjectStore(PICTURES, { keyPath: "key" });
});

export const load = () => within([PICTURES], (pictures) => pictures.getAll());
export const fileOf = (key) => within([FILES], (files) => files.get(key));
export const keep = (picture) => within([PICTURES], (pictures) => pictures.put(picture));
export const keepFile = (file, key) => within([FILES], (files) => files.put(file, key));
export const forget = (key) => within([PICTURES, FILES], (pictures, files) => pictures.delete(key) && files.delete(key));
