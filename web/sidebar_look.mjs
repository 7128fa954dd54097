/**
 * One image that is looked at: its file is read, this server is asked what a rerun would give, and
 * both are drawn.
 */

import { make, makeButton } from "./elements.mjs";
import { place, readPreflight, readRecord, reasonOf, viewURL } from "./server.mjs";
import { announce, makeCopy, makeLines, makeMore, makePart } from "./sidebar_parts.mjs";
import { drawModels, drawRecord } from "./sidebar_record.mjs";
import { toList, toObject } from "./shapes.mjs";
import { showSentence, showWord, take } from "./sidebar_values.mjs";
import { t } from "./strings.mjs";
import { toServerImage } from "./viewer_names.mjs";

/** @typedef {import("./server.mjs").Source} Source */
/** @typedef {Record<string, unknown>} Json */

/** Between questions while the server hashes files; each waits longer than the last. */
const ASK_AGAIN_MS = 1000;
const LONGEST_WAIT_MS = 5000;
const MOST_REASONS = 20;
const NAME_ID = "provenance-look-name";

/** What one image shows, and the questions that are still open. */
export class Look {
  /**
   * @param {Source} source
   * @param {object} reactions
   * @param {(source: Source) => void} reactions.onCompare
   * @param {() => void} reactions.onClose
   */
  constructor(source, { onCompare, onClose }) {
    this.source = source;
    /** What the server is asked about: the source, or where it lies on the server. */
    this.asked = source;
    this.onCompare = onCompare;
    this.calledOff = new AbortController();
    this.questions = 0;
    this.isAsking = false;
    this.isUnread = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {Json | null} */
    this.preflight = null;
    /** @type {((preflight: Json) => void) | null} */
    this.redraw = null;
    /** @type {string | null} */
    this.blob = null;

    this.element = make(document, "section", "provenance-look");
    this.element.setAttribute("aria-labelledby", NAME_ID);
    this.line = make(document, "p", "provenance-line");
    this.line.setAttribute("role", "status");
    this.expected = make(document, "div", "provenance-expected");
    this.actions = make(document, "div", "provenance-actions");
    this.content = make(document, "div", "provenance-record");
    const parts = [this.line, this.expected, this.actions, this.content];
    this.element.append(this.drawHead(onClose), ...parts);
  }

  /** Reads the file and asks what to expect. */
  async start() {
    const signal = this.begin();
    this.isUnread = false;
    this.say("waiting", t("sidebar.reading"));
    this.actions.replaceChildren();
    try {
      if (this.source.sidecar) this.asked = await this.place(signal);
      // The record is shown as soon as it is there: hashing may take much longer.
      this.ask();
      this.draw(await readRecord(this.asked.data, signal));
    } catch (error) {
      if (signal.aborted) return;
      this.isUnread = true;
      this.stopAsking();
      this.expected.replaceChildren();
      this.say("mismatch", t("sidebar.unread", { reason: reasonOf(error) }));
      const again = makeButton(document, "", t("card.look_again"), () => this.start());
      this.actions.replaceChildren(again);
    }
  }

  /**
   * Calls off the questions that are still open, so that none is put twice.
   *
   * @returns {AbortSignal} Of those that follow.
   */
  begin() {
    this.calledOff.abort();
    this.calledOff = new AbortController();
    this.stopAsking();
    this.questions = 0;
    this.isAsking = false;
    this.forget();
    return this.calledOff.signal;
  }

  /** Forgets what the server said, and where it put the file. */
  forget() {
    this.preflight = null;
    this.asked = this.source;
  }

  /**
   * Gives the place of the source on the server, where it is put if it is not there.
   *
   * @param {AbortSignal} signal
   * @returns {Promise<Source>} Its record lies beside it there.
   */
  async place(signal) {
    return { name: this.source.name, data: await place(this.asked, signal) };
  }

  /** Takes what it says aside, and calls off what it waits for. */
  close() {
    this.calledOff.abort();
    this.stopAsking();
    if (this.blob) URL.revokeObjectURL(this.blob);
    this.element.remove();
  }

