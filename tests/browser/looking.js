// Runs in a page that is looked at (looking.py): finds what a person would stumble over.
"use strict";
window.looking = (() => {
  const CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const name = (one) => `<${one.tagName.toLowerCase()}> ${(one.textContent || one.name || "").trim().slice(0, 40)}`;
  const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
  let waiting = new Set();
  return {
    tooWide: () => {
      const page = document.documentElement;
      if (page.scrollWidth <= window.innerWidth) return [];
      const guilty = [...document.body.querySelectorAll("*")]
        .filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1 && !one.closest(".scroll, pre, .skip"));
      return [`${page.scrollWidth} wide at ${window.innerWidth}: ${guilty.slice(0, 3).map(name).join(", ")}`];
    },
    controls: () => {
      const start = document.createElement("span"); // the Tab key goes on from here
      start.tabIndex = -1;
      document.body.prepend(start);
      start.focus();
      start.remove();
      waiting = new Set([...document.querySelectorAll(CONTROLS)].filter((one) => shown(one) && !one.disabled));
      // Of radio buttons with one name, the Tab key comes to one.
      for (const one of waiting) if (one.type === "radio" && !one.checked) waiting.delete(one);
      return waiting.size;
    },
    focused: () => {
      const one = document.activeElement;
      waiting.delete(one);
      if (one === document.body) return [];
      const style = getComputedStyle(one);
      const box = one.getBoundingClientRect();
      const faults = [];
      if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) faults.push(`focus is not seen: ${name(one)}`);
      if (box.bottom < 0 || box.top > window.innerHeight || box.right < 0 || box.left > window.innerWidth) {
        faults.push(`focus is out of sight: ${name(one)}`);
      }
      return faults;
    },
    missed: () => [...waiting].map((one) => `no key reaches ${name(one)}`),
    findings: async (options) => {
      const { violations } = await window.axe.run(document, options);
      return violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(
        ({ id, impact, nodes }) => `${impact} ${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 120)).join(" | ")}`,
      );
    },
  };
})();
