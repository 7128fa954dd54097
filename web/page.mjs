/**
 * What the pack does in ComfyUI's page once that has started: it listens, and loads what is asked
 * for when it is first asked for.
 */

import { api, app } from "./comfy.js";
import { sourceOfLink, watchFiles } from "./drop.mjs";
import { checkSoon, watchSeeds } from "./seeds.mjs";
import { offersOnDrop } from "./settings.js";
import { chooseLanguage, t } from "./strings.mjs";

export { checkSoon };

/** @typedef {import("./server.mjs").Source} Source */

/** Classes of node that show something, and the key of their output that holds it. */
const SHOWN = new Map([
  ["ProvenanceReproduce", "provenance_report"],
  ["ProvenanceVerify", "provenance_report"],
  ["ProvenanceSelfTest", "provenance_report"],
  ["ProvenanceCompareRecords", "provenance_report"],
  ["ProvenanceReadRecord", "text"],
]);
const SIDEBAR = "provenance";

/** Begins to listen, and adds the sidebar's tab in the page's language. */
export async function start() {
  const locale = app.extensionManager.setting.get("Comfy.Locale");
  await chooseLanguage(locale).catch(() => undefined); // Then it stays English.
  watchFiles((files) => {
    if (offersOnDrop()) attempt(() => offer(files));
  });
  watchSeeds();
  api.addEventListener("executed", ({ detail: { output } }) => {
    if (!output?.["provenance_warnings"]) return;
    attempt(async () => (await import("./marks.mjs")).tellWarnings(output));
  });
  api.addEventListener("provenance.states", ({ detail }) => {
    attempt(async () => (await import("./marks.mjs")).showStates(detail));
  });
  checkSoon();
  // Last: whoever sees the tab, sees a pack that listens.
  app.extensionManager.registerSidebarTab({
    id: SIDEBAR,
    icon: "pi pi-verified",
    title: "Provenance",
    tooltip: t("sidebar.tooltip"),
    type: "custom",
    render: (element) => attempt(async () => (await import("./sidebar.mjs")).render(element)),
    destroy: () => attempt(async () => (await import("./sidebar.mjs")).destroy()),
  });
}

/** Lets the user pick files to verify; done once the dialog is open. */
export async function chooseFiles() {
  (await import("./card.mjs")).chooseFiles();
}

/**
 * Opens the sidebar.
 *
 * @param {Source} [source] The image whose record it shows.
 */
export async function showSidebar(source) {
  await (await import("./sidebar.mjs")).show(source);
}

/**
 * Lists what a node that shows an image offers in its menu.
 *
 * @param {GraphNode} node
 */
export function listMenuItems(node) {
  const link = (node.imgs?.[node.imageIndex ?? 0] ?? node.imgs?.[0])?.src;
  const source = link ? sourceOfLink(link) : null;
  if (!source) return [];
  return [
    { content: t("menu.verify"), callback: () => attempt(() => offer([source])) },
    { content: t("menu.details"), callback: () => attempt(() => showSidebar(source)) },
  ];
}

/**
 * Shows a node's output in the node. What a node of an expansion showed comes to the same node and
 * is passed over.
 *
 * @param {GraphNode} node Of any class.
 * @param {NodeOutput | null} output
 * @returns {Promise<boolean>} Whether there was something to show.
 */
export async function showOutput(node, output) {
  const key = SHOWN.get(node.comfyClass ?? "") ?? "";
  const values = output?.[key];
  if (!Array.isArray(values) || values.length === 0) return false;
  (await import("./node_panels.mjs")).show(node, key, values[0]);
  return true;
}

/**
 * Shows outputs again that the page kept. The inputs may have changed since.
 *
 * @param {Readonly<Record<string, NodeOutput>>} outputs By locator: `id`, or `subgraph:id`.
 */
export function showEarlier(outputs) {
  for (const [locator, output] of Object.entries(outputs)) {
    const node = findByLocator(locator);
    if (node) attempt(async () => (await showOutput(node, output)) && setEarlier(node));
  }
}

/**
 * Marks what a node shows, if anything, as found earlier.
 *
 * @param {GraphNode} node
 */
export async function setEarlier(node) {
  if (SHOWN.has(node.comfyClass ?? "")) (await import("./node_panels.mjs")).setEarlier(node);
}

/** @param {readonly Source[]} sources Each gets a card. */
async function offer(sources) {
  (await import("./card.mjs")).offer(sources);
}

/**
 * Does what needs a module that may be gone, as after an update: then ComfyUI goes on without it.
 *
 * @param {() => Promise<unknown>} work
 */
function attempt(work) {
  work().catch((error) => console.warn("comfyui-provenance:", error));
}

/**
 * @param {string} locator Of a node of the graph or of a subgraph.
 * @returns {GraphNode | null | undefined} Nothing if it is gone.
 */
function findByLocator(locator) {
  const [id = "", subgraph] = locator.split(":").reverse();
  const graph = subgraph === undefined ? app.rootGraph : app.rootGraph.subgraphs?.get(subgraph);
  return graph?.getNodeById(id);
}
