// Text embeddings: common words from a table, all others by the text tower, which is loaded on demand.

const OTHER_LETTERS = /(?!\p{Script=Latin})[\p{L}\p{So}]/u; // not supported by the text tower
const [BEGIN, END, UNKNOWN] = ["[CLS]", "[SEP]", "[UNK]"];
const ALONE = /[\p{P}$+<=>^`|~]|[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{F900}-\u{FAFF}]/gu; // characters that are tokens of their own
const [MAX_TOKENS, LONGEST] = [128, 100]; // of a text; and characters of a token: a longer word is unknown

/** Returns an async function from a text to {vector, shift, same, likeness, foreign}, with the `direction` of a row; `content`: the table of `words`. */
export function readerOf(rules, words, content, { run, load }) {
  const { card: { background: { words: background }, embedding: width }, shift: [meanings, numbers] } = rules;
  const places = new Map(words.map((word, place) => [word, place]));
  const [n, bytes] = [words.length, Math.ceil(background.length / 8)];
  let [start, pieces] = [0, /** @type {any} */ (null)]; // of the next array; token ids of the tower by text
  const array = (Kind, length) => new Kind(content, (start += length * Kind.BYTES_PER_ELEMENT) - length * Kind.BYTES_PER_ELEMENT, length);
  const vectors = array(Float16Array, width * n);
  const [directions, likeness, meaning] = [array(Float16Array, meanings * numbers), array(Uint16Array, n), array(Uint16Array, n)];
  const [share, foreign, same] = [array(Float16Array, n), array(Uint8Array, n), array(Uint8Array, bytes * n)];
  const shiftOf = (which, part) => Float32Array.from(directions.subarray(which * numbers, (which + 1) * numbers), (one) => part * one);
  const known = new Map();

  return Object.assign(async (text) => {
    const key = text.toLowerCase();
    if (!known.has(key)) known.set(key, places.has(key) ? listed(places.get(key)) : await read(text));
    return known.get(key);
  }, { direction: (row) => shiftOf(row, 1) }); // of a part

  function listed(place) {
    return {
      vector: Float32Array.from(vectors.subarray(place * width, (place + 1) * width)),
      shift: shiftOf(meaning[place], share[place]),
      same: background.map((_, index) => Boolean(same[place * bytes + (index >> 3)] & (1 << (index & 7)))),
      likeness: likeness[place] / 65535,
      foreign: foreign[place] === 1,
    };
  }

  async function read(text) {
    pieces ??= new Map((await load("tokens.json")).map((token, place) => [token, place]));
    const ids = BigInt64Array.from(tokensOf(rules.template.replace("{}", text), pieces), BigInt);
    const made = await run("reading", { rows: (await run("tower", { ids: [ids, [1, ids.length]] })).row });
    const [likeness, isForeign, meant, part] = ["likeness", "foreign", "meaning", "share"].map((name) => made[name].data[0]);
    const shift = shiftOf(Number(meant), part); // what training adds to the scores of the text
    return { vector: made.vectors.data, shift, same: made.same.data, likeness, foreign: isForeign === 1 || OTHER_LETTERS.test(text) };
  }
}

/** The tokens of a text, as BERT's uncased WordPiece makes them. @param {Map<string, number>} pieces */
function tokensOf(text, pieces) {
  const plain = text.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase().replace(/[\p{Cc}\p{Cf}]/gu, (one) => (/\s/.test(one) ? " " : ""));
  const words = plain.replace(ALONE, " $& ").split(/\s+/).filter(Boolean);
  return [BEGIN, ...words.flatMap((word) => piecesOf(word, pieces)).slice(0, MAX_TOKENS - 2), END].map((token) => pieces.get(token));
}

/** Greedy WordPiece: the longest known prefix, then the longest known continuation, and so on. */
function piecesOf(word, pieces) {
  const tokens = [];
  for (let begin = 0; begin < word.length; ) {
    let end = word.length;
    const piece = () => (begin ? "##" : "") + word.slice(begin, end);
    while (end > begin && !pieces.has(piece())) end--;
    if (end === begin || word.length > LONGEST) return [UNKNOWN];
    tokens.push(piece());
    begin = end;
  }
  return tokens;
}
