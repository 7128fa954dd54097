/** Makes elements of a page. Text goes in as text, never as markup. */

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
export function make(document, tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/**
 * Makes a button.
 *
 * @param {Document} document
 * @param {string} className
 * @param {string} text
 * @param {() => void} onClick
 * @returns {HTMLButtonElement} Not yet in the document.
 */
export function makeButton(document, className, text, onClick) {
  const button = make(document, "button", `provenance-button ${className}`, text);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/** What is drawn waits for its style sheet no longer. */
const STYLE_MS = 1000;

/** @type {Map<string, { style: HTMLLinkElement, ready: Promise<unknown> }>} */
const styles = new Map();

/**
 * Loads a style sheet that lies beside a module, once.
 *
 * @param {string} module The module's `import.meta.url`.
 * @param {string} path From there.
 * @returns {Promise<unknown>} Settled when it is there, or cannot be waited for any longer.
 */
export function addStyle(module, path) {
  const { href } = new URL(path, module);
  const known = styles.get(href);
  if (known?.style.isConnected) return known.ready;
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = href;
  const ready = new Promise((resolve) => {
    style.addEventListener("load", resolve);
    style.addEventListener("error", resolve);
    setTimeout(resolve, STYLE_MS);
  });
  styles.set(href, { style, ready });
  document.head.append(style);
  return ready;
}
