/**
 * Marks where people look: on nodes of this pack how their last run went, and messages about what
 * keeps a graph from repeating itself.
 */

import { app } from "./comfy.js";
import { addStyle, make } from "./elements.mjs";
import { isOwn, largeSeeds } from "./seeds.mjs";
import { readClasses } from "./server.mjs";
import { toObject } from "./shapes.mjs";
import { t } from "./strings.mjs";
import { showText, showValue } from "./verdict.mjs";
import { watchWidgets } from "./widgets.mjs";

/** @typedef {{ state: string, reasons: string[] }} State */
/** @typedef {{ id: string, node: GraphNode }} Placed A node and its execution id. */
/** @typedef {Map<string, [sentence: string, isUnseeded: boolean]>} Kinds By class. */

/** What nodes tell of a run, best first, and the sign before it. */
const SIGNS = new Map([
  ["pinned", "\u2713"],
  ["watched", "\u00b7"],
  ["off", ""],
  ["demoted", "!"],
]);
const RANKS = [...SIGNS.keys()];
/** The id of a graph that has none yet. */
const NO_ID = "00000000-0000-0000-0000-000000000000";
const WIDGET_NAME = "provenance_state";
/** A widget's with the space around it, in the graph's own pixels. */
const MARK_HEIGHT = 28;
const MARK_MARGIN = 4;
const LIFE_MS = 15_000;
const LINES = 4;
const REASONS = 40;
const SENTENCE_CHARS = 400;
/** Nodes of a graph that are looked at: subgraphs in subgraphs make many of few. */
const NODES = 20_000;
/** Modes of a node that does not run: never, and bypassed. */
const INACTIVE = [2, 4];

/** @type {WeakMap<GraphNode, HTMLElement>} */
const marks = new WeakMap();

/**
 * How runs went, by the id of their workflow: a tab that is shown again makes its nodes anew.
 *
 * @type {Map<string, Record<string, unknown>>}
 */
const states = new Map();

/**
 * Facts that the user has been told, without the numbers in them: the page draws most random
 * seeds above 2^32, and one fact told at every run is soon not read at all.
 *
 * @type {Set<string>}
 */
const told = new Set();

/** @type {Promise<Kinds> | undefined} */
let classes;

/**
 * Shows on nodes how a run went, if it was of the graph that the page shows.
 *
 * @param {unknown} detail The event `provenance.states`.
 */
export function showStates(detail) {
  const { workflow_id: workflow, nodes } = toObject(detail);
  if (typeof workflow === "string") {
    if (workflow !== NO_ID) states.set(workflow, toObject(nodes));
    if (workflow !== app.rootGraph.id) return;
  }
  for (const [node, state] of findStates(toObject(nodes))) drawMark(node, state);
}

/**
 * Shows the warnings of a node that has run, each fact once in this page's life. The record
 * holds all of them.
 *
 * @param {NodeOutput | null} output
 */
export function tellWarnings(output) {
  const texts = output?.["provenance_warnings"];
  if (!Array.isArray(texts)) return;
  for (const text of texts) {
    tell(String(text).replaceAll(/\d+/g, "#"), "Provenance", showText(text, SENTENCE_CHARS));
  }
}

/**
 * Tells what keeps the graph from repeating itself, each set of nodes once: seeds that the page
 * rounds and, where a node of this pack asks for it, nodes that nothing can pin. It shows again how
 * the graph's last run went.
 */
export async function checkGraph() {
  showEarlier();
  const placed = [...listActive(app.rootGraph, "", { count: 0 })];
  tellRounded(placed);
  if (!placed.some(({ node }) => isOwn(node))) return;
  classes ??= readKinds();
  try {
    tellUnseeded(placed, await classes);
  } catch {
    classes = undefined; // The server did not say; a later look asks again.
  }
}

/** Shows how the graph's last run went on nodes that show nothing: they were made since. */
function showEarlier() {
  for (const [node, state] of findStates(toObject(states.get(app.rootGraph.id ?? "")))) {
    if (!marks.has(node)) drawMark(node, state).dataset["earlier"] = "true";
  }
}

/** @param {readonly Placed[]} placed */
function tellRounded(placed) {
  const lines = placed.flatMap(({ id, node }) =>
    largeSeeds(node).map((seed) =>
      t("marks.rounded.node", { node: nameOf(id, node), sent: JSON.stringify(seed) }),
    ),
  );
  if (lines.length === 0) return;
  const hint = t("marks.rounded.hint", { most: Number.MAX_SAFE_INTEGER });
  tell(lines.join(), t("marks.rounded"), `${join(lines)}. ${hint}`);
}

/**
 * @param {readonly Placed[]} placed
 * @param {Kinds} kinds
 */
function tellUnseeded(placed, kinds) {
  let isSure = false;
  const lines = [];
  for (const { id, node } of placed) {
    const [sentence, isUnseeded] = kinds.get(String(node.comfyClass ?? node.type)) ?? [];
    if (sentence === undefined) continue;
    isSure ||= isUnseeded === true;
    lines.push(`${nameOf(id, node)} ${showText(sentence, SENTENCE_CHARS)}`);
  }
  if (lines.length === 0) return;
  tell(lines.join(), t(isSure ? "marks.unseeded" : "marks.unpinned"), `${join(lines)}.`);
}

