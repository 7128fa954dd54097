// A node shows how its own last run went; what keeps a graph from repeating itself is told once.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { answer, api, app, toasts } from "./host.js";

const { checkGraph, showStates, tellWarnings } = await import("../../web/marks.mjs");

const WORKFLOW = "11111111-2222-4333-8444-555555555555";
const KSAMPLER = "ProvenanceKSampler";
const MARKUP = "<img src=x onerror=alert(1)>";
let ids = 0;

// A node that takes widgets, as ComfyUI's do.
function makeNode(id, comfyClass = KSAMPLER, more = {}) {
  const node = { id, comfyClass, title: comfyClass, widgets: [], added: [], ...more };
  node.setDirtyCanvas = () => undefined;
  node.addDOMWidget = (name, type, element, options) => {
    const widget = { name, element, options };
    node.added.push(widget);
    node.widgets.push(widget);
    return widget;
  };
  return node;
}

function makeGraph(...nodes) {
  return { nodes, getNodeById: (id) => nodes.find((node) => String(node.id) === id) ?? null };
}

function open(...nodes) {
  app.rootGraph = { ...makeGraph(...nodes), id: WORKFLOW };
}

function tell(nodes, workflow = WORKFLOW) {
  showStates({ prompt_id: "p", workflow_id: workflow, nodes });
}

const state = (name, messages = [], type = KSAMPLER) => ({
  class_type: type,
  state: name,
  messages,
});

const markOf = (node) => node.added[0]?.element.children[0];

/** A class that no test has asked about: what was told once is not told again. */
const newId = () => (ids += 1) + 1000;

beforeEach(() => {
  toasts.length = 0;
});

test("every state is told in words of its own", () => {
  const states = ["pinned", "watched", "off", "demoted"];
  const nodes = states.map((_, index) => makeNode(index + 1));
  open(...nodes);

  tell(Object.fromEntries(states.map((name, index) => [index + 1, state(name)])));

  const words = nodes.map((node) => markOf(node).textContent);
  assert.equal(new Set(words).size, states.length);
  assert.match(words[0], /✓ deterministic/u);
});

test("a demoted node tells the first reason, and all of them to whoever asks", () => {
  const node = makeNode(5);
  open(node);

  tell({ 5: state("demoted", ["it ran out of memory", "a second", "a third"]) });

  assert.match(markOf(node).textContent, /! demoted: it ran out of memory \(\+2\)/u);
  assert.match(markOf(node).title, /it ran out of memory\na second\na third$/u);
});

test("a mark adds nothing to the prompt or the workflow", () => {
  const node = makeNode(5);
  open(node);

  tell({ 5: state("pinned") });

  assert.equal(node.added.length, 1);
  assert.equal(node.added[0].options.serialize, false);
  assert.equal(node.added[0].serialize, false);
});

test("a node has one mark, which is that of its last run", () => {
  const node = makeNode(5);
  open(node);

  tell({ 5: state("demoted", ["a reason"]) });
  tell({ 5: state("pinned") });

  assert.equal(node.added.length, 1);
  assert.equal(markOf(node).dataset.state, "pinned");
  assert.doesNotMatch(markOf(node).textContent, /reason/u);
});

test("a node in a subgraph is found by its execution id", () => {
  const inner = makeNode(7);
  const middle = makeNode(6, "uuid", { subgraph: makeGraph(inner) });
  open(makeNode(5, "uuid", { subgraph: makeGraph(middle) }));

  tell({ "5:6:7": state("pinned") });

  assert.equal(markOf(inner).dataset.state, "pinned");
});

test("a graph that came as a prompt keeps its long ids", () => {
  const node = makeNode("5:7");
  open(node);

  tell({ "5:7": state("pinned") });

  assert.equal(markOf(node).dataset.state, "pinned");
});

test("a node that two uses of a subgraph share shows the weaker state", () => {
  const inner = makeNode(7);
  const subgraph = makeGraph(inner);
  open(makeNode(5, "uuid", { subgraph }), makeNode(6, "uuid", { subgraph }));

  tell({ "5:7": state("demoted", ["a reason"]), "6:7": state("pinned") });

  assert.equal(markOf(inner).dataset.state, "demoted");
});

for (const [phrase, detail] of [
  ["a run of another workflow", { workflow_id: "another", nodes: { 5: state("pinned") } }],
  ["a node of another class", { nodes: { 5: state("pinned", [], "ProvenanceSeed") } }],
  ["a node that is gone", { nodes: { 9: state("pinned"), "5:9": state("pinned") } }],
  ["an unknown state", { nodes: { 5: state("perfect") } }],
  ["no state", { nodes: { 5: null } }],
  ["no nodes", { nodes: 7 }],
  ["nothing", null],
]) {
  test(`${phrase} marks no node`, () => {
    const node = makeNode(5);
    open(node);

    showStates(detail);

    assert.equal(node.added.length, 0);
  });
}

test("no node of another pack is marked", () => {
  const node = makeNode(5, "KSampler");
  open(node);

  tell({ 5: state("pinned", [], "KSampler") });

  assert.equal(node.added.length, 0);
});

test("markup in a reason is text", () => {
  const node = makeNode(5);
  open(node);

  tell({ 5: state("demoted", [MARKUP, { no: "text" }, null]) });

  const tags = markOf(node).all().map(({ tag }) => tag);
  assert.deepEqual([...new Set(tags)], ["div", "span"]);
  assert.ok(markOf(node).textContent.includes(MARKUP));
});

