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

/** The result of `act` with stores of these names, of a write once it is on disk; rejects with a sentence, under status 0: it may be tried again. */
async function within(names, act, mode = /** @type {IDBTransactionMode} */ ("readwrite")) {
  try {
    database ??= open();
    database.catch(() => (database = null)); // the next call opens it again
    const transaction = (await database).transaction(names, mode);
    const request = act(...names.map((each) => transaction.objectStore(each)));
    // At once: a page that goes before its turn would abort it. Not of reads: Chromium then loses values over 1.25 MiB of a profile on disk.
    if (mode === "readwrite") transaction.commit();
    await new Promise((resolve, reject) => Object.assign(transaction, { oncomplete: resolve, onabort: () => reject(transaction.error) }));
    return request?.result;
  } catch (problem) {
    const why = problem?.name === "QuotaExceededError" ? "is full: export the project, then erase it" : "does not answer: reload the page";
    throw Object.assign(new Error(`The storage of this browser ${why}.`, { cause: problem }), { status: 0 });
  }
}

export const load = () => within([PICTURES], (pictures) => pictures.getAll(), "readonly");
/** A file by the key of its picture, or what was noted under a name. */
export const read = (key) => within([FILES], (files) => files.get(key), "readonly");
/** Notes values by name, all or none; what has no value is removed. */
export const note = (values) =>
  within([FILES], (files) => Object.entries(values).map(([name, value]) => (value === undefined ? files.delete(name) : files.put(value, name))));
export const keep = (picture, file = null) =>
  within(file ? [PICTURES, FILES] : [PICTURES], (pictures, files) => pictures.put(picture) && files?.put(file, picture.key));
export const forget = (key) => within([PICTURES, FILES], (pictures, files) => pictures.delete(key) && files.delete(key));
