// Stands in for ComfyUI's page: its two modules, and as much of a DOM as this pack's modules use.

import { register } from "node:module";

/** ComfyUI's `app`; its messages are kept in `toasts`. */
export const app = {
  rootGraph: { nodes: [], getNodeById: () => null },
  extensionManager: {
    toast: { add: (message) => toasts.push(message) },
    setting: { get: (id) => settings.get(id) },
    dialog: { prompt: async () => null },
  },
};

/** ComfyUI's `api`; a test says what it answers. */
export const api = { fetchApi: async () => answer({}, 404) };
export const toasts = [];
export const settings = new Map();

// What `fetchApi` gives for a JSON value.
export function answer(value, status = 200) {
  return new Response(JSON.stringify(value), { status });
}

/** An element that holds text, attributes, listeners and children, and knows no markup. */
export class Element {
  constructor(tag) {
    Object.assign(this, { tag, className: "", dataset: {}, attributes: {}, children: [] });
    Object.assign(this, { listeners: {}, ownerDocument: document, isConnected: true });
  }

  set textContent(text) {
    this.children = text ? [text] : [];
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

  prepend(...children) {
    this.children.unshift(...children);
  }

  replaceChildren(...children) {
    this.children = children;
  }

  remove() {
    this.isConnected = false;
  }

  closest() {
    return null;
  }

  querySelector(tag) {
    return this.all().find((element) => element !== this && element.tag === tag) ?? null;
  }

  addEventListener(type, listener) {
    (this.listeners[type] ??= []).push(listener);
  }

  fire(type) {
    for (const listener of this.listeners[type] ?? []) listener({ type, target: this });
  }

  all() {
    return [this, ...this.children.flatMap((child) => (child.tag ? child.all() : []))];
  }

  find(tag) {
    return this.all().find((element) => element.tag === tag);
  }
}

/** Listeners of the whole page, as they were added. */
export const listeners = [];

globalThis.document = {
  createElement: (tag) => new Element(tag),
  querySelector: () => null,
  addEventListener: (type, listener, options) => listeners.push({ type, listener, options }),
  head: { append() {} },
};
globalThis.CSS = { escape: (text) => text };
globalThis.comfy = { app, api };

const hooks = `export async function resolve(specifier, context, next) {
  const name = /\\/scripts\\/(app|api)\\.js$/.exec(specifier)?.[1];
  if (!name) return next(specifier, context);
  const url = \`data:text/javascript,export const \${name} = globalThis.comfy.\${name};\`;
  return { url, shortCircuit: true };
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
