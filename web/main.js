/**
 * Registers the pack with ComfyUI's page; the only module here that acts when it is loaded.
 *
 * ComfyUI loads every `.js` of this folder before it asks the server for its nodes. So only what it
 * needs by then is `.js`; the rest is `.mjs`, and no start waits for it.
 */

import { app } from "./comfy.js";
import { SETTINGS, applyDefaults } from "./settings.js";

/** @typedef {typeof import("./page.mjs")} PageModule */

/** How the classes of this pack's nodes begin. */
const OWN = "Provenance";

/**
 * The rest of the pack, once it has come.
 *
 * @type {PageModule | null}
 */
let loaded = null;

app.registerExtension({
  name: "comfyui-provenance",
  settings: SETTINGS,
  // ComfyUI takes the names in other languages from this pack's `locales`.
  commands: [
    {
      id: "Provenance.VerifyFile",
      label: "Provenance: verify file…",
      icon: "pi pi-verified",
      function: () => withPage((page) => page.chooseFiles()),
    },
    {
      id: "Provenance.OpenSidebar",
      label: "Provenance: open the sidebar",
      icon: "pi pi-verified",
      function: () => withPage((page) => page.showSidebar()),
    },
  ],
  menuCommands: [
    {
      path: ["Extensions", "Provenance"],
      commands: ["Provenance.VerifyFile", "Provenance.OpenSidebar"],
    },
  ],

  setup() {
    withPage((page) => page.start());
  },

  afterConfigureGraph() {
    withPage((page) => page.checkSoon());
  },

  nodeCreated(node) {
    applyDefaults(node);
    withPage((page) => page.checkSoon());
    if (node.comfyClass?.startsWith(OWN)) watchNode(node);
  },

  onNodeOutputsUpdated(outputs) {
    withPage((page) => page.showEarlier(outputs));
  },

  getNodeMenuItems(node) {
    return loaded?.listMenuItems(node) ?? [];
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
    withPage((page) => page.showOutput(this, output));
  };
  node.onExecutionStart = function () {
    onExecutionStart?.call(this);
    withPage((page) => page.setEarlier(this));
  };
}

/**
 * Does what needs the rest of the pack. That may be gone, as after an update: then ComfyUI goes on
 * without it.
 *
 * @param {(page: PageModule) => unknown} work
 */
async function withPage(work) {
  try {
    loaded ??= await import("./page.mjs");
    await work(loaded);
  } catch (error) {
    console.warn("comfyui-provenance:", error);
  }
}