/** @returns {Promise<Kinds>} What the server knows of its classes. */
async function readKinds() {
  const { unseeded, unpinned } = await readClasses();
  /** @type {Kinds} */
  const kinds = new Map();
  for (const [type, text] of Object.entries(toObject(unpinned))) {
    kinds.set(type, [String(text), false]);
  }
  for (const [type, text] of Object.entries(toObject(unseeded))) {
    kinds.set(type, [String(text), true]);
  }
  return kinds;
}

/**
 * Lists the nodes that a run would reach.
 *
 * @param {Graph} graph
 * @param {string} path Of the subgraph node that holds it, with a colon.
 * @param {{ count: number }} seen
 * @yields {Placed} Each node but those that stand for a graph.
 * @returns {Generator<Placed, void>} In the order of the graph.
 */
function* listActive(graph, path, seen) {
  for (const node of graph.nodes ?? []) {
    if (INACTIVE.includes(node.mode ?? 0)) continue;
    if ((seen.count += 1) > NODES) return;
    const id = `${path}${node.id}`;
    if (node.subgraph) yield* listActive(node.subgraph, `${id}:`, seen);
    else yield { id, node };
  }
}

/**
 * @param {Record<string, unknown>} nodes By execution id.
 * @returns {Map<GraphNode, State>} Of the nodes that are there.
 */
function findStates(nodes) {
  /** @type {Map<GraphNode, State>} */
  const found = new Map();
  for (const [id, value] of Object.entries(nodes)) {
    const { class_type: type, state, messages } = toObject(value);
    const node = findByExecutionId(id);
    // Two uses of a subgraph share its nodes: the weaker state counts.
    if (!node || node.comfyClass !== type || !isOwn(node) || !SIGNS.has(String(state))) continue;
    const rank = RANKS.indexOf(String(state));
    if (rank < RANKS.indexOf(found.get(node)?.state ?? "")) continue;
    const reasons = (Array.isArray(messages) ? messages : []).slice(0, REASONS);
    const texts = reasons.map((text) => showText(text, SENTENCE_CHARS));
    found.set(node, { state: String(state), reasons: texts });
  }
  return found;
}

/**
 * @param {string} id An execution id: `5`, or `5:7` for the node 7 in the subgraph of node 5.
 * @returns {GraphNode | null | undefined} Nothing if it is gone.
 */
function findByExecutionId(id) {
  const flat = app.rootGraph.getNodeById(id); // A graph that came as a prompt keeps its long ids.
  if (flat) return flat;
  /** @type {Graph | undefined} */
  let graph = app.rootGraph;
  /** @type {GraphNode | null | undefined} */
  let node;
  for (const part of id.split(":")) {
    node = graph?.getNodeById(part);
    graph = node?.subgraph;
  }
  return node;
}

/**
 * Gives a node its mark; it appears with the first run.
 *
 * @param {GraphNode} node
 * @returns {HTMLElement} What to draw into.
 */
function addMark(node) {
  addStyle(import.meta.url, "./marks.css");
  const place = make(document, "div", "provenance-run-state-place");
  const mark = make(document, "div", "provenance-run-state");
  place.append(mark);
  watchWidgets(node, () => {
    mark.dataset["earlier"] = "true";
  });
  const widget = node.addDOMWidget(WIDGET_NAME, WIDGET_NAME, place, {
    serialize: false,
    hideOnZoom: false,
    margin: MARK_MARGIN,
    getMinHeight: () => MARK_HEIGHT,
    getMaxHeight: () => MARK_HEIGHT,
  });
  widget.serialize = false;
  node.setDirtyCanvas(true, true);
  marks.set(node, mark);
  return mark;
}

/**
 * @param {GraphNode} node
 * @param {State} state
 * @returns {HTMLElement} The node's mark.
 */
function drawMark(node, { state, reasons }) {
  const mark = marks.get(node) ?? addMark(node);
  const [first = ""] = state === "demoted" ? reasons : [];
  const more = first && reasons.length > 1 ? `(+${reasons.length - 1})` : "";
  const words = t(first ? "marks.demoted.because" : `marks.${state}`, { reason: first });
  delete mark.dataset["earlier"];
  mark.dataset["state"] = state;
  mark.title = [t(`marks.${state}.hint`), ...reasons].join("\n");
  mark.replaceChildren(
    make(document, "span", "provenance-run-state-sign", SIGNS.get(state)),
    make(document, "span", "provenance-run-state-words", words),
    make(document, "span", "", more),
    make(document, "span", "provenance-earlier", t("marks.earlier")),
  );
  return mark;
}

/**
 * @param {string} id
 * @param {GraphNode} node
 */
function nameOf(id, node) {
  return t("marks.node", { id: showValue(id), name: showValue(node.title || node.type) });
}

/** @param {readonly string[]} lines */
function join(lines) {
  const shown = lines.slice(0, LINES);
  const rest = lines.length - shown.length;
  return [...shown, ...(rest > 0 ? [t("marks.more", { count: rest })] : [])].join("; ");
}

/**
 * @param {string} fact
 * @param {string} summary
 * @param {string} detail
 */
function tell(fact, summary, detail) {
  if (told.has(fact)) return;
  told.add(fact);
  app.extensionManager.toast.add({ severity: "warn", summary, detail, life: LIFE_MS });
}
