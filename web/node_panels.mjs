/**
 * Panels in the nodes that judge or read an image. Neither the prompt nor the workflow changes.
 */

import { addStyle } from "./elements.mjs";
import { createPanel, drawReport, drawText, markEarlier } from "./panel.mjs";
import { watchWidgets } from "./widgets.mjs";

const WIDGET_NAME = "provenance_verdict";
/** In the graph's own pixels. */
const MIN_WIDTH = 420;
const MAX_PANEL_HEIGHT = 900;
/** What the page and the panel's border take of a widget's height. */
const PANEL_MARGINS = 24;

/** @type {WeakMap<GraphNode, HTMLElement>} */
const panels = new WeakMap();

/**
 * Shows what a node found in the node.
 *
 * @param {GraphNode} node
 * @param {string} key Of its output: `text` for words, anything else for a report.
 * @param {unknown} value
 */
export function show(node, key, value) {
  const inner = panels.get(node) ?? addPanel(node);
  if (key === "text") drawText(inner, value);
  else drawReport(inner, value);
}

/**
 * Marks what a node shows, if anything, as found earlier.
 *
 * @param {GraphNode} node
 */
export function setEarlier(node) {
  const inner = panels.get(node);
  if (inner) markEarlier(inner, true);
}

/**
 * Gives a node a panel; it appears with the first output, so that an unused node stays small.
 *
 * @param {GraphNode} node
 * @returns {HTMLElement} What to draw into.
 */
function addPanel(node) {
  addStyle(import.meta.url, "./provenance.css");
  const { outer, inner } = createPanel(document);
  let height = 0;
  new ResizeObserver(() => {
    height = inner.offsetHeight;
    node.setDirtyCanvas(true, true);
  }).observe(inner);
  watchWidgets(node, () => setEarlier(node));
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
