// What the server tells by itself while a run goes on.

/** Call told.product(product), told.run({running, made, wanted, per_minute}), told.note(text),
 * told.lost() when the connection breaks, and told.again() each time that it stands: what changed
 * before is not told by it. */
export function listen(told) {
  let lost = false;
  let source;
  let timer = 0;
  const open = () => {
    let first = true;
    source = new EventSource("/api/events");
    const take = (name, handle) =>
      source.addEventListener(name, ({ data }) => {
        try {
          handle(JSON.parse(data));
        } catch (error) {
          console.warn("an event that cannot be read", error);
        }
      });
    take("product", told.product);
    take("run", told.run);
    take("note", ({ text }) => told.note(text));
    source.addEventListener("open", () => {
      if (lost || first) told.again();
      lost = first = false;
    });
    source.addEventListener("error", () => {
      if (!lost) told.lost();
      lost = true;
      if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
      clearTimeout(timer);
      timer = setTimeout(open, 5000);
    });
  };
  const rest = () => {
    clearTimeout(timer);
    source?.close();
  };
  if (!document.hidden) open();
  // A browser opens six connections to a server, all its tabs together: one that nobody looks at
  // gives its own back, and asks what is true when somebody does.
  document.addEventListener("visibilitychange", () => {
    rest();
    if (document.hidden) return;
    open();
  });
  window.addEventListener("pagehide", rest);
}
