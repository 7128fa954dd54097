/**
 * One image's card: what can be expected of a rerun, the rerun itself, and its verdict. A card asks
 * nothing and takes no focus.
 */

import { make, makeButton } from "./elements.mjs";
import { place, readPreflight, reasonOf, reproduce } from "./server.mjs";
import { toList } from "./shapes.mjs";
import { t } from "./strings.mjs";
import { MARKS, parseReport, showText } from "./verdict.mjs";

/** @typedef {import("./server.mjs").Source} Source */
/** @typedef {import("./server.mjs").Reproduction} Reproduction */
/** @typedef {[key: string, onClick: () => unknown]} Action */

const LINE_CHARS = 300;
const NAME_CHARS = 120;
const MOST_REASONS = 20;
/** Between questions while the server still hashes files, and how often they are put. */
const ASK_AGAIN_MS = 1000;
const MOST_QUESTIONS = 600;

/** Runs wait for each other: a server has one queue, which belongs to others, too. */
let lastRun = Promise.resolve();

/** The card of one image. */
export class OfferCard {
  /**
   * @param {Source} source
   * @param {(card: OfferCard) => void} onChange Called when its buttons change, or it is closed.
   */
  constructor(source, onChange) {
    this.source = source;
    this.onChange = onChange;
    /** @type {Reproduction | null} */
    this.found = null;
    this.calledOff = new AbortController();
    this.isRunning = false;
    this.isClosed = false;

    this.element = make(document, "article", "provenance-card");
    this.element.setAttribute("aria-label", `${t("card.title")}: ${source.name}`);
    this.mark = make(document, "span", "provenance-mark", "\u2026");
    this.mark.setAttribute("aria-hidden", "true");
    this.closer = makeButton(document, "provenance-close", "\u00d7", () => this.close());
    this.closer.setAttribute("aria-label", t("card.close_one", { name: source.name }));
    /** Read out when it changes; steps of a run are not. */
    this.line = make(document, "p", "provenance-card-line");
    this.line.setAttribute("role", "status");
    this.reasons = make(document, "details", "provenance-card-reasons");
    this.step = make(document, "p", "provenance-card-step");
    this.bar = make(document, "progress");
    this.actions = make(document, "div", "provenance-card-actions");
    const name = make(
      document,
      "strong",
      "provenance-card-name",
      showText(source.name, NAME_CHARS),
    );
    name.title = name.textContent ?? "";
    const head = make(document, "header");
    head.append(this.mark, name, this.closer);
    this.element.append(head, this.line, this.reasons, this.step, this.bar, this.actions);
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.isRunning) return;
      event.stopPropagation();
      this.close();
    });
    this.showRun(false);
    this.say("unknown", t("card.looking"));
  }

  /** Whether it waits for the user to have it run. */
  get isReady() {
    return !this.isRunning && !this.found && this.element.dataset["level"] === "ready";
  }

  /** Asks what can be expected of a rerun, again while the server still hashes files. */
  async look() {
    const { signal } = this.restart();
    this.say("unknown", t("card.looking"));
    this.showActions([]);
    let { source } = this;
    try {
      for (let asked = 0; asked < MOST_QUESTIONS; asked += 1) {
        const preflight = await readPreflight(source, signal);
        if (signal.aborted) return;
        this.showPreflight(preflight);
        if (!preflight["pending"]) return;
        // From now on by its name: a large file need not travel again and again.
        if (source === this.source) {
          source = { name: source.name, data: await place(source, signal) };
        }
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
        if (signal.aborted) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      this.say("unknown", t("card.no_answer", { reason: reasonOf(error) }));
      this.showActions([["card.look_again", () => this.look()]]);
    }
  }

  /** Runs the image's graph again, after the reruns that were asked for before it. */
  run() {
    if (this.isRunning || this.isClosed) return;
    const { signal } = this.restart();
    this.isRunning = true;
    this.say("ready", t("card.waiting"));
    this.showActions([["card.cancel", () => this.cancel()]]);
    lastRun = lastRun.then(() => (signal.aborted ? undefined : this.runNow(signal)));
  }

  /** Takes the card away, and calls off what it waits for. */
  close() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.calledOff.abort();
    this.onChange(this);
    this.element.remove();
  }

  /** @param {AbortSignal} signal */
  async runNow(signal) {
    this.showRun(true);
    this.say("ready", t("card.begun"));
    try {
      const found = await reproduce(this.source, (now) => this.showProgress(now, signal), signal);
      if (signal.aborted) return;
      this.found = found;
      this.end();
      this.showVerdict(found);
    } catch (error) {
      if (!signal.aborted) this.stop(t("card.failed", { reason: reasonOf(error) }));
    }
  }

  /** @returns {AbortController} A new one: what was asked before is called off. */
  restart() {
    this.calledOff.abort();
    this.calledOff = new AbortController();
    return this.calledOff;
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
    this.showRun(false);
  }

  /** @param {Record<string, unknown>} preflight */
  showPreflight(preflight) {
    const cannotRun = preflight["expect"] === "cannot_run";
    this.element.dataset["expect"] = String(preflight["expect"]);
    this.say(cannotRun ? "mismatch" : "ready", String(preflight["line"] ?? ""));
    this.showReasons(toList(preflight["reasons"]));
    this.showActions([
      cannotRun ? ["card.look_again", () => this.look()] : ["card.run", () => this.run()],
      this.details(),
    ]);
  }

  /** @param {readonly unknown[]} reasons Why no better is expected. */
  showReasons(reasons) {
    const list = make(document, "ul");
    for (const reason of reasons.slice(0, MOST_REASONS)) {
      list.append(make(document, "li", "", showText(reason, LINE_CHARS)));
    }
    this.reasons.replaceChildren(make(document, "summary", "", t("card.reasons")), list);
    this.reasons.hidden = reasons.length === 0;
  }

  /**
   * @param {import("./server.mjs").Progress} progress
   * @param {AbortSignal} signal
   */
  showProgress({ state, text, part }, signal) {
    if (signal.aborted) return;
    const key = { uploading: "card.uploading", queued: "card.waiting", running: "card.running" };
    this.step.textContent = showText(t(key[state], { text }), LINE_CHARS);
    this.bar.setAttribute("aria-label", this.step.textContent);
    if (part === null) this.bar.removeAttribute("value");
    else this.bar.value = part;
  }

  /** @param {boolean} isOn Whether to show how far a run is. */
  showRun(isOn) {
    this.step.textContent = "";
    this.step.hidden = !isOn;
    this.bar.hidden = !isOn;
    this.bar.removeAttribute("value");
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

  /** @returns {Action} The button that leads to the record. */
  details() {
    return ["card.details", async () => (await import("./sidebar.mjs")).show(this.source)];
  }

  /**
   * @param {import("./verdict.mjs").Level | "ready"} level
   * @param {string} words
   */
  say(level, words) {
    const text = showText(words, LINE_CHARS);
    this.element.dataset["level"] = level;
    this.mark.dataset["level"] = level;
    this.mark.textContent = level === "ready" ? "\u25cf" : MARKS[level];
    if (this.line.textContent !== text) this.line.textContent = text;
    this.reasons.hidden = true;
  }

  /**
   * Shows buttons; the first is the one that most users want. What has the focus keeps it.
   *
   * @param {readonly Action[]} wanted
   */
  showActions(wanted) {
    const shown = [...this.actions.children].map((button) => button.getAttribute("data-key"));
    const keys = wanted.map(([key]) => key);
    if (keys.join() !== shown.join()) {
      const focused = document.activeElement;
      const hadFocus = focused !== null && this.actions.contains(focused);
      const key = focused?.getAttribute("data-key") ?? "";
      this.actions.replaceChildren(...wanted.map(toButton));
      const next = this.actions.children[Math.max(keys.indexOf(key), 0)];
      if (hadFocus && next instanceof HTMLElement) next.focus();
    }
    this.onChange(this);
  }
}

/**
 * @param {Action} action
 * @param {number} at
 */
function toButton([key, onClick], at) {
  const button = makeButton(document, at === 0 ? "provenance-primary" : "", t(key), onClick);
  button.setAttribute("data-key", key);
  return button;
}
