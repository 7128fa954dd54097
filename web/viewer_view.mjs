/**
 * Which part of the images is seen, and how large.
 *
 * A view is a zoom and the point of the image that lies in the middle of a pane, so that panes of
 * different sizes show the same place. Lengths of panes are pixels of the screen, not of CSS: at a
 * zoom of 1 one pixel of the image is one of the screen, whatever the browser's own zoom.
 */

/** @typedef {{ width: number, height: number }} Size */

/**
 * @typedef {object} View
 * @property {number} zoom Pixels of the screen to a pixel of the image.
 * @property {number} x Place in the image, in its pixels from the left, of the pane's middle.
 * @property {number} y The same from the top.
 */

/** @typedef {"slider" | "side" | "difference"} Mode */

export const LEAST_ZOOM = 1 / 64;
export const MOST_ZOOM = 64;

/** By how much a difference may be multiplied. */
export const AMPLIFICATIONS = [1, 2, 4, 8, 16, 32, 64];

const WHITE = 255;
/** Pixels of a wheel's turn that double the zoom, and those that one event may count. */
const DOUBLING_PX = 240;
const MOST_TURN_PX = 120;
const LINE_PX = 20;

/** @type {readonly Mode[]} */
const OF_TWO = ["slider", "side"];
/** @type {readonly Mode[]} */
const OF_DIFFERENCE = ["difference"];

/**
 * Tells in which ways images can be shown.
 *
 * @param {ReadonlySet<string>} roles Of the images that there are.
 * @returns {Mode[]} The first is to be chosen first.
 */
export function modesOf(roles) {
  const hasBoth = roles.has("original") && roles.has("reproduced");
  return [...(hasBoth ? OF_TWO : []), ...(roles.has("difference") ? OF_DIFFERENCE : [])];
}

/**
 * Shows an image whole, as large as it can be.
 *
 * @param {Size} image
 * @param {Size} pane
 * @returns {View} A small image is enlarged by a whole number, so that its pixels stay equal.
 */
export function fit(image, pane) {
  const zoom = Math.min(pane.width / image.width, pane.height / image.height);
  const even = zoom >= 1 ? Math.min(Math.floor(zoom), MOST_ZOOM) : zoom;
  return { zoom: even, x: image.width / 2, y: image.height / 2 };
}

/**
 * Changes the zoom.
 *
 * @param {View} view
 * @param {number} zoom The new one; it is kept within what is allowed.
 * @param {{ x: number, y: number }} [at] From the pane's middle.
 * @returns {View} What lay under that point still does.
 */
export function zoomTo(view, zoom, at = { x: 0, y: 0 }) {
  const next = Math.min(Math.max(zoom, LEAST_ZOOM), MOST_ZOOM);
  const moved = 1 / view.zoom - 1 / next;
  return { zoom: next, x: view.x + at.x * moved, y: view.y + at.y * moved };
}

/**
 * Gives the next zoom of a ladder of two steps to a doubling, on which 100 % and 200 % lie.
 *
 * @param {number} zoom
 * @param {1 | -1} direction
 */
export function nextZoom(zoom, direction) {
  const step = 2 * Math.log2(zoom);
  // A zoom that stands on the ladder, but for rounding, goes on to the next one.
  const next = direction > 0 ? Math.floor(step + 0.01) + 1 : Math.ceil(step - 0.01) - 1;
  return 2 ** (next / 2);
}

/**
 * Tells by what a turn of the wheel multiplies the zoom.
 *
 * @param {number} delta Positive is towards the user, away from the image.
 * @param {boolean} isLines Whether it counts lines instead of pixels.
 */
export function wheelFactor(delta, isLines) {
  const turn = isLines ? delta * LINE_PX : delta;
  return 2 ** (-Math.min(Math.max(turn, -MOST_TURN_PX), MOST_TURN_PX) / DOUBLING_PX);
}

/**
 * Moves the image within its pane.
 *
 * @param {View} view
 * @param {number} right
 * @param {number} down
 * @returns {View} Perhaps out of the pane: see `keepInside`.
 */
export function pan(view, right, down) {
  return { ...view, x: view.x - right / view.zoom, y: view.y - down / view.zoom };
}

/**
 * Keeps an image in its pane.
 *
 * @param {View} view
 * @param {Size} image
 * @param {Size} pane
 * @returns {View} With the image in the middle if it fits, else without a gap at its edges.
 */
export function keepInside(view, image, pane) {
  const within = (/** @type {number} */ at, /** @type {number} */ all, /** @type {number} */ seen) =>
    seen >= all ? all / 2 : Math.min(Math.max(at, seen / 2), all - seen / 2);
  const { zoom } = view;
  return {
    zoom,
    x: within(view.x, image.width, pane.width / zoom),
    y: within(view.y, image.height, pane.height / zoom),
  };
}

/**
 * Finds where in its pane an image begins.
 *
 * @param {View} view
 * @param {Size} pane
 * @returns {{ left: number, top: number }} Whole pixels, so that the image stays sharp.
 */
export function corner(view, pane) {
  return {
    left: Math.round(pane.width / 2 - view.x * view.zoom),
    top: Math.round(pane.height / 2 - view.y * view.zoom),
  };
}

/**
 * Measures images that lie on each other.
 *
 * @param {readonly Size[]} images
 * @returns {Size} The least that covers all; they begin at one corner.
 */
export function cover(images) {
  return {
    width: Math.max(...images.map(({ width }) => width)),
    height: Math.max(...images.map(({ height }) => height)),
  };
}

/**
 * Chooses how much to amplify a difference at first: as much as leaves every pixel true.
 *
 * @param {number} most The largest difference, in levels of 8 bits; 0 where there is none.
 * @returns {number} One of `AMPLIFICATIONS`; the least where the difference is not known.
 */
export function amplificationFor(most) {
  return Math.max(1, ...AMPLIFICATIONS.filter((times) => most > 0 && most * times <= WHITE));
}
