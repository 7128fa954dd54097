// A name of the server leads to the file that ComfyUI's nodes find under it, and a report's own name
// holds nothing that a file system could misread.

import assert from "node:assert/strict";
import { test } from "node:test";

import { reportName, toServerImage } from "../../web/viewer_names.mjs";

const NAMES = {
  "a.png": ["a.png", "", "input"],
  "a.png [output]": ["a.png", "", "output"],
  "sub/deep/a.png [temp]": ["a.png", "sub/deep", "temp"],
  "a [output].png [input]": ["a [output].png", "", "input"],
  "a.png [other]": ["a.png [other]", "", "input"],
  "sub/a b.png[output]": ["a b.png[output]", "sub", "input"],
};

for (const [name, [filename, subfolder, type]] of Object.entries(NAMES)) {
  test(`${name} is found in ${type}`, () => {
    assert.deepEqual(toServerImage(name), { filename, subfolder, type });
  });
}

test("a report is named after its image", () => {
  assert.equal(reportName("fox_00001_.png"), "fox_00001_.report.json");
  assert.equal(reportName("sub/fox.final.webp"), "fox.final.report.json");
  assert.equal(reportName("狐狸.png"), "狐狸.report.json");
});

test("a report's name holds no path, no markup and no end of it", () => {
  const hostile = ["../../etc/passwd", "C:\\a\\b.png", "<img src=x>.png", "a\u202egnp.png", "", "/"];
  for (const name of [...hostile, "a".repeat(10_000), "\u{1f98a}".repeat(500)]) {
    const found = reportName(name);

    assert.match(found, /^[\p{L}\p{N}._-]{1,140}\.report\.json$/u);
  }
});
