// How to lay out panes. Pure.

/** The number of columns that makes `count` pictures largest.
 *
 * width, height: of the room, px. aspect: width / height of the pictures. chrome: px that each
 * pane needs below its picture. gap: px between panes.
 */
export function columns(count, { width, height, aspect, chrome, gap }) {
  let best = { columns: 1, side: 0 };
  for (let across = 1; across <= count; across += 1) {
    const down = Math.ceil(count / across);
    const wide = (width - gap * (across - 1)) / across;
    const high = (height - gap * (down - 1)) / down - chrome;
    const side = Math.min(wide, high * aspect);
    if (side > best.side) best = { columns: across, side };
  }
  return best.columns;
}

/** The aspect (width / height) of a product's pictures, as far as known. */
export function aspectOf(product) {
  const known = product.variations.find((v) => v.width && v.height);
  return known ? known.width / known.height : 1;
}
