// Pictures are fetched and decoded before they are shown, so that a step only has to paint.

const MOST_KEPT = 60; // image elements that are not shown; their pixels are the browser's to drop
const AT_ONCE = 4; // pictures fetched ahead at a time: the server and the disk have other work

const kept = new Map(); // url → {image, ready}; the ones asked for last stand last
let turn = 0; // counts calls of preload: a later one ends the earlier

/** The one image element of an address, being loaded; `ready` tells whether it can be painted. */
export function picture(url, { urgent = true } = {}) {
  const known = kept.get(url);
  kept.delete(url);
  const entry = known ?? load(url, urgent);
  kept.set(url, entry);
  return entry;
}

function load(url, urgent) {
  const image = new Image();
  image.decoding = "sync";
  image.draggable = false;
  image.fetchPriority = urgent ? "high" : "low";
  image.src = url;
  const entry = { image, ready: image.decode().then(() => true, () => false) };
  entry.ready.then((good) => {
    if (!good && kept.get(url) === entry) kept.delete(url); // to be asked for again
  });
  return entry;
}

/** Once `now` is there, fetch what is likely wanted next; drop what no longer is. */
export async function preload(now, next) {
  turn += 1;
  const mine = turn;
  const wanted = new Set([...now, ...next]);
  for (const [url, { image }] of kept) {
    const spare = !wanted.has(url) && !image.isConnected;
    if (spare && (!image.complete || kept.size > MOST_KEPT)) {
      kept.delete(url);
      if (!image.complete) image.src = "";
    }
  }
  await Promise.all(now.map((url) => picture(url).ready));
  const rest = next.values();
  const fetchOn = async () => {
    for (const url of rest) {
      if (mine !== turn) return;
      await picture(url, { urgent: false }).ready;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, fetchOn));
}
