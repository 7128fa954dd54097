/**
 * Shows the settings that belong to the server, and asks it to change them.
 *
 * What is shown is what the server has: a change appears when the server has made it, and not
 * before. It makes one only with a code that its console shows.
 */

import { app } from "./comfy.js";
import { addStyle, make, makeButton } from "./elements.mjs";
import { changeSetting, readSettings, reasonOf } from "./server.mjs";
import { t } from "./strings.mjs";
import { showText } from "./verdict.mjs";

/** @typedef {{ name: string, kind: "switch" | "list", label: string }} Drawn A setting. */
/** @typedef {{ element: HTMLElement, show(value: unknown): void }} Control */

/** The dialog draws all settings at once: they share an answer that is this young. */
const FRESH_MS = 1000;
/** Times that a code can be typed for one change. */
const TRIES = 3;
const SENTENCE_CHARS = 400;

/** @type {Promise<Record<string, unknown>> | undefined} */
let answer;
let askedAt = -Infinity;

/**
 * Draws a setting with the server's present value.
 *
 * @param {HTMLElement} box Empty.
 * @param {Drawn} setting
 */
export async function drawSetting(box, setting) {
  addStyle(import.meta.url, "./provenance.css");
  addStyle(import.meta.url, "./settings.css");
  box.className = "provenance-setting";
  const status = make(document, "p", "provenance-setting-status", t("settings.reading"));
  status.setAttribute("role", "status");
  box.replaceChildren(status);
  try {
    const value = (await readFresh())[setting.name];
    if (value === undefined) throw new Error(t("settings.unknown"));
    const draw = setting.kind === "switch" ? drawSwitch : drawList;
    const control = draw(setting.label, (wanted) => change(setting, wanted, control, status));
    control.show(value);
    status.textContent = "";
    box.prepend(control.element);
  } catch (error) {
    status.textContent = t("settings.unread", { reason: wordsOf(error) });
  }
}

/** @returns {Promise<Record<string, unknown>>} By name. */
function readFresh() {
  if (!answer || performance.now() - askedAt > FRESH_MS) {
    askedAt = performance.now();
    answer = readSettings();
  }
  return answer;
}

/**
 * Has the server change a setting, and shows what it then has.
 *
 * @param {Drawn} setting
 * @param {unknown} wanted
 * @param {Control} control
 * @param {HTMLElement} status
 */
async function change({ name, label }, wanted, control, status) {
  status.textContent = t("settings.asking");
  control.element.inert = true;
  let words;
  try {
    const settings = await confirm(name, label, wanted);
    words = t(settings ? "settings.changed" : "settings.kept");
  } catch (error) {
    words = t("settings.refused", { reason: wordsOf(error) });
  }
  try {
    answer = undefined;
    control.show((await readFresh())[name]);
  } catch (error) {
    words = t("settings.unread", { reason: wordsOf(error) });
  }
  control.element.inert = false;
  status.textContent = words;
}

/**
 * Asks for a change, and for the code that lets it happen.
 *
 * @param {string} name
 * @param {string} label
 * @param {unknown} wanted
 * @returns {Promise<boolean>} Whether it was made; not if the user gave no code.
 * @throws {Error} The server refused; the message is its own.
 */
async function confirm(name, label, wanted) {
  const { confirm: question } = await changeSetting(name, wanted);
  if (typeof question !== "string") return true;
  const asked = showText(question, SENTENCE_CHARS);
  let message = asked;
  for (let tries = 1; ; tries += 1) {
    const code = await app.extensionManager.dialog.prompt({ title: label, message });
    if (!code?.trim()) return false;
    try {
      await changeSetting(name, wanted, code.trim());
      return true;
    } catch (error) {
      if (tries === TRIES) throw error;
      message = t("settings.again", { reason: wordsOf(error), question: asked });
    }
  }
}

/**
 * @param {string} label
 * @param {(wanted: boolean) => void} onChange
 * @returns {Control} Not yet in the document.
 */
function drawSwitch(label, onChange) {
  const element = make(document, "input", "provenance-switch");
  element.type = "checkbox";
  element.setAttribute("role", "switch");
  element.setAttribute("aria-label", label);
  element.addEventListener("change", () => {
    const wanted = element.checked;
    element.checked = !wanted; // It turns when the server has turned it.
    onChange(wanted);
  });
  return { element, show: (value) => (element.checked = value === true) };
}

/**
 * @param {string} label
 * @param {(wanted: string[]) => void} onChange
 * @returns {Control} Not yet in the document.
 */
function drawList(label, onChange) {
  const element = make(document, "div", "provenance-list");
  const field = make(document, "textarea", "provenance-list-field");
  field.rows = 2;
  field.spellcheck = false;
  field.placeholder = t("settings.one_a_line");
  field.setAttribute("aria-label", label);
  const save = makeButton(document, "", t("settings.save"), () => onChange(readLines(field.value)));
  let shown = "";
  field.addEventListener("input", () => (save.disabled = field.value === shown));
  element.append(field, save);
  return {
    element,
    show: (value) => {
      shown = (Array.isArray(value) ? value : []).join("\n");
      field.value = shown;
      save.disabled = true;
    },
  };
}

/**
 * Reads names, one a line.
 *
 * @param {string} text
 * @returns {string[]} Each once, without empty ones.
 */
export function readLines(text) {
  return [...new Set(text.split(/\r?\n/).map((line) => line.trim()))].filter(Boolean);
}

/** @param {unknown} error */
function wordsOf(error) {
  return showText(reasonOf(error), SENTENCE_CHARS);
}
