// Max-pooling: which pixel wins which window. State: x (H, W), kernel, stride; adds y and dx.
function pool(x, k, s) {
  const rows = Math.floor((x.length - k) / s) + 1, columns = Math.floor((x[0].length - k) / s) + 1;
  const dx = x.map(row => row.map(() => 0)), y = [];
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
    let best = [i * s, j * s];
    for (let a = 0; a < k; a++) for (let b = 0; b < k; b++)
      if (x[i * s + a][j * s + b] > x[best[0]][best[1]]) best = [i * s + a, j * s + b];
    y.push(x[best[0]][best[1]]);
    dx[best[0]][best[1]] += 1;
  }
  return {y, dx};
}

function render(el, state) {
  const draw = () => {
    const {y, dx} = pool(state.x, state.kernel, state.stride);
    const most = Math.max(...dx.flat()), shared = dx.flat().filter(n => n > 1).length;
    const cell = (v, i, j) => `<td style="background: rgba(27, 108, 168, ${dx[i][j] * 0.14})">
      <button data-at="${i},${j}" style="background: none; border: none; width: 100%; height: 100%"
      aria-label="row ${i}, column ${j}: ${v.toFixed(1)} ${dx[i][j]} wins">${v.toFixed(1)}${
      dx[i][j] ? `<sup> ${dx[i][j]}</sup>` : ""}</button></td>`;
    const table = `<table role="group" aria-label="pixels; press one to add 1">${state.x.map((row, i) =>
      `<tr>${row.map((v, j) => cell(v, i, j)).join("")}</tr>`).join("")}</table>`;
    show(el, state, {y, dx}, table, `${y.length} windows; ${shared} pixels win more than one, ` +
      `the busiest ${most}. Press a pixel to add 1 to it.`);
    for (const button of el.querySelectorAll("[data-at]")) button.onclick = () => {
      const [i, j] = button.dataset.at.split(",");
      state.x[i][j] += 1;
      draw();
    };
  };
  frame(el, state, {kernel: ["kernel", 2, 4, 1], stride: ["stride", 1, 3, 1]}, draw);
}
