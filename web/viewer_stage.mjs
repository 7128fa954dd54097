/**
 * The image area: the original, what was reproduced and their difference, in one of three modes, all
 * with one zoom and one place.
 */

import { make } from "./elements.mjs";
import { t } from "./strings.mjs";
import { makeAmplifier, makeDivider, makeTabs, makeZoomButtons, tabId } from "./viewer_controls.mjs";
import { makePicture } from "./viewer_picture.mjs";
import * as seen from "./viewer_view.mjs";

/** @typedef {import("./viewer_picture.mjs").Picture} Picture */
/** @typedef {import("./viewer_view.mjs").Mode} Mode */

/** Where the images are shown. */
const PANEL_ID = "provenance-viewer-images";
/** Pixels of the screen that an arrow key moves, and with Shift. */
const STEP_PX = 40;
const LARGE_STEP_PX = 200;

/** @type {ReadonlyMap<string, readonly [right: number, down: number]>} */
const MOVES = new Map([
  ["ArrowLeft", [1, 0]],
  ["ArrowRight", [-1, 0]],
  ["ArrowUp", [0, 1]],
  ["ArrowDown", [0, -1]],
]);

/** @type {Readonly<Record<Mode, readonly string[]>>} */
const SHOWN = {
  slider: ["original", "reproduced"],
  side: ["original", "reproduced"],
  difference: ["difference"],
};

/** The image area of one dialog. */
export class Stage {
  /** @type {seen.View | null} Nothing while the image is shown whole. */
  #view = null;
  /** @type {Map<string, Picture>} */
  #pictures = new Map();

  /**
   * @param {ReadonlyMap<string, string>} addresses Of the images, by role.
   * @param {number} mostDifference In levels; 0 if there is none, or it is not known.
   */
  constructor(addresses, mostDifference) {
    this.modes = seen.modesOf(new Set(addresses.keys()));
    this.element = make(document, "section", "provenance-stage");
    this.element.setAttribute("aria-label", t("viewer.images"));
    this.panel = makePanel();
    for (const role of new Set(this.modes.flatMap((mode) => SHOWN[mode]))) {
      const picture = makePicture(role, addresses.get(role) ?? "", () => this.#draw());
      this.#pictures.set(role, picture);
      this.panel.append(picture.pane);
    }
    this.divider = makeDivider((part) => this.panel.style.setProperty("--divided", `${part}%`));
    this.panel.append(this.divider);
    this.tabs = makeTabs(this.modes, PANEL_ID, (mode) => this.#show(mode));
    this.zoom = makeZoomButtons({
      onStep: (direction) => this.#step(direction),
      onFit: () => this.#look(null),
      onFull: () => this.#zoom(1),
    });
    this.#lay(mostDifference);
    this.#watchPointer();
    this.sizes = new ResizeObserver(() => this.#draw());
    this.sizes.observe(this.panel);
    if (this.modes[0]) this.tabs.choose(this.modes[0]);
  }

  /**
   * Does what a key asks of the images, wherever in the dialog it is pressed.
   *
   * @param {KeyboardEvent} event
   */
  press(event) {
    // The browser's own zoom, and other shortcuts, stay the browser's.
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = event.target === this.panel ? MOVES.get(event.key) : undefined;
    if (move) {
      const px = event.shiftKey ? LARGE_STEP_PX : STEP_PX;
      this.#look(seen.pan(this.#current(), move[0] * px, move[1] * px));
      event.preventDefault();
    } else if (event.key === "+" || event.key === "=") this.#step(1);
    else if (event.key === "-") this.#step(-1);
    else if (event.key === "0") this.#look(null);
    else if (event.key === "1") this.#zoom(1);
  }

  /** Ends what outlives the elements. */
  close() {
    this.sizes.disconnect();
  }

  /** @param {number} mostDifference */
  #lay(mostDifference) {
    const bar = make(document, "div", "provenance-stage-bar");
    bar.append(this.tabs.element, this.zoom.element);
    const foot = make(document, "div", "provenance-stage-foot");
    this.hint = make(document, "p", "provenance-quiet");
    this.hint.id = `${PANEL_ID}-hint`;
    const start = seen.amplificationFor(mostDifference);
    this.amplifier = makeAmplifier(start, (times) => {
      this.panel.style.setProperty("--times", String(times));
    });
    foot.append(this.amplifier, this.hint);
    this.element.append(bar, this.panel, foot);
  }

  /** @param {Mode} mode */
  #show(mode) {
    this.element.dataset["mode"] = mode;
    this.panel.setAttribute("aria-labelledby", tabId(mode));
    for (const [role, { pane }] of this.#pictures) pane.hidden = !SHOWN[mode].includes(role);
    this.divider.hidden = mode !== "slider";
    if (this.amplifier) this.amplifier.hidden = mode !== "difference";
    if (this.hint) this.hint.textContent = t(`viewer.${mode}.hint`);
    this.#draw();
  }

  #shown() {
    return [...this.#pictures.values()].filter(({ pane }) => !pane.hidden);
  }

  /** @returns {seen.Size} Of a pane, in pixels of the screen; all shown ones are equal. */
  #paneSize() {
    const [first] = this.#shown();
    const width = (first?.frame.clientWidth ?? 0) * devicePixelRatio;
    return { width, height: (first?.frame.clientHeight ?? 0) * devicePixelRatio };
  }

  /** @returns {seen.Size} Of the images shown together. */
  #imageSize() {
    const sizes = this.#shown().map(({ image }) => image);
    return seen.cover(sizes.map((image) => ({ width: image.naturalWidth, height: image.naturalHeight })));
  }

