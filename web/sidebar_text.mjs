/**
 * Marks what a reader of a prompt text cannot see, or takes for something else. A text encoder
 * reads code points, so such a character makes another image under words that look the same.
 */

import { t } from "./strings.mjs";
import { toList, toObject } from "./shapes.mjs";
import { showWord, take } from "./sidebar_values.mjs";
import { escapeInvisible } from "./verdict.mjs";

/**
 * A piece of a text.
 *
 * @typedef {object} Piece
 * @property {string} text As it is shown.
 * @property {string} title What it really is, if it is marked; else empty.
 */

/**
 * @typedef {object} Marked
 * @property {Piece[]} pieces The text, in order.
 * @property {string[]} legend What is marked, each once, with how often.
 * @property {number} left Characters that are not shown.
 */

const TEXT_CHARS = 4000;
/** Marks of one text: each is an element. */
const MOST_MARKS = 200;
/** Entries of the record's list that are read, and of ours that are told below the text. */
const MOST_LISTED = 64;
const MOST_TOLD = 20;

const BLANKS = /^[ \n]+|[ \n]+$| {2,}/gu;
const INVISIBLE = /(?![ \n])[\p{C}\p{Z}\p{DI}\u2800]/u;
const WORD = /\p{L}+/gu;
const LATIN = /\p{Script=Latin}/u;
const OTHER_SCRIPT = /[\p{Script=Cyrillic}\p{Script=Greek}]/u;
/** Kinds of the record's list that are seen, but as something else. */
const SEEN = new Set(["quote", "dash", "full_width", "homoglyph"]);
const WRITTEN = new Set(["space", "zero_width", "control", "bidi", "variation", "combining"]);

/**
 * Marks a text.
 *
 * @param {string} text
 * @param {unknown} listed The record's own list of such characters. It names them; those that
 *   cannot be seen are marked even if it lacks them.
 * @returns {Marked} With its own line ends.
 */
export function markText(text, listed) {
  // Two units to a character at most: the rest of a long text is not even walked.
  const chars = Array.from(text.slice(0, TEXT_CHARS * 2));
  const shown = chars.slice(0, TEXT_CHARS).join("");
  const marks = new Map([...markCharacters(shown, readListed(listed)), ...markBlanks(shown, text)]);
  return { ...toPieces(shown, marks), left: text.length - shown.length };
}

/**
 * @typedef {object} Mark
 * @property {number} length Of what is marked, in UTF-16 units.
 * @property {string} text What to show in its place.
 * @property {string} title What it really is.
 */

/**
 * @param {string} shown
 * @param {string} whole
 * @returns {[number, Mark][]} Blanks that a reader overlooks, by where they begin.
 */
function markBlanks(shown, whole) {
  return [...shown.matchAll(BLANKS)]
    .filter(({ 0: run, index }) => !isMerelyCut(run, index, shown, whole))
    .map(({ 0: run, index }) => {
      const text = run.replaceAll(" ", "\u2423").replaceAll("\n", "\u21b5\n");
      return [
        index,
        { length: run.length, text, title: t("sidebar.char.blanks", { count: run.length }) },
      ];
    });
}

/**
 * @param {string} run
 * @param {number} index
 * @param {string} shown
 * @param {string} whole
 */
function isMerelyCut(run, index, shown, whole) {
  return run.length === 1 && index > 0 && shown.length < whole.length;
}

/**
 * @param {string} shown
 * @param {Map<string, Listed>} listed
 * @returns {[number, Mark][]} By where they stand.
 */
