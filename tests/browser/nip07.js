// A Nostr extension (NIP-07, with NIP-44) whose key is not in the browser: `nip07` signs in the test's own process.
"use strict";
(() => {
  const ask = (method, ...words) => window.nip07(method, ...words).then(JSON.parse);
  window.nostr = {
    getPublicKey: () => ask("getPublicKey"),
    signEvent: (event) => ask("signEvent", event),
    nip44: {
      encrypt: (pubkey, text) => ask("nip44.encrypt", pubkey, text),
      decrypt: (pubkey, text) => ask("nip44.decrypt", pubkey, text),
    },
  };
})();
