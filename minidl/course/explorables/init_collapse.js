// The collapse of the signal. State: exponent (of the weights' deviation), depth, x (N, n), weights
// (layers, n, n) of deviation 1; adds std and sizes, the root mean square after each layer.
function signal(x, weights, std, depth) {
  const sizes = [];
  for (let layer = 0; layer < depth; layer++) {
    x = x.map(row => weights[layer].map(unit =>
      Math.max(0, std * unit.reduce((sum, w, i) => sum + w * row[i], 0))));
    const squares = x.flat().map(v => v * v);
    sizes.push(Math.sqrt(squares.reduce((a, b) => a + b, 0) / squares.length));
  }
  return sizes;
}

function render(el, state) {
  const n = state.x[0].length, width = 560, height = 210, left = 56, least = -12, most = 6;
  const y = size => 20 + (height - 40) * (most - Math.min(most, Math.max(least,
    Math.log10(Math.max(size, 1e-300))))) / (most - least);
  const choices = {"0.01": 0.01, "Xavier": Math.sqrt(1 / n), "He": Math.sqrt(2 / n)};
  const draw = () => {
    const std = 10 ** state.exponent;
    const sizes = signal(state.x, state.weights, std, state.depth), last = sizes.at(-1);
    const step = (width - left - 10) / state.weights.length, zero = y(1);
    const lines = [-12, -9, -6, -3, 0, 3, 6].map(e => `<line x1="${left}" x2="${width}" y1="${y(10 ** e)}"
      y2="${y(10 ** e)}" stroke="#8a94a0" stroke-width="${e ? 0.4 : 1.5}"/>
      <text x="${left - 6}" y="${y(10 ** e) + 4}" text-anchor="end">1e${e}</text>`).join("");
    const bars = sizes.map((size, k) => `<rect x="${left + k * step + 4}" width="${step - 8}"
      y="${Math.min(zero, y(size))}" height="${Math.abs(zero - y(size)) + 1}"
      fill="${size < 1 ? "#1b6ca8" : "#c2410c"}"/>
      <text x="${left + k * step + step / 2}" y="${height - 2}" text-anchor="middle">${k + 1}</text>`).join("");
    const buttons = Object.keys(choices).map(name =>
      `<button data-at="${name}">${name}</button>`).join(" ");
    const factor = std * Math.sqrt(n / 2);
    show(el, state, {std, sizes}, `${buttons}<br><svg viewBox="0 0 ${width} ${height}" width="100%"
      role="img" aria-label="size of the signal after each of ${state.depth} layers">${lines}${bars}</svg>`,
      `Deviation ${std.toPrecision(2)}: each layer multiplies the signal by about ${factor.toPrecision(2)}. ` +
      `After ${state.depth} layers its size is ${last.toPrecision(2)}.`);
    for (const button of el.querySelectorAll("[data-at]")) button.onclick = () => {
      state.exponent = Math.log10(choices[button.dataset.at]);
      const slider = el.querySelector("[name=exponent]");
      slider.value = state.exponent;
      slider.parentElement.querySelector("output").textContent = state.exponent.toFixed(2);
      draw();
    };
  };
  frame(el, state, {
    exponent: ["deviation, 10 to the power of", -2.5, 0.5, 0.05],
    depth: ["layers", 1, state.weights.length, 1],
  }, draw);
}
