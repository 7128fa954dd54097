/**
 * Draws what a file carries: the record in readable parts, and what this server makes of it.
 */

import { make } from "./elements.mjs";
import { createPanel, drawReport } from "./panel.mjs";
import { readNotes, readOrigin, readPrompts, readRecipe, readSamplings } from "./sidebar_facts.mjs";
import {
  readDemotions,
  readDifferences,
  readEnvironment,
  readFlags,
  readMode,
  readTrace,
} from "./sidebar_machine.mjs";
import { readModels } from "./sidebar_models.mjs";
import { makeCopy, makeDigest, makeLines, makeMore, makePart, makeRows } from "./sidebar_parts.mjs";
import { markText } from "./sidebar_text.mjs";
import { toObject } from "./shapes.mjs";
import { take } from "./sidebar_values.mjs";
import { t } from "./strings.mjs";
import { MARKS } from "./verdict.mjs";

/** @typedef {import("./verdict.mjs").Level} Level */
/** @typedef {Record<string, unknown>} Json */

/**
 * What the state of a file looks like.
 *
 * @type {Readonly<Record<string, [level: Level | "waiting", mark: string]>>}
 */
const STATE_MARKS = {
  here: ["bitwise", MARKS.bitwise],
  elsewhere: ["bitwise", MARKS.bitwise],
  other: ["mismatch", MARKS.mismatch],
  missing: ["mismatch", MARKS.mismatch],
  hashing: ["waiting", "\u2026"],
  unknown: ["unknown", MARKS.unknown],
};

/**
 * Draws a record.
 *
 * @param {Json} record
 * @param {unknown} report What the file says about itself.
 * @returns {{ parts: HTMLElement[], showPreflight: (preflight: Json) => void }} Its parts, and what
 *   adds to them what the server says of a rerun.
 */
export function drawRecord(record, report) {
  const models = make(document, "div");
  const differences = make(document, "div");
  const environment = makePart(t("sidebar.environment"), [differences, ...drawEnvironment(record)]);
  const integrity = drawIntegrity(record, report);
  const isWhole = toObject(report)["level"] === "bitwise";
  const parts = [
    makePart(t("sidebar.recipe"), drawRecipe(record), true),
    makePart(t("sidebar.prompts"), drawPrompts(record), true),
    makePart(t("sidebar.models"), [models], true),
    environment,
    drawDeterminism(record),
    ...drawTrace(record),
  ];
  // What was edited comes before what is no longer sure.
  models.append(...drawModels(record, null));
  return {
    parts: [...drawNotes(record), ...(isWhole ? [...parts, integrity] : [integrity, ...parts])],
    showPreflight(preflight) {
      models.replaceChildren(...drawModels(record, preflight));
      const found = readDifferences(preflight);
      differences.replaceChildren(...drawDifferences(found));
      const count = found.items.length + found.left;
      const heading = environment.querySelector("h4");
      const title = count ? t("sidebar.environment.differs", { count }) : t("sidebar.environment");
      if (heading) heading.textContent = title;
    },
  };
}

/**
 * Draws the files of a graph.
 *
 * @param {Json | null} record
 * @param {Json | null} preflight
 */
export function drawModels(record, preflight) {
  const { items, left } = readModels(record, preflight);
  if (items.length === 0)
    return [make(document, "p", "provenance-quiet", t("sidebar.models.none"))];
  const list = make(document, "ul", "provenance-models");
  for (const model of items) {
    const item = make(document, "li");
    const [level, sign] = STATE_MARKS[model.state ?? ""] ?? ["waiting", ""];
    const mark = make(document, "span", "provenance-mark", sign);
    mark.dataset["level"] = level;
    mark.setAttribute("aria-hidden", "true");
    item.dataset["state"] = model.state ?? "";
    const facts = make(document, "div", "provenance-quiet");
    facts.append(
      make(document, "span", "", [model.kind, model.size].filter(Boolean).join(" \u00b7 ")),
    );
    if (model.digest) facts.append(makeDigest(model.digest));
    const text = make(document, "div");
    text.append(make(document, "strong", "", model.name), facts);
    if (model.words) text.append(make(document, "div", "provenance-state", model.words));
    item.append(mark, text);
    list.append(item);
  }
  return [list, ...makeMore(left)];
}

/** @param {Json} record */
function drawNotes(record) {
  const { items, left } = readNotes(record);
  return items.length
    ? [makeLines(items, "provenance-notes provenance-warning"), ...makeMore(left)]
    : [];
}

/** @param {Json} record */
function drawRecipe(record) {
  const recipe = readRecipe(record);
  const samplings = readSamplings(record);
  const rows = recipe.items.length
    ? makeRows(recipe.items)
    : make(document, "p", "provenance-quiet", t("sidebar.not_sampled"));
  if (samplings.items.length === 0) return [rows, ...makeMore(recipe.left)];
  const count = samplings.items.length + samplings.left;
  const all = [makeLines(samplings.items), ...makeMore(samplings.left)];
  return [rows, ...makeMore(recipe.left), makePart(t("sidebar.samplings", { count }), all)];
}

