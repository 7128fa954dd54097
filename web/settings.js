/**
 * The settings that ComfyUI's dialog shows for this pack.
 *
 * Those of the page are ComfyUI's own, kept with its user. Those of the server belong to its owner:
 * they are read from the server when the dialog shows them, and changed only with a code from its
 * console.
 */

import { app } from "./comfy.js";

const OFFER = "Provenance.Page.OfferOnDrop";
const DETERMINISTIC = "Provenance.Nodes.DeterministicByDefault";
/** Classes whose nodes can start with Deterministic Mode on or off. */
const CLASSES = ["ProvenanceKSampler", "ProvenanceKSamplerAdvanced"];
const MODE_WIDGET = "deterministic_mode";

/** @type {Setting[]} */
export const SETTINGS = [
  serverSetting("AllowedClasses", "Classes of node that a stranger's image may run", {
    name: "allowed_classes",
    kind: "list",
    tooltip: "Besides ComfyUI's image-making nodes. An image is a program: allow what you trust.",
  }),
  serverSetting("AllowedPacks", "Custom node packs that a stranger's image may run", {
    name: "allowed_packs",
    kind: "list",
    tooltip: "By folder name below custom_nodes. An image is a program: allow what you trust.",
  }),
  serverSetting("RecordInStockSaves", "Record in ComfyUI's own Save Image and Preview Image", {
    name: "record_in_stock_saves",
    kind: "switch",
    tooltip: "Their files then carry the record, as those of Save Image (Provenance) do.",
  }),
  serverSetting("Sidecar", "Always write the record beside the image, too", {
    name: "sidecar",
    kind: "switch",
    tooltip: "As NAME.provenance.json.",
  }),
  serverSetting("Redaction", "Take secrets out of what is saved", {
    name: "redaction",
    kind: "switch",
    tooltip: "Passwords, keys and tokens in inputs of nodes. The mark [redacted] stands for each.",
  }),
  {
    id: DETERMINISTIC,
    name: "New samplers of this pack start with Deterministic Mode on",
    type: "boolean",
    defaultValue: true,
    tooltip: "Only nodes that you add. A workflow that is opened stays as it is.",
  },
  {
    id: OFFER,
    name: "Offer to reproduce an image that is dropped on the page",
    type: "boolean",
    defaultValue: true,
    tooltip: "The workflow opens as always; a card tells what can be reproduced.",
  },
];

/**
 * Nodes that were made in this turn of the page.
 *
 * @type {{ node: GraphNode, isFilled: boolean }[]}
 */
let made = [];

/** Tells whether a dropped image is to be answered with an offer. */
export function offersOnDrop() {
  return app.extensionManager.setting.get(OFFER) !== false;
}

/**
 * Gives a node that a user adds the settings' start value; a node of a graph that is opened, or of
 * a copy, keeps what it came with.
 *
 * ComfyUI makes a node before it fills it, and a prompt's nodes all in one turn without filling
 * what the prompt leaves out. So a node gets its start value when the turn is over and it was alone
 * and not filled.
 *
 * @param {GraphNode} node Any node that was just made.
 */
export function applyDefaults(node) {
  if (app.extensionManager.setting.get(DETERMINISTIC) !== false) return;
  const entry = { node, isFilled: false };
  if (CLASSES.includes(node.comfyClass ?? "")) {
    const { onConfigure } = node;
    node.onConfigure = function (...values) {
      entry.isFilled = true;
      return onConfigure?.apply(this, values);
    };
  }
  if (made.push(entry) === 1) queueMicrotask(fillAlone);
}

/** Ends the turn: the only node made in it gets its start value. */
function fillAlone() {
  const [entry, ...others] = made;
  made = [];
  if (!entry || entry.isFilled || others.length > 0) return;
  if (!CLASSES.includes(entry.node.comfyClass ?? "")) return;
  const widget = entry.node.widgets?.find(({ name }) => name === MODE_WIDGET);
  if (widget) widget.value = false;
}

/**
 * @param {string} id
 * @param {string} label
 * @param {{ name: string, kind: "switch" | "list", tooltip: string }} setting
 * @returns {Setting} Whose value the dialog reads when it shows it.
 */
function serverSetting(id, label, { name, kind, tooltip }) {
  return {
    id: `Provenance.Server.${id}`,
    name: label,
    tooltip,
    defaultValue: null,
    type: (shownLabel) => {
      const box = document.createElement("div");
      import("./settings_server.mjs").then(({ drawSetting }) =>
        drawSetting(box, { name, kind, label: shownLabel ?? label }),
      );
      return box;
    },
  };
}
