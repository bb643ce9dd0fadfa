// Text embeddings: common words from a table, all others by the text tower, which is loaded on demand.

const OTHER_LETTERS = /(?!\p{Script=Latin})[\p{L}\p{So}]/u; // not supported by the text tower
const [BEGIN, END, UNKNOWN] = ["[CLS]", "[SEP]", "[UNK]"];
const ALONE = /[\p{P}$+<=>^`|~]|[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{F900}-\u{FAFF}]/gu; // characters that are tokens of their own
const MAX_TOKENS = 128;
const { Float16Array } = /** @type {any} */ (self); // missing in TypeScript's es2023
const LONGEST = 100; // characters of a token; a longer word is unknown

/** Returns an async function from a text to {vector, same, likeness, foreign}; `content`: the table of `words`. */
export function readerOf(rules, words, content, { run, load }) {
  const { background: { words: background }, embedding: width } = rules.card;
  const places = new Map(words.map((word, place) => [word, place]));
  const n = words.length;
  const bytes = Math.ceil(background.length / 8);
  let start = 0;
  const array = (Kind, length) => new Kind(content, (start += length * Kind.BYTES_PER_ELEMENT) - length * Kind.BYTES_PER_ELEMENT, length);
  const vectors = array(Float16Array, width * n);
  const [likeness, foreign, same] = [array(Uint16Array, n), array(Uint8Array, n), array(Uint8Array, bytes * n)];
  const known = new Map();
  let pieces = null; // token ids of the tower by text

  return async (text) => {
    const key = text.toLowerCase();
    if (!known.has(key)) known.set(key, places.has(key) ? listed(places.get(key)) : await read(text));
    return known.get(key);
  };

  function listed(place) {
    return {
      vector: Float32Array.from(vectors.subarray(place * width, (place + 1) * width)),
      same: background.map((_, index) => Boolean(same[place * bytes + (index >> 3)] & (1 << (index & 7)))),
      likeness: likeness[place] / 65535,
      foreign: foreign[place] === 1,
    };
  }

  async function read(text) {
    pieces ??= new Map((await load("tokens.json")).map((token, place) => [token, place]));
    const ids = BigInt64Array.from(tokensOf(rules.template.replace("{}", text), pieces), BigInt);
    const { row } = await run("tower", { ids: [ids, [1, ids.length]] });
    const made = await run("reading", { rows: row });
    const [likeness, isForeign] = ["likeness", "foreign"].map((name) => made[name].data[0]);
    return { vector: made.vectors.data, same: made.same.data, likeness, foreign: isForeign === 1 || OTHER_LETTERS.test(text) };
  }
}

/** The tokens of a text, as BERT's uncased WordPiece makes them. @param {Map<string, number>} pieces */
function tokensOf(text, pieces) {
  const plain = text.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase().replace(/[\p{Cc}\p{Cf}]/gu, (one) => (/\s/.test(one) ? " " : ""));
  const words = plain.replace(ALONE, " $& ").split(/\s+/).filter(Boolean);
  const tokens = words.flatMap((word) => piecesOf(word, pieces)).slice(0, MAX_TOKENS - 2);
  return [BEGIN, ...tokens, END].map((token) => pieces.get(token));
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
