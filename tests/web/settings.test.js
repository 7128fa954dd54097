// The page's settings change new nodes only; the server's show what the server has.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Element, answer, api, app, settings } from "./host.js";

const { SETTINGS, applyDefaults, offersOnDrop } = await import("../../web/settings.js");
const { drawSetting, readLines } = await import("../../web/settings_server.mjs");

/** What the page's clock says: answers of the server are shared for a moment. */
let now = 0;
performance.now = () => now;
const LATER_MS = 5000;
const OFF = ["Provenance.Nodes.DeterministicByDefault", false];

function made(comfyClass = "ProvenanceKSampler") {
  const widget = { name: "deterministic_mode", value: true };
  const node = { comfyClass, widgets: [{ name: "seed", value: 0 }, widget] };
  applyDefaults(node);
  return { node, widget };
}

/** A server with settings, which wants the code 123456 for any change. */
class Server {
  constructor(values) {
    Object.assign(this, { values, asked: [], reads: 0 });
    now += LATER_MS;
    api.fetchApi = async (route, init) => this.take(route, init);
  }

  take(route, { method, body } = {}) {
    if (method !== "POST") {
      this.reads += 1;
      return answer({ settings: this.values });
    }
    const { name, value, code } = JSON.parse(body);
    this.asked.push(code);
    if (code === undefined) return answer({ confirm: "The console shows a code." }, 202);
    if (code !== "123456") return answer({ error: "this is not the code" }, 403);
    this.values = { ...this.values, [name]: value };
    return answer({ settings: this.values });
  }
}

async function draw(kind, name) {
  const box = new Element("div");
  await drawSetting(box, { kind, name, label: "The name" });
  return box;
}

