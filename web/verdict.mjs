/**
 * What a verdict says: its level, its words and its values, ready to be shown as text.
 *
 * Reports hold names and values out of strangers' files. Whatever comes in, a report comes out, and
 * it never says more than the one that came in.
 */

import { toList, toObject } from "./shapes.mjs";
import { t } from "./strings.mjs";

/** @typedef {"mismatch" | "unknown" | "within_tolerance" | "bitwise"} Level */

/**
 * @typedef {object} Check
 * @property {string} name What was compared.
 * @property {Level} level How far it agrees.
 * @property {string} message One sentence.
 */

/**
 * @typedef {object} Cause
 * @property {string} kind One of the closed list, such as `cfg`.
 * @property {string} message One sentence.
 * @property {unknown} recorded The value in the record.
 * @property {unknown} now The present value.
 * @property {string | null} nodeId The node it is about, if it is about one.
 * @property {string} remedy What to do about it; empty if the report does not tell.
 */

/**
 * @typedef {object} Report
 * @property {Level} level The verdict.
 * @property {readonly Check[]} checks Weakest first.
 * @property {readonly Cause[]} causes Most likely first.
 * @property {readonly string[]} notes Sentences that decide nothing.
 * @property {string} where Where two runs part; empty if that is not known.
 * @property {string} numbers How far the pixels differ; empty if they do not, or were not compared.
 * @property {number} mostDifference The most that two samples differ, in levels of 8 bits, rounded
 *   up; 0 if they do not, or were not compared.
 */

/**
 * The levels, weakest first.
 *
 * @type {readonly Level[]}
 */
export const LEVELS = ["mismatch", "unknown", "within_tolerance", "bitwise"];

/** @type {Readonly<Record<Level, string>>} */
export const MARKS = {
  mismatch: "\u2715",
  unknown: "?",
  within_tolerance: "\u2248",
  bitwise: "\u2713",
};

/** Characters of a value that are shown, and of a sentence. */
const VALUE_CHARS = 120;
const SENTENCE_CHARS = 400;
/** Characters kept before the first difference of two long values. */
const LEAD_CHARS = 24;
/** Entries of each list that are shown: a report must not fill the page. */
const LIST_LENGTH = 40;
/** The largest sample of 8 bits. */
const WHITE = 255;

/**
 * Finds the weakest level among checks.
 *
 * @param {readonly Pick<Check, "level">[]} checks
 * @returns {Level} `unknown` when nothing was checked.
 */
export function weakest(checks) {
  return LEVELS.find((level) => checks.some((check) => check.level === level)) ?? "unknown";
}

/**
 * Reads a report as a node sends it.
 *
 * @param {unknown} value
 * @returns {Report} Its level is the weaker of the stated one and of its checks' weakest.
 */
export function parseReport(value) {
  const report = toObject(value);
  const checks = toList(report["checks"]).map(parseCheck);
  const causes = toList(report["causes"]).slice(0, LIST_LENGTH);
  const notes = toList(report["notes"]).slice(0, LIST_LENGTH);
  const stated = toLevel(report["level"]);
  const pixels = toObject(report["pixels"]);
  return {
    level: weakest([{ level: stated }, { level: weakest(checks) }]),
    checks: weakestFirst(checks).slice(0, LIST_LENGTH),
    causes: causes.map(parseCause),
    notes: notes.map(toSentence),
    where: toSentence(toObject(report["divergence"])["message"]),
    numbers: showNumbers(pixels),
    mostDifference: Math.ceil((toNumber(pixels["max_abs"]) * WHITE) / peakOf(pixels)),
  };
}

/**
 * Orders checks so that the ones which decide the level come first.
 *
 * @param {readonly Check[]} checks
 * @returns {Check[]} Equal levels stay in their order.
 */
export function weakestFirst(checks) {
  return [...checks].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
}

/**
 * Shows a value on one line, cut short.
 *
 * @param {unknown} value
 * @returns {string} Text as it is, `none` for nothing, anything else as JSON.
 */
export function showValue(value) {
  return cut(toLine(value), 0, VALUE_CHARS);
}

/**
 * Shows two values that are to be told apart: long ones are cut to where they begin to differ.
 *
 * @param {unknown} recorded
 * @param {unknown} now
 * @returns {[recorded: string, now: string]} Each on one line.
 */