  /** Puts no further question while nobody sees the answers. */
  stopAsking() {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** Tells whether the server still hashes files. */
  isWaiting() {
    return Number(this.preflight?.["pending"]) > 0;
  }

  /** Goes on where it stopped. */
  resume() {
    if (this.isWaiting() && this.timer === undefined) this.ask();
  }

  /** Asks what can be expected of a rerun, again while the server still hashes files. */
  async ask() {
    if (this.isAsking) return;
    const { signal } = this.calledOff;
    this.isAsking = true;
    try {
      // The file is sent along with the first question alone.
      if (this.isWaiting()) this.asked = await this.place(signal);
      const preflight = await readPreflight(this.asked, signal);
      if (!signal.aborted && !this.isUnread) this.showPreflight(preflight);
    } catch (error) {
      if (signal.aborted || this.isUnread) return;
      this.forget(); // A server that was started again has no such file any more.
      this.say("unknown", t("sidebar.no_preflight", { reason: reasonOf(error) }));
      this.expected.replaceChildren(
        makeButton(document, "", t("card.look_again"), () => this.ask()),
      );
    } finally {
      if (!signal.aborted) this.isAsking = false;
    }
  }

  askLater() {
    this.stopAsking();
    this.questions += 1;
    const waitMs = Math.min(ASK_AGAIN_MS * this.questions, LONGEST_WAIT_MS);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.element.isConnected) this.ask();
    }, waitMs);
  }

  /** @param {Json} read */
  draw(read) {
    const record = read["record"] === null ? null : toObject(read["record"]);
    if (record === null) this.drawWithout(read);
    else {
      const drawn = drawRecord(record, read["report"]);
      this.redraw = drawn.showPreflight;
      this.content.replaceChildren(...drawn.parts);
    }
    if (this.preflight) this.redraw?.(this.preflight);
    const copy = () => JSON.stringify(record, null, 2);
    this.actions.replaceChildren(
      makeButton(document, "provenance-primary", t("card.run"), async () => {
        (await import("./card.mjs")).run(this.source);
      }),
      makeButton(document, "", t("sidebar.compare"), () => this.onCompare(this.source)),
      ...(record === null ? [] : [makeCopy(t("sidebar.copy_record"), copy)]),
    );
    announce(this.element, t("sidebar.shown", { name: showWord(this.source.name) }));
  }

  /**
   * Says what there is to say of a file without a record.
   *
   * @param {Json} read
   */
  drawWithout(read) {
    const words = make(document, "p", "", t("sidebar.no_record"));
    const more = make(document, "p", "provenance-quiet", showSentence(read["summary"]));
    const models = make(document, "div");
    this.content.replaceChildren(words, more, models);
    this.redraw = (preflight) => {
      const problem = preflight["problem"];
      const hasGraph = problem === null || problem === undefined;
      more.textContent = hasGraph ? t("sidebar.graph_only") : showSentence(problem);
      const files = hasGraph
        ? [makePart(t("sidebar.models"), drawModels(null, preflight), true)]
        : [];
      models.replaceChildren(...files);
    };
  }

  /** @param {Json} preflight */
  showPreflight(preflight) {
    this.preflight = preflight;
    if (this.isWaiting()) this.askLater();
    const cannotRun = preflight["expect"] === "cannot_run";
    const state = preflight["expect"] === "mismatch" ? "doubt" : "ready";
    this.say(cannotRun ? "mismatch" : state, showSentence(preflight["line"]));
    this.redraw?.(preflight);
    const expected = t("sidebar.expected", { level: t(`sidebar.expect.${preflight["expect"]}`) });
    const { items, left } = take(toList(preflight["reasons"]), MOST_REASONS);
    const reasons = [makeLines(items.map(showSentence)), ...makeMore(left)];
    const isOpen = this.expected.querySelector("details")?.open ?? false;
    const content = items.length
      ? makePart(expected, reasons, isOpen)
      : make(document, "p", "provenance-quiet", expected);
    this.expected.replaceChildren(...(cannotRun && items.length === 0 ? [] : [content]));
  }

  /**
   * @param {"waiting" | "ready" | "doubt" | "mismatch" | "unknown"} state
   * @param {string} words
   */
  say(state, words) {
    this.element.dataset["state"] = state;
    this.line.textContent = words;
  }

  /** @param {() => void} onClose */
  drawHead(onClose) {
    const { name, data } = this.source;
    const head = make(document, "div", "provenance-head");
    const image = make(document, "img");
    image.alt = "";
    image.addEventListener("error", () => image.remove());
    if (typeof data !== "string") this.blob = URL.createObjectURL(data);
    image.src = this.blob ?? viewURL(toServerImage(String(data)));
    const title = make(document, "h3", "", showWord(name));
    title.id = NAME_ID;
    title.tabIndex = -1;
    const close = makeButton(document, "provenance-close", "\u00d7", onClose);
    close.setAttribute("aria-label", t("card.close_one", { name: showWord(name) }));
    head.append(image, title, close);
    return head;
  }
}
