/** The cards in a corner of the page, one for each image that carries what made it. */

import { addStyle, make, makeButton } from "./elements.mjs";
import { pickFiles } from "./given_files.mjs";
import { OfferCard } from "./offer_card.mjs";
import { t } from "./strings.mjs";

/** @typedef {import("./server.mjs").Source} Source */

const MOST_CARDS = 24;

/** @type {OfferCard[]} */
let cards = [];

/**
 * Shows a card for each source.
 *
 * @param {readonly Source[]} sources
 * @returns {Promise<OfferCard[]>} As many as are shown.
 */
export async function offer(sources) {
  await addStyle(import.meta.url, "./provenance.css");
  const room = MOST_CARDS - cards.filter(({ isRunning }) => isRunning).length;
  const shown = sources.slice(0, room).map((source) => new OfferCard(source, arrange));
  const region = findRegion();
  region.querySelector(".provenance-more")?.remove();
  for (const card of shown) {
    if (cards.length >= MOST_CARDS) cards.find(({ isRunning }) => !isRunning)?.close();
    cards.push(card);
    region.append(card.element);
    card.look();
  }
  const count = sources.length - shown.length;
  if (count > 0) {
    const note = make(document, "p", "provenance-card provenance-more", t("card.more", { count }));
    note.setAttribute("role", "status");
    region.append(note);
  }
  return shown;
}

/**
 * Shows a source's card and begins its rerun.
 *
 * @param {Source} source
 */
export async function run(source) {
  const [card] = await offer([source]);
  card?.run();
}

/** Lets the user choose files, and shows a card for each that carries what made it. */
export async function chooseFiles() {
  await offer(await pickFiles());
}

/**
 * Arranges the cards when one has changed: newest last, with one button for all that wait.
 *
 * @param {OfferCard} changed
 */
function arrange(changed) {
  const region = findRegion();
  if (changed.isClosed) {
    const hadFocus = changed.element.contains(document.activeElement);
    const at = cards.indexOf(changed);
    cards = cards.filter((card) => card !== changed);
    if (hadFocus) (cards[at] ?? cards.at(-1))?.closer.focus();
  }
  region.hidden = cards.length === 0;
  const waiting = cards.filter(({ isReady }) => isReady);
  const all = region.querySelector(".provenance-all") ?? addAll(region);
  if (all instanceof HTMLElement) all.hidden = waiting.length < 2;
}

/**
 * Finds the corner in which the cards lie, or makes it.
 *
 * @returns {HTMLElement} In the page.
 */
function findRegion() {
  const known = document.querySelector(".provenance-cards");
  if (known instanceof HTMLElement) return known;
  const region = make(document, "section", "provenance-cards");
  region.setAttribute("aria-label", t("card.title"));
  region.style.position = "fixed"; // also where the style sheet is gone
  document.body.append(region);
  return region;
}

/**
 * @param {HTMLElement} region
 * @returns {HTMLElement} The button for all cards that wait.
 */
function addAll(region) {
  const all = makeButton(document, "provenance-all", t("card.run_all"), () => {
    for (const card of cards.filter(({ isReady }) => isReady)) card.run();
  });
  region.append(all);
  return all;
}
