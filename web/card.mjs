/**
 * Cards in a corner of the page: one for each image that carries what made it, with what can be
 * expected of a rerun, the rerun itself, and its verdict. A card asks nothing and takes no focus.
 */

import { choose, sourceOfLink } from "./drop.js";
import { addStyle, make, makeButton } from "./elements.js";
import { readPreflight, reproduce } from "./server.mjs";
import { t } from "./strings.js";
import { MARKS, parseReport, showText } from "./verdict.mjs";

/** @typedef {import("./server.mjs").Source} Source */
/** @typedef {import("./server.mjs").Reproduction} Reproduction */

const MOST_CARDS = 24;
const LINE_CHARS = 300;
/** Between questions while the server still hashes files, and how often they are put. */
const ASK_AGAIN_MS = 1000;
const MOST_QUESTIONS = 600;

/** @type {Card[]} */
const cards = [];

/** Runs wait for each other: a server has one queue, which belongs to others, too. */
let lastRun = Promise.resolve();

/**
 * Shows a card for each source.
 *
 * @param {readonly Source[]} sources
 * @returns {Card[]} As many as are shown.
 */
export function offer(sources) {
  addStyle(import.meta.url, "./provenance.css");
  const shown = sources.slice(0, MOST_CARDS).map((source) => new Card(source));
  for (const card of shown) {
    cards.push(card);
    card.look();
  }
  while (cards.length > MOST_CARDS) cards[0]?.close();
  arrange();
  return shown;
}

/**
 * Shows a source's card and begins its rerun.
 *
 * @param {Source} source
 */
export function run(source) {
  offer([source])[0]?.run();
}

/**
 * Shows a card for a picture that the page shows.
 *
 * @param {string} link Its address.
 */
export function offerLink(link) {
  const source = sourceOfLink(link);
  if (source) offer([source]);
}

/** Lets the user choose files, and shows a card for each that carries what made it. */
export function chooseFiles() {
  const input = make(document, "input");
  input.type = "file";
  input.multiple = true;
  input.accept = "image/png,image/webp,image/jpeg,.json";
  input.addEventListener("change", async () => {
    const files = [...(input.files ?? [])];
    const sources = await choose(files);
    // Chosen for this very purpose: a file that carries nothing is told so by the server.
    offer(sources.length > 0 ? sources : files.map((file) => ({ name: file.name, data: file })));
  });
  input.click();
}

/** One image's card. */
class Card {
  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    /** @type {Reproduction | null} */
    this.found = null;
    this.calledOff = new AbortController();
    this.isRunning = false;
    this.isClosed = false;

