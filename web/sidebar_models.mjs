/**
 * The files of a graph, as recorded, and where each is on this machine.
 */

import { t } from "./strings.mjs";
import { toList, toObject } from "./shapes.mjs";
import { showSentence, showSize, showWord, take, toDigest } from "./sidebar_values.mjs";

/**
 * @template T
 * @typedef {import("./sidebar_values.mjs").Part<T>} Part
 */

/** @typedef {"missing" | "other" | "hashing" | "unknown" | "elsewhere" | "here"} State */

/**
 * A file.
 *
 * @typedef {object} Model
 * @property {string} kind Of its folder, as ComfyUI names it.
 * @property {string} name As recorded.
 * @property {string} digest Empty if it is not known.
 * @property {string} size Empty if it is not known.
 * @property {State | null} state `null` where this server was not asked, or does not tell.
 * @property {string} words What there is to say of its state.
 */

/**
 * Worst first.
 *
 * @type {readonly State[]}
 */
const STATES = ["missing", "other", "hashing", "unknown", "elsewhere", "here"];
/** That are looked at, so that each is listed once. */
const MOST_READ = 10_000;

/**
 * Lists the files of a graph, each once.
 *
 * @param {Record<string, unknown> | null} record
 * @param {Record<string, unknown> | null} preflight What the server says of them, if it was asked;
 *   of a file without a record it alone tells which there are.
 * @returns {Part<Model>} In their order.
 */
export function readModels(record, preflight) {
  const placed = take(toList(preflight?.["materials"]), MOST_READ).items.map(toObject);
  const isPending = Number(preflight?.["pending"]) > 0;
  /** @type {Map<string, Record<string, unknown>[]>} */
  const places = new Map();
  for (const place of placed) {
    places.set(keyOf(place), [...(places.get(keyOf(place)) ?? []), place]);
  }
  const recorded = take(toList(record?.["materials"]), MOST_READ);
  const files = record === null ? placed : recorded.items.map(toObject);
  const unique = take([...new Map(files.map((file) => [keyOf(file), file])).values()]);
  const items = unique.items.map((file) => toModel(file, places.get(keyOf(file)) ?? [], isPending));
  return { items, left: unique.left + recorded.left };
}

/**
 * @param {Record<string, unknown>} file As recorded.
 * @param {readonly Record<string, unknown>[]} places Where each of its uses finds it.
 * @param {boolean} isPending Whether the server is still hashing.
 * @returns {Model} In the worst of its states.
 */
function toModel(file, places, isPending) {
  const found = places.map((place) => ({ place, state: stateOf(place, isPending) }));
  const worst = STATES.map((state) => found.find((item) => item.state === state)).find(Boolean);
  return {
    kind: showWord(file["kind"]),
    name: showWord(file["name"]),
    digest: toDigest(file["sha256"]),
    size: showSize(file["size_bytes"]),
    state: worst?.state ?? null,
    words: worst ? wordsOf(worst.state, worst.place) : recordedWords(file),
  };
}

/**
 * @param {Record<string, unknown>} place
 * @param {boolean} isPending
 * @returns {State} `unknown` for one that this page does not know.
 */
function stateOf(place, isPending) {
  const state = STATES.find((known) => known === place["state"]) ?? "unknown";
  const { note, sha256, pending } = place;
  // An older answer tells how many wait for a digest, not which: one without a note may.
  const mayWait = typeof pending === "boolean" ? pending : isPending && !note && Boolean(sha256);
  return state === "unknown" && mayWait ? "hashing" : state;
}

/**
 * @param {State} state
 * @param {Record<string, unknown>} place
 */
function wordsOf(state, place) {
  const note = place["note"] ? showSentence(place["note"]) : "";
  const words = t(`sidebar.state.${state}`, { name: showWord(place["name_here"]) });
  return note ? `${words}: ${note}` : words;
}

/** @param {Record<string, unknown>} file */
function recordedWords(file) {
  return file["status"] === "missing" ? t("sidebar.state.was_missing") : "";
}

/** @param {Record<string, unknown>} file */
function keyOf(file) {
  return JSON.stringify([file["kind"], file["name"], file["sha256"] ?? null]);
}
