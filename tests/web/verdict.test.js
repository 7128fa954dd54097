// What is shown never says more than the report, and hides nothing that tells two values apart.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  LEVELS,
  MARKS,
  escapeInvisible,
  parseReport,
  showPair,
  showText,
  showValue,
  weakest,
  weakestFirst,
} from "../../web/verdict.mjs";
import { t } from "../../web/strings.mjs";

const check = (level, name = "pixels") => ({ name, level, expected: 1, found: 1, message: "m" });

test("nothing checked is unknown", () => {
  assert.equal(weakest([]), "unknown");
});

test("another check never raises the level", () => {
  for (const first of LEVELS) {
    for (const second of LEVELS) {
      const both = weakest([check(first), check(second)]);

      assert.ok(LEVELS.indexOf(both) <= LEVELS.indexOf(first));
      assert.ok(LEVELS.indexOf(both) <= LEVELS.indexOf(second));
    }
  }
});

test("every level has a mark and words of its own", () => {
  const marks = LEVELS.map((level) => MARKS[level]);
  const titles = LEVELS.map((level) => t(`level.${level}`));

  assert.equal(new Set(marks).size, LEVELS.length);
  assert.equal(new Set(titles).size, LEVELS.length);
});

test("a report keeps its level, causes and notes", () => {
  const report = parseReport({
    level: "mismatch",
    checks: [check("bitwise", "record"), check("mismatch", "pixels")],
    causes: [{ kind: "cfg", message: "changed", recorded: 7, now: 7.1, node_id: "3" }],
    notes: ["one"],
  });

  assert.equal(report.level, "mismatch");
  assert.deepEqual(
    report.causes.map(({ kind, recorded, now, nodeId }) => [kind, recorded, now, nodeId]),
    [["cfg", 7, 7.1, "3"]],
  );
  assert.deepEqual(report.notes, ["one"]);
});

test("a report tells where runs part, how far pixels are apart and what to do", () => {
  const report = parseReport({
    level: "mismatch",
    checks: [check("mismatch")],
    causes: [{ kind: "cfg", message: "m", recorded: 7, now: 8, node_id: null, remedy: "set it" }],
    pixels: { max_abs: 3, mean_abs: 0.125, psnr_db: 51.234, differing_fraction: 0.0371 },
    divergence: { phase: "step", message: "the runs part at step 1 of 4" },
  });

  assert.equal(report.causes[0].remedy, "set it");
  assert.equal(report.where, "the runs part at step 1 of 4");
  assert.equal(
    report.numbers,
    "3.71 % of the pixels differ, by up to 3 levels, by 0.13 on average, PSNR 51.2 dB",
  );
  assert.equal(parseReport({ pixels: { max_abs: 0, differing_fraction: 0 } }).numbers, "");
});

test("a difference of more than 8 bits is told as one, and rounded up where 8 bits count", () => {
  const pixels = { max_abs: 771, mean_abs: 2, psnr_db: 51.2, differing_fraction: 0.5, peak: 65535 };

  assert.equal(
    parseReport({ pixels }).numbers,
    "50.00 % of the pixels differ, by up to 771 of 65535 levels, by 2.0 on average, PSNR 51.2 dB",
  );
  for (const [most, levels] of [[771, 3], [772, 4], [1, 1], [65535, 255]]) {
    assert.equal(parseReport({ pixels: { ...pixels, max_abs: most } }).mostDifference, levels);
  }
});

test("a report that tells no peak, or none that can be, is of 8 bits", () => {
  for (const peak of [undefined, null, 0, -1, "65535", {}, 255]) {
    const report = parseReport({ pixels: { max_abs: 3, differing_fraction: 0.5, peak } });

    assert.equal(report.mostDifference, 3);
    assert.match(report.numbers, /by up to 3 levels$/u);
  }
});

test("the largest difference is a number whatever a report says it is", () => {
  const most = (value) => parseReport({ pixels: { max_abs: value } }).mostDifference;

  assert.equal(most(3), 3);
  for (const value of [null, "7", [7], {}, { valueOf: 1, toString: 1 }]) assert.equal(most(value), 0);
  assert.equal(parseReport({}).mostDifference, 0);
});

