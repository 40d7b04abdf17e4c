// The one script of the account: it asks the Nostr extension (NIP-07) for signatures, and reloads what has changed.
// Every page says all it knows without it.
"use strict";
(() => {
  const WAIT_MS = 3000; // extensions arrive late

  const extension = async () => {
    for (let waited = 0; !window.nostr && waited < WAIT_MS; waited += 100) {
      await new Promise((done) => setTimeout(done, 100));
    }
    return window.nostr;
  };
  const now = () => Math.floor(Date.now() / 1000);
  const say = (form, text, role, name) => {
    form.querySelectorAll("[data-said]").forEach((old) => old.remove());
    const place = document.createElement("p");
    place.setAttribute("role", role);
    place.dataset.said = "";
    place.className = name;
    form.append(place); // beside the button that was pressed
    place.textContent = text;
  };

  const makers = {
    "sign-in": async (form) => ({
      kind: 27235, created_at: now(), content: "",
      tags: [["u", form.dataset.url], ["method", "POST"], ["challenge", form.dataset.challenge]],
    }),
  };

  makers.job = async (form, nostr) => {
    const said = new FormData(form);
    const asked = [["i", said.get("input"), "text"]];
    for (const [name, value] of said) if (name.startsWith("param-") && value) asked.push(["param", name.slice(6), value]);
    const { agent, kind } = form.dataset;
    const content = await nostr.nip44.encrypt(agent, JSON.stringify(asked));
    return { kind: Number(kind), created_at: now(), content, tags: [["p", agent], ["encrypted"]] };
  };
  const arm = async (form) => {
    const status = document.querySelector("[data-extension=status]");
    if (status) status.hidden = false;
    const nostr = await extension();
    // What an extension cannot encrypt goes to the service as it is, unsigned: that is published nowhere.
    if (form.dataset.sign === "job" && !(nostr && nostr.nip44)) return;
    if (!nostr) {
      if (status) status.textContent = "There is no Nostr extension in this browser.";
      return;
    }
    if (status) status.hidden = true;
    form.hidden = false;
    let asked = false;
    form.addEventListener("submit", async (sent) => {
      sent.preventDefault(); // what is sent in the end is signed anew each time, also when a browser goes back to this page
      if (asked) return;
      asked = true;
      say(form, "Your extension is asked to sign.", "status", "hint");
      try {
        const signed = await nostr.signEvent(await makers[form.dataset.sign](form, nostr));
        form.elements.event.value = JSON.stringify(signed);
        form.submit();
      } catch (problem) {
        const why = problem && problem.message ? problem.message : problem;
        say(form, `The extension did not sign: ${why}`, "alert", "problem");
      } finally {
        asked = false;
      }
    });
  };
  document.querySelectorAll("form[data-sign]").forEach(arm);

  document.querySelectorAll("[data-live]").forEach((place) => {
    const source = new EventSource(place.dataset.live);
    source.addEventListener("changed", () => { source.close(); location.reload(); });
    source.addEventListener("over", () => source.close());
    window.addEventListener("pagehide", () => source.close());
  });

  document.querySelectorAll("[data-copy]").forEach((button) => {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  });
})();
