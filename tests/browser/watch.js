// Notes every committed character that changes or goes; nothing but a rolled-up line may go.
window.__broken = [];
window.__marks = 0;
(() => {
  const before = new WeakMap();
  let whole = "";
  const solid = (parent) => [...parent.querySelectorAll(".word.solid")].map((one) => one.textContent).join(" ");
  const look = () => {
    window.__marks += 1;
    const now = solid(document.getElementById("transcript"));
    if (!now.startsWith(whole)) window.__broken.push(["transcript", whole, now]);
    whole = now;
    for (const line of document.querySelectorAll("#lines .line")) {
      const text = solid(line);
      const known = before.get(line) ?? "";
      if (!text.startsWith(known)) window.__broken.push(["line", known, text]);
      before.set(line, text);
      if (line.textContent.length > 42) window.__broken.push(["long", line.textContent]);
    }
  };
  window.__states = [];
  const state = document.getElementById("state-text");
  new MutationObserver(() => window.__states.push(state.textContent)).observe(state, { childList: true });
  const places = ["transcript", "lines"].map((id) => document.getElementById(id));
  const observer = new MutationObserver(look);
  for (const place of places) observer.observe(place, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["class"] });
})();
