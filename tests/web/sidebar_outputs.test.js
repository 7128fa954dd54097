// A chip of the list says no more of a record than the server has checked.

import assert from "node:assert/strict";
import { test } from "node:test";

import { api } from "./host.js";

const { Outputs } = await import("../../web/sidebar_outputs.mjs");

api.apiURL = (route) => route;
const ignored = () => undefined;
const outputs = new Outputs({ onShow: ignored, onCompare: ignored });

for (const [record, level, state, words] of [
  ["whole", "bitwise", "whole", "whole record"],
  ["whole", "mismatch", "edited", "edited"],
  ["whole", "unknown", "unchecked", "record, not checked"],
  ["whole", null, "unchecked", "record, not checked"],
  ["whole", "perfect", "unchecked", "record, not checked"],
  ["damaged", null, "damaged", "damaged record"],
  ["none", null, "none", "no record"],
  ["none", "bitwise", "none", "no record"],
  [null, "bitwise", "unread", "not read"],
]) {
  test(`a record that is ${record}, and agrees ${level}, is told as ${state}`, () => {
    const item = outputs.drawOutput({ image: "a.png [output]", filename: "a.png", record, level });

    const chips = item.all().filter(({ className }) => className === "provenance-chip");
    assert.deepEqual(
      chips.map(({ dataset, textContent }) => [dataset.record, textContent]),
      [[state, words]],
    );
  });
}
