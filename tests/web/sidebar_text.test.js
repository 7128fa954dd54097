// No two texts that a text encoder tells apart are shown as the same one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { markText } from "../../web/sidebar_text.mjs";

const marksOf = (text, listed) => markText(text, listed).pieces.filter(({ title }) => title);
const shown = (text, listed) =>
  markText(text, listed)
    .pieces.map((piece) => piece.text)
    .join("");
const entry = (kind, character, name, more = {}) => ({ kind, character, name, ...more });

test("plain words are shown as they are, in one piece", () => {
  for (const text of ["a red fox", "Grüße, 猫 🦊", "two\nlines", "привет, мир", "がぎぐ"]) {
    assert.deepEqual(markText(text).pieces, [{ text, title: "" }]);
    assert.deepEqual(markText(text).legend, []);
  }
});

for (const [phrase, char, written] of [
  ["a zero-width space", "\u200b", "\\u200b"],
  ["a no-break space", "\u00a0", "\\u00a0"],
  ["a bidirectional override", "\u202e", "\\u202e"],
  ["a tab", "\t", "\\u0009"],
  ["a tag that no font shows", "\u{e0041}", "\\u{e0041}"],
  ["a variation selector", "\ufe0f", "\\ufe0f"],
  ["a filler of Hangul", "\u3164", "\\u3164"],
  ["a combining grapheme joiner", "\u034f", "\\u034f"],
  ["an empty Braille pattern", "\u2800", "\\u2800"],
]) {
  test(`${phrase} is marked although the record does not list it`, () => {
    const [mark, ...others] = marksOf(`a red${char}fox`);

    assert.equal(others.length, 0);
    assert.equal(mark.text, written);
    assert.match(mark.title, /^U\+[0-9A-F]{4,5}: cannot be seen$/u);
  });
}

test("what the record lists is named, with what it looks like", () => {
  const listed = [entry("quote", "U+2019", "RIGHT SINGLE QUOTATION MARK", { looks_like: "'" })];

  const { pieces, legend } = markText("the fox\u2019s tail, the cat\u2019s", listed);

  assert.deepEqual(
    pieces.filter(({ title }) => title).map(({ text }) => text),
    ["\u2019", "\u2019"],
  );
  assert.deepEqual(legend, ["2 \u00d7 U+2019 RIGHT SINGLE QUOTATION MARK: looks like '"]);
});

test("a combining mark that the record lists is written out", () => {
  const [mark] = marksOf("cafe\u0301", [entry("combining", "U+0301", "COMBINING ACUTE ACCENT")]);

  assert.equal(mark.text, "U+0301");
});

test("a letter of another script in a word is marked, and the script's own words are not", () => {
  const marks = marksOf("f\u043ex and \u043b\u0438\u0441\u0430");

  assert.deepEqual(
    marks.map(({ text }) => text),
    ["\u043e"],
  );
  assert.match(marks[0].title, /another script/u);
});

test("a letter that is listed for one word is not marked where it belongs", () => {
  const listed = [entry("homoglyph", "U+043E", "CYRILLIC SMALL LETTER O", { looks_like: "o" })];

  const marks = marksOf("f\u043ex and \u043a\u043e\u0442", listed);

  assert.equal(marks.length, 1);
  assert.match(marks[0].title, /CYRILLIC SMALL LETTER O: looks like o$/u);
});

test("a whole word in disguise is marked where the record lists its letters", () => {
  const listed = [entry("homoglyph", "U+0441", "CYRILLIC SMALL LETTER ES", { looks_like: "c" })];

  assert.equal(marksOf("a \u0441\u0430\u0440 here", listed).length, 1);
});

test("blanks that are overlooked can be seen", () => {
  assert.equal(shown("  a fox"), "\u2423\u2423a fox");
  assert.equal(shown("a fox \n"), "a fox\u2423\u21b5\n");
  assert.equal(shown("a  fox"), "a\u2423\u2423fox");
  assert.equal(shown("a fox\nb"), "a fox\nb");
});

test("texts that differ in one character are shown otherwise", () => {
  const texts = [
    "a fox",
    "a  fox",
    "a\u00a0fox",
    "a\u200bfox",
    "a fox ",
    " a fox",
    "a fox\r",
    "a f\u043ex",
  ];

  const seen = texts.map((text) => JSON.stringify(markText(text).pieces));

  assert.equal(new Set(seen).size, texts.length);
});

test("a long text is cut without tearing a character, and says how much is left", () => {
  const { pieces, left } = markText("\u{1f98a}".repeat(5000));

  assert.equal(pieces.map(({ text }) => text).join(""), "\u{1f98a}".repeat(4000));
  assert.equal(left, 2000);
  assert.equal(markText("x".repeat(5000)).left, 1000);
});

test("a text of marks alone is bounded, and what is not marked is written out all the same", () => {
  const { pieces, legend } = markText("\u200b".repeat(1e6));

  assert.ok(pieces.length < 500);
  assert.ok(pieces.every(({ text }) => !text.includes("\u200b")));
  assert.equal(legend.length, 1);
});

for (const [phrase, listed] of [
  ["no list", { 0: entry("quote", "U+0061", "x") }],
  ["nothing", null],
  ["entries that are none", [null, 7, "U+200B", []]],
  ["no code point", [entry("quote", "U+110000", "x"), entry("quote", "U+", "x")]],
  ["a letter of ASCII", [entry("homoglyph", "U+0061", "LATIN SMALL LETTER A")]],
  [
    "objects in the place of words",
    [{ kind: {}, character: { toString: 1 }, name: [], looks_like: {} }],
  ],
]) {
  test(`a record whose list is ${phrase} marks nothing`, () => {
    assert.deepEqual(marksOf("a red fox", listed), []);
  });
}
