// The project's database in this browser (IndexedDB): files, read late, and pictures with their documents. Notes, too: a crash loses localStorage.

const [FILES, PICTURES] = ["files", "pictures"];
let database = null;

async function open() {
  const request = indexedDB.open("lexiseg-project", 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(FILES);
    request.result.createObjectStore(PICTURES, { keyPath: "key" });
  };
  await new Promise((resolve, reject) => Object.assign(request, { onsuccess: resolve, onerror: () => reject(request.error) }));
  request.result.onclose = () => (database = null); // by the browser, as when its user erases what pages keep
  return request.result;
}

/** The result of `act` with stores of these names, once it is on disk; rejects with a DOMException, as on a full disk. */
async function within(names, act) {
  database ??= open();
  database.catch(() => (database = null)); // the next call opens it again
  const transaction = (await database).transaction(names, "readwrite");
  const request = act(...names.map((each) => transaction.objectStore(each)));
  transaction.commit(); // at once: a page that goes before its turn would abort it
  await new Promise((resolve, reject) => Object.assign(transaction, { oncomplete: resolve, onabort: () => reject(transaction.error) }));
  return request?.result;
}

export const load = () => within([PICTURES], (pictures) => pictures.getAll());
/** A file by the key of its picture, or what was noted under a name. */
export const read = (key) => within([FILES], (files) => files.get(key));
export const note = (name, value) => within([FILES], (files) => files.put(value, name));
export const keep = (picture, file = null) =>
  within(file ? [PICTURES, FILES] : [PICTURES], (pictures, files) => pictures.put(picture) && files?.put(file, picture.key));
export const forget = (key) => within([PICTURES, FILES], (pictures, files) => pictures.delete(key) && files.delete(key));