test("a mark is an earlier result once the user changes the node", () => {
  const changed = [];
  const widget = { name: "cfg", callback: (value) => changed.push(value) };
  const node = makeNode(5, KSAMPLER, { widgets: [widget] });
  open(node);

  tell({ 5: state("pinned") });
  const fresh = markOf(node).dataset.earlier;
  widget.callback(7);
  const edited = markOf(node).dataset.earlier;
  tell({ 5: state("pinned") });

  assert.deepEqual([fresh, edited, markOf(node).dataset.earlier], [undefined, "true", undefined]);
  assert.deepEqual(changed, [7]);
});

test("a node that was made anew shows the last run as an earlier result", async () => {
  open(makeNode(5));
  tell({ 5: state("pinned") });
  const again = makeNode(5);
  open(again);

  await checkGraph();

  assert.equal(markOf(again).dataset.state, "pinned");
  assert.equal(markOf(again).dataset.earlier, "true");
});

test("a look at the graph leaves a fresh mark fresh", async () => {
  const node = makeNode(5);
  open(node);
  tell({ 5: state("pinned") });

  await checkGraph();

  assert.equal(markOf(node).dataset.earlier, undefined);
});

test("a graph without an id shows no other graph's run", async () => {
  const noId = "00000000-0000-0000-0000-000000000000";
  open(makeNode(5));
  app.rootGraph.id = noId;
  tell({ 5: state("pinned") }, noId);
  const other = makeNode(5);
  open(other);
  app.rootGraph.id = noId;

  await checkGraph();

  assert.equal(other.added.length, 0);
});

test("a warning is told once, whatever numbers it holds", () => {
  tellWarnings({ provenance_warnings: ["seed 5 is odd", "seed 7 is odd", "another\u202e"] });
  tellWarnings({ provenance_warnings: ["seed 9 is odd"] });
  tellWarnings({});
  tellWarnings(null);

  const details = toasts.map(({ detail }) => detail);
  assert.deepEqual(details, ["seed 5 is odd", "another\\u202e"]);
});

test("classes that the server does not tell are asked for again, and nothing is said", async () => {
  open(makeNode(newId()), makeNode(newId(), "Noisy"));
  api.fetchApi = async () => answer({ error: "no" }, 500);
  await checkGraph();
  const before = toasts.length;
  let reads = 0;
  api.fetchApi = async () => {
    reads += 1;
    return answer({
      unseeded: { Noisy: "draws random numbers that no seed decides" },
      unpinned: { Divided: "divides its work by free memory" },
    });
  };

  await checkGraph();
  await checkGraph();

  assert.equal(before, 0);
  assert.equal(reads, 1);
  assert.equal(toasts.length, 1);
  assert.match(toasts[0].summary, /cannot repeat itself bit for bit/u);
  assert.match(
    toasts[0].detail,
    /^node \d+ \(Noisy\) draws random numbers that no seed decides\.$/u,
  );
});

test("what only may differ is not called impossible", async () => {
  open(makeNode(newId()), makeNode(newId(), "Divided"));

  await checkGraph();

  assert.match(toasts[0].summary, /may not repeat itself/u);
});

test("a node in a subgraph is told by its execution id", async () => {
  const [outer, inner] = [newId(), newId()];
  const subgraph = makeGraph(makeNode(inner, "Noisy"));
  open(makeNode(newId()), makeNode(outer, "uuid", { subgraph }));

  await checkGraph();

  assert.ok(toasts[0].detail.startsWith(`node ${outer}:${inner} (Noisy)`));
});

test("many nodes are counted, not listed", async () => {
  open(makeNode(newId()), ...Array.from({ length: 30 }, () => makeNode(newId(), "Noisy")));

  await checkGraph();

  assert.match(toasts[0].detail, /; and 26 more\.$/u);
  assert.ok(toasts[0].detail.length < 500);
});

for (const [phrase, nodes] of [
  ["that never runs", () => [makeNode(newId()), makeNode(newId(), "Noisy", { mode: 2 })]],
  ["that is bypassed", () => [makeNode(newId()), makeNode(newId(), "Noisy", { mode: 4 })]],
  ["in a graph without a node of this pack", () => [makeNode(newId(), "Noisy")]],
  [
    "in a subgraph that never runs",
    () => {
      const subgraph = makeGraph(makeNode(newId(), "Noisy"));
      return [makeNode(newId()), makeNode(newId(), "uuid", { subgraph, mode: 2 })];
    },
  ],
]) {
  test(`an unseeded node ${phrase} is not told`, async () => {
    open(...nodes());

    await checkGraph();

    assert.deepEqual(toasts, []);
  });
}

test("a seed that the page rounds is told with what will be sent, in any graph", async () => {
  const widgets = [{ name: "seed", value: Number(2n ** 60n + 1n) }];
  open(makeNode(newId(), "KSampler", { widgets }));

  await checkGraph();
  await checkGraph();

  assert.equal(toasts.length, 1);
  assert.match(toasts[0].detail, /1152921504606847000/u);
});

test("a seed that comes from a primitive is told with the node that takes it", async () => {
  const widgets = [{ name: "value", value: 2 ** 61 }];
  const origin = makeNode(newId(), "PrimitiveInt", { widgets });
  const inputs = [{ name: "seed" }];
  const id = newId();
  open(origin, makeNode(id, "KSampler", { inputs, getInputNode: () => origin }));

  await checkGraph();

  assert.equal(toasts.length, 1);
  assert.ok(toasts[0].detail.startsWith(`node ${id} (KSampler) would be sent 2305843009213694000`));
});

test("subgraphs that hold each other many times end", async () => {
  let graph = makeGraph(makeNode(1, "Noisy"));
  for (let depth = 0; depth < 40; depth += 1) {
    const subgraph = graph;
    graph = makeGraph(makeNode(1, "u", { subgraph }), makeNode(2, "u", { subgraph }));
  }
  open(makeNode(newId()), ...graph.nodes);

  await checkGraph();

  assert.equal(toasts.length, 1);
});
