/** Gives a report away: to the clipboard, or as a file. */

import { make } from "./elements.mjs";

const LATER_MS = 60_000;

/**
 * Puts a text on the clipboard.
 *
 * @param {string} text
 * @param {HTMLElement} place Where a field may be put for a moment, so that it can take the focus.
 * @returns {Promise<boolean>} Whether it is there.
 */
export async function copyText(text, place) {
  try {
    // Not there where the page came over plain HTTP; and it may be forbidden.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyFromField(text, place);
  }
}

/**
 * @param {string} text
 * @param {HTMLElement} place
 */
function copyFromField(text, place) {
  const before = document.activeElement;
  const field = make(document, "textarea", "provenance-unseen");
  field.value = text;
  field.readOnly = true;
  place.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}

/**
 * Saves a text as a file.
 *
 * @param {string} text JSON.
 * @param {string} name
 */
export function saveText(text, name) {
  const link = make(document, "a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), LATER_MS);
}
