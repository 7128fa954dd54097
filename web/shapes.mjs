/** Reads values whose shape nobody promised: answers, events, and what strangers' files hold. */

/**
 * Gives a value as an object.
 *
 * @param {unknown} value
 * @returns {Record<string, unknown>} Empty for anything that is no object, lists included.
 */
export function toObject(value) {
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  return isObject ? { ...value } : {};
}

/**
 * Gives a value as a list.
 *
 * @param {unknown} value
 * @returns {readonly unknown[]} Empty for anything that is no list.
 */
export function toList(value) {
  return Array.isArray(value) ? value : [];
}
