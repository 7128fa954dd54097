// A file that carries what made it is seen, wherever in it that stands; any other is left alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import { carries } from "../../web/carrier.mjs";

const latin1 = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const number = (value, little = false) => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, little);
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
};
const chunk = (type, data, length = data.length) => `${number(length)}${type}${data}CRC!`;
const png = (...chunks) =>
  new Blob([latin1(`\x89PNG\r\n\x1a\n${chunk("IHDR", "x".repeat(13))}${chunks.join("")}`)]);
const webp = (...chunks) => new Blob([latin1(`RIFF????WEBP${chunks.join("")}`)]);
const riff = (type, data) =>
  `${type}${number(data.length, true)}${data}${data.length % 2 ? "\0" : ""}`;
const jpeg = (text) => new Blob([latin1(`\xff\xd8\xff\xe1??Exif\0\0${text}`)]);
const utf16 = (text) => Array.from(text, (char) => `${char}\0`).join("");
const GONE = { slice: () => ({ arrayBuffer: () => Promise.reject(new Error("gone")) }) };
const PIXELS = chunk("IDAT", "p".repeat(5000));

test("a PNG with any of the keys is seen, before or after its pixels", async () => {
  for (const key of ["provenance", "prompt", "workflow", "parameters"]) {
    for (const type of ["tEXt", "iTXt", "zTXt"]) {
      const text = chunk(type, `${key}\0{}`);

      assert.equal(await carries(png(text, PIXELS)), true, key);
      assert.equal(await carries(png(PIXELS, text)), true, key);
    }
  }
});

test("a PNG without them is not", async () => {
  assert.equal(await carries(png(PIXELS)), false);
  assert.equal(await carries(png(chunk("tEXt", "Software\0prompt"), PIXELS)), false);
  assert.equal(await carries(png(chunk("IDAT", "tEXtprompt\0{}"))), false);
  assert.equal(await carries(png(chunk("tEXt", "prompter\0{}"))), false);
});

test("the exif of a PNG, a WebP and a JPEG is looked into", async () => {
  for (const key of ["provenance", "prompt", "workflow"]) {
    assert.equal(await carries(png(chunk("eXIf", `II*\0${key}:{"a": 1}`))), true, key);
    assert.equal(await carries(webp(riff("VP8L", "odd"), riff("EXIF", `${key}:{}`))), true, key);
    assert.equal(await carries(jpeg(`${key}:{}`)), true, key);
  }
  assert.equal(await carries(webp(riff("VP8L", "prompt:{}"))), false);
  assert.equal(await carries(jpeg("a photograph, taken promptly")), false);
});

test("an A1111 text is seen in the two bytes to a character that EXIF has", async () => {
  assert.equal(await carries(jpeg(`UNICODE\0${utf16("a fox\nSteps: 20, Seed: 1")}`)), true);
  assert.equal(await carries(jpeg(`UNICODE\0${utf16("my holidays")}`)), false);
});

test("a sidecar is seen by its name", async () => {
  assert.equal(await carries(new File(["{}"], "a.provenance.json")), true);
  assert.equal(await carries(new File(["{}"], "workflow.json")), false);
});

test("damaged and hostile files are no carriers and end soon", async () => {
  const endless = chunk("tIME", "", 0).repeat(10_000);

  assert.equal(await carries(new Blob([])), false);
  assert.equal(await carries(png(chunk("IDAT", "short", 0xffffffff))), false);
  assert.equal(await carries(png(endless, chunk("tEXt", "prompt\0{}"))), false);
  assert.equal(await carries(GONE), false);
});
