// The one place that talks to the server. Every failure is a Trouble with a sentence to show.

/** status: the answer's, 0 if none came. body: its JSON. */
export class Trouble extends Error {
  constructor(message, status = 0, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }

  /** Whether the same request may succeed later. */
  get passes() {
    return [0, 401, 412, 429].includes(this.status) || this.status >= 500;
  }
}

const LIMIT_MS = 30_000;
const EXPORT_LIMIT_MS = 3_600_000; // converting thousands of pictures takes its time

let output; // of the first state: what this page is about, also if another comes to its address

async function ask(path, { method = "GET", body, limit = LIMIT_MS } = {}) {
  let answer;
  let json;
  try {
    answer = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json", "X-Output": output } : {},
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(limit),
    });
    json = await answer.json();
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new Trouble("The server answered something unexpected.", answer.status || 500);
    }
    throw new Trouble("The server does not answer. Is “batch-reimagine review” still running?");
  }
  if (!answer.ok) throw new Trouble(json.error ?? `The server answered ${answer.status}.`, answer.status, json);
  return json;
}

export async function getState() {
  const state = await ask("/api/state");
  output ??= state.key;
  return state;
}

/** → {revision, choice}; Trouble 409 holds both as they stand now. */
export const putChoice = (id, revision, choice) =>
  ask(`/api/products/${id}/choice`, { method: "PUT", body: { revision, choice } });

/** → {queued}. */
export const postMore = (id, count) =>
  ask(`/api/products/${id}/more`, { method: "POST", body: { count } });

/** → {files, bytes, there, warnings, command, sample, to}. */
export const postExport = (options) =>
  ask("/api/export", {
    method: "POST",
    body: options,
    limit: options.dry_run ? LIMIT_MS : EXPORT_LIMIT_MS,
  });

/** n = 0 is the original. */
export const pictureUrl = (id, n) => `/api/pictures/${id}/${n}`;
export const thumbUrl = (id, n) => `/api/thumbs/${id}/${n}`;
