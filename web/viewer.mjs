/**
 * The verdict dialog: a report in full, beside the images that it is about.
 *
 * It is the browser's own modal dialog: Tab stays within it, Escape closes it, and a screen reader
 * reads nothing else meanwhile.
 */

import { addStyle, make, makeButton } from "./elements.mjs";
import { drawGrounds, drawLevel } from "./panel.mjs";
import { viewURL } from "./server.mjs";
import { t } from "./strings.mjs";
import { parseReport, showText } from "./verdict.mjs";
import { setName } from "./viewer_controls.mjs";
import { reportName, toServerImage } from "./viewer_names.mjs";
import { copyText, saveText } from "./viewer_report.mjs";
import { Stage } from "./viewer_stage.mjs";
import { modesOf } from "./viewer_view.mjs";

/** @typedef {import("./server.mjs").ServerImage} ServerImage */
/** @typedef {import("./server.mjs").Source} Source */

const STYLES = ["./provenance.css", "./viewer.css"];
const TITLE_CHARS = 200;
const SAID_MS = 2500;
const LEVEL_ID = "provenance-viewer-level";
/** What ComfyUI listens for on the whole page, besides keys: a paste, for one, adds nodes. */
const KEPT = ["copy", "cut", "paste", "wheel"];

/** @type {HTMLDialogElement | null} */
let opened = null;

/**
 * Shows what came of a reproduction.
 *
 * @param {object} found
 * @param {Source} found.source The image that was reproduced.
 * @param {unknown} found.report As it came.
 * @param {Readonly<Record<string, ServerImage>>} found.images By role; any may be missing.
 */
export async function openViewer({ source, report, images }) {
  await Promise.all(STYLES.map((path) => addStyle(import.meta.url, path)));
  const addresses = new Map(Object.entries(images).map(([role, image]) => [role, viewURL(image)]));
  const hasImages = addresses.size > 0;
  // The server's own picture of the original holds the pixels that were compared.
  const file = hasImages && !addresses.has("original") ? source.data : null;
  const blob = file instanceof Blob ? URL.createObjectURL(file) : null;
  if (file) addresses.set("original", blob ?? viewURL(toServerImage(String(file))));
  const canShow = modesOf(new Set(addresses.keys())).length > 0;
  const stage = canShow ? new Stage(addresses, parseReport(report).mostDifference) : null;
  open(source.name, report, stage, () => {
    stage?.close();
    if (blob) URL.revokeObjectURL(blob);
  });
}

/**
 * @param {string} title
 * @param {unknown} report
 * @param {Stage | null} stage
 * @param {() => void} onClose
 */
function open(title, report, stage, onClose) {
  opened?.close();
  // At once: what it does when it is closed comes later.
  opened?.remove();
  const before = document.activeElement;
  const dialog = drawDialog(title, report, stage);
  dialog.addEventListener("close", () => {
    onClose();
    dialog.remove();
    if (opened === dialog) opened = null;
    if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
  });
  opened = dialog;
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * @param {string} title
 * @param {unknown} report
 * @param {Stage | null} stage
 */
function drawDialog(title, report, stage) {
  const dialog = make(document, "dialog", "provenance-viewer");
  dialog.dataset["images"] = String(stage !== null);
  dialog.setAttribute("aria-labelledby", LEVEL_ID);
  dialog.setAttribute("closedby", "any");
  const body = make(document, "div", "provenance-viewer-body");
  const findings = drawFindings(report);
  // Where one begins to read, instead of a button that does something.
  if (stage) stage.element.querySelector("button")?.setAttribute("autofocus", "");
  else findings.autofocus = true;
  body.append(...(stage ? [stage.element] : []), findings);
  dialog.append(drawHead(dialog, title, report), body);
  for (const name of KEPT) dialog.addEventListener(name, (event) => event.stopPropagation());
  dialog.addEventListener("keydown", (event) => {
    stage?.press(event);
    keepKey(event);
  });
  return dialog;
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {string} title
 * @param {unknown} report
 */
function drawHead(dialog, title, report) {
  const { level } = parseReport(report);
  const head = make(document, "div", "provenance-viewer-head");
  const verdict = drawLevel(document, level);
  verdict.id = LEVEL_ID;
  const close = makeButton(document, "provenance-close", "\u00d7", () => dialog.close());
  setName(close, t("viewer.close"));
  const name = make(document, "p", "provenance-viewer-name", showText(title, TITLE_CHARS));
  verdict.lastElementChild?.append(name);
  head.append(verdict, drawActions(title, report), close);
  return head;
}

/**
 * Keeps a key from ComfyUI, where Ctrl+Enter, for one, queues the graph.
 *
 * @param {KeyboardEvent} event
 */
function keepKey(event) {
  event.stopPropagation();
  // Before 1.58 ComfyUI's undo hears a key ahead of everyone, and looks at it a frame later.
  for (const name of ["ctrlKey", "metaKey"]) Object.defineProperty(event, name, { value: false });
}

/**
 * @param {string} title
 * @param {unknown} report
 */
function drawActions(title, report) {
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const actions = make(document, "div", "provenance-viewer-actions");
  const said = make(document, "span", "provenance-quiet");
  said.setAttribute("role", "status");
  const copy = makeButton(document, "", t("viewer.copy"), async () => {
    const isCopied = await copyText(text, actions);
    said.textContent = t(isCopied ? "viewer.copied" : "viewer.not_copied");
    setTimeout(() => said.replaceChildren(), SAID_MS);
  });
  const save = makeButton(document, "", t("viewer.download"), () =>
    saveText(text, reportName(title)),
  );
  actions.append(said, copy, save);
  return actions;
}

/** @param {unknown} value */
function drawFindings(value) {
  const report = parseReport(value);
  const findings = make(document, "section", "provenance-findings provenance-content");
  findings.dataset["level"] = report.level;
  // So that the arrow keys can scroll it.
  findings.tabIndex = 0;
  findings.setAttribute("aria-label", t("viewer.report"));
  findings.append(...drawGrounds(document, report));
  return findings;
}
