// What is seen of an image is a place and a zoom: both survive every way of changing the other, and no
// image leaves its pane.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  AMPLIFICATIONS,
  LEAST_ZOOM,
  MOST_ZOOM,
  amplificationFor,
  corner,
  cover,
  fit,
  keepInside,
  modesOf,
  nextZoom,
  pan,
  wheelFactor,
  zoomTo,
} from "../../web/viewer_view.mjs";

const IMAGES = [
  { width: 64, height: 64 },
  { width: 1024, height: 768 },
  { width: 333, height: 4097 },
  { width: 1, height: 1 },
];
const PANES = [
  { width: 700, height: 500 },
  { width: 349, height: 501 },
  { width: 90, height: 1200 },
];
const ZOOMS = [1 / 64, 0.1, 0.7, 1, 1.5, 3, 17, 64];
const PLACES = [-50, 0, 0.5, 31, 500, 9000];

const near = (found, expected) =>
  assert.ok(Math.abs(found - expected) < 1e-6, `expected ${expected}, got ${found}`);

function* cases() {
  for (const image of IMAGES) {
    for (const pane of PANES) {
      for (const zoom of ZOOMS) {
        for (const x of PLACES) yield { image, pane, view: { zoom, x, y: 500 - x } };
      }
    }
  }
}

test("an image that fits its pane is whole, in the middle, and as large as it can be", () => {
  for (const image of IMAGES) {
    for (const pane of PANES) {
      const { zoom, x, y } = fit(image, pane);

      assert.ok(image.width * zoom <= pane.width + 1e-6);
      assert.ok(image.height * zoom <= pane.height + 1e-6);
      assert.deepEqual([x, y], [image.width / 2, image.height / 2]);
      const next = zoom < 1 ? zoom * 1.001 : zoom + 1;
      const isLargest = image.width * next > pane.width || image.height * next > pane.height;
      assert.ok(isLargest || zoom === MOST_ZOOM);
    }
  }
});

test("a small image is enlarged by a whole number", () => {
  assert.equal(fit({ width: 64, height: 64 }, { width: 700, height: 500 }).zoom, 7);
  assert.equal(fit({ width: 400, height: 400 }, { width: 700, height: 500 }).zoom, 1);
});

test("what lies under the pointer stays there at every zoom", () => {
  const at = { x: 120, y: -45 };
  const under = (view) => [view.x + at.x / view.zoom, view.y + at.y / view.zoom];

  for (const { view } of cases()) {
    for (const zoom of ZOOMS) {
      const [x, y] = under(zoomTo(view, zoom, at));

      near(x, under(view)[0]);
      near(y, under(view)[1]);
    }
  }
});

test("the zoom stays within its bounds", () => {
  const view = { zoom: 1, x: 0, y: 0 };

  assert.equal(zoomTo(view, 1e9).zoom, MOST_ZOOM);
  assert.equal(zoomTo(view, 1e-9).zoom, LEAST_ZOOM);
});

test("the ladder of zooms goes through 100 % and 200 %, from wherever it is entered", () => {
  for (const start of [0.013, 0.4, 0.99, 1.01, 1.7]) {
    const seen = [];
    for (let zoom = start; zoom < 3; zoom = nextZoom(zoom, 1)) seen.push(zoom);

    assert.ok(start > 1 || seen.includes(1));
    assert.ok(seen.some((zoom) => Math.abs(zoom - 2) < 1e-12));
  }
});

test("a step of the ladder and one back end where they began", () => {
  for (let step = -12; step <= 12; step += 1) {
    const zoom = 2 ** (step / 2);

    near(nextZoom(nextZoom(zoom, 1), -1), zoom);
    assert.ok(nextZoom(zoom, 1) > zoom * 1.3);
    assert.ok(nextZoom(zoom, -1) < zoom / 1.3);
  }
});

test("a turn of the wheel and one back end where they began, and none leaps", () => {
  for (const delta of [1, 3, 53, 100, 120, 100_000]) {
    near(wheelFactor(delta, false) * wheelFactor(-delta, false), 1);
    assert.ok(wheelFactor(-delta, false) > 1);
    assert.ok(wheelFactor(-delta, false) <= Math.SQRT2);
  }
  assert.equal(wheelFactor(3, true), wheelFactor(60, false));
});

test("a move by the pixels of the screen moves the image by as many", () => {
  for (const { view, pane } of cases()) {
    const moved = pan(view, 30, -70);

    near((view.x - moved.x) * view.zoom, 30);
    near((view.y - moved.y) * view.zoom, -70);
    assert.ok(Math.abs(corner(moved, pane).left - corner(view, pane).left - 30) <= 1);
  }
});

test("no image leaves its pane, and none has a gap beside it that it could fill", () => {
  for (const { image, pane, view } of cases()) {
    const kept = keepInside(view, image, pane);
    const { left, top } = corner(kept, pane);
    const [width, height] = [image.width * view.zoom, image.height * view.zoom];

    for (const [at, all, seen] of [
      [left, width, pane.width],
      [top, height, pane.height],
    ]) {
      if (all <= seen) assert.ok(Math.abs(at - (seen - all) / 2) <= 1);
      else assert.ok(at <= 1 && at + all >= seen - 1);
    }
    assert.deepEqual(keepInside(kept, image, pane), kept);
    assert.ok(Number.isInteger(left) && Number.isInteger(top));
  }
});

test("images of different sizes are covered by the larger of each length", () => {
  const both = cover([
    { width: 64, height: 512 },
    { width: 256, height: 128 },
  ]);

  assert.deepEqual(both, { width: 256, height: 512 });
});

test("a difference is amplified as much as leaves every pixel true", () => {
  for (let most = 1; most <= 255; most += 1) {
    const times = amplificationFor(most);
    const next = AMPLIFICATIONS[AMPLIFICATIONS.indexOf(times) + 1];

    assert.ok(most * times <= 255);
    assert.ok(next === undefined || most * next > 255);
  }
});

test("a difference that is not known, or none, is not amplified", () => {
  for (const most of [0, -3, NaN, Infinity, 1e9]) assert.equal(amplificationFor(most), 1);
});

test("there are only the modes for which there are images", () => {
  const modes = (...roles) => modesOf(new Set(roles));

  assert.deepEqual(modes("original", "reproduced", "difference"), ["slider", "side", "difference"]);
  assert.deepEqual(modes("original", "reproduced"), ["slider", "side"]);
  assert.deepEqual(modes("original", "difference"), ["difference"]);
  assert.deepEqual(modes("original"), []);
  assert.deepEqual(modes(), []);
});
