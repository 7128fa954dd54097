/**
 * ComfyUI's own `app` and `api`, as its modules `scripts/app.js` and `scripts/api.js` hand them on.
 * A page that had to fetch those first would start later.
 */

const { comfyAPI } = globalThis;

export const { app } = comfyAPI?.app ?? (await import("../../scripts/app.js"));
export const { api } = comfyAPI?.api ?? (await import("../../scripts/api.js"));
