/** The image of the node that is selected on the canvas. */

import { app } from "./comfy.js";
import { sourceOfLink } from "./drop.mjs";

/** @typedef {import("./server.mjs").Source} Source */

const LOOK_MS = 500;

/**
 * Looks at the selection again and again, since the page does not tell of it in any way that all
 * frontends have.
 *
 * @param {(found: { title: string, source: Source } | null) => void} onChange Called when the image
 *   is another one.
 * @returns {() => void} Ends it.
 */
export function watchSelection(onChange) {
  let last = "";
  const look = () => {
    const found = findSelected();
    const now = found ? `${found.title} ${found.source.data}` : "";
    if (now !== last) onChange(found);
    last = now;
  };
  const timer = setInterval(look, LOOK_MS);
  look();
  return () => clearInterval(timer);
}

/** Gives the first image among the selected nodes. */
function findSelected() {
  for (const node of Object.values(app.canvas?.selected_nodes ?? {})) {
    const image = node.imgs?.[node.imageIndex ?? 0] ?? node.imgs?.[0];
    const source = image ? sourceOfLink(image.src) : null;
    if (source) return { title: node.title || node.type || String(node.id), source };
  }
  return null;
}
