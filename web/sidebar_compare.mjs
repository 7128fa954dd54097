/** Two images, compared by what they carry; nothing runs. */

import { make, makeButton } from "./elements.mjs";
import { createPanel, drawReport } from "./panel.mjs";
import { compare, place, reasonOf } from "./server.mjs";
import { pickFiles, takesDrops } from "./given_files.mjs";
import { announce } from "./sidebar_parts.mjs";
import { showWord } from "./sidebar_values.mjs";
import { t } from "./strings.mjs";
import { parseReport } from "./verdict.mjs";

/** @typedef {import("./server.mjs").Source} Source */

const PLACES = /** @type {const} */ (["first", "second"]);

/** Two places to fill, and what tells their images apart. */
export class Comparison {
  constructor() {
    /** @type {(Source | null)[]} */
    this.sources = [null, null];
    this.calledOff = new AbortController();
    this.element = make(document, "section", "provenance-compare");
    const title = make(document, "h3", "", t("sidebar.compare_two"));
    title.id = "provenance-compare-title";
    this.element.setAttribute("aria-labelledby", title.id);
    this.slots = PLACES.map((_, index) => this.makeSlot(index));
    this.again = makeButton(document, "", t("sidebar.compare"), () => this.run());
    this.line = make(document, "p", "provenance-line");
    this.line.setAttribute("role", "status");
    const { outer, inner } = createPanel(document);
    this.panel = outer;
    this.inner = inner;
    this.element.append(title, ...this.slots, this.again, this.line, this.panel);
    this.draw();
  }

  /**
   * Puts an image into the first place that is free, or else into the second.
   *
   * @param {Source} source
   */
  add(source) {
    const free = this.sources.indexOf(null);
    this.fill([source], free < 0 ? 1 : free);
    this.element.scrollIntoView({ block: "nearest" });
  }

  /**
   * Puts images into the places from one on, and compares as soon as there are two.
   *
   * @param {readonly Source[]} sources
   * @param {number} [from]
   */
  fill(sources, from = 0) {
    for (const [index, source] of sources.slice(0, PLACES.length - from).entries()) {
      this.sources[from + index] = source;
    }
    this.draw();
    this.run();
  }

  /** Compares, if both places are filled. */
  async run() {
    this.calledOff.abort();
    this.calledOff = new AbortController();
    const { signal } = this.calledOff;
    const [first, second] = this.sources;
    if (!first || !second) return;
    this.panel.hidden = true;
    this.line.textContent = t("sidebar.comparing");
    try {
      const [one, other] = [await place(first, signal), await place(second, signal)];
      const report = await compare(one, other);
      if (!signal.aborted) this.showReport(report);
    } catch (error) {
      if (!signal.aborted)
        this.line.textContent = t("sidebar.not_compared", { reason: reasonOf(error) });
    }
  }

  /** @param {unknown} report */
  showReport(report) {
    this.line.textContent = "";
    drawReport(this.inner, report);
    this.panel.hidden = false;
    this.panel.scrollIntoView({ block: "nearest" });
    announce(
      this.element,
      t("sidebar.compared", { level: t(`level.${parseReport(report).level}`) }),
    );
  }

  /** @param {number} index */
  makeSlot(index) {
    const slot = make(document, "div", "provenance-slot");
    takesDrops(slot, (sources) => this.fill(sources, sources.length > 1 ? 0 : index));
    return slot;
  }

  draw() {
    this.panel.hidden = true;
    this.line.textContent = "";
    this.again.disabled = this.sources.includes(null);
    for (const [index, slot] of this.slots.entries()) {
      const source = this.sources[index];
      const label = make(document, "span", "provenance-quiet", t(`sidebar.slot.${PLACES[index]}`));
      slot.replaceChildren(
        label,
        ...(source ? this.drawSource(source, index) : this.drawEmpty(index)),
      );
    }
  }

  /**
   * @param {Source} source
   * @param {number} index
   */
  drawSource(source, index) {
    const name = showWord(source.name);
    const clear = makeButton(document, "provenance-close", "\u00d7", () => {
      this.sources[index] = null;
      this.calledOff.abort();
      this.draw();
      this.slots[index]?.querySelector("button")?.focus();
    });
    clear.setAttribute("aria-label", t("sidebar.clear_one", { name }));
    return [make(document, "strong", "", name), clear];
  }

  /** @param {number} index */
  drawEmpty(index) {
    const choose = makeButton(document, "", t("sidebar.choose"), async () => {
      const sources = await pickFiles();
      if (sources.length > 0) this.fill(sources, sources.length > 1 ? 0 : index);
    });
    choose.setAttribute("aria-label", t(`sidebar.choose.${PLACES[index]}`));
    return [make(document, "span", "provenance-quiet", t("sidebar.drop_here")), choose];
  }
}
