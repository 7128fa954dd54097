/**
 * The controls of the images: the choice of mode, the zoom, the divider, the amplification. Each works
 * with the keyboard as with the mouse, and says to a screen reader what it stands at.
 */

import { make, makeButton } from "./elements.mjs";
import { t } from "./strings.mjs";
import { AMPLIFICATIONS } from "./viewer_view.mjs";

/** @typedef {import("./viewer_view.mjs").Mode} Mode */

const DIVIDER_STEPS = new Map([
  ["ArrowLeft", -1],
  ["ArrowDown", -1],
  ["ArrowRight", 1],
  ["ArrowUp", 1],
  ["PageDown", -10],
  ["PageUp", 10],
  ["Home", -100],
  ["End", 100],
]);

/**
 * Makes the list of modes: one stop of the Tab key, within which the arrow keys choose.
 *
 * @param {readonly Mode[]} modes
 * @param {string} panelId Of the element that shows them.
 * @param {(mode: Mode) => void} onChoose
 * @returns {{ element: HTMLElement, choose: (mode: Mode) => void }} None is chosen yet.
 */
export function makeTabs(modes, panelId, onChoose) {
  const element = make(document, "div", "provenance-tabs");
  element.setAttribute("role", "tablist");
  element.setAttribute("aria-label", t("viewer.modes"));
  const tabs = modes.map((mode) => {
    const tab = makeButton(document, "provenance-tab", t(`viewer.${mode}`), () => choose(mode));
    tab.id = tabId(mode);
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panelId);
    return tab;
  });
  element.append(...tabs);

  /** @param {Mode} mode */
  function choose(mode) {
    for (const tab of tabs) {
      const isChosen = tab.id === tabId(mode);
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    onChoose(mode);
  }

  element.addEventListener("keydown", (event) => {
    const at = tabs.findIndex((tab) => tab === document.activeElement);
    const next = nextTab(event.key, at, tabs.length);
    const mode = modes[next];
    if (!mode) return;
    event.preventDefault();
    choose(mode);
    tabs[next]?.focus();
  });
  return { element, choose };
}

/**
 * @param {Mode} mode
 * @returns {string} The id of its tab.
 */
export function tabId(mode) {
  return `provenance-viewer-tab-${mode}`;
}

/**
 * @param {string} key
 * @param {number} at The chosen tab.
 * @param {number} count
 * @returns {number} The tab that the key chooses; -1 if it chooses none.
 */
function nextTab(key, at, count) {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (key === "ArrowRight" || key === "ArrowDown") return (at + 1) % count;
  if (key === "ArrowLeft" || key === "ArrowUp") return (at - 1 + count) % count;
  return -1;
}

/**
 * Makes the divider between two images.
 *
 * @param {(part: number) => void} onMove Called with its place, in percent from the left.
 * @returns {HTMLElement} To be put into the element that it divides.
 */
export function makeDivider(onMove) {
  const divider = make(document, "div", "provenance-divider");
  divider.tabIndex = 0;
  divider.setAttribute("role", "slider");
  divider.setAttribute("aria-label", t("viewer.divider"));
  divider.setAttribute("aria-valuemin", "0");
  divider.setAttribute("aria-valuemax", "100");
  let at = 50;

  /** @param {number} part */
  function move(part) {
    at = Math.min(Math.max(part, 0), 100);
    const shown = Math.round(at);
    divider.style.left = `${at}%`;
    divider.setAttribute("aria-valuenow", String(shown));
    divider.setAttribute("aria-valuetext", t("viewer.divider.at", { part: shown }));
    onMove(at);
  }

  divider.addEventListener("keydown", (event) => {
    const step = DIVIDER_STEPS.get(event.key);
    if (step === undefined) return;
    event.preventDefault();
    move(at + step * (event.shiftKey ? 10 : 1));
  });
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  divider.addEventListener("pointermove", (event) => {
    const box = divider.parentElement?.getBoundingClientRect();
    if (!box || !divider.hasPointerCapture(event.pointerId)) return;
    move(((event.clientX - box.left) / box.width) * 100);
  });
  move(at);
  return divider;
}

/**
 * Makes the buttons of the zoom.
 *
 * @param {{ onStep: (direction: 1 | -1) => void, onFit: () => void, onFull: () => void }} actions
 * @returns {{ element: HTMLElement, show: (zoom: number, isFit: boolean) => void }} With no zoom yet.
 */
export function makeZoomButtons({ onStep, onFit, onFull }) {
  const element = make(document, "div", "provenance-zoom");
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", t("viewer.zoom"));
  const shown = make(document, "output", "provenance-zoom-shown");
  const fitting = makeButton(document, "", t("viewer.fit"), onFit);
  const out = makeButton(document, "", "\u2212", () => onStep(-1));
  const closer = makeButton(document, "", "+", () => onStep(1));
  const full = makeButton(document, "", "1:1", onFull);
  setName(out, t("viewer.zoom.out"));
  setName(closer, t("viewer.zoom.in"));
  setName(full, t("viewer.zoom.full"));
  fitting.title = t("viewer.fit.long");
  element.append(out, shown, closer, fitting, full);
  const show = (/** @type {number} */ zoom, /** @type {boolean} */ isFit) => {
    const percent = zoom * 100;
    shown.textContent = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
    fitting.setAttribute("aria-pressed", String(isFit));
  };
  return { element, show };
}

/**
 * Names a button whose own text is a sign.
 *
 * @param {HTMLElement} button
 * @param {string} name
 */
export function setName(button, name) {
  button.setAttribute("aria-label", name);
  button.title = name;
}

/**
 * Makes the choice of how much a difference is amplified.
 *
 * @param {number} start One of `AMPLIFICATIONS`.
 * @param {(times: number) => void} onChange Called with the number at once, too.
 */
export function makeAmplifier(start, onChange) {
  const element = make(document, "label", "provenance-amplifier");
  const range = make(document, "input");
  const shown = make(document, "output", "provenance-times");
  range.type = "range";
  range.min = "0";
  range.max = String(AMPLIFICATIONS.length - 1);
  range.value = String(AMPLIFICATIONS.indexOf(start));
  const show = () => {
    const times = AMPLIFICATIONS[Number(range.value)] ?? 1;
    shown.textContent = `\u00d7${times}`;
    range.setAttribute("aria-valuetext", t("viewer.times", { times }));
    onChange(times);
  };
  range.addEventListener("input", show);
  element.append(make(document, "span", "", t("viewer.amplification")), range, shown);
  show();
  return element;
}
