// Databases in this browser (IndexedDB), and the project's: files, read late, and pictures with their documents. Notes, too: a crash loses localStorage.

/** A function of names of stores and `act`: the result of `act` with these, once it is on disk; rejects with a DOMException, as on a full disk. */
export function databaseOf(name, create) {
  let database = null;
  const open = async () => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => create(request.result);
    await new Promise((resolve, reject) => Object.assign(request, { onsuccess: resolve, onerror: () => reject(request.error) }));
    request.result.onclose = () => (database = null); // by the browser, as when its user erases what pages keep
    return request.result;
  };
  return async (names, act) => {
    database ??= open();
    database.catch(() => (database = null)); // the next call opens it again
    const transaction = (await database).transaction(names, "readwrite");
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
/** A file by the key of its picture, or what was noted under a name. */
export const read = (key) => within([FILES], (files) => files.get(key));
export const note = (name, value) => within([FILES], (files) => files.put(value, name));
export const keep = (picture, file = null) =>
  within(file ? [PICTURES, FILES] : [PICTURES], (pictures, files) => pictures.put(picture) && files?.put(file, picture.key));
export const forget = (key) => within([PICTURES, FILES], (pictures, files) => pictures.delete(key) && files.delete(key));
