"""Questions to a page that only a browser can answer, as JavaScript."""

OPEN_ALL_DETAILS = "document.querySelectorAll('details').forEach(d => d.open = true)"

# A canvas turns any way to write a colour, color-mix too, into bytes.
LOW_CONTRAST = """
() => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const rgba = color => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const background = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const layer = rgba(getComputedStyle(e).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = color => {
    const [r, g, b] = color.map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  let checked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    const isShown = element.checkVisibility() && !['title', 'desc'].includes(element.tagName);
    if (!text || !isShown) continue;
    const style = getComputedStyle(element);
    const below = background(element);
    const ink = rgba(element instanceof SVGElement ? style.fill : style.color);
    const [dark, light] = [luminance(over(ink, below)), luminance(below)].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    checked += 1;
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)} ${element.tagName} ${text}`);
  }
  return {checked, found};
}
"""

WIDE_ELEMENTS = """
() => [...document.querySelectorAll('.scroll')]
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => `${e.getAttribute('aria-label')}: ${e.scrollWidth} > ${e.clientWidth}`)
"""

HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))"

DUPLICATE_IDS = """
() => {
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  return ids.filter((id, index) => ids.indexOf(id) !== index);
}
"""

FIGURES = """
() => [...document.querySelectorAll('figure')].map(figure => ({
  title: figure.querySelector('figcaption').textContent,
  drawings: [...figure.querySelectorAll('svg[role=img]')].map(svg =>
    svg.getAttribute('aria-labelledby').split(' ').map(
      id => document.getElementById(id).textContent.trim())),
  rows: [...figure.querySelectorAll('tbody tr')].map(
    row => [...row.children].map(cell => cell.textContent.trim())),
  heads: [...figure.querySelectorAll('thead th')].map(cell => cell.textContent.trim()),
}))
"""

UNNAMED_DRAWINGS = """
() => [...document.querySelectorAll('svg')].filter(svg =>
  svg.getAttribute('aria-hidden') !== 'true' &&
  !(svg.getAttribute('role') === 'img' && svg.closest('figure'))).length
"""

FOCUSED = """
() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const style = getComputedStyle(e);
  return {
    index: [...document.querySelectorAll('a, summary, .scroll, pre')].indexOf(e),
    name: e.className || e.tagName,
    outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
  };
}
"""

REACHABLE = """
() => [...document.querySelectorAll('a, summary, .scroll, pre')]
  .map((e, index) => [e, index]).filter(([e]) => e.checkVisibility()).map(([, index]) => index)
"""
