/** Files and images that a user gives to this pack itself, so that ComfyUI does not load them. */

import { choose, sourceOfLink } from "./drop.mjs";
import { make } from "./elements.mjs";

/** @typedef {import("./server.mjs").Source} Source */

const ACCEPTED = "image/png,image/webp,image/jpeg,.json";

/**
 * Makes an element take what is dropped on it.
 *
 * @param {HTMLElement} element
 * @param {(sources: Source[]) => void} onSources Called with at least one.
 */
export function takesDrops(element, onSources) {
  // Tells the part of this pack that watches the whole page to leave them alone.
  element.dataset["provenanceDrop"] = "";
  let depth = 0;
  /** @param {number} now How many of its parts the pointer is in. */
  const setDepth = (now) => {
    depth = Math.max(0, now);
    element.toggleAttribute("data-over", depth > 0);
  };
  /** @type {[string, (event: DragEvent) => void][]} */
  const listeners = [
    ["dragenter", () => setDepth(depth + 1)],
    ["dragover", () => undefined],
    ["dragleave", () => setDepth(depth - 1)],
    [
      "drop",
      async ({ dataTransfer }) => {
        setDepth(0);
        const sources = await readTransfer(dataTransfer);
        if (sources.length > 0) onSources(sources);
      },
    ],
  ];
  for (const [type, listener] of listeners) {
    element.addEventListener(type, (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (event instanceof DragEvent) listener(event);
    });
  }
}

/**
 * Lets the user choose files.
 *
 * @returns {Promise<Source[]>} Empty if none was chosen.
 */
export function pickFiles() {
  const input = make(document, "input");
  input.type = "file";
  input.multiple = true;
  input.accept = ACCEPTED;
  return new Promise((resolve) => {
    input.addEventListener("change", () => resolve(toSources([...(input.files ?? [])])));
    input.addEventListener("cancel", () => resolve([]));
    input.click();
  });
}

/**
 * @param {DataTransfer | null} transfer
 * @returns {Promise<Source[]>} The files, or else images that the page itself shows.
 */
function readTransfer(transfer) {
  // Read now: the browser empties it when the event has ended.
  const files = [...(transfer?.files ?? [])];
  if (files.length > 0) return toSources(files);
  const links = (transfer?.getData("text/uri-list") ?? "").split(/\r?\n/u);
  const sources = links.filter((link) => link && !link.startsWith("#")).map(sourceOfLink);
  return Promise.resolve(sources.filter((source) => source !== null));
}

/**
 * @param {File[]} files
 * @returns {Promise<Source[]>} Those that carry what made them, or all if none does: the server
 *   says of each what it lacks.
 */
async function toSources(files) {
  const sources = await choose(files);
  return sources.length > 0 ? sources : files.map((file) => ({ name: file.name, data: file }));
}