/** Lets every promise that is under way settle. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

function typing(...codes) {
  const messages = [];
  app.extensionManager.dialog.prompt = async ({ message }) => {
    messages.push(message);
    return codes.shift() ?? null;
  };
  return messages;
}

beforeEach(() => settings.clear());

test("every setting has a name, a place and a translation key of its own", () => {
  const ids = SETTINGS.map(({ id }) => id);

  assert.equal(new Set(ids).size, SETTINGS.length);
  assert.ok(ids.every((id) => /^Provenance\.(Page|Nodes|Server)\.\w+$/u.test(id)));
  assert.ok(SETTINGS.every(({ name, tooltip }) => name && tooltip));
});

test("a dropped image is answered unless the user said no", () => {
  assert.equal(offersOnDrop(), true);
  settings.set("Provenance.Page.OfferOnDrop", false);
  assert.equal(offersOnDrop(), false);
});

test("a sampler that is added alone starts as the setting says", async () => {
  settings.set(...OFF);
  const { widget } = made();
  await settled();

  assert.equal(widget.value, false);
});

test("a sampler is added with the mode on where nobody said otherwise", async () => {
  const { widget } = made();
  await settled();

  assert.equal(widget.value, true);
});

test("a sampler that is filled from a workflow keeps what it came with", async () => {
  settings.set(...OFF);
  const { node, widget } = made();
  node.onConfigure({});
  await settled();

  assert.equal(widget.value, true);
});

test("samplers that come with other nodes keep what they came with", async () => {
  settings.set(...OFF);
  const { widget } = made();
  made("VAEDecode");
  await settled();
  const { widget: next } = made();
  await settled();

  assert.equal(widget.value, true);
  assert.equal(next.value, false);
});

test("nodes of other classes are left alone", async () => {
  settings.set(...OFF);
  const { widget } = made("SomebodysSampler");
  await settled();

  assert.equal(widget.value, true);
});

test("a node's own callback gets and gives what it always did", () => {
  settings.set(...OFF);
  const onConfigure = (...values) => ["its answer", ...values];
  const node = { comfyClass: "ProvenanceKSampler", onConfigure };
  applyDefaults(node);

  assert.notEqual(node.onConfigure, onConfigure);
  assert.deepEqual(node.onConfigure("data", 7), ["its answer", "data", 7]);
});

test("no callback is put into a node of another pack", () => {
  settings.set(...OFF);
  const onConfigure = () => "its answer";
  const nodes = [{ comfyClass: "SomebodysNode", onConfigure }, { comfyClass: "VAEDecode" }];
  for (const node of nodes) applyDefaults(node);

  assert.equal(nodes[0].onConfigure, onConfigure);
  assert.ok(!("onConfigure" in nodes[1]));
});

test("a setting of the server shows what the server has", async () => {
  new Server({ redaction: true, allowed_packs: ["a", "b"] });

  const box = await draw("switch", "redaction");
  const list = await draw("list", "allowed_packs");

  assert.equal(box.find("input").checked, true);
  assert.equal(box.find("input").attributes["aria-label"], "The name");
  assert.equal(list.find("textarea").value, "a\nb");
});

test("the settings that are drawn together ask the server once", async () => {
  const server = new Server({ redaction: true, sidecar: false });

  await Promise.all([draw("switch", "redaction"), draw("switch", "sidecar")]);

  assert.equal(server.reads, 1);
});

test("a change is made with the code, and shows what the server then has", async () => {
  const server = new Server({ sidecar: false });
  const messages = typing(" 123456 ");
  const box = await draw("switch", "sidecar");

  box.find("input").checked = true;
  box.find("input").fire("change");
  await settled();

  assert.deepEqual(messages, ["The console shows a code."]);
  assert.equal(server.values.sidecar, true);
  assert.equal(box.find("input").checked, true);
  assert.match(box.textContent, /Changed\./u);
});

test("a switch turns when the server has turned it, and not before", async () => {
  new Server({ sidecar: false });
  typing("123456");
  const box = await draw("switch", "sidecar");

  box.find("input").checked = true;
  box.find("input").fire("change");
  const waiting = [box.find("input").checked, box.find("input").inert, box.textContent];
  await settled();

  assert.deepEqual(waiting, [false, true, " Waiting for the code…"]);
  assert.equal(box.find("input").checked, true);
  assert.equal(box.find("input").inert, false);
});

test("a change without a code puts the old value back", async () => {
  const server = new Server({ sidecar: false });
  typing();
  const box = await draw("switch", "sidecar");

  box.find("input").checked = true;
  box.find("input").fire("change");
  await settled();

  assert.equal(server.values.sidecar, false);
  assert.equal(box.find("input").checked, false);
  assert.match(box.textContent, /Not changed\./u);
});

test("a wrong code can be typed again, and the third puts the old value back", async () => {
  const server = new Server({ sidecar: false });
  const messages = typing("1", "2", "3", "123456");
  const box = await draw("switch", "sidecar");

  box.find("input").checked = true;
  box.find("input").fire("change");
  await settled();

  assert.deepEqual(server.asked, [undefined, "1", "2", "3"]);
  assert.match(messages[1], /Not accepted: this is not the code\. The console shows a code\./u);
  assert.equal(box.find("input").checked, false);
  assert.match(box.textContent, /Not changed: this is not the code/u);
});

test("names are sent as a list, each once", async () => {
  const server = new Server({ allowed_packs: ["a"] });
  typing("123456");
  const box = await draw("list", "allowed_packs");

  box.find("textarea").value = "a\n b \n\nb\r\nc";
  box.find("button").fire("click");
  await settled();

  assert.deepEqual(server.values.allowed_packs, ["a", "b", "c"]);
  assert.deepEqual(readLines(""), []);
});

for (const [phrase, reply] of [
  ["fails", () => answer({}, 500)],
  ["is gone", () => Promise.reject(new Error("network"))],
  ["answers no JSON", () => new Response("<html>")],
  ["has no such setting", () => answer({ settings: {} })],
]) {
  test(`a server that ${phrase} is told, and nothing can be changed`, async () => {
    now += LATER_MS;
    api.fetchApi = async () => reply();

    const box = await draw("switch", "redaction");

    assert.equal(box.find("input"), undefined);
    assert.match(box.textContent, /The server did not tell: \w+/u);
  });
}
