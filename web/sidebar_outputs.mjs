/** The last images that this server saved, each with its state. Nothing is asked unless wanted. */

import { make, makeButton } from "./elements.mjs";
import { listOutputs, reasonOf, viewURL } from "./server.mjs";
import { announce } from "./sidebar_parts.mjs";
import { showSentence, showWord, take } from "./sidebar_values.mjs";
import { t } from "./strings.mjs";
import { LEVELS, MARKS } from "./verdict.mjs";

/** @typedef {import("./server.mjs").Source} Source */

const COUNT = 24;
/** What else the server says is that it has not read the file. */
const RECORDS = ["whole", "damaged", "none"];

/** The list, with a button that asks for it again. */
export class Outputs {
  /**
   * @param {object} reactions
   * @param {(source: Source) => void} reactions.onShow
   * @param {(source: Source) => void} reactions.onCompare
   */
  constructor({ onShow, onCompare }) {
    this.onShow = onShow;
    this.onCompare = onCompare;
    this.isAsking = false;
    this.element = make(document, "section", "provenance-outputs");
    const title = make(document, "h3", "", t("sidebar.outputs"));
    title.id = "provenance-outputs-title";
    this.element.setAttribute("aria-labelledby", title.id);
    const head = make(document, "div", "provenance-head");
    head.append(
      title,
      makeButton(document, "", t("sidebar.refresh"), () => this.refresh()),
    );
    this.line = make(document, "p", "provenance-quiet");
    this.list = make(document, "ul", "provenance-output-list");
    this.element.append(head, this.line, this.list);
  }

  /** Asks the server for the list; what was shown stays until there is an answer. */
  async refresh() {
    if (this.isAsking) return;
    this.isAsking = true;
    this.element.setAttribute("aria-busy", "true");
    if (this.list.childElementCount === 0) this.line.textContent = t("sidebar.reading");
    try {
      const outputs = take(await listOutputs(COUNT), COUNT).items;
      this.list.replaceChildren(...outputs.map((output) => this.drawOutput(output)));
      this.line.textContent = outputs.length ? "" : t("sidebar.outputs.none");
      announce(this.element, t("sidebar.outputs.count", { count: outputs.length }));
    } catch (error) {
      this.line.textContent = t("sidebar.outputs.failed", { reason: reasonOf(error) });
    } finally {
      this.isAsking = false;
      this.element.removeAttribute("aria-busy");
    }
  }

  /** @param {Record<string, unknown>} output */
  drawOutput(output) {
    const [image, filename, subfolder, type] = ["image", "filename", "subfolder", "type"].map(
      (name) => String(output[name] ?? ""),
    );
    const source = { name: filename ?? "", data: image ?? "" };
    const name = showWord(source.name);
    const item = make(document, "li");
    const button = make(document, "button", "provenance-output");
    button.type = "button";
    button.title = t("sidebar.saved", {
      name,
      time: new Date(Number(output["time_ms"])).toLocaleString(),
    });
    button.addEventListener("click", () => this.onShow(source));
    const picture = make(document, "img");
    picture.alt = "";
    picture.loading = "lazy";
    picture.src = viewURL({ filename: source.name, subfolder: subfolder ?? "", type: type ?? "" });
    const text = make(document, "span", "provenance-output-text");
    text.append(make(document, "strong", "", name), ...drawLine(output), drawChips(output));
    button.append(picture, text);
    const compare = makeButton(document, "provenance-icon", "\u21c6", () => this.onCompare(source));
    compare.title = t("sidebar.compare_one", { name });
    compare.setAttribute("aria-label", compare.title);
    item.append(button, compare);
    return item;
  }
}

/** @param {Record<string, unknown>} output */
function drawLine({ line }) {
  return line ? [make(document, "span", "provenance-quiet", showSentence(line))] : [];
}

/**
 * Says how far a file is what its whole record says.
 *
 * @param {unknown} agreement The level, if it was checked.
 */
function stateOf(agreement) {
  if (agreement === "mismatch") return "edited";
  return agreement === "bitwise" ? "whole" : "unchecked";
}

/**
 * Says whether there is a record, and what the last rerun gave.
 *
 * @param {Record<string, unknown>} output
 */
function drawChips({ record, level: agreement, verdict }) {
  const chips = make(document, "span", "provenance-chips");
  const known = RECORDS.find((name) => name === record) ?? "unread";
  const state = known === "whole" ? stateOf(agreement) : known;
  const chip = make(document, "span", "provenance-chip", t(`sidebar.record.${state}`));
  chip.dataset["record"] = state;
  chips.append(chip);
  const level = LEVELS.find((known) => known === verdict);
  if (level) {
    const mark = make(document, "span", "provenance-mark", MARKS[level]);
    mark.dataset["level"] = level;
    mark.setAttribute("aria-hidden", "true");
    const last = make(document, "span", "provenance-chip");
    last.append(mark, t(`level.${level}`));
    last.title = t("sidebar.last_verdict");
    chips.append(last);
  }
  return chips;
}
