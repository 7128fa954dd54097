/** One image of the verdict dialog: its frame, its caption, and words in its place if it is broken. */

import { make } from "./elements.mjs";
import { t } from "./strings.mjs";

/** @typedef {{ pane: HTMLElement, frame: HTMLElement, image: HTMLImageElement }} Picture */

/**
 * Makes an image with its caption.
 *
 * @param {string} role
 * @param {string} address
 * @param {() => void} onLoad
 * @returns {Picture} To be placed when it has been loaded.
 */
export function makePicture(role, address, onLoad) {
  const pane = make(document, "figure", "provenance-pane");
  pane.dataset["role"] = role;
  const caption = make(document, "figcaption", "", t(`viewer.${role}`));
  const frame = make(document, "div", "provenance-frame");
  const image = make(document, "img");
  image.alt = t(`viewer.${role}`);
  image.draggable = false;
  image.addEventListener("load", () => {
    const size = `${image.naturalWidth} \u00d7 ${image.naturalHeight}`;
    caption.append(make(document, "span", "provenance-quiet", size));
    onLoad();
  });
  image.addEventListener("error", () => {
    frame.replaceChildren(make(document, "p", "provenance-quiet", t("viewer.broken")));
  });
  image.src = address;
  frame.append(image);
  pane.append(caption, frame);
  return { pane, frame, image };
}
