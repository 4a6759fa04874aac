// Two forms of momentum in a valley, loss = (w0² + 10 w1²) / 2. State: start, rate, momentum, drop (the
// first step with a tenth of the rate), steps; adds torch and paper, the paths (steps + 1 points each).
function walk({start, rate, momentum, drop, steps}, inVelocity) {
  let w = start, v = [0, 0];
  const path = [w];
  for (let step = 0; step < steps; step++) {
    const now = step < drop ? rate : rate / 10, gradient = [w[0], 10 * w[1]];
    v = v.map((old, i) => momentum * old + (inVelocity ? -now : 1) * gradient[i]);
    w = w.map((old, i) => old + (inVelocity ? 1 : -now) * v[i]);
    path.push(w);
  }
  return path;
}

function render(el, state) {
  const x = w => 300 + 62 * w, y = w => 105 - 62 * w, near = v => Math.max(-9, Math.min(9, v));
  const loss = ([a, b]) => (a * a + 10 * b * b) / 2;
  const draw = () => {
    const torch = walk(state, false), paper = walk(state, true), end = state.steps;
    const rings = [0.5, 2, 5, 9, 14].map(value => `<ellipse cx="${x(0)}" cy="${y(0)}" fill="none"
      rx="${62 * Math.sqrt(2 * value)}" ry="${62 * Math.sqrt(value / 5)}" stroke="#8a94a0"
      stroke-width="0.8"/>`).join("");
    const line = (path, color, dash) => `<polyline points="${path.map(([a, b]) =>
      `${x(near(a))},${y(near(b))}`).join(" ")}" fill="none" stroke="${color}" stroke-width="2"
      stroke-dasharray="${dash}"/><circle cx="${x(near(path[end][0]))}" cy="${y(near(path[end][1]))}" r="5"
      fill="${color}"/>`;
    const from = state.drop < end ? `<circle cx="${x(near(torch[state.drop][0]))}"
      cy="${y(near(torch[state.drop][1]))}" r="6" fill="none" stroke="#22262b" stroke-width="2"/>` : "";
    const key = `<path d="M10 196h28" stroke="#1b6ca8" stroke-width="2"/><text x="44" y="200">PyTorch's
      form</text><path d="M170 196h28" stroke="#c2410c" stroke-width="2" stroke-dasharray="6 4"/><text
      x="204" y="200">the paper's form</text><text x="340" y="200">ring: the rate falls to a tenth</text>`;
    const apart = Math.max(...torch[end].map((v, i) => Math.abs(v - paper[end][i])));
    show(el, state, {torch, paper}, `<svg role="img" viewBox="0 0 600 210" style="width: 100%"
      aria-label="two paths down a valley; lines of equal loss are ellipses">${rings}${
      line(paper, "#c2410c", "6 4")}${line(torch, "#1b6ca8", "")}${from}${key}</svg>`,
      `After ${end} steps the loss is ${loss(torch[end]).toPrecision(3)} in PyTorch's form, ` +
      `${loss(paper[end]).toPrecision(3)} in the paper's; the weights differ by ${apart.toPrecision(2)}.`);
  };
  frame(el, state, {momentum: ["momentum", 0, 0.95, 0.05], rate: ["rate", 0.01, 0.19, 0.01],
    drop: ["rate / 10 from step", 1, 40, 1], steps: ["steps", 1, 40, 1]}, draw);
}
