"""Which card company the configuration names, spoken to with the secrets in its files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from handlers.bot import CardDesk
from relaybot.cardsim.server import SECRET_KEY, WEBHOOK_SECRET, CardCompany
from relaybot.clock import Clock
from relaybot.config import Config
from relaybot.errors import BadConfig
from relaybot.probe import Probe, no_probe, probed
from wallet.stripe import Stripe

STRIPE_URL, STRIPE_PAGES = "https://api.stripe.com", "https://checkout.stripe.com"


@contextlib.asynccontextmanager
async def open_cards(config: Config, clock: Clock, probe: Probe = no_probe) -> AsyncIterator[CardDesk | None]:
    """Connect to the card company; start the simulated one inside this process if the config says so."""
    settings, webhook_url = config.card, f"{config.web_url}/card/webhook"
    async with contextlib.AsyncExitStack() as stack:
        if settings.provider == "simulated" and settings.embedded:
            company = CardCompany(settings.data, webhook_url=webhook_url, port=settings.simulator_port, clock=clock)
            stack.push_async_callback(company.close)
            await company.start()
        desk = card_desk(config)
        if desk is not None:
            stack.push_async_callback(desk.provider.close)
            if probe is not no_probe:
                desk = replace(desk, provider=probed(desk.provider, probe))
        yield desk


def card_desk(config: Config) -> CardDesk | None:
    """Return where cards are taken, None if they are not; BadConfig if a secret cannot be read.

    The caller closes its provider.
    """
    card = config.card
    if card.provider == "none":
        return None
    if card.provider == "simulated":
        url = f"http://127.0.0.1:{card.simulator_port}"
        return CardDesk(Stripe(SECRET_KEY, base_url=url, pay_origin=url), WEBHOOK_SECRET, live=False)
    secret_key = _secret(card.secret_key_file, "card.secret_key_file", ("sk_", "rk_"))
    webhook_secret = _secret(card.webhook_secret_file, "card.webhook_secret_file", ("whsec_",))
    stripe = Stripe(secret_key, base_url=STRIPE_URL, pay_origin=STRIPE_PAGES)
    return CardDesk(stripe, webhook_secret, live=card.live)


def _secret(path: Path, name: str, beginnings: tuple[str, ...]) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.startswith(beginnings) or not text.isprintable() or " " in text:
        raise BadConfig(name, str(path), f"a file that holds a secret which begins with {' or '.join(beginnings)}")
    return text
