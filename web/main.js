/**
 * Registers the pack with ComfyUI's page; the only module here that acts when it is loaded.
 *
 * ComfyUI loads every `.js` of this folder with the page. What is not needed by then is `.mjs`, and
 * comes when it is first used.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { sourceOfLink, watchFiles } from "./drop.js";
import { checkSoon, watchSeeds } from "./seeds.js";
import { SETTINGS, applyDefaults, offersOnDrop } from "./settings.js";
import { chooseLanguage, t } from "./strings.js";

/** Classes of node that show something, and the key of their output that holds it. */
const SHOWN = new Map([
  ["ProvenanceReproduce", "provenance_report"],
  ["ProvenanceVerify", "provenance_report"],
  ["ProvenanceSelfTest", "provenance_report"],
  ["ProvenanceCompareRecords", "provenance_report"],
  ["ProvenanceReadRecord", "text"],
]);
const SIDEBAR = "provenance";

app.registerExtension({
  name: "comfyui-provenance",
  settings: SETTINGS,
  commands: [
    {
      id: "Provenance.VerifyFile",
      label: t("command.verify"),
      icon: "pi pi-verified",
      // The command is done once the dialog is open, and does not wait for the user.
      function: () => attempt(async () => (await import("./card.mjs")).chooseFiles()),
    },
    {
      id: "Provenance.OpenSidebar",
      label: t("command.sidebar"),
      icon: "pi pi-verified",
      function: () => attempt(async () => (await import("./sidebar.mjs")).show()),
    },
  ],
  menuCommands: [
    {
      path: ["Extensions", "Provenance"],
      commands: ["Provenance.VerifyFile", "Provenance.OpenSidebar"],
    },
  ],

  async setup() {
    const locale = app.extensionManager.setting.get("Comfy.Locale");
    await chooseLanguage(locale).catch(() => undefined); // Then it stays English.
    app.extensionManager.registerSidebarTab({
      id: SIDEBAR,
      icon: "pi pi-verified",
      title: "Provenance",
      tooltip: t("sidebar.tooltip"),
      type: "custom",
      render: (element) => attempt(async () => (await import("./sidebar.mjs")).render(element)),
      destroy: () => attempt(async () => (await import("./sidebar.mjs")).destroy()),
    });
    watchFiles((files) => {
      if (offersOnDrop()) attempt(async () => (await import("./card.mjs")).offer(files));
    });
    watchSeeds();
    api.addEventListener("executed", ({ detail: { output } }) => {
      if (!output?.["provenance_warnings"]) return;
      attempt(async () => (await import("./marks.mjs")).tellWarnings(output));
    });
    api.addEventListener("provenance.states", ({ detail }) => {
      attempt(async () => (await import("./marks.mjs")).showStates(detail));
    });
  },

  afterConfigureGraph() {
    checkSoon();
  },

  nodeCreated(node) {
    applyDefaults(node);
    checkSoon();
    if (SHOWN.has(node.comfyClass ?? "")) watchNode(node);
  },

  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      const node = findNode(locator);
      // The inputs may have changed since: what is shown again was found earlier.
      if (node) attempt(() => showOutput(node, output, true));
    }
  },

  getNodeMenuItems(node) {
    const link = (node.imgs?.[node.imageIndex ?? 0] ?? node.imgs?.[0])?.src;
    const source = link ? sourceOfLink(link) : null;
    if (!source) return [];
    return [
      {
        content: t("menu.verify"),
        callback: () => attempt(async () => (await import("./card.mjs")).offer([source])),
      },
      {
        content: t("menu.details"),
        callback: () => attempt(async () => (await import("./sidebar.mjs")).show(source)),
      },
    ];
  },
});

/**
 * Sees to it that a node shows what it finds.
 *
 * @param {GraphNode} node
 */
function watchNode(node) {
  const { onExecuted, onExecutionStart } = node;
  node.onExecuted = function (output) {
    onExecuted?.call(this, output);
    attempt(() => showOutput(this, output, false));
  };
  node.onExecutionStart = function () {
    onExecutionStart?.call(this);
    attempt(async () => (await import("./node_panels.mjs")).setEarlier(this));
  };
}

/**
 * Shows a node's output in the node. What a node of an expansion showed comes to the same node and
 * is passed over.
 *
 * @param {GraphNode} node
 * @param {NodeOutput} output
 * @param {boolean} isEarlier Whether it was found before the present run or for other inputs.
 */
async function showOutput(node, output, isEarlier) {
  const key = SHOWN.get(node.comfyClass ?? "") ?? "";
  const values = output?.[key];
  if (!Array.isArray(values) || values.length === 0) return;
  const panels = await import("./node_panels.mjs");
  panels.show(node, key, values[0]);
  if (isEarlier) panels.setEarlier(node);
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
