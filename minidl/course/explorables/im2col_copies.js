// im2col: a pixel and its copies. State: size, kernel, stride, padding, pixel (numbered from 1);
// adds columns (the matrix), counts (H, W) and places (the rows and columns that hold the pixel).
function unfold(size, kernel, stride, padding) {
  const out = Math.floor((size + 2 * padding - kernel) / stride) + 1, columns = [];
  for (let a = 0; a < kernel; a++) for (let b = 0; b < kernel; b++) {
    const row = [];
    for (let i = 0; i < out; i++) for (let j = 0; j < out; j++) {
      const y = i * stride + a - padding, x = j * stride + b - padding;
      row.push(y < 0 || x < 0 || y >= size || x >= size ? 0 : y * size + x + 1);
    }
    columns.push(row);
  }
  return columns;
}

function render(el, state) {
  const draw = () => {
    const {size, kernel, stride, padding} = state, columns = unfold(size, kernel, stride, padding);
    const counts = Array.from({length: size}, () => Array(size).fill(0)), places = [];
    columns.forEach((row, r) => row.forEach((v, c) => {
      if (v) counts[Math.floor((v - 1) / size)][(v - 1) % size] += 1;
      if (v === state.pixel) places.push([r, c]);
    }));
    const paint = v => v === state.pixel ? "#c2410c" : "#fff";
    const ink = v => v === state.pixel ? "#fff" : "#22262b";
    const pixel = (n, i, j) => {
      const v = i * size + j + 1;
      return `<td style="background: ${paint(v)}"><button data-at="${v}" style="background: none;
        border: none; width: 100%; height: 100%; color: ${ink(v)}" aria-pressed="${v === state.pixel}"
        aria-label="pixel ${v} ${n} times in a window">${v}<sup> ${n}</sup></button></td>`;
    };
    const side = 20, wide = columns[0].length * side, high = columns.length * side;
    const cell = (v, r, c) => `<rect x="${c * side}" y="${r * side}" width="${side}" height="${side}"
      stroke="#8a94a0" fill="${v ? paint(v) : "#e4e2da"}"/><text x="${(c + .5) * side}"
      y="${r * side + 14}" text-anchor="middle" style="font-size: 11px; fill: ${ink(v)}">${v}</text>`;
    const matrix = `<svg role="img" viewBox="-1 -1 ${wide + 2} ${high + 2}" style="flex: 1 1 16em;
      max-width: ${1.3 * wide}px" aria-label="the matrix, ${columns.length} rows, ${columns[0].length}
      columns; pixel ${state.pixel} is in it ${places.length} times">${
      columns.map((row, r) => row.map((v, c) => cell(v, r, c)).join("")).join("")}</svg>`;
    const image = `<table role="group" aria-label="pixels; press one to find its copies">${
      counts.map((row, i) => `<tr>${row.map((n, j) => pixel(n, i, j)).join("")}</tr>`).join("")}</table>`;
    const where = places.map(([r, c]) => `row ${r}, column ${c}`).join("; ");
    show(el, state, {columns, counts, places}, `<div style="display: flex; flex-wrap: wrap; gap: 0 2em;
      align-items: start">${image}${matrix}</div>`, `${columns[0].length} windows, a column each: ` +
      `${columns.length * columns[0].length} numbers for ${size * size} pixels. Pixel ` +
      `${state.pixel} is in ${places.length} of them${where && `: ${where}`}.`);
    for (const button of el.querySelectorAll("[data-at]"))
      button.onclick = button.onpointerenter = () => {
        if (state.pixel === Number(button.dataset.at)) return;
        state.pixel = Number(button.dataset.at);
        draw();
      };
  };
  frame(el, state, {kernel: ["kernel", 2, 4, 1], stride: ["stride", 1, 3, 1],
    padding: ["padding", 0, 1, 1]}, draw);
}
