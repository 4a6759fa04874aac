// Softmax and cross-entropy. State: z0 ... z4 (the logits), target; adds p, gradient and loss.
function crossEntropy(z, target) {
  const most = Math.max(...z), e = z.map(v => Math.exp(v - most)), sum = e.reduce((a, b) => a + b);
  const p = e.map(v => v / sum);
  return {p, gradient: p.map((v, c) => v - (c === target ? 1 : 0)),
    loss: Math.log(sum) - (z[target] - most)};
}

function render(el, state) {
  const names = ["z0", "z1", "z2", "z3", "z4"], sliders = {};
  for (const name of names) sliders[name] = [`logit ${name[1]}`, -6, 6, 0.1];
  sliders.target = ["true class", 0, 4, 1];
  const draw = () => {
    const {p, gradient, loss} = crossEntropy(names.map(name => state[name]), state.target);
    const bar = (v, c, at, color) => `<rect x="${at + 60 * c}" y="${110 - 80 * Math.max(v, 0)}" width="40"
      height="${80 * Math.abs(v)}" fill="${color}"/><text x="${at + 60 * c + 20}" text-anchor="middle"
      y="${v < 0 ? 124 - 80 * v : 106 - 80 * v}">${v.toFixed(2)}</text>`;
    const box = `<rect x="${17 + 60 * state.target}" y="30" width="46" height="80" fill="none"
      stroke="#2e7d4f" stroke-width="2" stroke-dasharray="5 3"/>`;
    const picture = `<svg role="img" viewBox="0 0 680 212" style="width: 100%"
      aria-label="probabilities ${p.map(v => v.toFixed(2)).join(", ")}; gradient ${
      gradient.map(v => v.toFixed(2)).join(", ")}"><text x="20" y="12">probability p (dashed: true)</text>
      <text x="370" y="12">gradient p − y</text><path d="M370 110h300" stroke="#22262b"/>${box}${
      p.map((v, c) => bar(v, c, 20, "#8a94a0") + `<text x="${40 + 60 * c}" y="128"
      text-anchor="middle">class ${c}</text>`).join("")}${
      gradient.map((v, c) => bar(v, c, 380, v > 0 ? "#c2410c" : "#1b6ca8")).join("")}</svg>
      <button data-at="step">take a step: subtract the gradient from the logits</button>`;
    show(el, state, {p, gradient, loss}, picture, `Loss ${loss.toFixed(3)}. True class ` +
      `${state.target} has probability ${p[state.target].toFixed(3)}; all others together pull as ` +
      `much, ${(1 - p[state.target]).toFixed(3)}, the other way.`);
    el.querySelector("[data-at]").onclick = () => {
      names.forEach((name, c) => {
        state[name] -= gradient[c];
        const input = el.querySelector(`[name=${name}]`);
        input.value = state[name];
        input.parentElement.querySelector("output").textContent = state[name].toFixed(1);
      });
      draw();
    };
  };
  frame(el, state, sliders, draw);
}
