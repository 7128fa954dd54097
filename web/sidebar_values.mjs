/**
 * Values out of records, taken with care: whatever comes in, something comes out that can be shown
 * as text and that is not too long.
 */

import { t } from "./strings.mjs";
import { showText, showValue } from "./verdict.mjs";

/**
 * A fact with its name.
 *
 * @typedef {object} Row
 * @property {string} label Its name.
 * @property {string} value Ready to be shown; may be empty beside a digest.
 * @property {string} [digest] The whole of it.
 * @property {string} [now] What is here instead, where that is another value.
 */

/**
 * The beginning of a list.
 *
 * @template T
 * @typedef {object} Part
 * @property {T[]} items Its first entries.
 * @property {number} left How many more there are.
 */

/** Entries of each list that are shown: a stranger's record must not fill the page. */
export const MOST_ENTRIES = 200;

/** Characters of a stranger's text that are looked at before it is cut to what is shown. */
const READ_CHARS = 1000;
const READ_ENTRIES = 20;
const DEEPEST = 3;
const SENTENCE_CHARS = 400;
const UNRESOLVED = "unresolved";
/** Bare ones are a SHA-256 or a commit; anything shorter may be a seed. */
const DIGEST = /^(?:[a-z0-9-]{1,20}:[0-9a-f]{16,128}|[0-9a-f]{40}|[0-9a-f]{64})$/u;
const HEAD_DIGITS = 8;
const TAIL_DIGITS = 6;
const UNITS = ["B", "KB", "MB", "GB", "TB"];

/**
 * Takes the beginning of a list.
 *
 * @template T
 * @param {readonly T[]} list
 * @param {number} [most]
 * @returns {Part<T>} At most so many.
 */
export function take(list, most = MOST_ENTRIES) {
  return { items: list.slice(0, most), left: Math.max(0, list.length - most) };
}

/**
 * Shows a value of a record on one line.
 *
 * @param {unknown} value
 * @returns {string} A number that JavaScript rounded is not shown as if it were exact.
 */
export function show(value) {
  if (value === UNRESOLVED) return t("sidebar.not_known");
  if (typeof value === "boolean") return t(value ? "sidebar.yes" : "sidebar.no");
  if (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    return t("sidebar.inexact", { value: String(value) });
  }
  return showWord(value);
}

/**
 * Shows a name or a value on one line, as it is.
 *
 * @param {unknown} value
 */
export function showWord(value) {
  return showValue(shorten(value, 0));
}

/**
 * Takes as much of a value as may be shown: writing out all of a stranger's would take seconds.
 *
 * @param {unknown} value
 * @param {number} depth
 * @returns {unknown} The beginning of it.
 */
function shorten(value, depth) {
  if (typeof value === "string") return value.slice(0, READ_CHARS);
  if (value === null || typeof value !== "object") return value;
  if (depth > DEEPEST) return "\u2026";
  if (Array.isArray(value))
    return value.slice(0, READ_ENTRIES).map((item) => shorten(item, depth + 1));
  const entries = Object.entries(value).slice(0, READ_ENTRIES);
  return Object.fromEntries(
    entries.map(([name, item]) => [name.slice(0, READ_CHARS), shorten(item, depth + 1)]),
  );
}

/**
 * Shows a sentence.
 *
 * @param {unknown} value
 */
export function showSentence(value) {
  if (value === undefined || value === null) return "";
  // Not by `String`: an object out of JSON may have a `toString` that is no function.
  return typeof value === "string"
    ? showText(value.slice(0, READ_CHARS), SENTENCE_CHARS)
    : showWord(value);
}

/**
 * Gives a row for a value that is there.
 *
 * @param {string} label
 * @param {unknown} value
 * @returns {Row[]} None where there is no value.
 */
export function rowOf(label, value) {
  if (value === undefined || value === null) return [];
  const digest = toDigest(value);
  return [digest ? { label, value: "", digest } : { label, value: show(value) }];
}

/**
 * @param {unknown} value
 * @returns {string} Empty for anything that is no digest.
 */
export function toDigest(value) {
  return typeof value === "string" && DIGEST.test(value) ? value : "";
}

/**
 * Cuts a digest in the middle.
 *
 * @param {string} digest With or without the name of its algorithm.
 * @returns {string} Its first and last digits.
 */
export function cutDigest(digest) {
  const digits = digest.slice(digest.indexOf(":") + 1);
  if (digits.length <= HEAD_DIGITS + TAIL_DIGITS) return digits;
  return `${digits.slice(0, HEAD_DIGITS)}\u2026${digits.slice(-TAIL_DIGITS)}`;
}

/**
 * @param {unknown} bytes
 * @returns {string} Empty for anything that is no size.
 */
export function showSize(bytes) {
  if (typeof bytes !== "number" || !(bytes >= 0)) return "";
  const unit = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  return `${unit ? (bytes / 1000 ** unit).toFixed(1) : bytes} ${UNITS[unit]}`;
}
