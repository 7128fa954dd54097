/**
 * Draws verdicts and texts into an element. Everything goes in as text, never as markup.
 */

import { make } from "./elements.mjs";
import { t } from "./strings.mjs";
import { MARKS, parseReport, showPair, showText } from "./verdict.mjs";

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
  inner.dataset["level"] = report.level;
  markEarlier(inner, false);
  inner.replaceChildren(drawLevel(document, report.level), ...drawGrounds(document, report));
}

/**
 * Draws what a verdict stands on: the first cause, where runs part, the checks, and the rest.
 *
 * @param {Document} document
 * @param {import("./verdict.mjs").Report} report
 * @returns {HTMLElement[]} What matters most first.
 */
export function drawGrounds(document, report) {
  const [first, ...others] = report.causes;
  /** @type {HTMLElement[]} */
  const parts = first ? [drawCause(document, first)] : [];
  const facts = [report.where, report.numbers].filter(Boolean);
  if (facts.length > 0) parts.push(drawLines(document, t("panel.where"), facts));
  parts.push(drawChecks(document, report.checks));
  if (others.length > 0) {
    const lines = others.map((cause) => `${cause.kind}: ${cause.message}`);
    parts.push(drawLines(document, t("panel.also"), lines));
  }
  // Where the runs part is told above, and need not be told again among the notes.
  const notes = report.notes.filter((note) => !report.where.startsWith(note));
  if (notes.length > 0) parts.push(drawLines(document, t("panel.notes"), notes));
  return parts;
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
 * Draws a level in words, with its mark.
 *
 * @param {Document} document
 * @param {import("./verdict.mjs").Level} level
 */
export function drawLevel(document, level) {
  const row = make(document, "div", "provenance-level");
  const mark = make(document, "span", "provenance-mark", MARKS[level]);
  mark.dataset["level"] = level;
  mark.setAttribute("aria-hidden", "true");
  const text = make(document, "div");
  text.append(
    make(document, "strong", "provenance-title", t(`level.${level}`)),
    make(document, "span", "provenance-earlier", t("panel.earlier")),
    make(document, "p", "", t(`level.${level}.sentence`)),
  );
  row.append(mark, text);
  return row;
}

/**
 * @param {Document} document
 * @param {import("./verdict.mjs").Cause} cause
 */
function drawCause(document, cause) {
  const [recorded, now] = showPair(cause.recorded, cause.now);
  const box = make(document, "div", "provenance-cause");
  const node = cause.nodeId === null ? "" : ` ${t("panel.node", { id: cause.nodeId })}`;
  const title = make(document, "p", "", `${t("panel.cause")} `);
  title.append(make(document, "strong", "provenance-kind", cause.kind), node);
  const values = make(document, "dl", "provenance-values");
  values.append(
    make(document, "dt", "", t("panel.recorded")),
    make(document, "dd", "provenance-recorded", recorded),
    make(document, "dt", "", t("panel.now")),
    make(document, "dd", "provenance-now", now),
  );
  box.append(title, values, make(document, "p", "provenance-quiet", cause.message));
  if (cause.remedy) {
    const remedy = t("panel.remedy", { text: cause.remedy });
    box.append(make(document, "p", "provenance-remedy", remedy));
  }
  return box;
}

/**
 * @param {Document} document
 * @param {readonly import("./verdict.mjs").Check[]} checks
 */
function drawChecks(document, checks) {
  const list = make(document, "ul", "provenance-checks");
  for (const check of checks) {
    const item = make(document, "li");
    const mark = make(document, "span", "provenance-mark", MARKS[check.level]);
    mark.dataset["level"] = check.level;
    mark.setAttribute("title", t(`level.${check.level}`));
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
