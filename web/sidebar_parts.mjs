/**
 * Pieces that the sidebar is drawn with. Text goes in as text, never as markup.
 */

import { make, makeButton } from "./elements.mjs";
import { cutDigest } from "./sidebar_values.mjs";
import { t } from "./strings.mjs";
import { copyText } from "./viewer_report.mjs";

/** @typedef {import("./sidebar_values.mjs").Row} Row */

const COPIED_MS = 1500;

/**
 * Makes a part that can be folded.
 *
 * @param {string} title
 * @param {readonly HTMLElement[]} content
 * @param {boolean} [isOpen]
 */
export function makePart(title, content, isOpen = false) {
  const part = make(document, "details", "provenance-part");
  part.open = isOpen;
  const summary = make(document, "summary");
  summary.append(make(document, "h4", "", title));
  part.append(summary, ...content);
  return part;
}

/**
 * Makes a list of names and values.
 *
 * @param {readonly Row[]} rows
 */
export function makeRows(rows) {
  const list = make(document, "dl", "provenance-rows");
  for (const { label, value, digest, now } of rows) {
    const description = make(document, "dd");
    if (value) description.append(make(document, "span", "", value));
    if (digest) description.append(makeDigest(digest));
    if (now !== undefined) {
      description.append(
        make(document, "span", "provenance-here", t("sidebar.here", { value: now })),
      );
    }
    const name = make(document, "dt");
    // Long names are dotted, and break there.
    const [first = "", ...rest] = label.split(/(?<=[._])/u);
    name.append(first, ...rest.flatMap((part) => [make(document, "wbr"), part]));
    list.append(name, description);
  }
  return list;
}

/**
 * Makes a digest, cut in the middle; a click copies the whole.
 *
 * @param {string} digest
 */
export function makeDigest(digest) {
  const short = cutDigest(digest);
  const button = make(document, "button", "provenance-digest", short);
  button.type = "button";
  button.title = digest;
  button.setAttribute("aria-label", t("sidebar.copy_digest", { digest }));
  button.addEventListener("click", () => copy(button, digest));
  return button;
}

/**
 * Makes a button that copies a text.
 *
 * @param {string} label
 * @param {() => string} read
 */
export function makeCopy(label, read) {
  const button = makeButton(document, "", label, () => copy(button, read()));
  return button;
}

/**
 * Makes a list of sentences.
 *
 * @param {readonly string[]} lines
 * @param {string} [className]
 */
export function makeLines(lines, className = "provenance-notes") {
  const list = make(document, "ul", className);
  list.append(...lines.map((line) => make(document, "li", "", line)));
  return list;
}

/**
 * Says that a list goes on.
 *
 * @param {number} left How many entries are not shown.
 * @returns {HTMLElement[]} None where there are none.
 */
export function makeMore(left) {
  return left > 0
    ? [make(document, "p", "provenance-quiet", t("sidebar.more", { count: left }))]
    : [];
}

/**
 * Tells people who listen to the page.
 *
 * @param {Element} from An element of the sidebar.
 * @param {string} text
 */
export function announce(from, text) {
  const region = from.closest(".provenance-sidebar")?.querySelector(".provenance-status");
  if (region) region.textContent = text;
}

/**
 * @param {HTMLElement} button
 * @param {string} text
 */
async function copy(button, text) {
  const isCopied = await copyText(text, button.parentElement ?? button);
  announce(button, t(isCopied ? "sidebar.copied" : "sidebar.not_copied"));
  if (!isCopied) return;
  button.dataset["copied"] = "true";
  setTimeout(() => delete button.dataset["copied"], COPIED_MS);
}