    this.element = make(document, "article", "provenance-card");
    this.element.setAttribute("aria-label", `${t("card.title")}: ${source.name}`);
    this.mark = make(document, "span", "provenance-mark", "…");
    this.mark.setAttribute("aria-hidden", "true");
    const name = make(document, "strong", "provenance-card-name", showText(source.name, 120));
    const close = makeButton(document, "provenance-close", "\u00d7", () => this.close());
    close.setAttribute("aria-label", t("card.close_one", { name: source.name }));
    const head = make(document, "header");
    head.append(this.mark, name, close);
    this.line = make(document, "p", "provenance-card-line", t("card.looking"));
    this.line.setAttribute("role", "status");
    this.bar = make(document, "progress");
    this.bar.hidden = true;
    this.actions = make(document, "div", "provenance-card-actions");
    this.element.append(head, this.line, this.bar, this.actions);
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
    this.showActions([]);
  }

  /** Whether a rerun has been begun or has ended. */
  get isUsed() {
    return this.isRunning || this.found !== null;
  }

  /** Asks what can be expected of a rerun, again while the server still hashes files. */
  async look() {
    this.say("unknown", t("card.looking"));
    try {
      for (let asked = 0; asked < MOST_QUESTIONS; asked += 1) {
        const preflight = await readPreflight(this.source, this.calledOff.signal);
        if (this.isUsed) return;
        this.showPreflight(preflight);
        if (!preflight["pending"]) return;
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
        if (this.isClosed || this.isUsed) return;
      }
    } catch (error) {
      if (this.isClosed || this.isUsed) return;
      this.say("unknown", t("card.no_answer", { reason: reasonOf(error) }));
      this.showActions([["card.look_again", () => this.look()]]);
    }
  }

  /** @param {Record<string, unknown>} preflight */
  showPreflight(preflight) {
    const cannotRun = preflight["expect"] === "cannot_run";
    const reasons = Array.isArray(preflight["reasons"]) ? preflight["reasons"] : [];
    this.element.dataset["expect"] = String(preflight["expect"]);
    this.say(cannotRun ? "mismatch" : "ready", String(preflight["line"] ?? ""));
    this.line.title = reasons.slice(0, 10).map((reason) => showText(reason, LINE_CHARS)).join("\n");
    this.showActions(
      cannotRun
        ? [["card.look_again", () => this.look()], this.details()]
        : [["card.run", () => this.run()], this.details()],
    );
  }

  /** Runs the image's graph again, after the reruns that were asked for before it. */
  run() {
    if (this.isRunning) return;
    this.isRunning = true;
    this.calledOff.abort();
    this.calledOff = new AbortController();
    const { signal } = this.calledOff;
    this.say("ready", t("card.waiting"));
    this.showActions([["card.cancel", () => this.cancel()]]);
    lastRun = lastRun.then(() => (signal.aborted ? undefined : this.runNow(signal)));
  }

  /** @param {AbortSignal} signal */
  async runNow(signal) {
    this.bar.hidden = false;
    try {
      const found = await reproduce(this.source, (now) => this.showProgress(now), signal);
      this.end();
      this.found = found;
      this.showVerdict(found);
    } catch (error) {
      if (!signal.aborted) this.stop(t("card.failed", { reason: reasonOf(error) }));
    }
  }

  cancel() {
    this.calledOff.abort();
    this.stop(t("card.cancelled"));
  }

  /** @param {string} words Why there is no verdict. */
  stop(words) {
    this.end();
    this.say("unknown", words);
    this.showActions([["card.run", () => this.run()], this.details()]);
  }

  end() {
    this.isRunning = false;
    this.bar.hidden = true;
  }

  /** @param {import("./server.mjs").Progress} progress */
  showProgress({ state, text, part }) {
    const key = { uploading: "card.uploading", queued: "card.waiting", running: "card.running" };
    this.line.textContent = showText(t(key[state], { text }), LINE_CHARS);
    if (part === null) this.bar.removeAttribute("value");
    else this.bar.value = part;
  }

  /** @param {Reproduction} found */
  showVerdict(found) {
    const report = parseReport(found.report);
    const [first] = report.causes;
    const words = first ? `${first.kind}: ${first.message}` : t(`level.${report.level}.sentence`);
    this.say(report.level, words);
    this.line.prepend(make(document, "strong", "", t(`level.${report.level}`)), " ");
    this.showActions([
      ["card.show", () => this.showReport()],
      ["card.again", () => this.run()],
      this.details(),
    ]);
  }

  async showReport() {
    if (!this.found) return;
    (await import("./viewer.mjs")).openViewer({ source: this.source, ...this.found });
  }

  /** @returns {[string, () => void]} The button that leads to the record. */
  details() {
    return ["card.details", async () => (await import("./sidebar.mjs")).show(this.source)];
  }

  /**
   * @param {import("./verdict.mjs").Level | "ready"} level
   * @param {string} words
   */
  say(level, words) {
    this.element.dataset["level"] = level;
    this.mark.dataset["level"] = level;
    this.mark.textContent = level === "ready" ? "\u25cf" : MARKS[level];
    this.line.textContent = showText(words, LINE_CHARS);
  }

  /**
   * Shows buttons; the first is the one that most users want.
   *
   * @param {[key: string, onClick: () => void][]} wanted
   */
  showActions(wanted) {
    const hadFocus = this.actions.contains(document.activeElement);
    const buttons = wanted.map(([key, onClick], at) =>
      makeButton(document, at === 0 ? "provenance-primary" : "", t(key), onClick),
    );
    this.actions.replaceChildren(...buttons);
    if (hadFocus) buttons[0]?.focus();
    arrange();
  }

  /** Takes the card away, and calls off what it waits for. */
  close() {
    this.isClosed = true;
    this.calledOff.abort();
    this.element.remove();
    cards.splice(cards.indexOf(this), 1);
    arrange();
  }
}

/** Puts the cards into their corner, newest last, and a button for all where there are several. */
function arrange() {
  const region = document.querySelector(".provenance-cards") ?? addRegion();
  if (!(region instanceof HTMLElement)) return;
  region.hidden = cards.length === 0;
  const waiting = cards.filter((card) => !card.isUsed && card.element.dataset["level"] === "ready");
  const all = makeButton(document, "provenance-all", t("card.run_all"), () => {
    for (const card of waiting) card.run();
  });
  region.querySelector(".provenance-all")?.remove();
  for (const { element } of cards) if (element.parentElement !== region) region.append(element);
  if (waiting.length > 1) region.append(all);
}

/** Makes the corner in which the cards lie. */
function addRegion() {
  const region = make(document, "section", "provenance-cards");
  region.setAttribute("aria-label", t("card.title"));
  document.body.append(region);
  return region;
}

/** @param {unknown} error */
function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}