/** @param {Json} record */
function drawPrompts(record) {
  const { items, left } = readPrompts(record);
  if (items.length === 0)
    return [make(document, "p", "provenance-quiet", t("sidebar.prompts.none"))];
  return [...items.map(drawPrompt), ...makeMore(left)];
}

/** @param {import("./sidebar_facts.mjs").Prompt} prompt */
function drawPrompt({ role, node, text, characters, digest }) {
  const box = make(document, "div", "provenance-prompt");
  const head = make(document, "div", "provenance-prompt-head");
  head.append(make(document, "h5", "", t(`sidebar.prompts.${role}`)));
  if (node) head.append(make(document, "span", "provenance-quiet", t("panel.node", { id: node })));
  box.append(head);
  if (text === null) {
    box.append(make(document, "p", "provenance-quiet", t("sidebar.words.none")));
    if (digest) box.append(makeDigest(digest));
    return box;
  }
  head.append(makeCopy(t("sidebar.copy"), () => text));
  const marked = markText(text, characters);
  const words = make(document, "p", "provenance-words");
  words.append(...marked.pieces.map((piece) => drawPiece(piece)));
  if (text === "")
    words.append(make(document, "span", "provenance-quiet", t("sidebar.words.empty")));
  box.append(words, ...makeMore(marked.left));
  if (marked.legend.length > 0) box.append(makeLines(marked.legend, "provenance-legend"));
  return box;
}

/** @param {import("./sidebar_text.mjs").Piece} piece */
function drawPiece({ text, title }) {
  if (!title) return text;
  const mark = make(document, "mark", "", text);
  mark.title = title;
  return mark;
}

/** @param {Json} record */
function drawEnvironment(record) {
  const { items, left } = readEnvironment(record);
  const groups = items.flatMap(({ title, rows }) => [
    ...(title ? [make(document, "h5", "", title)] : []),
    makeRows(rows),
  ]);
  return [...groups, ...makeMore(left)];
}

/** @param {ReturnType<typeof readDifferences>} differences */
function drawDifferences({ items, left }) {
  if (items.length === 0) return [];
  const rows = makeRows(items);
  rows.classList.add("provenance-differences");
  return [make(document, "h5", "", t("sidebar.differs")), rows, ...makeMore(left)];
}

/** @param {Json} record */
function drawDeterminism(record) {
  const demotions = readDemotions(record);
  const flags = readFlags(record);
  const count = (demotions?.items.length ?? 0) + (demotions?.left ?? 0);
  const title = count ? t("sidebar.determinism.demoted", { count }) : t("sidebar.determinism");
  const found = demotions?.items.map(({ node, kind, message }) => {
    return `${node}: ${message}${kind ? ` (${kind})` : ""}`;
  });
  /** @type {HTMLElement[]} */
  const content = [makeRows(readMode(record))];
  if (found?.length) content.push(makeLines(found, "provenance-notes provenance-warning"));
  else
    content.push(
      make(document, "p", "provenance-quiet", t(found ? "sidebar.pinned" : "sidebar.not_told")),
    );
  content.push(...makeMore(demotions?.left ?? 0));
  if (flags.items.length > 0) {
    const rows = makeRows(flags.items);
    rows.classList.add("provenance-flags");
    content.push(makePart(t("sidebar.flags"), [rows, ...makeMore(flags.left)]));
  }
  return makePart(title, content, count > 0);
}

/** @param {Json} record */
function drawTrace(record) {
  const { items, left } = readTrace(record);
  if (items.length === 0) return [];
  const tables = items.flatMap(({ title, steps }) => [
    make(document, "h5", "", title),
    drawSteps(steps),
  ]);
  return [makePart(t("sidebar.trace"), [...tables, ...makeMore(left)])];
}

/** @param {import("./sidebar_machine.mjs").Trace["steps"]} steps */
function drawSteps(steps) {
  const table = make(document, "table", "provenance-trace");
  const head = table.createTHead().insertRow();
  for (const key of ["sidebar.step", "sidebar.sigma", "sidebar.digest"]) {
    const cell = make(document, "th", "", t(key));
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const { step, sigma, digest } of steps) {
    const row = body.insertRow();
    const cells = [String(step), sigma, digest].map((text) => make(document, "td", "", text));
    row.append(...cells);
  }
  return table;
}

/**
 * @param {Json} record
 * @param {unknown} report
 */
function drawIntegrity(record, report) {
  const { outer, inner } = createPanel(document);
  drawReport(inner, report);
  const isWhole = toObject(report)["level"] === "bitwise";
  const rows = makeRows(take(readOrigin(record)).items);
  return makePart(t("sidebar.file"), [rows, outer], !isWhole);
}