test("the checks that decide come first and equals keep their order", () => {
  const names = weakestFirst([
    check("bitwise", "a"),
    check("mismatch", "b"),
    check("bitwise", "c"),
    check("unknown", "d"),
  ]).map(({ name }) => name);

  assert.deepEqual(names, ["b", "d", "a", "c"]);
});

for (const [phrase, value] of [
  ["nothing", undefined],
  ["null", null],
  ["text", "bitwise"],
  ["a list", ["bitwise"]],
  ["no checks", { level: "bitwise" }],
  ["checks that are no list", { level: "bitwise", checks: { 0: check("bitwise") } }],
  ["a level that is none", { level: "perfect", checks: [check("bitwise")] }],
  ["a check whose level is none", { level: "bitwise", checks: [check("toString")] }],
  ["a check that is no object", { level: "bitwise", checks: [null] }],
]) {
  test(`a report that is ${phrase} is unknown`, () => {
    assert.equal(parseReport(value).level, "unknown");
  });
}

test("a report cannot be better than its checks", () => {
  const report = parseReport({ level: "bitwise", checks: [check("bitwise"), check("mismatch")] });

  assert.equal(report.level, "mismatch");
});

test("a report cannot be better than it says", () => {
  assert.equal(parseReport({ level: "mismatch", checks: [check("bitwise")] }).level, "mismatch");
});

test("a check that is too many to be shown still decides", () => {
  const checks = [...Array.from({ length: 1e6 }, () => check("bitwise")), check("mismatch", "last")];

  const report = parseReport({ level: "bitwise", checks });

  assert.equal(report.level, "mismatch");
  assert.equal(report.checks[0].name, "last");
  assert.ok(report.checks.length < 100);
});

test("a report of a million causes is cut", () => {
  const causes = Array.from({ length: 1e6 }, () => ({ kind: "cfg" }));

  assert.ok(parseReport({ causes }).causes.length < 100);
});

test("values are shown as they are, or as JSON", () => {
  assert.equal(showValue("7"), "7");
  assert.equal(showValue(7.1), "7.1");
  assert.equal(showValue(null), "none");
  assert.equal(showValue(undefined), "none");
  assert.equal(showValue({ a: [1, "b"] }), '{"a":[1,"b"]}');
});

test("a long value is cut and says so, without tearing a character", () => {
  const shown = ["", "x"].map((start) => showValue(start + "\u{1F98A}".repeat(500)));

  assert.ok(shown.every((text) => text.endsWith("\u{1F98A}\u2026") && text.length < 300));
});

test("two long values are shown from where they differ", () => {
  const same = "a red fox ".repeat(100);

  const [recorded, now] = showPair(`${same}in snow`, `${same}in rain`);

  assert.match(recorded, /^\u2026.*in snow$/u);
  assert.match(now, /^\u2026.*in rain$/u);
});

test("two long values of which one begins the other are told apart", () => {
  const same = "x".repeat(500);

  const [recorded, now] = showPair(same, `${same}!`);

  assert.notEqual(recorded, now);
});

test("two short values are shown whole", () => {
  assert.deepEqual(showPair(7, 7.1), ["7", "7.1"]);
});

test("what does not print is written out", () => {
  const printing = "Gr\u00FC\u00DFe, \u732B \u{1F98A}";

  assert.equal(escapeInvisible("a\u200Bb\u202Ec\nd\u00A0"), "a\\u200bb\\u202ec\\u000ad\\u00a0");
  assert.equal(escapeInvisible("\u{E0041}"), "\\u{e0041}");
  assert.equal(escapeInvisible("\uFE0F\u3164\u2800"), "\\ufe0f\\u3164\\u2800");
  assert.equal(escapeInvisible(printing), printing);
});

test("text keeps its lines and nothing else that does not print", () => {
  assert.equal(showText("a\r\nb\u202Ec"), "a\nb\\u202ec");
  assert.equal(showText(undefined), "");
  assert.equal(showText({ toString: 1 }), '{"toString":1}');
  assert.equal(showText("x".repeat(10), 4), "xxxx\u2026");
});
