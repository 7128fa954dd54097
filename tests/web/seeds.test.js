// A number is told exactly where the page would send another one than was typed, and once.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { listeners, toasts } from "./host.js";

const { findRounded, largeSeeds, watchSeeds } = await import("../../web/seeds.mjs");

/** A field of the page, with the text that it had when it was entered. */
class Field {
  constructor(value, selector) {
    Object.assign(this, { value, selector });
  }

  matches(selectors) {
    return selectors.split(", ").includes(this.selector);
  }
}
globalThis.HTMLInputElement = Field;
watchSeeds();
let texts = 0;

// Takes the place of the page's clock, which the test moves on; gives how to.
function takeClock(t) {
  let now = 0;
  let ids = 0;
  const timers = new Map();
  t.mock.method(globalThis, "setTimeout", (act, ms) => {
    timers.set((ids += 1), { act, at: now + ms });
    return ids;
  });
  t.mock.method(globalThis, "clearTimeout", (id) => timers.delete(id));
  return (ms) => {
    now += ms;
    for (const [id, { act, at }] of [...timers]) {
      if (at > now) continue;
      timers.delete(id);
      act();
    }
  };
}

function fire(target, type, more = {}) {
  const forbidden = () => assert.fail("a passive observer prevents nothing");
  const event = { type, target, preventDefault: forbidden, stopPropagation: forbidden, ...more };
  for (const { type: wanted, listener } of listeners) if (wanted === type) listener(event);
}

function enter(before, selector = ".graphdialog input") {
  const field = new Field(before, selector);
  fire(field, "focusin");
  return field;
}

/** A number that no test has typed yet: each is told once. */
function newLarge() {
  texts += 1;
  return String(2n ** 60n + 1n + BigInt(texts) * 256n);
}

beforeEach(() => {
  toasts.length = 0;
});

for (const [typed, sent] of [
  ["9007199254740991", null],
  ["9007199254740992", null],
  ["9007199254740993", "9007199254740992"],
  ["1152921504606846976", "1152921504606847000"],
  ["1152921504606846977", "1152921504606847000"],
  ["1152921504606847000", null],
  ["18446744073709551615", "18446744073709552000"],
  ["-9007199254740993", "-9007199254740992"],
  ["  9007199254740993 ", "9007199254740992"],
  ["0000000000000000042", null],
  ["9007199254740993.5", null],
  ["0.12345678901234567", null],
  ["words", null],
  ["", null],
  ["9".repeat(309), null],
  ["9".repeat(5000), null],
]) {
  const name = `${typed.slice(0, 30)} (${typed.length})`;
  test(`${name} would leave as ${sent ?? "it is, or not at all"}`, () => {
    assert.equal(findRounded(typed), sent);
  });
}

test("a number is rounded exactly where the text that the server reads is another one", () => {
  for (let bits = 40n; bits <= 64n; bits += 1n) {
    for (let step = -3n; step <= 3n; step += 1n) {
      const typed = 2n ** bits + step;
      const sent = BigInt(JSON.stringify(Number(typed)));

      assert.equal(findRounded(String(typed)), sent === typed ? null : String(sent));
    }
  }
});

test("what is typed and what would be sent are told before it is entered", () => {
  const field = enter("0");
  field.value = "1152921504606846977";
  fire(field, "keydown", { key: "Enter" });

  assert.equal(toasts.length, 1);
  assert.match(toasts[0].detail, /1152921504606846977.*1152921504606847000.*9007199254740991/u);
});

test("one text is told once, however it is entered", () => {
  const field = enter("0");
  field.value = newLarge();
  fire(field, "keydown", { key: "Enter" });
  fire(field, "change");
  fire(enter("0", "input[role=spinbutton]"), "change");

  assert.equal(toasts.length, 1);
});

test("digits that are still being typed are not told one by one", (t) => {
  const pass = takeClock(t);
  const field = enter("0");
  const typed = newLarge();
  for (let length = 1; length <= typed.length; length += 1) {
    field.value = typed.slice(0, length);
    fire(field, "input");
    pass(100);
  }
  const early = toasts.length;
  pass(1000);

  assert.equal(early, 0);
  assert.equal(toasts.length, 1);
});

test("a seed that was told while it was typed need not be told again", () => {
  const typed = newLarge();
  const node = { widgets: [{ name: "seed", value: Number(typed) }] };
  const before = largeSeeds(node);

  const field = enter("0");
  field.value = typed;
  fire(field, "change");

  assert.deepEqual(before, [Number(typed)]);
  assert.deepEqual(largeSeeds(node), []);
});

test("a field that held words is no field for numbers", () => {
  const field = enter("ComfyUI");
  field.value = newLarge();
  fire(field, "change");

  assert.deepEqual(toasts, []);
});

test("a field that was empty may be for numbers: its digits are told, its words are not", () => {
  const field = enter("");
  field.value = "a fox, 9007199254740993 times";
  fire(field, "change");
  const before = toasts.length;
  field.value = newLarge();
  fire(field, "change");

  assert.equal(before, 0);
  assert.equal(toasts.length, 1);
});

test("other fields of the page are nobody's business", () => {
  const field = enter("0", "input[type=search]");
  field.value = newLarge();
  fire(field, "change");
  fire({}, "change");

  assert.deepEqual(toasts, []);
});

test("the page's own listeners come after ours and are not held up", () => {
  assert.ok(listeners.length > 0);
  assert.ok(listeners.every(({ options }) => options.capture && options.passive));
});

test("only seeds that the page cannot tell apart are large", () => {
  const widgets = [
    { name: "seed", value: 2 ** 62 },
    { name: "noise_seed", value: 2 ** 53 },
    { name: "steps", value: 2 ** 60 },
  ];

  assert.deepEqual(largeSeeds({ widgets }), [2 ** 62, 2 ** 53]);
  for (const value of [2 ** 53 - 1, "1152921504606846977", null]) {
    assert.deepEqual(largeSeeds({ widgets: [{ name: "seed", value }] }), []);
  }
  assert.deepEqual(largeSeeds({}), []);
});

for (const [phrase, origin, seeds] of [
  ["a primitive", { widgets: [{ name: "value", value: 2 ** 61 }] }, [2 ** 61]],
  ["a small primitive", { widgets: [{ name: "value", value: 7 }] }, []],
  ["a node that computes it", { widgets: [{ name: "seed", value: 2 ** 61 }] }, []],
  ["a node without widgets", {}, []],
  ["the edge of a subgraph", null, [2 ** 62]],
]) {
  test(`the seed that counts is the one that is sent: it comes from ${phrase}`, () => {
    const node = {
      widgets: [{ name: "seed", value: 2 ** 62 }],
      inputs: [{ name: "model" }, { name: "seed" }],
      getInputNode: (slot) => (slot === 1 ? origin : assert.fail("another input")),
    };

    assert.deepEqual(largeSeeds(node), seeds);
  });
}