export function showPair(recorded, now) {
  const lines = [Array.from(toLine(recorded)), Array.from(toLine(now))];
  const [first = [], second = []] = lines;
  let same = 0;
  while (same < first.length && same < second.length && first[same] === second[same]) same += 1;
  const from = Math.max(first.length, second.length) > VALUE_CHARS ? same - LEAD_CHARS : 0;
  return [cut(first.join(""), from, VALUE_CHARS), cut(second.join(""), from, VALUE_CHARS)];
}

/**
 * Shows text of several lines, each made safe and the whole cut short.
 *
 * @param {unknown} value
 * @param {number} [most] Characters at most.
 * @returns {string} Its own line ends are kept.
 */
export function showText(value, most = 4000) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  const lines = text.split(/\r?\n/u);
  return cut(lines.map(escapeInvisible).join("\n"), 0, most);
}

/**
 * Writes what does not print as an escape: line ends, zero-width characters and bidirectional
 * overrides could make a value look like another.
 *
 * @param {string} text
 * @returns {string} On one line.
 */
export function escapeInvisible(text) {
  return text.replace(/(?! )[\p{C}\p{Z}\p{DI}\u2800]/gu, (char) => {
    const code = (char.codePointAt(0) ?? 0).toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
  });
}

/**
 * @param {unknown} value
 * @returns {Check} With words for whatever is missing.
 */
function parseCheck(value) {
  const check = toObject(value);
  return {
    name: toSentence(check["name"]),
    level: toLevel(check["level"]),
    message: toSentence(check["message"]),
  };
}

/**
 * @param {unknown} value
 * @returns {Cause} With words for whatever is missing.
 */
function parseCause(value) {
  const cause = toObject(value);
  const nodeId = cause["node_id"];
  return {
    kind: toSentence(cause["kind"]),
    message: toSentence(cause["message"]),
    recorded: cause["recorded"],
    now: cause["now"],
    nodeId: nodeId === null || nodeId === undefined ? null : showValue(nodeId),
    remedy: toSentence(cause["remedy"]),
  };
}

/**
 * @param {Record<string, unknown>} pixels As a report has them.
 * @returns {string} Empty for equal pixels, and for what is no measurement.
 */
function showNumbers(pixels) {
  const [most, mean, psnr, part] = ["max_abs", "mean_abs", "psnr_db", "differing_fraction"].map(
    (name) => pixels[name],
  );
  if (typeof most !== "number" || typeof part !== "number" || most === 0) return "";
  const noise =
    typeof psnr === "number" ? t("panel.numbers.noise", { psnr: psnr.toFixed(1) }) : "";
  const average =
    typeof mean === "number" ? t("panel.numbers.average", { mean: mean.toPrecision(2) }) : "";
  const isTiny = part > 0 && part < 0.0001;
  const percent = isTiny ? t("panel.numbers.less") : (part * 100).toFixed(2);
  const peak = peakOf(pixels);
  const key = peak === WHITE ? "panel.numbers" : "panel.numbers.deep";
  return t(key, { percent, most, peak, average, noise });
}

/**
 * @param {Record<string, unknown>} pixels As a report has them.
 * @returns {number} Their largest sample; a report that does not tell is of 8 bits.
 */
function peakOf(pixels) {
  return Math.max(WHITE, toNumber(pixels["peak"]));
}

/**
 * @param {unknown} value
 * @returns {Level} `unknown` for anything that is no level.
 */
function toLevel(value) {
  return LEVELS.find((level) => level === value) ?? "unknown";
}

/**
 * @param {unknown} value
 * @returns {number} 0 for anything that is no number.
 */
function toNumber(value) {
  return typeof value === "number" ? value : 0;
}

/**
 * @param {unknown} value
 * @returns {string} On one line.
 */
function toSentence(value) {
  return cut(toLine(value ?? ""), 0, SENTENCE_CHARS);
}

/**
 * @param {unknown} value
 * @returns {string} On one line.
 */
function toLine(value) {
  if (value === null || value === undefined) return t("panel.none");
  return escapeInvisible(typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
}

/**
 * @param {string} text
 * @param {number} from First character that is kept.
 * @param {number} most Characters that are kept.
 * @returns {string} With an ellipsis where something is missing.
 */
function cut(text, from, most) {
  const chars = Array.from(text); // By code point, so that no pair of surrogates is torn.
  const start = Math.max(0, from);
  const end = start + most;
  const kept = chars.slice(start, end).join("");
  return `${start > 0 ? "\u2026" : ""}${kept}${chars.length > end ? "\u2026" : ""}`;
}
