// Wallet libraries of others, used as their documents say. Prints what <part> saw of a whole service as JSON.
// `world` says where it is: {relay, http, domain, wallets}. The name of the domain leads to this machine.

import WebSocket from "ws";

globalThis.WebSocket = WebSocket;
console.error = () => {}; // the SDK tells each refusal there, too

const [part, given] = process.argv.slice(2);
const world = JSON.parse(given);
const PATIENCE = 60_000; // ms

const fetched = globalThis.fetch;
globalThis.fetch = (url, ...more) => fetched(String(url).replace(`https://${world.domain}`, world.http), ...more);

async function pay(wallet, bolt11) {
  const body = JSON.stringify({ bolt11 });
  const answer = await fetch(`${world.wallets}/wallets/${wallet}/pay`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  if (!answer.ok) throw new Error(await answer.text());
}

async function until(true_) {
  const end = Date.now() + PATIENCE;
  while (!(await true_())) {
    if (Date.now() > end) throw new Error(`in vain: ${true_}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const refusal = (promise) => promise.then(() => "done", (error) => error.code);

async function walletConnect() {
  const { NWCClient } = await import("@getalby/sdk/nwc");
  const { Invoice } = await import("@getalby/lightning-tools");
  const client = new NWCClient({ nostrWalletConnectUrl: world.uri, requireSecret: true });
  const service = await client.getWalletServiceInfo();
  const info = await client.getInfo();
  const before = await client.getBalance();

  const heard = [];
  await client.subscribeNotifications((notification) => heard.push(notification));
  const made = await client.makeInvoice({ amount: 21_000, description: "for Bob" });
  const open = await client.lookupInvoice({ invoice: made.invoice });
  await pay("alice", made.invoice);
  await until(() => heard.length === 1);
  const received = await client.lookupInvoice({ payment_hash: made.payment_hash });

  const bill = new Invoice({ pr: world.bolt11 });
  const paid = await client.payInvoice({ invoice: world.bolt11 });
  await until(() => heard.length === 2);
  const again = await client.payInvoice({ invoice: world.bolt11 });
  const inside = await client.payInvoice({ invoice: world.inside });
  await until(() => heard.length === 3);
  const insideAgain = await client.payInvoice({ invoice: world.inside });
  const listed = (await client.listTransactions({})).transactions;
  const page = async (offset) => (await client.listTransactions({ limit: 1, offset, type: "outgoing" })).transactions;
  const pages = [...(await page(0)), ...(await page(1)), ...(await page(2))];

  const old = new NWCClient({ nostrWalletConnectUrl: world.uri });
  old._encryptionType = "nip04";
  const inOldWords = await old.getBalance();
  const refused = [
    await refusal(client.payKeysend({ amount: 1_000, pubkey: info.pubkey })),
    await refusal(client.signMessage({ message: "me" })),
    await refusal(client.lookupInvoice({ payment_hash: "00".repeat(32) })),
    await refusal(client.payInvoice({ invoice: "lnbc1nonsense" })),
    await refusal(client.payInvoice({ invoice: world.expensive })),
  ];
  client.close();
  old.close();
  return {
    encryptions: service.encryptions,
    capabilities: service.capabilities,
    notifications: service.notifications,
    network: info.network,
    methods: info.methods,
    lud16: client.lud16,
    before: before.balance,
    open: [open.state, open.amount, open.description],
    received: [received.state, new Invoice({ pr: made.invoice }).validatePreimage(received.preimage)],
    heard: heard.map((one) => [one.notification_type, one.notification.type, one.notification.amount]),
    proved: [bill.validatePreimage(paid.preimage), new Invoice({ pr: world.inside }).validatePreimage(inside.preimage)],
    same: [paid.preimage === again.preimage, inside.preimage === insideAgain.preimage],
    listed: listed.map((one) => [one.type, one.amount]).sort(),
    pages: pages.map((one) => one.amount).sort(),
    left: before.balance + 21_000 - 1_000_000 - paid.fees_paid - 500_000 === inOldWords.balance,
    refused,
  };
}

async function zaps() {
  const { Invoice, LightningAddress } = await import("@getalby/lightning-tools");
  const { NostrWebLNProvider } = await import("@getalby/sdk/webln");
  const { finalizeEvent, generateSecretKey, getPublicKey, verifyEvent } = await import("nostr-tools/pure");
  const { validateZapRequest } = await import("nostr-tools/nip57");
  const { Relay, useWebSocketImplementation } = await import("nostr-tools/relay");
  const { createHash } = await import("node:crypto");
  useWebSocketImplementation(WebSocket);

  const secret = generateSecretKey();
  const nostr = { getPublicKey: async () => getPublicKey(secret), signEvent: async (event) => finalizeEvent(event, secret) };
  const address = new LightningAddress(`autodev@${world.domain}`, { proxy: false });
  await address.fetch();

  const relay = await Relay.connect(world.relay);
  const receipts = [];
  relay.subscribe([{ kinds: [9735], "#p": [address.nostrPubkey] }], { onevent: (event) => receipts.push(event) });
  const receiptOf = async (invoice) => {
    await until(() => receipts.some((event) => event.tags.some(([, value]) => value === invoice)));
    return receipts.find((event) => event.tags.some(([, value]) => value === invoice));
  };
  // NIP-57, Appendix F, and what else a client can hold against a receipt
  const isGood = (event, zapped, preimage) => {
    const tag = (name) => event.tags.find(([one]) => one === name)?.[1];
    const proof = createHash("sha256").update(Buffer.from(tag("preimage"), "hex")).digest("hex");
    return {
      signed: verifyEvent(event) && event.pubkey === address.lnurlpData.rawData.nostrPubkey,
      request: validateZapRequest(tag("description")),
      sender: tag("P") === getPublicKey(secret),
      amount: new Invoice({ pr: tag("bolt11") }).satoshi,
      proof: proof === zapped && (preimage === undefined || preimage === tag("preimage")),
    };
  };

  const zapped = await address.zapInvoice({ satoshi: 3_100, comment: "thank you ü", relays: [world.relay] }, { nostr });
  const unpaid = await zapped.isPaid();
  await pay("bob", zapped.paymentRequest);
  await until(() => zapped.isPaid());
  const receipt = isGood(await receiptOf(zapped.paymentRequest), zapped.paymentHash, zapped.preimage);

  const plain = await address.requestInvoice({ satoshi: 310, comment: "from nobody" });
  await pay("bob", plain.paymentRequest);
  await until(() => plain.isPaid());

  // Paid by wallet connect out of a balance of this service: nothing leaves, and there is a receipt all the same.
  const webln = new NostrWebLNProvider({ nostrWalletConnectUrl: world.uri });
  const byWallet = new LightningAddress(`autodev@${world.domain}`, { proxy: false, webln });
  await byWallet.fetch();
  const seen = receipts.length;
  const sent = await byWallet.zap({ satoshi: 31, relays: [world.relay] }, { nostr });
  await until(() => receipts.length > seen);
  const last = receipts.at(-1);
  const proof = createHash("sha256").update(Buffer.from(sent.preimage, "hex")).digest("hex");
  webln.close();
  relay.close();
  return {
    identifier: address.lnurlpData.identifier,
    allowsNostr: address.lnurlpData.allowsNostr,
    relays: address.nostrRelays,
    unpaid,
    receipt,
    comment: plain.description,
    inside: isGood(last, proof, sent.preimage),
  };
}

const seen = await { "wallet-connect": walletConnect, zaps }[part]();
console.log(JSON.stringify(seen));
process.exit(0);
