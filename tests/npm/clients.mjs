// Clients of others, used as their documents say. Prints what <library> saw at <url> as JSON. Its own time limits are
// put out of the way: a busy machine is no fault of the relay.

import WebSocket from "ws";

globalThis.WebSocket = WebSocket;

const PATIENCE = 100_000; // ms
const [library, url] = process.argv.slice(2);

async function nostrTools() {
  const { finalizeEvent, generateSecretKey, getPublicKey, verifyEvent } = await import("nostr-tools/pure");
  const { Relay, useWebSocketImplementation } = await import("nostr-tools/relay");
  useWebSocketImplementation(WebSocket);
  const alice = generateSecretKey();
  const bob = generateSecretKey();
  const now = Math.floor(Date.now() / 1000);
  const signed = (kind, content, tags = [], by = alice) =>
    finalizeEvent({ kind, content, tags, created_at: now }, by);

  const connected = async () => {
    const relay = new Relay(url);
    relay.connectionTimeout = relay.publishTimeout = relay.baseEoseTimeout = PATIENCE;
    await relay.connect();
    return relay;
  };
  const writer = await connected();
  const reader = await connected();
  const notes = [signed(1, "one ü \"\\\n", [["t", "x"]]), signed(1, "two")];
  for (const note of notes) await writer.publish(note);

  const stored = [];
  let live;
  const heard = new Promise((resolve) => (live = resolve));
  await new Promise((eose) =>
    reader.subscribe([{ authors: [getPublicKey(alice)] }], {
      onevent: (event) => (stored.length < notes.length ? stored.push(event) : live(event)),
      oneose: eose,
    }),
  );
  const reaction = signed(7, "+");
  await writer.publish(reaction);

  const wrap = signed(1059, "sealed", [["p", getPublicKey(bob)]]);
  await writer.publish(wrap);
  const ask = () =>
    new Promise((resolve) => {
      const found = [];
      reader.subscribe([{ kinds: [1059], "#p": [getPublicKey(bob)] }], {
        onevent: (event) => found.push(event.id),
        oneose: () => resolve({ found }),
        onclose: (reason) => resolve({ reason }),
      });
    });
  const before = await ask();
  await reader.auth(async (template) => finalizeEvent(template, bob));
  const after = await ask();
  const refused = await writer.publish({ ...notes[0], content: "altered" }).catch((error) => String(error));
  const seen = {
    stored: stored.every(verifyEvent) && stored.map((event) => event.content).sort(),
    live: (await heard).id === reaction.id,
    counted: await reader.count([{ authors: [getPublicKey(alice)], kinds: [1] }], {}),
    before: before.reason,
    after: after.found?.length === 1 && after.found[0] === wrap.id,
    refused,
  };
  writer.close();
  reader.close();
  return seen;
}

async function ndk() {
  const { default: NDK, NDKEvent, NDKPrivateKeySigner, NDKRelayAuthPolicies } = await import("@nostr-dev-kit/ndk");
  const signer = NDKPrivateKeySigner.generate();
  const author = (await signer.user()).pubkey;
  const client = () => new NDK({ explicitRelayUrls: [url], signer, enableOutboxModel: false });
  const writer = client();
  const reader = client();
  reader.relayAuthDefaultPolicy = NDKRelayAuthPolicies.signIn({ ndk: reader, signer });
  await writer.connect();
  await reader.connect();
  const publish = async (kind, content, tags = []) => {
    const event = new NDKEvent(writer, { kind, content, tags });
    const relays = await event.publish(undefined, PATIENCE);
    return { event, taken: relays.size };
  };

  const note = await publish(1, "from NDK ü", [["t", "x"]]);
  const fetched = await reader.fetchEvents({ authors: [author], kinds: [1] });
  let live;
  const heard = new Promise((resolve) => (live = resolve));
  const subscription = reader.subscribe({ authors: [author], kinds: [7] }, { closeOnEose: false });
  subscription.on("event", (event) => live(event.content));
  await new Promise((eose) => subscription.on("eose", eose));
  await publish(7, "+");
  await publish(1059, "sealed", [["p", author]]);
  const sealed = await new Promise((resolve) => {
    const wraps = reader.subscribe({ kinds: [1059], "#p": [author] }, { closeOnEose: false });
    wraps.on("event", (event) => resolve(event.content));
  });
  return {
    taken: note.taken,
    fetched: [...fetched].map((event) => event.content),
    live: await heard,
    sealed,
  };
}

const seen = await { "nostr-tools": nostrTools, ndk }[library]();
console.log(JSON.stringify(seen));
process.exit(0);
