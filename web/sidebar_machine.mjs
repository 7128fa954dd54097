/**
 * What a record says of the machine and of determinism, and how that stands on this one.
 */

import { t } from "./strings.mjs";
import { toList, toObject } from "./shapes.mjs";
import { MOST_ENTRIES, rowOf, show, showSentence, showWord, take } from "./sidebar_values.mjs";

/** @typedef {import("./sidebar_values.mjs").Row} Row */
/**
 * @template T
 * @typedef {import("./sidebar_values.mjs").Part<T>} Part
 */

/** @typedef {{ title: string, rows: Row[] }} Group Facts of one kind. */

const MOST_DEVICES = 8;
const MOST_FAMILIES = 40;

/**
 * The latents of one sampling.
 *
 * @typedef {object} Trace
 * @property {string} title Where it is from, and in what form.
 * @property {{ step: number, sigma: string, digest: string }[]} steps From before the first.
 */

/**
 * Tells of the machine and its software.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<Group>} Single facts first; `left` counts facts.
 */
export function readEnvironment(record) {
  const { items, left } = take(Object.entries(toObject(record["environment"])));
  const isGroup = (/** @type {unknown} */ value) => Object.keys(toObject(value)).length > 0;
  const single = items.filter(([, value]) => !isGroup(value));
  const several = items.filter(([, value]) => isGroup(value));
  const prints = take(Object.entries(toObject(record["fingerprint"])), MOST_DEVICES);
  const groups = [
    toGroup("", Object.fromEntries(single)),
    ...several.map(([name, value]) => toGroup(showWord(name), value)),
    ...prints.items.map(([device, value]) =>
      toGroup(t("sidebar.fingerprint", { device: showWord(device) }), value),
    ),
  ];
  const part = bound(groups);
  return { ...part, left: part.left + left + prints.left };
}

/**
 * Tells what this machine does not share with the recorded one.
 *
 * @param {Record<string, unknown>} preflight
 * @returns {Part<Row>} With both values.
 */
export function readDifferences(preflight) {
  const families = take(toList(preflight["fingerprint"]), MOST_FAMILIES).items;
  const { items, left } = take(toList(preflight["environment"]));
  const rows = items.map(toObject).map((difference) => ({
    label: showWord(difference["name"]),
    value: show(difference["recorded"]),
    now: show(difference["now"]),
  }));
  const words = families.map(showWord).join(", ");
  const computing = words ? [{ label: t("sidebar.families"), value: words }] : [];
  return { items: [...rows, ...computing], left };
}

/**
 * Tells what was asked for, and what was in force in the last sampling.
 *
 * @param {Record<string, unknown>} record
 * @returns {Row[]} The two that decide most first.
 */
export function readMode(record) {
  const determinism = toObject(record["determinism"]);
  const mode = Object.entries(toObject(determinism["mode"]));
  return [
    ...rowOf(t("sidebar.deterministic"), determinism["requested"]),
    ...rowOf(t("sidebar.batch_invariant"), determinism["batch_invariant"]),
    ...take(
      mode.filter(([name]) => name !== "deterministic" && name !== "batch_invariant"),
      20,
    ).items.flatMap(([name, value]) => rowOf(showWord(name), value)),
  ];
}

/**
 * Lists the flags of the last sampling.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<Row>} Empty where the record does not tell.
 */
export function readFlags(record) {
  const { in_force: flags } = toObject(record["determinism"]);
  const { items, left } = toGroup("", flags);
  return { items, left };
}

/**
 * Lists what was not pinned.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<{ node: string, kind: string, message: string }> | null} `null` where the record
 *   does not tell.
 */
export function readDemotions(record) {
  const demotions = toObject(record["determinism"])["demotions"];
  if (!Array.isArray(demotions)) return null;
  const part = take(demotions);
  const items = part.items.map(toObject).map((entry) => ({
    node: t("sidebar.node", {
      id: showWord(entry["node_id"]),
      kind: showWord(entry["class_type"]),
    }),
    kind: entry["kind"] === undefined ? "" : showWord(entry["kind"]),
    message: showSentence(entry["message"]),
  }));
  return { ...part, items };
}

/**
 * Lists the latents of each sampling that was followed from inside.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<Trace>} `left` counts states of latents.
 */
export function readTrace(record) {
  let room = MOST_ENTRIES;
  let left = 0;
  /** @type {Trace[]} */
  const items = [];
  for (const entry of take(toList(record["trace"])).items.map(toObject)) {
    const part = take(toList(entry["steps"]), room);
    room -= part.items.length;
    left += part.left;
    if (part.items.length === 0) continue;
    const title = [entry["node_id"], entry["index"], entry["format"]].filter(
      (value) => value !== undefined,
    );
    items.push({ title: title.map(showWord).join(" \u00b7 "), steps: part.items.map(toStep) });
  }
  return { items, left };
}

/**
 * @param {unknown} state
 * @param {number} step
 */
function toStep(state, step) {
  const [sigma, digest] = toList(state);
  const rounded = typeof sigma === "number" ? String(Number(sigma.toPrecision(6))) : "";
  return { step, sigma: rounded, digest: typeof digest === "string" ? showWord(digest) : "" };
}

/**
 * @param {string} title
 * @param {unknown} value An object.
 * @returns {Part<Row> & { title: string }} With a row for each value in it.
 */
function toGroup(title, value) {
  const { items, left } = take(Object.entries(toObject(value)));
  return { title, items: items.flatMap(([name, item]) => rowOf(showWord(name), item)), left };
}

/**
 * Cuts groups to as many rows as a list may have.
 *
 * @param {readonly (Part<Row> & { title: string })[]} groups
 * @returns {Part<Group>} `left` counts rows.
 */
function bound(groups) {
  let room = MOST_ENTRIES;
  let left = 0;
  /** @type {Group[]} */
  const items = [];
  for (const { title, ...group } of groups) {
    const part = take(group.items, room);
    room -= part.items.length;
    left += part.left + group.left;
    if (part.items.length > 0) items.push({ title, rows: part.items });
  }
  return { items, left };
}
