// Requests, and what came of them.

import { put } from "./format.js";

export async function ask(path, options) {
  try {
    const answer = await fetch(path, options);
    return await answer.json();
  } catch (error) {
    return { error: `the inspector does not answer: ${error.message}` };
  }
}

export async function change(wanted, tell) {
  const told = await ask("/api/do", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wanted) });
  say(told.error ?? tell(told));
}

let leaving = 0;

export function say(text) {
  const toast = document.getElementById("toast");
  put(toast, text);
  toast.hidden = false;
  clearTimeout(leaving);
  leaving = setTimeout(() => { toast.hidden = true; }, 6000);
}
