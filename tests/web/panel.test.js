// A panel holds words only: whatever a report says, no element but the panel's own comes of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createPanel, drawGrounds, drawReport, drawText, markEarlier } from "../../web/panel.mjs";
import { parseReport } from "../../web/verdict.mjs";

/** As much of a DOM as the panel may use: text, classes, attributes, children. No markup. */
class Element {
  constructor(tag) {
    this.tag = tag;
    this.className = "";
    this.dataset = {};
    this.attributes = {};
    this.children = [];
    this.ownerDocument = page;
  }

  set textContent(text) {
    this.children = [text];
  }

  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join(" ");
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  append(...children) {
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = children;
  }

  tags() {
    return this.children.flatMap((child) => (child.tag ? [child.tag, ...child.tags()] : []));
  }
}

const page = { createElement: (tag) => Object.seal(new Element(tag)) };

const MARKUP = "<img src=x onerror=alert(1)>";

const report = (text) => ({
  level: "mismatch",
  checks: [{ name: text, level: "mismatch", expected: text, found: text, message: text }],
  causes: [
    { kind: "prompt_text", message: text, recorded: text, now: text, node_id: text, remedy: text },
    { kind: text, message: text, recorded: text, now: text, node_id: null },
  ],
  pixels: null,
  divergence: { message: text },
  notes: [`noted: ${text}`],
});

test("where the runs part is told once", () => {
  const panel = createPanel(page);

  drawReport(panel.inner, {
    ...report("words"),
    divergence: { message: "they part at step 1; the places before are the same" },
    notes: ["they part at step 1", "another note"],
  });

  assert.equal(panel.outer.textContent.split("they part at step 1").length - 1, 1);
  assert.ok(panel.outer.textContent.includes("another note"));
});

test("markup in a report is drawn as the same elements as plain words", () => {
  const plain = createPanel(page);
  const hostile = createPanel(page);

  drawReport(plain.inner, report("words"));
  drawReport(hostile.inner, report(MARKUP));

  assert.deepEqual(hostile.outer.tags(), plain.outer.tags());
  assert.ok(!hostile.outer.tags().includes("img"));
  assert.equal(hostile.outer.textContent.split(MARKUP).length - 1, 11);
});

test("a report is drawn with its level in words, the cause and both values", () => {
  const { inner } = createPanel(page);

  drawReport(inner, {
    level: "mismatch",
    checks: [{ name: "pixels", level: "mismatch", message: "they differ" }],
    causes: [{ kind: "cfg", message: "changed", recorded: 7, now: 7.1, node_id: "3" }],
  });

  assert.equal(inner.dataset.level, "mismatch");
  assert.match(inner.textContent, /Mismatch .* cfg .*recorded 7 now 7\.1 changed .*pixels/u);
});

test("the grounds of a verdict begin with its first cause and hold all but its level", () => {
  const { inner } = createPanel(page);
  const value = report("words");

  drawReport(inner, value);
  const grounds = drawGrounds(page, parseReport(value));

  assert.equal(grounds[0].className, "provenance-cause");
  assert.deepEqual(
    grounds.map((part) => part.textContent),
    inner.children.slice(1).map((part) => part.textContent),
  );
});

test("what was drawn before is gone", () => {
  const { inner } = createPanel(page);

  drawReport(inner, report("first"));
  drawText(inner, "second");

  assert.equal(inner.textContent, "second");
});

test("a new drawing is not an earlier result", () => {
  const { inner } = createPanel(page);

  markEarlier(inner, true);
  const marked = { ...inner.dataset };
  drawReport(inner, {});

  assert.equal(marked.earlier, "true");
  assert.equal(inner.dataset.earlier, undefined);
});
