// What all explorables share: a labelled slider, a caption that screen readers announce, a style.
const STYLE = `
.explorable {background: #fbfaf6; color: #22262b; padding: .8em 1em; border: 1px solid #8a94a0;
  border-radius: 4px; font: 14px/1.5 system-ui, sans-serif; max-width: 44em}
.explorable label {display: inline-block; margin-right: 1.2em}
.explorable input[type=range] {vertical-align: middle; accent-color: #1b6ca8}
.explorable output {font-variant-numeric: tabular-nums; min-width: 3em; display: inline-block}
.explorable table {border-collapse: collapse; margin: .6em 0}
.explorable td {border: 1px solid #8a94a0; width: 3em; height: 2.2em; text-align: center; padding: 0}
.explorable button {font: inherit; color: inherit; background: #fff; border: 1px solid #55606c;
  border-radius: 3px; padding: .1em .6em; cursor: pointer}
.explorable :focus-visible {outline: 3px solid #c2410c; outline-offset: 1px}
.explorable svg text {fill: #22262b; font: 12px system-ui, sans-serif}
.explorable .say {min-height: 1.5em}`;

// Put sliders (name: [label, least, largest, step]) and a place to draw into the element.
function frame(el, state, sliders, draw) {
  el.innerHTML = `<style>${STYLE}</style><div class="controls">` +
    Object.entries(sliders).map(([name, [label, least, largest, step]]) =>
      `<label>${label} <input type="range" name="${name}" min="${least}" max="${largest}" ` +
      `step="${step}" value="${state[name]}"> <output></output></label>`).join("") +
    `</div><div class="drawing"></div><div class="say" role="status" aria-live="polite"></div>`;
  for (const input of el.querySelectorAll("input[type=range]")) {
    const shown = input.parentElement.querySelector("output");
    shown.textContent = input.value;
    input.addEventListener("input", () => {
      state[input.name] = Number(input.value);
      shown.textContent = input.value;
      draw();
    });
  }
  draw();
}

// Show the result: keep the numbers for tests, and say it.
function show(el, state, result, drawing, words) {
  el.dataset.state = JSON.stringify({...state, ...result});
  const focused = document.activeElement?.dataset?.at;
  el.querySelector(".drawing").innerHTML = drawing;
  if (focused) el.querySelector(`[data-at="${focused}"]`)?.focus();
  el.querySelector(".say").textContent = words;
}
