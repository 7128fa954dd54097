// Every word is in one table, and the other language has all of them.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { ENGLISH, chooseLanguage, t } from "../../web/strings.mjs";
import { CHINESE } from "../../web/strings_zh.mjs";

const WEB = new URL("../../web/", import.meta.url);
const sources = readdirSync(WEB)
  .filter((name) => /\.m?js$/.test(name) && !name.startsWith("strings"))
  .map((name) => readFileSync(new URL(name, WEB), "utf8"))
  .join("\n");
const names = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([name]) => name).sort();

test("the two languages have the same texts with the same values in them", () => {
  assert.deepEqual(Object.keys(CHINESE).sort(), Object.keys(ENGLISH).sort());
  for (const [key, text] of Object.entries(ENGLISH)) {
    assert.deepEqual(names(CHINESE[key]), names(text), key);
    assert.notEqual(CHINESE[key].trim(), "", key);
  }
});

test("every text that is asked for is there, and every text is used", () => {
  const asked = [...sources.matchAll(/\bt\(\s*"([\w.]+)"/g)].map(([, key]) => key);
  const groups = [...sources.matchAll(/`([\w.]+)\.\$\{/g)].map(([, group]) => group);
  const isUsed = (key) =>
    sources.includes(`"${key}"`) || groups.some((group) => key.startsWith(`${group}.`));

  for (const key of asked) assert.ok(key in ENGLISH, key);
  for (const key of Object.keys(ENGLISH)) assert.ok(isUsed(key), key);
});

test("values are put in once, and what stands in them is left as it is", () => {
  assert.equal(t("card.running", { text: "{text} {name}" }), "Running again: {text} {name}");
  assert.equal(t("card.running"), "Running again: {text}");
  assert.equal(t("no.such.text"), "no.such.text");
});

test("a language is taken and left again", async () => {
  await chooseLanguage("zh-TW");
  assert.equal(t("card.run"), CHINESE["card.run"]);
  await chooseLanguage("fr");
  assert.equal(t("card.run"), ENGLISH["card.run"]);
});
