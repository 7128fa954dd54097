/**
 * What a record says of its image, chosen and put into words: the recipe, the words of the prompts,
 * and what to know before one believes it.
 */

import { t } from "./strings.mjs";
import { toList, toObject } from "./shapes.mjs";
import { MOST_ENTRIES, rowOf, show, showSentence, showWord, take, toDigest } from "./sidebar_values.mjs";

/** @typedef {import("./sidebar_values.mjs").Row} Row */
/**
 * @template T
 * @typedef {import("./sidebar_values.mjs").Part<T>} Part
 */

/**
 * Words that were given to a text encoder.
 *
 * @typedef {object} Prompt
 * @property {"positive" | "negative"} role What they are for.
 * @property {string} node Ready to be shown.
 * @property {string | null} text The exact words; `null` where the record does not hold them.
 * @property {unknown} characters The record's list of those that cannot be told by sight.
 * @property {string} digest Of the words.
 */

/** Each is a text of some length, and its marks are elements. */
const MOST_PROMPTS = 40;
const MOST_NOTES = 40;

/**
 * Tells what decided the image: the tuple of the last sampling.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<Row>} Empty for an image that was not sampled.
 */
export function readRecipe(record) {
  const tuple = toObject(record["tuple"]);
  const adapters = take(toList(tuple["adapters"]));
  const rows = [
    ...modelRows(record, tuple["model_version"]),
    ...rowOf(t("sidebar.recipe.seed"), tuple["seed"]),
    ...rowOf(t("sidebar.recipe.sampler"), tuple["sampler"]),
    ...rowOf(t("sidebar.recipe.scheduler"), tuple["scheduler"]),
    ...rowOf(t("sidebar.recipe.steps"), tuple["steps"]),
    ...rowOf(t("sidebar.recipe.cfg"), tuple["cfg"]),
    ...rowOf(t("sidebar.recipe.denoise"), tuple["denoise"]),
    ...sizeRows(t("sidebar.size"), tuple),
    ...adapters.items.map((adapter) => adapterRow(toObject(adapter))),
  ];
  return { items: rows, left: adapters.left };
}

/**
 * Tells of the file and its record.
 *
 * @param {Record<string, unknown>} record
 * @returns {Row[]} As the record has it; nothing here was checked.
 */
export function readOrigin(record) {
  const subject = toObject(record["subject"]);
  const generator = toObject(record["generator"]);
  const names = [generator["name"], generator["version"]].filter((value) => value !== undefined);
  return [
    ...rowOf(t("sidebar.created"), record["created"]),
    ...(names.length ? rowOf(t("sidebar.generator"), names.map(showWord).join(" ")) : []),
    ...sizeRows(t("sidebar.image_size"), subject),
    ...rowOf(t("sidebar.pixels"), subject["digest"] ?? toList(subject["digests"])[0]),
    ...rowOf(t("sidebar.recipe_digest"), record["recipe"]),
    ...rowOf(t("sidebar.record_digest"), record["digest"]),
  ];
}

/**
 * Tells of every sampling on one line each, where there were several.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<string>} In order of execution.
 */
export function readSamplings(record) {
  const samplings = toList(record["samplings"]);
  const part = take(samplings.length > 1 ? samplings : []);
  return { ...part, items: part.items.map((sampling) => samplingLine(toObject(sampling))) };
}

/**
 * Lists the words that the image depends on, those of the last sampling first, each once.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<Prompt>} The positive before the negative.
 */
export function readPrompts(record) {
  /** @type {Map<string, Prompt>} */
  const found = new Map();
  const samplings = toList(record["samplings"]).slice(-MOST_ENTRIES).reverse();
  for (const sampling of samplings.map(toObject)) {
    for (const role of /** @type {const} */ (["positive", "negative"])) {
      for (const entry of take(toList(sampling[role])).items.map(toObject)) {
        const prompt = toPrompt(role, entry);
        const key = `${role} ${prompt.digest} ${prompt.text}`;
        if (!found.has(key)) found.set(key, prompt);
      }
    }
  }
  return take([...found.values()], MOST_PROMPTS);
}

