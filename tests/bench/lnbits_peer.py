"""LNbits beside the book: internal payments by its own service functions. Run by the Python that has LNbits.

An internal payment is an invoice of one wallet that another wallet of the same LNbits
pays: nothing goes out. LNbits runs as it comes, with FakeWallet and SQLite, and knows what
a bitcoin costs, as it does on the Internet: else it asks ten services for each payment, in vain.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time

os.environ |= {
    "LNBITS_DATA_FOLDER": tempfile.mkdtemp(prefix="lnbits-"),
    "LNBITS_BACKEND_WALLET_CLASS": "FakeWallet",
    "LNBITS_ADMIN_UI": "false",
    "LNBITS_EXTENSIONS_DEACTIVATE_ALL": "true",
    "LNBITS_WALLET_LIMIT_SECS_BETWEEN_TRANS": "0",
    "DEBUG": "false",
}
from lnbits.core.helpers import migrate_databases  # type: ignore[import-not-found]
from lnbits.core.services.payments import create_invoice, pay_invoice, update_wallet_balance  # type: ignore[import-not-found]
from lnbits.core.services.users import create_user_account  # type: ignore[import-not-found]
from lnbits.utils.cache import cache  # type: ignore[import-not-found]
from lnbits.wallets import set_funding_source  # type: ignore[import-not-found]
from loguru import logger  # type: ignore[import-not-found]


async def main() -> None:
    """Print payments a second by 1, 16 and 128 callers as soon as they are known, and what went wrong."""
    logger.remove()
    await migrate_databases()
    set_funding_source()
    cache.set("btc-price-USD", 95_000.0, expiry=86_400)
    payer = (await create_user_account()).wallets[0]
    payee = (await create_user_account()).wallets[0]
    await update_wallet_balance(payer, 1_000_000)
    for callers in (1, 16, 128):
        failed = 0

        async def call(times: int) -> None:
            nonlocal failed
            for _ in range(times):
                try:
                    invoice = await create_invoice(wallet_id=payee.id, amount=1, memo="bench", internal=True)
                    await pay_invoice(wallet_id=payer.id, payment_request=invoice.bolt11)
                except Exception:  # noqa: BLE001  whatever it was, it was no payment
                    failed += 1

        each = {1: 8, 16: 1, 128: 1}[callers]
        began = time.perf_counter()
        await asyncio.gather(*(call(each) for _ in range(callers)))
        done = callers * each - failed
        a_second = done / (time.perf_counter() - began)
        print(json.dumps({f"single transfers/s, {callers} callers": a_second}), flush=True)  # noqa: T201  what the bench reads
        print(f"LNbits, {callers} callers: {failed} of {callers * each} failed", file=sys.stderr)  # noqa: T201  a command's progress


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # its threads would stay
