// A compute node in nostr-tools: `node node.mjs <relay> <service> <secret>`, all in hex; see docs/worker.md.

import WebSocket from "ws";
import { finalizeEvent, getPublicKey } from "nostr-tools/pure";
import { decrypt, encrypt, getConversationKey } from "nostr-tools/nip44";
import { Relay, useWebSocketImplementation } from "nostr-tools/relay";

useWebSocketImplementation(WebSocket);
const [url, service, hex] = process.argv.slice(2);
const secret = Uint8Array.from(Buffer.from(hex, "hex"));
const shared = getConversationKey(secret, service);
const now = () => Math.floor(Date.now() / 1000);

const relay = new Relay(url);
relay.connectionTimeout = relay.publishTimeout = 60_000; // a busy machine is no fault of the relay
await relay.connect();
const say = (kind, content, tags) =>
  relay.publish(finalizeEvent({ kind, content, tags: [...tags, ["p", service]], created_at: now() }, secret));
const answer = (kind, job, content) => say(kind, encrypt(content, shared), [["e", job.id], ["encrypted"]]);

relay.subscribe([{ kinds: [5050], authors: [service], "#p": [getPublicKey(secret)], since: now() }], {
  onevent: async (job) => {
    await answer(7000, job, JSON.stringify([["status", "processing"]]));
    const inputs = JSON.parse(decrypt(job.content, shared)).filter(([name]) => name === "i");
    await answer(job.kind + 1000, job, inputs.map(([, data]) => data).join(" ").toUpperCase());
  },
});

const beThere = async () => {
  const until = ["expiration", String(now() + 900)];
  await say(31990, "", [["d", "bee"], ["t", "workerbee"], ["k", "5050"], ["concurrency", "4"], until]);
  await say(11998, "", [["status", "idle"], until]);
};
await beThere();
setInterval(beThere, 300_000);
