/**
 * Talks to ComfyUI's server: to this pack's routes, and to core's own for uploads and the queue.
 *
 * Every question has a time limit, so that a server that is slow or gone costs an answer and nothing
 * else. A recorded graph never passes through here: the server reads it out of the file.
 */

import { api } from "./comfy.js";
import { toList, toObject } from "./shapes.mjs";
import { t } from "./strings.mjs";

/** @typedef {{ filename: string, subfolder: string, type: string }} ServerImage */

/**
 * @typedef {object} Source
 * @property {string} name The file's name, for people.
 * @property {File | string} data The file, or its name on the server, such as `sub/a.png [output]`.
 * @property {File} [sidecar] The record that was saved beside it.
 */

/**
 * @typedef {object} Progress
 * @property {"uploading" | "queued" | "running"} state Where the run is.
 * @property {string} text What the server says it is doing.
 * @property {number | null} part From 0 to 1, where that is known.
 */

/**
 * @typedef {object} Reproduction
 * @property {unknown} report As the node sent it.
 * @property {Readonly<Record<string, ServerImage>>} images By role, such as `reproduced`.
 */

const ANSWER_MS = 15_000;
/** A large image is decoded, and files are looked for, before the answer. */
const READING_MS = 60_000;
const UPLOAD_MS = 300_000;
/** The server is at work while it takes a run, and another may be before it. */
const QUEUE_MS = 60_000;
const POLL_MS = 250;
/** Questions in a row that a server may leave without an answer while a run is waited for. */
const MOST_SILENT = 20;
/** A name in a URL. */
const NAME_CHARS = 255;
const NODE = "reproduce";

/** What went wrong with a question, as a sentence. */
export class ServerError extends Error {}

/**
 * Gives why something failed, in words.
 *
 * @param {unknown} error
 */
export function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Reads what an image carries.
 *
 * @param {Blob | string} source The file, or its name on the server.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Record<string, unknown>>} With `record`, `report` and `summary`.
 */
export function readRecord(source, signal) {
  return ask("/provenance/record", source, {}, signal);
}

/**
 * Asks what can be expected of a rerun; nothing runs.
 *
 * @param {Source} source
 * @param {AbortSignal} [signal]
 * @returns {Promise<Record<string, unknown>>} With `expect`, `line`, `reasons` and `pending`.
 */
export function readPreflight({ name, data, sidecar }, signal) {
  const query = { name: name.slice(0, NAME_CHARS) };
  if (!sidecar || typeof data === "string") {
    return ask("/provenance/preflight", data, query, signal);
  }
  const body = new FormData();
  body.append("image", data, name);
  body.append("sidecar", sidecar, sidecar.name);
  const route = `/provenance/preflight?${new URLSearchParams(query)}`;
  return fetchJson(route, { method: "POST", body }, READING_MS, signal);
}

/**
 * Lists the last images that this server saved.
 *
 * @param {number} count At most.
 * @returns {Promise<Record<string, unknown>[]>} Newest first.
 */
export async function listOutputs(count) {
  const answer = await fetchJson(`/provenance/outputs?count=${count}`, {}, READING_MS);
  const outputs = answer["outputs"];
  return Array.isArray(outputs) ? outputs : [];
}

/**
 * Compares two images of the server by what they carry.
 *
 * @param {string} first
 * @param {string} second
 * @returns {Promise<unknown>} A report.
 */
export async function compare(first, second) {
  return (await postJson("/provenance/compare", { first, second }, READING_MS))["report"];
}

/**
 * Reads the settings that belong to the server.
 *
 * @returns {Promise<Record<string, unknown>>} By name.
 */
export async function readSettings() {
  return toObject((await fetchJson("/provenance/settings"))["settings"]);
}

/**
 * Asks the server for another value of a setting.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {string} [code] The one that the server showed its owner.
 * @returns {Promise<Record<string, unknown>>} `confirm` while the code is wanted, then `settings`.
 */
export function changeSetting(name, value, code) {
  return postJson("/provenance/settings", { name, value, ...(code ? { code } : {}) });
}

/**
 * Lists classes of node that cannot be made to repeat themselves.
 *
 * @returns {Promise<Record<string, unknown>>} `unseeded` and `unpinned`, each a sentence by class.
 */
