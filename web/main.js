/**
 * Registers the pack with ComfyUI's page; the only module here that acts when it is loaded.
 *
 * Nodes that judge or read an image show what they found in themselves. Warnings of the others
 * appear as a message. Neither the prompt nor the workflow changes.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { createPanel, drawReport, drawText, markEarlier } from "./panel.js";
import { showText } from "./verdict.js";

/** Classes of node that show something, and the key of their output that holds it. */
const SHOWN = new Map([
  ["ProvenanceReproduce", "provenance_report"],
  ["ProvenanceVerify", "provenance_report"],
  ["ProvenanceSelfTest", "provenance_report"],
  ["ProvenanceCompareRecords", "provenance_report"],
  ["ProvenanceReadRecord", "text"],
]);
const WIDGET_NAME = "provenance_verdict";
/** In the graph's own pixels. */
const MIN_WIDTH = 420;
const MAX_PANEL_HEIGHT = 900;
/** What the page and the panel's border take of a widget's height. */
const PANEL_MARGINS = 24;
const WARNING_LIFE_MS = 15000;

/** @type {WeakMap<GraphNode, HTMLElement>} */
const panels = new WeakMap();

/**
 * Facts that the user has been told, without the numbers in them: the page draws most random
 * seeds above 2^32, and one fact told at every run is soon not read at all.
 *
 * @type {Set<string>}
 */
const told = new Set();

app.registerExtension({
  name: "comfyui-provenance",

  setup() {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("./panel.css", import.meta.url).href;
    document.head.append(style);
    api.addEventListener("executed", ({ detail }) => showWarnings(detail));
  },

  nodeCreated(node) {
    if (!SHOWN.has(node.comfyClass ?? "")) return;
    const { onExecuted, onExecutionStart } = node;
    node.onExecuted = function (output) {
      onExecuted?.call(this, output);
      showOutput(this, output);
    };
    node.onExecutionStart = function () {
      onExecutionStart?.call(this);
      setEarlier(this);
    };
  },

  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      const node = findNode(locator);
      if (node && SHOWN.has(node.comfyClass ?? "")) showOutput(node, output);
    }
  },
});

/**
 * Shows a node's output in the node. What a node of an expansion showed comes to the same node and
 * is passed over.
 *
 * @param {GraphNode} node
 * @param {NodeOutput} output
 */
function showOutput(node, output) {
  const key = SHOWN.get(node.comfyClass ?? "") ?? "";
  const values = output?.[key];
  if (!Array.isArray(values) || values.length === 0) return;
  const inner = panels.get(node) ?? addPanel(node);
  if (key === "text") drawText(inner, values[0]);
  else drawReport(inner, values[0]);
}

/**
 * Gives a node a panel; it appears with the first output, so that an unused node stays small.
 *
 * @param {GraphNode} node
 * @returns {HTMLElement} What to draw into.
 */
function addPanel(node) {
  const { outer, inner } = createPanel(document);
  let height = 0;
  new ResizeObserver(() => {
    height = inner.offsetHeight;
    node.setDirtyCanvas(true, true);
  }).observe(inner);
  for (const widget of node.widgets ?? []) {
    const { callback } = widget;
    widget.callback = function (...values) {
      setEarlier(node);
      return callback?.apply(this, values);
    };
  }
  const widget = node.addDOMWidget(WIDGET_NAME, WIDGET_NAME, outer, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => Math.min(height, MAX_PANEL_HEIGHT) + PANEL_MARGINS,
  });
  widget.serialize = false;
  node.setSize([Math.max(node.size[0] ?? 0, MIN_WIDTH), node.size[1] ?? 0]);
  panels.set(node, inner);
  return inner;
}

/**
 * Marks what a node shows, if anything, as found earlier.
 *
 * @param {GraphNode} node
 */
function setEarlier(node) {
  const inner = panels.get(node);
  if (inner) markEarlier(inner, true);
}

/**
 * Finds a node of the graph or of a subgraph.
 *
 * @param {string} locator `id`, or `subgraph:id`.
 * @returns {GraphNode | null | undefined} Nothing if it is gone.
 */
function findNode(locator) {
  const [id = "", subgraph] = locator.split(":").reverse();
  const graph = subgraph === undefined ? app.rootGraph : app.rootGraph.subgraphs?.get(subgraph);
  return graph?.getNodeById(id);
}

/**
 * Shows the warnings of a node that has run, each fact once in this page's life. The record
 * holds all of them.
 *
 * @param {Executed} detail
 */
function showWarnings({ output }) {
  const texts = output?.["provenance_warnings"];
  if (!Array.isArray(texts)) return;
  for (const text of texts) {
    const fact = String(text).replaceAll(/\d+/g, "#");
    if (told.has(fact)) continue;
    told.add(fact);
    app.extensionManager.toast.add({
      severity: "warn",
      summary: "Provenance",
      detail: showText(text, 400),
      life: WARNING_LIFE_MS,
    });
  }
}