/**
 * Lists what to know before one relies on the record.
 *
 * @param {Record<string, unknown>} record
 * @returns {Part<string>} Sentences.
 */
export function readNotes(record) {
  const leftOut = toList(record["left_out"]);
  const secrets = toList(record["redactions"]).length;
  const last = toObject(toList(record["samplings"]).at(-1));
  const warnings = take(toList(record["warnings"]), MOST_NOTES);
  const items = [
    ...(record["redacted"] === true ? [t("sidebar.note.redacted")] : []),
    ...(secrets ? [t("sidebar.note.secrets", { count: secrets })] : []),
    ...(leftOut.length ? [t("sidebar.note.left_out", { names: listNames(leftOut) })] : []),
    ...(last["source"] === "graph" ? [t("sidebar.note.from_graph")] : []),
    ...warnings.items.map((warning) => showSentence(warning)),
  ];
  return { items, left: warnings.left };
}

/**
 * @param {Record<string, unknown>} record
 * @param {unknown} version
 * @returns {Row[]} With the name of the file, where one file is the model.
 */
function modelRows(record, version) {
  const label = t("sidebar.model");
  const digest = toDigest(version);
  if (!digest) return rowOf(label, version);
  const materials = take(toList(record["materials"])).items.map(toObject);
  const file = materials.find((material) => material["sha256"] === version);
  return [{ label, value: file ? showWord(file["name"]) : "", digest }];
}

/**
 * @param {Record<string, unknown>} adapter
 * @returns {Row} With every strength on a line of its own.
 */
function adapterRow(adapter) {
  const strengths = take(Object.entries(toObject(adapter["strengths"])), 8).items;
  const words = strengths.map(([name, value]) => `${strengthName(name)} ${show(value)}`);
  const value = [showWord(adapter["name"]), ...words].join("\n");
  const digest = toDigest(adapter["sha256"]);
  return { label: t("sidebar.adapter"), value, ...(digest ? { digest } : {}) };
}

/** @param {string} name Such as `strength_model`. */
function strengthName(name) {
  return showWord(name.replace(/^strength_?/u, "") || name);
}

/**
 * @param {string} label
 * @param {Record<string, unknown>} size
 * @returns {Row[]} None where there is no size.
 */
function sizeRows(label, { width, height }) {
  if (width === undefined || height === undefined) return [];
  return [{ label, value: `${show(width)} \u00d7 ${show(height)}` }];
}

/** @param {Record<string, unknown>} sampling */
function samplingLine(sampling) {
  const node = t("sidebar.node", {
    id: showWord(sampling["node_id"]),
    kind: showWord(sampling["class_type"]),
  });
  const names = ["seed", "sampler", "scheduler", "steps", "cfg", "denoise"];
  const known = names.filter((name) => sampling[name] !== undefined);
  const facts = known.map((name) => `${t(`sidebar.recipe.${name}`)} ${show(sampling[name])}`);
  return `${node}: ${facts.join(", ")}`;
}

/**
 * @param {"positive" | "negative"} role
 * @param {Record<string, unknown>} entry
 * @returns {Prompt} Without words where there are none, or where they are no text.
 */
function toPrompt(role, entry) {
  const text = typeof entry["text"] === "string" ? entry["text"] : null;
  const node = entry["node_id"] === undefined ? "" : showWord(entry["node_id"]);
  return { role, node, text, characters: entry["characters"], digest: toDigest(entry["sha256"]) };
}

/** @param {readonly unknown[]} names */
function listNames(names) {
  const { items, left } = take(names, 12);
  return items.map(showWord).join(", ") + (left ? ` ${t("sidebar.more", { count: left })}` : "");
}
