/**
 * Draws verdicts and texts into an element. Everything goes in as text, never as markup.
 */

import { WORDS, parseReport, showPair, showText } from "./verdict.js";

/** Marks the part of a page that belongs to this pack; the style sheet knows it. */
const ROOT_CLASS = "provenance-panel";

/**
 * Makes an empty panel: an outer element that its host sizes, and an inner one as high as what it
 * shows.
 *
 * @param {Document} document
 * @returns {{ outer: HTMLElement, inner: HTMLElement }} The one in the other.
 */
export function createPanel(document) {
  const outer = make(document, "div", ROOT_CLASS);
  // The page zooms the canvas on the wheel unless an element in focus asks for it.
  outer.setAttribute("data-capture-wheel", "true");
  outer.setAttribute("tabindex", "-1");
  const inner = make(document, "div", "provenance-content");
  outer.append(inner);
  return { outer, inner };
}

/**
 * Draws a node's report.
 *
 * @param {HTMLElement} inner
 * @param {unknown} value The report as it arrived.
 */
export function drawReport(inner, value) {
  const document = inner.ownerDocument;
  const report = parseReport(value);
  const [first, ...others] = report.causes;
  /** @type {HTMLElement[]} */
  const parts = [drawLevel(document, report.level)];
  if (first) parts.push(drawCause(document, first));
  const facts = [report.where, report.numbers].filter(Boolean);
  if (facts.length > 0) parts.push(drawLines(document, "Where and how far", facts));
  parts.push(drawChecks(document, report.checks));
  if (others.length > 0) {
    const lines = others.map((cause) => `${cause.kind}: ${cause.message}`);
    parts.push(drawLines(document, "Also", lines));
  }
  // Where the runs part is told above, and need not be told again among the notes.
  const notes = report.notes.filter((note) => !report.where.startsWith(note));
  if (notes.length > 0) parts.push(drawLines(document, "Notes", notes));
  inner.dataset["level"] = report.level;
  markEarlier(inner, false);
  inner.replaceChildren(...parts);
}

/**
 * Draws plain text.
 *
 * @param {HTMLElement} inner
 * @param {unknown} value
 */
export function drawText(inner, value) {
  markEarlier(inner, false);
  inner.replaceChildren(make(inner.ownerDocument, "pre", "provenance-text", showText(value)));
}

/**
 * Says whether what is shown was found before the present run or for other inputs.
 *
 * @param {HTMLElement} inner
 * @param {boolean} earlier
 */
export function markEarlier(inner, earlier) {
  if (earlier) inner.dataset["earlier"] = "true";
  else delete inner.dataset["earlier"];
}

/**
 * @param {Document} document
 * @param {import("./verdict.js").Level} level
 */
function drawLevel(document, level) {
  const words = WORDS[level];
  const row = make(document, "div", "provenance-level");
  const mark = make(document, "span", "provenance-mark", words.mark);
  mark.dataset["level"] = level;
  mark.setAttribute("aria-hidden", "true");
  const text = make(document, "div");
  text.append(
    make(document, "strong", "provenance-title", words.title),
    make(document, "span", "provenance-earlier", "earlier result"),
    make(document, "p", "", words.sentence),
  );
  row.append(mark, text);
  return row;
}

/**
 * @param {Document} document
 * @param {import("./verdict.js").Cause} cause
 */
function drawCause(document, cause) {
  const [recorded, now] = showPair(cause.recorded, cause.now);
  const box = make(document, "div", "provenance-cause");
  const node = cause.nodeId === null ? "" : ` (node ${cause.nodeId})`;
  const title = make(document, "p", "", "Most likely cause: ");
  title.append(make(document, "strong", "provenance-kind", cause.kind), node);
  const values = make(document, "dl", "provenance-values");
  values.append(
    make(document, "dt", "", "recorded"),
    make(document, "dd", "provenance-recorded", recorded),
    make(document, "dt", "", "now"),
    make(document, "dd", "provenance-now", now),
  );
  box.append(title, values, make(document, "p", "provenance-quiet", cause.message));
  if (cause.remedy) box.append(make(document, "p", "provenance-remedy", `What to do: ${cause.remedy}`));
  return box;
}

/**
 * @param {Document} document
 * @param {readonly import("./verdict.js").Check[]} checks
 */
function drawChecks(document, checks) {
  const list = make(document, "ul", "provenance-checks");
  for (const check of checks) {
    const item = make(document, "li");
    const mark = make(document, "span", "provenance-mark", WORDS[check.level].mark);
    mark.dataset["level"] = check.level;
    mark.setAttribute("title", WORDS[check.level].title);
    const text = make(document, "span");
    text.append(
      make(document, "strong", "", check.name),
      make(document, "span", "provenance-quiet", ` ${check.message}`),
    );
    item.append(mark, text);
    list.append(item);
  }
  return list;
}

/**
 * @param {Document} document
 * @param {string} title
 * @param {readonly string[]} lines
 */
function drawLines(document, title, lines) {
  const box = make(document, "div", "provenance-quiet");
  const list = make(document, "ul", "provenance-lines");
  list.append(...lines.map((line) => make(document, "li", "", line)));
  box.append(make(document, "strong", "", title), list);
  return box;
}

/**
 * Makes an element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Document} document
 * @param {Tag} tag
 * @param {string} [className]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[Tag]} Not yet in the document.
 */
function make(document, tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