  #current() {
    const [image, pane] = [this.#imageSize(), this.#paneSize()];
    return this.#view ? seen.keepInside(this.#view, image, pane) : seen.fit(image, pane);
  }

  /** @param {seen.View | null} view */
  #look(view) {
    this.#view = view && seen.keepInside(view, this.#imageSize(), this.#paneSize());
    this.#draw();
  }

  /**
   * @param {number} zoom
   * @param {{ x: number, y: number }} [at]
   */
  #zoom(zoom, at) {
    this.#look(seen.zoomTo(this.#current(), zoom, at));
  }

  /** @param {1 | -1} direction */
  #step(direction) {
    this.#zoom(seen.nextZoom(this.#current().zoom, direction));
  }

  #draw() {
    const pane = this.#paneSize();
    if (pane.width === 0 || pane.height === 0 || this.#imageSize().width === 0) return;
    const view = this.#current();
    const { left, top } = seen.corner(view, pane);
    this.panel.dataset["enlarged"] = String(view.zoom > 1);
    for (const { image } of this.#shown()) {
      image.style.left = `${left / devicePixelRatio}px`;
      image.style.top = `${top / devicePixelRatio}px`;
      image.style.width = `${(image.naturalWidth * view.zoom) / devicePixelRatio}px`;
      image.style.height = `${(image.naturalHeight * view.zoom) / devicePixelRatio}px`;
    }
    this.zoom.show(view.zoom, this.#view === null);
  }

  #watchPointer() {
    const { panel } = this;
    let held = { x: 0, y: 0 };
    panel.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      panel.setPointerCapture(event.pointerId);
      held = event;
    });
    panel.addEventListener("pointermove", (event) => {
      if (!panel.hasPointerCapture(event.pointerId)) return;
      const [right, down] = [event.x - held.x, event.y - held.y];
      held = event;
      this.#look(seen.pan(this.#current(), right * devicePixelRatio, down * devicePixelRatio));
    });
    panel.addEventListener("wheel", (event) => {
      event.preventDefault();
      const isLines = event.deltaMode !== WheelEvent.DOM_DELTA_PIXEL;
      const factor = seen.wheelFactor(event.deltaY, isLines);
      this.#zoom(this.#current().zoom * factor, this.#fromMiddle(event));
    });
  }

  /**
   * @param {MouseEvent} event
   * @returns {{ x: number, y: number }} From the middle of the pane that it is in.
   */
  #fromMiddle(event) {
    const boxes = this.#shown().map(({ frame }) => frame.getBoundingClientRect());
    const box = boxes.find(({ right }) => event.clientX <= right) ?? boxes[0];
    if (!box) return { x: 0, y: 0 };
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    return { x: (event.clientX - x) * devicePixelRatio, y: (event.clientY - y) * devicePixelRatio };
  }
}

/** Makes the element that shows the images; the arrow keys move them while it has the focus. */
function makePanel() {
  const panel = make(document, "div", "provenance-images");
  panel.id = PANEL_ID;
  panel.tabIndex = 0;
  panel.setAttribute("role", "tabpanel");
  panel.setAttribute("aria-describedby", `${PANEL_ID}-hint`);
  return panel;
}
