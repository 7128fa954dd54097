// What is shown of a record is what it says, to the digit; of a crowded one little is shown.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  readNotes,
  readOrigin,
  readPrompts,
  readRecipe,
  readSamplings,
} from "../../web/sidebar_facts.mjs";
import {
  readDemotions,
  readDifferences,
  readEnvironment,
  readFlags,
  readMode,
  readTrace,
} from "../../web/sidebar_machine.mjs";
import { readModels } from "../../web/sidebar_models.mjs";
import { cutDigest, show, showSize } from "../../web/sidebar_values.mjs";

const EXAMPLE = JSON.parse(
  readFileSync(new URL("../vectors/records/docs-example.json", import.meta.url), "utf8"),
);
const READERS = {
  readNotes,
  readOrigin,
  readPrompts,
  readRecipe,
  readSamplings,
  readDemotions,
  readEnvironment,
  readFlags,
  readMode,
  readTrace,
  readModels: (record) => readModels(record, null),
  readDifferences,
};

const example = (changes) => ({ ...structuredClone(EXAMPLE), ...changes });
const byLabel = (rows) => Object.fromEntries(rows.map((row) => [row.label, row]));

test("the recipe of a real record is told", () => {
  const rows = byLabel(readRecipe(EXAMPLE).items);

  const values = Object.entries(rows).map(([label, { value }]) => [label, value]);
  assert.deepEqual(values, [
    ["Model", "provenance_tiny.safetensors"],
    ["Seed", "42"],
    ["Sampler", "euler"],
    ["Scheduler", "normal"],
    ["Steps", "4"],
    ["CFG", "7"],
    ["Denoise", "1"],
    ["Size", "128 \u00d7 128"],
    ["LoRA", "provenance_tiny_lora.safetensors\nclip 1\nmodel 0.6"],
  ]);
  assert.equal(rows["Model"].digest, EXAMPLE.tuple.model_version);
});

for (const seed of ["0", "1152921504606846977", "18446744073709551615"]) {
  test(`seed ${seed} is shown to the last digit`, () => {
    const record = example({ tuple: { ...EXAMPLE.tuple, seed } });

    assert.equal(byLabel(readRecipe(record).items)["Seed"].value, seed);
  });
}

test("a number that the page rounded is not shown as if it were exact", () => {
  assert.match(show(JSON.parse("1152921504606846977")), /^about /u);
  assert.equal(show(Number.MAX_SAFE_INTEGER), "9007199254740991");
});

test("what a record could not establish is not known", () => {
  const record = example({ tuple: { seed: "unresolved", model_version: "unresolved" } });

  const rows = byLabel(readRecipe(record).items);

  assert.equal(rows["Seed"].value, "not known");
  assert.equal(rows["Model"].value, "not known");
});

test("an image that was not sampled has no recipe", () => {
  assert.deepEqual(readRecipe(example({ tuple: {} })).items, []);
});

test("words are told once, by what they are for", () => {
  const [sampling] = EXAMPLE.samplings;
  const record = example({ samplings: [sampling, sampling] });

  const { items } = readPrompts(record);

  assert.deepEqual(
    items.map(({ role, text }) => [role, text]),
    [
      ["positive", "a red fox in the snow"],
      ["negative", "blurry"],
    ],
  );
  assert.equal(readSamplings(record).items.length, 2);
  assert.deepEqual(readSamplings(EXAMPLE).items, []);
});

test("words that the record does not hold are told by their digest", () => {
  const [sampling] = EXAMPLE.samplings;
  const { text, ...hidden } = sampling.positive[0];
  const record = example({ samplings: [{ ...sampling, positive: [hidden] }] });

  const [prompt] = readPrompts(record).items;

  assert.equal(text, "a red fox in the snow");
  assert.equal(prompt.text, null);
  assert.equal(prompt.digest, hidden.sha256);
});

test("what to know before one relies on a record comes with it", () => {
  const { items } = readNotes(
    example({
      redacted: true,
      redactions: [{ node_id: "a", input: "b" }],
      left_out: ["workflow", "graph"],
      samplings: [{ source: "graph" }],
      warnings: ["the seed is odd"],
    }),
  );

  assert.equal(items.length, 5);
  assert.match(items.join(" "), /copy.* 1 inputs.* workflow, graph.* not watched.* seed is odd/u);
  assert.deepEqual(readNotes(EXAMPLE).items, []);
});

test("the machine of a real record is told in groups", () => {
  const { items, left } = readEnvironment(EXAMPLE);

  const titles = items.map(({ title }) => title);
  assert.deepEqual(titles.slice(0, 3), ["", "cpu", "device"]);
  assert.ok(titles.includes("Fingerprint of cpu"));
  const cpu = byLabel(items[1].rows);
  assert.equal(cpu["threads"].value, "2");
  assert.equal(left, 0);
});

test("an entry that this machine does not share is told with both values", () => {
  const preflight = {
    environment: [{ name: "cpu.threads", kind: "threads", recorded: 2, now: 8 }],
    fingerprint: ["matmul"],
  };

  const [threads, families] = readDifferences(preflight).items;

  assert.deepEqual([threads.label, threads.value, threads.now], ["cpu.threads", "2", "8"]);
  assert.equal(families.value, "matmul");
  assert.deepEqual(readDifferences({ environment: [], fingerprint: null }).items, []);
});

