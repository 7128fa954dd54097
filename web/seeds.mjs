/**
 * Tells of seeds that the page would round, before it does.
 *
 * The page holds every number as a float64 and sends the shortest decimal that names it, so that
 * 2^60+1 leaves as 1152921504606847000. Nothing is prevented here: the user is told.
 */

import { app } from "./comfy.js";
import { t } from "./strings.mjs";

/** ComfyUI's fields for numbers: its classic dialog, its Nodes 2.0, its panel for parameters. */
const FIELDS = ".graphdialog input, input[role=spinbutton], input[inputmode=decimal]";
/** Integers of fewer digits are exact. With more, a float64 is infinite and the page refuses it. */
const LARGE = /^[+-]?\d{16,309}$/;
const NUMBER = /^\s*[+-]?\d/;
const SEEDS = ["seed", "noise_seed"];
/** What a node that only gives a number calls it. */
const VALUE = "value";
const OWN = "Provenance";
/** After the last key. */
const PAUSE_MS = 700;
/** After the last node: a graph arrives node by node. */
const SETTLE_MS = 500;
const LIFE_MS = 20_000;

/**
 * Fields that held a number, or nothing, when they were entered; the classic dialog is used for
 * text, too.
 *
 * @type {WeakSet<HTMLInputElement>}
 */
const numbers = new WeakSet();
/**
 * Numbers that the user has been told of: as typed, and as they would be sent.
 *
 * @type {Set<string>}
 */
const told = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let typing;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;

/** Looks at what is typed into the page's fields for numbers, from now on. */
export function watchSeeds() {
  for (const type of ["focusin", "input", "change", "keydown"]) {
    document.addEventListener(type, look, { capture: true, passive: true });
  }
}

/**
 * Gives what the page would send for a number that a user typed.
 *
 * @param {string} text
 * @returns {string | null} `null` where it would send the very number, or none.
 */
export function findRounded(text) {
  const typed = text.trim();
  const value = Number(typed);
  if (!LARGE.test(typed) || !Number.isFinite(value)) return null;
  const sent = JSON.stringify(value);
  return sent === String(BigInt(typed)) ? null : sent;
}

/**
 * Lists the seeds of a node that are so large that the page cannot tell them from others, but not
 * those that the user was told of while typing. A seed may come from another node, over a link.
 *
 * @param {GraphNode} node
 * @returns {number[]} As the page holds them.
 */
export function largeSeeds(node) {
  return SEEDS.flatMap((name) => {
    const value = findSeed(node, name);
    if (typeof value !== "number") return [];
    const isLarge = Math.abs(value) > Number.MAX_SAFE_INTEGER;
    return isLarge && !told.has(JSON.stringify(value)) ? [value] : [];
  });
}

/**
 * @param {GraphNode} node
 * @param {string} name Of the widget, and of the input that may take its place.
 * @returns {unknown} The number that would be sent; nothing where another node computes it.
 */
function findSeed(node, name) {
  const slot = (node.inputs ?? []).findIndex((input) => input.name === name);
  const origin = slot < 0 ? null : node.getInputNode?.(slot);
  const [from, wanted] = origin ? [origin, VALUE] : [node, name];
  return from.widgets?.find((widget) => widget.name === wanted)?.value;
}

/**
 * Tells whether a node is one of this pack's.
 *
 * @param {GraphNode} node
 */
export function isOwn(node) {
  return String(node.comfyClass ?? node.type).startsWith(OWN);
}

/** Has the graph looked at once it stops changing, if there is anything to look for. */
export function checkSoon() {
  clearTimeout(settling);
  settling = setTimeout(async () => {
    const { rootGraph } = app;
    const graphs = [rootGraph, ...(rootGraph.subgraphs?.values() ?? [])];
    const nodes = graphs.flatMap((graph) => graph.nodes ?? []);
    if (nodes.some((node) => isOwn(node) || largeSeeds(node).length > 0)) {
      (await import("./marks.mjs")).checkGraph();
    }
  }, SETTLE_MS);
}

/** @param {Event} event */
function look(event) {
  const field = event.target;
  if (!(field instanceof HTMLInputElement) || !field.matches(FIELDS)) return;
  clearTimeout(typing);
  if (event.type === "focusin") {
    if (field.value.trim() === "" || NUMBER.test(field.value)) numbers.add(field);
  } else if (!numbers.has(field)) {
    return;
  } else if (event.type === "input") {
    typing = setTimeout(() => tell(field.value), PAUSE_MS);
  } else if (event.type === "change" || /** @type {KeyboardEvent} */ (event).key === "Enter") {
    tell(field.value);
  }
}

/** @param {string} text As typed. */
function tell(text) {
  const sent = findRounded(text);
  if (sent === null || told.has(text)) return;
  told.add(text).add(sent);
  app.extensionManager.toast.add({
    severity: "warn",
    summary: t("seeds.title"),
    detail: t("seeds.typed", { typed: text.trim(), sent, most: Number.MAX_SAFE_INTEGER }),
    life: LIFE_MS,
  });
}
