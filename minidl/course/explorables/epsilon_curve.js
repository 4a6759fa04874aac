// The error of a difference over its step. State: x, power (the step is 10^-power), curve (cube or
// relu), sides (2: central); adds step, slope, and what float64 and float32 compute.
const FUNCTIONS = {
  cube: {title: "x³", f: (x, round) => round(round(x * x) * x), slope: x => 3 * x * x},
  relu: {title: "ReLU", f: x => Math.max(x, 0), slope: x => x > 0 ? 1 : 0},
};

function difference({x, curve, sides}, power, round) {
  const f = v => FUNCTIONS[curve].f(v, round), step = round(Number(`1e-${power}`)), here = round(x);
  const low = sides === 2 ? round(here - step) : here;
  return round(round(f(round(here + step)) - f(low)) / round(sides * step));
}

function render(el, state) {
  const rounds = {double: v => v, single: Math.fround};
  const colors = {double: "#1b6ca8", single: "#c2410c"}, names = {double: "float64", single: "float32"};
  const across = power => 60 + (15 - power) * 32;
  const down = error => 20 + (2 - Math.log10(Math.min(Math.max(error, 1e-14), 1e2))) * 12.5;
  const draw = () => {
    const {title, slope} = FUNCTIONS[state.curve], exact = slope(state.x), found = {};
    let svg = "";
    for (const kind of ["double", "single"]) {
      const error = power => Math.abs(difference(state, power, rounds[kind]) - exact);
      found[kind] = difference(state, state.power, rounds[kind]);
      const line = Array.from({length: 16}, (_, power) => `${across(power)},${down(error(power))}`);
      svg += `<polyline points="${line.join(" ")}" fill="none" stroke="${colors[kind]}"
        stroke-width="2" ${kind === "single" ? 'stroke-dasharray="6 4"' : ""}/>
        <circle cx="${across(state.power)}" cy="${down(error(state.power))}" r="6"
        fill="${colors[kind]}"/>`;
    }
    for (const power of [0, 5, 10, 15]) svg += `<text x="${across(power)}" y="240"
      text-anchor="middle">${power ? `1e-${power}` : 1}</text>`;
    for (const power of [0, -4, -8, -12]) svg += `<text x="52" y="${down(10 ** power) + 4}"
      text-anchor="end">${power ? `1e${power}` : 1}</text><path d="M60 ${down(10 ** power)}H540" stroke="#d8d8d2"/>`;
    const key = ["double", "single"].map((kind, at) => `<path d="M${330 + 110 * at} 12h28"
      stroke="${colors[kind]}" stroke-width="2" ${at ? 'stroke-dasharray="6 4"' : ""}/>
      <text x="${364 + 110 * at}" y="16">${names[kind]}</text>`).join("");
    const off = kind => Math.abs(found[kind] - exact).toExponential(1);
    const words = `Step 1e-${state.power}: the slope of ${title} at ${state.x} is ${exact.toFixed(4)}. ` +
      `float64 is off by ${off("double")}, float32 by ${off("single")}.`;
    const button = (at, label) => `<button data-at="${at}">${label}</button> `;
    show(el, state, {step: Number(`1e-${state.power}`), slope: exact, ...found},
      button("curve", `function: ${title}`) +
      button("sides", state.sides === 2 ? "central difference" : "one-sided difference") +
      `<svg viewBox="0 0 560 262" style="width: 100%" role="img" aria-label="error over step">${svg}${key}
      <text x="300" y="258" text-anchor="middle">step</text><text x="60" y="14">error</text></svg>`, words);
    el.querySelector('[data-at="curve"]').onclick = () => {
      state.curve = state.curve === "cube" ? "relu" : "cube";
      draw();
    };
    el.querySelector('[data-at="sides"]').onclick = () => {
      state.sides = 3 - state.sides;
      draw();
    };
  };
  frame(el, state, {power: ["step 10^-", 0, 15, 1], x: ["x", -2, 2, 0.05]}, draw);
}