export function readClasses() {
  return fetchJson("/provenance/classes");
}

/**
 * Puts a file into the server's folder for temporary files.
 *
 * @param {File} file
 * @param {AbortSignal} [signal]
 * @param {string} [folder] Below that folder; one of its own if not given.
 * @returns {Promise<string>} Its name there, as ComfyUI names uploads.
 */
export async function upload(file, signal, folder = `provenance/${makeId()}`) {
  const form = new FormData();
  form.append("image", file, file.name);
  form.append("type", "temp");
  form.append("subfolder", folder);
  const answer = await fetchJson("/upload/image", { method: "POST", body: form }, UPLOAD_MS, signal);
  const place = answer["subfolder"] ? `${answer["subfolder"]}/` : "";
  return `${place}${answer["name"]} [temp]`;
}

/**
 * Gives a source's name on the server, and puts it there with its sidecar if it is a file.
 *
 * @param {Source} source
 * @param {AbortSignal} [signal]
 */
export async function place({ data, sidecar }, signal) {
  if (typeof data === "string") return data;
  const folder = `provenance/${makeId()}`;
  if (sidecar) await upload(sidecar, signal, folder);
  return upload(data, signal, folder);
}

/**
 * Gives the address at which the page sees an image of the server.
 *
 * @param {ServerImage} image
 */
