/**
 * Sees the files that a user gives to ComfyUI's page, and leaves them to the page.
 *
 * Nothing is prevented, stopped or patched: if this fails, ComfyUI does what it always does.
 */

import { app } from "./comfy.js";
import { SIDECAR, carries, isSidecar } from "./carrier.mjs";

/** @typedef {import("./server.mjs").Source} Source */

/** The page's own Open. */
const FILE_INPUT = "comfy-file-input";
/** Files of one drop that are looked at. */
const MOST_FILES = 64;
const FETCH_MS = 15_000;
/** What names a file in an address of `/view`. */
const FILE_PARAMETERS = ["filename", "subfolder", "type"];

/**
 * Calls back with the files that carry what made them.
 *
 * @param {(sources: Source[]) => unknown} onFiles
 */
export function watchFiles(onFiles) {
  /** @param {() => Promise<Source[]>} read */
  const tell = async (read) => {
    const sources = await read().catch(() => []);
    if (sources.length > 0) onFiles(sources);
  };
  window.addEventListener(
    "drop",
    (event) => {
      if (isOurs(event) || isTakenByNode(event)) return;
      // Read now: the browser empties it when the event has ended.
      const files = [...(event.dataTransfer?.files ?? [])];
      const links = event.dataTransfer?.getData("text/uri-list") ?? "";
      tell(() => (files.length > 0 ? choose(files) : followLink(links)));
    },
    { capture: true, passive: true },
  );
  document.addEventListener(
    "change",
    ({ target }) => {
      if (!(target instanceof HTMLInputElement) || target.id !== FILE_INPUT) return;
      const files = [...(target.files ?? [])];
      tell(() => choose(files));
    },
    { capture: true, passive: true },
  );
}

/**
 * Keeps the files that carry what made them, or have their record beside them.
 *
 * @param {readonly File[]} files
 * @returns {Promise<Source[]>} In their order.
 */
export async function choose(files) {
  const looked = files.slice(0, MOST_FILES);
  const sources = await Promise.all(looked.map((file) => toSource(file, looked)));
  return sources.filter((source) => source !== null);
}

/**
 * @param {File} file
 * @param {readonly File[]} files It came with.
 * @returns {Promise<Source | null>} Nothing for a record that belongs to another of the files.
 */
async function toSource(file, files) {
  const stem = file.name.replace(/\.[^.]*$/u, "");
  const beside = files.find((other) => other.name === stem + SIDECAR && other !== file);
  const isBeside = files.some((other) => other.name.replace(/\.[^.]*$/u, SIDECAR) === file.name);
  if (isSidecar(file) && isBeside) return null;
  if (!beside && !(await carries(file))) return null;
  return { name: file.name, data: file, ...(beside ? { sidecar: beside } : {}) };
}

/**
 * Gives an image that the page shows by its name on the server.
 *
 * @param {string} link An address of ComfyUI's `/view`.
 * @returns {Source | null} Nothing for any other address.
 */
export function sourceOfLink(link) {
  const url = URL.canParse(link, location.href) ? new URL(link, location.href) : null;
  const filename = url?.searchParams.get("filename");
  if (!url || !filename || url.origin !== location.origin || !url.pathname.endsWith("/view")) {
    return null;
  }
  const folder = url.searchParams.get("subfolder");
  const place = `${folder ? `${folder}/` : ""}${filename}`;
  return { name: filename, data: `${place} [${url.searchParams.get("type") ?? "output"}]` };
}

/**
 * Reads an image that is dragged out of the page itself.
 *
 * @param {string} links As `text/uri-list` (RFC 2483).
 * @returns {Promise<Source[]>} At most one.
 */
async function followLink(links) {
  const [first] = links.split(/\r?\n/u).filter((line) => line && !line.startsWith("#"));
  const source = first ? sourceOfLink(first) : null;
  if (!first || !source) return [];
  // The file itself: what the page shows may be a smaller picture of it, made without metadata.
  const url = new URL(first, location.href);
  for (const name of [...url.searchParams.keys()]) {
    if (!FILE_PARAMETERS.includes(name)) url.searchParams.delete(name);
  }
  const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_MS) });
  return response.ok && (await carries(await response.blob())) ? [source] : [];
}

/**
 * Tells whether a drop is on an element of this pack, which takes it itself.
 *
 * @param {Event} event
 */
function isOurs(event) {
  return event.composedPath().some((place) => isElement(place) && "provenanceDrop" in place.dataset);
}

/**
 * Tells whether a drop is on a node that takes files, such as Load Image.
 *
 * @param {Event} event
 */
function isTakenByNode(event) {
  if (app.dragOverNode?.onDragDrop) return true;
  const element = event
    .composedPath()
    .find((place) => isElement(place) && "nodeId" in place.dataset);
  const id = isElement(element) ? element.dataset["nodeId"] : undefined;
  // Ids are those of the graph that is shown: the whole, or a subgraph.
  const graph = app.canvas?.graph ?? app.rootGraph;
  return id !== undefined && Boolean(graph.getNodeById(id)?.onDragDrop);
}

/**
 * @param {EventTarget | undefined} place
 * @returns {place is HTMLElement} Whether it has a dataset.
 */
function isElement(place) {
  return place instanceof HTMLElement;
}
