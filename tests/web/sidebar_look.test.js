// An image is looked at with one row of questions, and its file goes to the server once.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { answer, api } from "./host.js";

const { Look } = await import("../../web/sidebar_look.mjs");

const LONG_MS = 60_000;
const NAME = "provenance/a folder/fox.png [temp]";
const SIDECAR = new File(["{}"], "fox.provenance.json");
const FILE = new File(["pixels"], "fox.png");

/** A server that still hashes a file; it keeps what it is asked. */
class Server {
  constructor() {
    Object.assign(this, { asked: [], signals: [], isBroken: false, held: null });
    api.fetchApi = (route, init) => this.take(route, init);
  }

  async take(route, { body, signal }) {
    const { pathname, searchParams } = new URL(route, "http://server");
    const about = searchParams.get("image") ?? (body instanceof FormData ? "a form" : body?.name);
    this.signals.push(signal);
    this.asked.push([pathname.split("/").pop(), about]);
    if (pathname === "/upload/image") {
      return answer({ name: body.get("image").name, subfolder: "provenance/a folder" });
    }
    if (this.isBroken) return answer({ error: "not now" }, 400);
    if (pathname === "/provenance/record") return answer({ record: null, summary: "none" });
    if (this.held) await Promise.race([this.held, aborted(signal)]);
    return answer({ expect: "unknown", line: "one to hash", reasons: [], pending: 1 });
  }

  count(kind) {
    return this.asked.filter(([asked]) => asked === kind).length;
  }
}

function aborted(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

function lookAt(source) {
  const ignored = () => undefined;
  return new Look({ name: "fox.png", ...source }, { onCompare: ignored, onClose: ignored });
}

/** Lets every promise that is under way settle; the clock stands still. */
async function settled() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function press(look, text) {
  const buttons = look.element.all().filter(({ tag }) => tag === "button");
  buttons.find(({ textContent }) => textContent === text).fire("click");
}

api.apiURL = (route) => route;
beforeEach((t) => t.mock.timers.enable({ apis: ["setTimeout"] }));

test("a file is sent with the first question and lies on the server for all others", async (t) => {
  const server = new Server();
  const look = lookAt({ data: FILE });

  look.start();
  await settled();
  for (let time = 0; time < 3; time += 1) {
    t.mock.timers.tick(LONG_MS);
    await settled();
  }

  assert.deepEqual(server.asked, [
    ["preflight", "fox.png"],
    ["record", "fox.png"],
    ["image", "a form"],
    ...Array.from({ length: 3 }, () => ["preflight", NAME]),
  ]);
  look.close();
});

test("a file and its record are put on the server once, and asked about by name", async (t) => {
  const server = new Server();
  const look = lookAt({ data: FILE, sidecar: SIDECAR });

  look.start();
  await settled();
  t.mock.timers.tick(LONG_MS);
  await settled();

  assert.equal(server.count("image"), 2);
  assert.deepEqual(
    server.asked.filter(([kind]) => kind !== "image"),
    [
      ["preflight", NAME],
      ["record", NAME],
      ["preflight", NAME],
    ],
  );
  look.close();
});

test("an image of the server is never sent to it", async (t) => {
  const server = new Server();
  const look = lookAt({ data: "fox.png [output]" });

  look.start();
  await settled();
  t.mock.timers.tick(LONG_MS);
  await settled();

  assert.equal(server.count("preflight"), 2);
  assert.equal(server.count("image"), 0);
  look.close();
});

test("a look that begins again meanwhile goes on with one row of questions", async (t) => {
  const server = new Server();
  const look = lookAt({ data: "fox.png [output]" });
  let release = () => undefined;
  server.held = new Promise((resolve) => (release = resolve));
  look.start();
  await settled();
  const first = server.signals.at(-1);
  look.start();
  assert.ok(first.aborted);
  release();
  server.held = null;
  await settled();
  const before = server.count("preflight");

  for (let time = 1; time <= 3; time += 1) {
    t.mock.timers.tick(LONG_MS);
    await settled();

    assert.equal(server.count("preflight"), before + time);
  }
  look.close();
  t.mock.timers.tick(LONG_MS);
  await settled();
  assert.equal(server.count("preflight"), before + 3);
});

test("a button that is pressed twice asks once", async (t) => {
  const server = new Server();
  const look = lookAt({ data: "fox.png [output]" });
  look.start();
  await settled();
  server.isBroken = true;
  t.mock.timers.tick(LONG_MS);
  await settled();
  server.isBroken = false;
  const before = server.count("preflight");

  press(look, "Look again");
  press(look, "Look again");
  await settled();

  assert.equal(server.count("preflight"), before + 1);
  look.close();
});

test("a server that has lost the file gets it again", async (t) => {
  const server = new Server();
  const look = lookAt({ data: FILE });
  look.start();
  await settled();

  server.isBroken = true;
  t.mock.timers.tick(LONG_MS);
  await settled();
  const words = look.line.textContent;
  server.isBroken = false;
  press(look, "Look again");
  await settled();

  assert.match(words, /not known what a rerun would give: not now/u);
  assert.deepEqual(server.asked.at(-1), ["preflight", "fox.png"]);
  look.close();
});
