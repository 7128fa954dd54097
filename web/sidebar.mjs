/**
 * The sidebar tab: what made an image, the last images of this server, and two compared.
 *
 * What it shows stays while the tab is closed; what it watches does not.
 */

import { app } from "./comfy.js";
import { addStyle, make, makeButton } from "./elements.mjs";
import { Comparison } from "./sidebar_compare.mjs";
import { pickFiles, takesDrops } from "./given_files.mjs";
import { Look } from "./sidebar_look.mjs";
import { Outputs } from "./sidebar_outputs.mjs";
import { watchSelection } from "./sidebar_selection.mjs";
import { showWord } from "./sidebar_values.mjs";
import { t } from "./strings.mjs";

/** @typedef {import("./server.mjs").Source} Source */

const TAB = "provenance";
/** With a node selected the page would copy the node, in the place of the words. */
const KEPT = ["copy", "cut"];

/** @type {Sidebar | null} */
let sidebar = null;

/**
 * Puts the sidebar into ComfyUI's tab. ComfyUI may call it again on the same element.
 *
 * @param {HTMLElement} element
 */
export function render(element) {
  const { root } = getSidebar();
  if (root.parentElement !== element || element.childElementCount !== 1)
    element.replaceChildren(root);
  getSidebar().open();
}

/** Ends what the tab watches, when ComfyUI has closed it. */
export function destroy() {
  sidebar?.close();
}

/**
 * Opens the tab, and shows what made an image.
 *
 * @param {Source} [source]
 */
export async function show(source) {
  if (source) getSidebar().show(source);
  const { command, sidebarTab } = app.extensionManager;
  const isOpen = getSidebar().root.isConnected || sidebarTab?.activeSidebarTabId === TAB;
  if (!isOpen) await command.execute(`Workspace.ToggleSidebarTab.${TAB}`);
}

/** Gives the one sidebar of the page. */
function getSidebar() {
  sidebar ??= new Sidebar();
  return sidebar;
}

/** Everything in the tab. */
class Sidebar {
  constructor() {
    addStyle(import.meta.url, "./provenance.css");
    addStyle(import.meta.url, "./sidebar.css");
    /** @type {Look | null} */
    this.look = null;
    /** @type {(() => void) | null} */
    this.stopWatching = null;
    this.comparison = new Comparison();
    this.outputs = new Outputs({
      onShow: (source) => this.show(source),
      onCompare: (source) => this.comparison.add(source),
    });
    this.looked = make(document, "div", "provenance-looked");
    this.selected = make(document, "div", "provenance-selected");
    this.selected.hidden = true;
    this.root = make(document, "div", "provenance-sidebar");
    const status = make(document, "p", "provenance-status");
    status.setAttribute("role", "status");
    this.choose = makeButton(document, "", t("sidebar.choose"), async () =>
      this.take(await pickFiles()),
    );
    this.root.append(
      make(document, "h2", "", t("sidebar.title")),
      this.drawZone(),
      this.selected,
      this.looked,
      this.outputs.element,
      this.comparison.element,
      status,
    );
    takesDrops(this.root, (sources) => this.take(sources));
    for (const type of KEPT) this.root.addEventListener(type, (event) => event.stopPropagation());
  }

  /** Begins to watch, and asks for the last images. */
  open() {
    if (this.stopWatching) return;
    this.stopWatching = watchSelection((found) => this.offerSelected(found));
    this.outputs.refresh();
    this.look?.resume();
  }

  close() {
    this.stopWatching?.();
    this.stopWatching = null;
    this.look?.stopAsking();
  }

  /**
   * Shows the first of some images; two are compared as well.
   *
   * @param {readonly Source[]} sources
   */
  take(sources) {
    const [first] = sources;
    if (!first) return;
    if (sources.length === 2) this.comparison.fill(sources);
    this.show(first);
  }

  /**
   * Shows an image in the place of what was shown.
   *
   * @param {Source} source
   */
  show(source) {
    this.look?.close();
    const look = new Look(source, {
      onCompare: () => this.comparison.add(source),
      onClose: () => this.forget(),
    });
    this.look = look;
    this.looked.replaceChildren(look.element);
    look.start();
    this.root.scrollIntoView({ block: "start" });
    look.element.querySelector("h3")?.focus({ preventScroll: true });
  }

  forget() {
    this.look?.close();
    this.look = null;
    this.choose.focus();
  }

  /** @param {{ title: string, source: Source } | null} found */
  offerSelected(found) {
    this.selected.hidden = found === null;
    if (!found) return;
    const title = t("sidebar.selected", { title: showWord(found.title) });
    const button = makeButton(document, "", t("sidebar.show"), () => this.show(found.source));
    const name = showWord(found.source.name);
    button.setAttribute("aria-label", t("sidebar.show_one", { name }));
    const text = make(document, "div");
    text.append(
      make(document, "div", "provenance-quiet", title),
      make(document, "strong", "", name),
    );
    this.selected.replaceChildren(text, button);
  }

  drawZone() {
    const zone = make(document, "div", "provenance-zone");
    zone.append(
      make(document, "p", "", t("sidebar.zone")),
      make(document, "p", "provenance-quiet", t("sidebar.zone.more")),
      this.choose,
    );
    return zone;
  }
}