function markCharacters(shown, listed) {
  const mixed = findMixed(shown);
  const mixedChars = new Set([...mixed].map((index) => shown[index]));
  /** @type {[number, Mark][]} */
  const marks = [];
  let index = 0;
  for (const char of shown) {
    const entry = listed.get(char);
    const isInvisible = INVISIBLE.test(char) || (entry && WRITTEN.has(entry.kind));
    // A letter that is listed for standing in a Latin word is right among its own kind.
    const isTold = entry && SEEN.has(entry.kind) && !mixedChars.has(char);
    if (isInvisible)
      marks.push([index, toMark(char, writeOut(char), entry, "sidebar.char.unseen")]);
    else if (isTold) marks.push([index, toMark(char, char, entry, "sidebar.char.other")]);
    else if (mixed.has(index)) marks.push([index, toMark(char, char, entry, "sidebar.char.mixed")]);
    index += char.length;
  }
  return marks;
}

/**
 * @param {string} char
 * @param {string} text
 * @param {Listed | undefined} entry
 * @param {string} key Of what to say where nothing more is known.
 * @returns {Mark} With its number, its name and its look.
 */
function toMark(char, text, entry, key) {
  const name = entry?.name ? ` ${entry.name}` : "";
  const like = entry?.looksLike.trim() ? t("sidebar.char.like", { what: entry.looksLike }) : t(key);
  return { length: char.length, text, title: `${codeOf(char)}${name}: ${like}` };
}

/**
 * Finds letters of one script in words of another.
 *
 * @param {string} text
 * @returns {Set<number>} Where they stand.
 */
function findMixed(text) {
  /** @type {Set<number>} */
  const found = new Set();
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (!LATIN.test(word) || !OTHER_SCRIPT.test(word)) continue;
    let at = index;
    for (const char of word) {
      if (OTHER_SCRIPT.test(char)) found.add(at);
      at += char.length;
    }
  }
  return found;
}

/**
 * @typedef {object} Listed
 * @property {string} kind As in the record.
 * @property {string} name Of the character, in Unicode.
 * @property {string} looksLike Empty if it is taken for nothing.
 */

/**
 * @param {unknown} listed
 * @returns {Map<string, Listed>} By character.
 */
function readListed(listed) {
  /** @type {Map<string, Listed>} */
  const found = new Map();
  for (const entry of take(toList(listed), MOST_LISTED).items.map(toObject)) {
    const code = /^"U\+([0-9A-F]{4,6})"$/u.exec(JSON.stringify(entry["character"]) ?? "");
    const point = parseInt(code?.[1] ?? "", 16);
    if (!(point > 0x7f && point <= 0x10ffff) && !(point < 0x20)) continue;
    const name = typeof entry["name"] === "string" ? showWord(entry["name"]) : "";
    const looks = entry["looks_like"];
    const looksLike = typeof looks === "string" ? showWord(looks) : "";
    const kind = typeof entry["kind"] === "string" ? entry["kind"] : "";
    found.set(String.fromCodePoint(point), { kind, name, looksLike });
  }
  found.delete("\n");
  return found;
}

/**
 * @param {string} shown
 * @param {Map<number, Mark>} marks By where they begin.
 * @returns {{ pieces: Piece[], legend: string[] }} Marks that are too many are left out.
 */
function toPieces(shown, marks) {
  /** @type {Piece[]} */
  const pieces = [];
  /** @type {Map<string, number>} */
  const counts = new Map();
  let end = 0;
  /** @param {number} to */
  const addPlain = (to) => {
    const text = shown.slice(end, to).split("\n").map(escapeInvisible).join("\n");
    if (text) pieces.push({ text, title: "" });
  };
  for (const [start, { length, text, title }] of [...marks].sort(([a], [b]) => a - b)) {
    counts.set(title, (counts.get(title) ?? 0) + 1);
    if (start < end || pieces.length >= MOST_MARKS * 2) continue;
    addPlain(start);
    pieces.push({ text, title });
    end = start + length;
  }
  addPlain(shown.length);
  const legend = [...counts].slice(0, MOST_TOLD).map(([title, count]) => {
    return count > 1 ? `${count} \u00d7 ${title}` : title;
  });
  return { pieces, legend };
}

/** @param {string} char */
function writeOut(char) {
  const written = escapeInvisible(char);
  return written === char ? codeOf(char) : written;
}

/** @param {string} char */
function codeOf(char) {
  return `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