test("determinism is told with what it did not reach", () => {
  const demotion = {
    node_id: "7",
    class_type: "KSampler",
    message: "not pinned",
    kind: "attention",
  };
  const determinism = { ...EXAMPLE.determinism, demotions: [demotion] };

  assert.equal(byLabel(readMode(EXAMPLE))["Deterministic Mode"].value, "yes");
  assert.deepEqual(readDemotions(EXAMPLE), { items: [], left: 0 });
  assert.deepEqual(readDemotions(example({ determinism })).items, [
    { node: "KSampler (node 7)", kind: "attention", message: "not pinned" },
  ]);
  assert.equal(readFlags(EXAMPLE).items.length, 18);
});

test("a record that does not tell its demotions does not say that there are none", () => {
  assert.equal(readDemotions(example({ determinism: {} })), null);
});

test("the trace has a line for each state of the latent", () => {
  const [sampling] = readTrace(EXAMPLE).items;

  assert.equal(sampling.steps.length, 5);
  assert.deepEqual(sampling.steps[0], {
    step: 0,
    sigma: "14.6146",
    digest: EXAMPLE.trace[0].steps[0][1],
  });
});

const MATERIAL = { kind: "loras", name: "a.safetensors", sha256: "ab".repeat(32), node_id: "1" };
const placed = (state, more = {}) => ({ ...MATERIAL, state, name_here: null, note: "", ...more });

for (const [state, more, words] of [
  ["here", {}, "here"],
  ["elsewhere", { name_here: "b.safetensors" }, "here, as b.safetensors"],
  ["other", {}, "not here: another file has this name"],
  ["missing", {}, "missing"],
  ["unknown", { note: "no digest of it is recorded" }, "not known: no digest of it is recorded"],
]) {
  test(`a file that is ${state} is told so`, () => {
    const preflight = { pending: 0, materials: [placed(state, more)] };

    const [model] = readModels({ materials: [MATERIAL] }, preflight).items;

    assert.equal(model.state, state);
    assert.equal(model.words, words);
  });
}

test("a file is being hashed as long as the server says that some are", () => {
  const stateWith = (pending) =>
    readModels({ materials: [MATERIAL] }, { pending, materials: [placed("unknown")] }).items[0]
      .state;

  assert.equal(stateWith(1), "hashing");
  assert.equal(stateWith(0), "unknown");
});

for (const [pending, note, state] of [
  [true, "", "hashing"],
  [true, "of another precision", "hashing"],
  [false, "", "unknown"],
]) {
  test(`a file that the server ${pending ? "hashes" : "does not hash"} is ${state} ${note}`, () => {
    const preflight = { pending: 2, materials: [placed("unknown", { pending, note })] };

    assert.equal(readModels({ materials: [MATERIAL] }, preflight).items[0].state, state);
  });
}

test("a file that two nodes use is listed once, in the worse of its states", () => {
  const preflight = {
    pending: 0,
    materials: [placed("here"), placed("missing", { node_id: "2" })],
  };

  const { items } = readModels({ materials: [MATERIAL, { ...MATERIAL, node_id: "2" }] }, preflight);

  assert.deepEqual(
    items.map(({ state }) => state),
    ["missing"],
  );
});

test("a file of the record that the server does not speak of has no state", () => {
  const gone = { ...MATERIAL, status: "missing" };

  const [model] = readModels({ materials: [gone] }, { pending: 0, materials: [] }).items;

  assert.equal(model.state, null);
  assert.equal(model.words, "was missing when the image was made");
});

test("files without a record are those that the server finds in the graph", () => {
  const { items } = readModels(null, { pending: 0, materials: [placed("here", { sha256: null })] });

  assert.deepEqual(
    items.map(({ name, digest }) => [name, digest]),
    [["a.safetensors", ""]],
  );
});

test("digests are cut in the middle and sizes are readable", () => {
  assert.equal(cutDigest(`sha256:${"0123456789abcdef".repeat(4)}`), "01234567\u2026abcdef");
  assert.equal(showSize(339678634), "339.7 MB");
  assert.equal(showSize(999), "999 B");
  assert.equal(showSize(0), "0 B");
  assert.equal(showSize("7"), "");
});

/** A list and an object of a million entries, and texts of a million characters. */
const LARGE = {
  list: Array.from({ length: 1e6 }, (_, index) => ({
    node_id: String(index),
    text: String(index),
  })),
  text: "x".repeat(1e6),
};
const HOSTILE = [
  null,
  true,
  7,
  "text",
  [],
  {},
  [null, 7, "text", [], [[]], { toString: 1, valueOf: 1 }],
  { toString: 1, valueOf: 1, cpu: { toString: 1 } },
  LARGE.text,
  LARGE.list,
  { a: LARGE.text, [LARGE.text]: LARGE.list },
];

for (const [name, read] of Object.entries(READERS)) {
  test(`${name} makes little of whatever a record holds`, () => {
    for (const value of HOSTILE) {
      const fields = [...Object.keys(EXAMPLE), "warnings", "left_out", "redactions"];
      const record = Object.fromEntries(fields.map((field) => [field, value]));
      const nested = example({
        tuple: { seed: value, adapters: value, width: value, height: value, model_version: value },
        samplings: [{ positive: value, negative: value, seed: value, node_id: value }],
        materials: [{ kind: value, name: value, sha256: value, size_bytes: value }],
        determinism: { mode: value, in_force: value, demotions: value },
        trace: [{ node_id: value, steps: value }],
        environment: { cpu: value },
        fingerprint: { cpu: value },
        subject: { digest: value, digests: value },
        generator: { name: value, version: value },
      });

      for (const hostile of [record, nested]) {
        assert.ok(JSON.stringify(read(hostile) ?? "").length < 2e6);
      }
    }
  });
}