export function viewURL({ filename, subfolder, type }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

/**
 * Has the server run an image's graph again and compare.
 *
 * It is queued for no tab, so that nobody's canvas shows it. When it is called off, that run is
 * dropped, and no other.
 *
 * @param {Source} source
 * @param {(progress: Progress) => void} onProgress
 * @param {AbortSignal} signal
 * @returns {Promise<Reproduction>} What the node found.
 * @throws {ServerError} It could not run, or failed; the message is the server's.
 */
export async function reproduce(source, onProgress, signal) {
  onProgress({ state: "uploading", text: "", part: null });
  const image = await place(source, signal);
  const prompt = { [NODE]: { class_type: "ProvenanceReproduce", inputs: { image } } };
  const promptId = makeId();
  try {
    await queue({ prompt, prompt_id: promptId, client_id: `provenance-${promptId}` });
    return await waitFor(promptId, onProgress, signal);
  } catch (error) {
    // Whatever went wrong: nobody would learn what the run finds, and nobody else could stop it.
    await cancel(promptId);
    throw error;
  }
}

/**
 * Queues a run. It is not called off meanwhile: ComfyUI would queue it all the same, later.
 *
 * @param {Record<string, unknown>} body
 */
async function queue(body) {
  const response = await send("/prompt", jsonPost(body), QUEUE_MS);
  if (response.ok) return;
  const answer = await readJson(response).catch(() => ({}));
  const errors = Object.values(toObject(toObject(answer)["node_errors"]));
  const [first] = errors.flatMap((error) => toList(toObject(error)["errors"]));
  const { details, message } = toObject(first ?? toObject(answer)["error"]);
  throw new ServerError(t("server.refused", { reason: String(details || message || response.status) }));
}

/**
 * @param {string} promptId
 * @param {(progress: Progress) => void} onProgress
 * @param {AbortSignal} signal
 * @returns {Promise<Reproduction>} What the node found.
 */
async function waitFor(promptId, onProgress, signal) {
  let wasGone = false;
  for (let silent = 0; silent < MOST_SILENT; silent += 1) {
    signal.throwIfAborted();
    const history = await fetchJson(`/history/${promptId}`, {}, ANSWER_MS, signal).catch(() => null);
    if (history?.[promptId]) return toReproduction(toObject(history[promptId]));
    // A server at work may be slow to answer, and an older one cannot tell.
    const route = `/provenance/progress/${promptId}`;
    const progress = await fetchJson(route, {}, ANSWER_MS, signal).catch(() => ({}));
    const { state, text, value, max } = toObject(progress);
    // Twice: between leaving the queue and entering the history it is in neither.
    const isGone = history !== null && state === "unknown";
    if (isGone && wasGone) throw new ServerError(t("server.dropped"));
    wasGone = isGone;
    if (history !== null) silent = -1;
    if (state === "queued" || state === "running") {
      const part = typeof value === "number" && Number(max) > 1 ? value / Number(max) : null;
      onProgress({ state, text: String(text ?? ""), part });
    }
    await pause(POLL_MS, signal);
  }
  throw new ServerError(t("server.gone"));
}

/**
 * @param {Record<string, unknown>} entry Of the history.
 * @returns {Reproduction} What the node found.
 */
function toReproduction(entry) {
  for (const output of Object.values(toObject(entry["outputs"]))) {
    const [report] = toList(toObject(output)["provenance_report"]);
    if (!report) continue;
    const images = toList(toObject(output)["provenance_images"]).map(toObject);
    return { report, images: Object.fromEntries(images.map((image) => [image["role"], image])) };
  }
  const messages = toList(toObject(entry["status"])["messages"]).map(toList);
  if (messages.some(([type]) => type === "execution_interrupted")) {
    throw new ServerError(t("server.interrupted"));
  }
  const [, failure] = messages.find(([type]) => type === "execution_error") ?? [];
  const reason = toObject(failure)["exception_message"];
  throw new ServerError(reason ? String(reason).trim() : t("server.no_report"));
}

/**
 * Drops one run; in this order, since it may begin meanwhile.
 *
 * @param {string} promptId
 */
async function cancel(promptId) {
  await send("/queue", jsonPost({ delete: [promptId] }), ANSWER_MS).catch(() => undefined);
  await send("/interrupt", jsonPost({ prompt_id: promptId }), ANSWER_MS).catch(() => undefined);
}

/**
 * @param {string} route
 * @param {Blob | string} source
 * @param {Record<string, string>} query
 * @param {AbortSignal} [signal]
 */
function ask(route, source, query, signal) {
  const isName = typeof source === "string";
  const params = new URLSearchParams(isName ? { ...query, image: source } : query);
  const headers = { "Content-Type": "application/octet-stream" };
  const init = { method: "POST", headers, ...(isName ? {} : { body: source }) };
  return fetchJson(`${route}?${params}`, init, READING_MS, signal);
}

/**
 * @param {string} route
 * @param {unknown} value
 * @param {number} [limitMs]
 */
function postJson(route, value, limitMs) {
  return fetchJson(route, jsonPost(value), limitMs);
}

/** @param {unknown} value */
function jsonPost(value) {
  const headers = { "Content-Type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(value) };
}

/**
 * @param {string} route
 * @param {RequestInit} [init]
 * @param {number} [limitMs]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Record<string, unknown>>} The answer.
 * @throws {ServerError} No answer, or one that is none; the server's own words where it has any.
 */
async function fetchJson(route, init, limitMs = ANSWER_MS, signal = undefined) {
  const response = await send(route, init, limitMs, signal);
  const answer = await readJson(response).catch(() => null);
  if (response.ok && answer !== null) return toObject(answer);
  signal?.throwIfAborted();
  const { error } = toObject(answer);
  if (response.ok) throw new ServerError(t("server.no_json"));
  const status = `${response.status} ${response.statusText}`.trim();
  throw new ServerError(typeof error === "string" ? error : t("server.status", { status }));
}

/**
 * @param {string} route
 * @param {RequestInit} [init]
 * @param {number} [limitMs]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>} Whatever its status is.
 */
async function send(route, init = {}, limitMs = ANSWER_MS, signal = undefined) {
  const limit = AbortSignal.timeout(limitMs);
  try {
    const both = signal ? AbortSignal.any([signal, limit]) : limit;
    return await api.fetchApi(route, { ...init, signal: both });
  } catch (error) {
    if (signal?.aborted) throw error;
    const seconds = limitMs / 1000;
    throw new ServerError(limit.aborted ? t("server.slow", { seconds }) : t("server.gone"));
  }
}

/**
 * @param {Response} response
 * @returns {Promise<unknown>} Rejected where it is no JSON.
 */
function readJson(response) {
  return response.json();
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>} Rejected when it is called off.
 */
function pause(ms, signal) {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop);
  });
}

/**
 * Makes a random UUID; the browser's own are not there where the page came over plain HTTP.
 *
 * @returns {string} Of version 4 (RFC 9562), in lower case.
 */
function makeId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
