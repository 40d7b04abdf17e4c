"""What the simulated card company knows: checkouts, payments, what became of them, and the events that say so.

The objects are kept as the API shows them. All of it is one file, written anew after each
change: this is for demonstrations and tests, not for a crowd. No real money moves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from relaybot.clock import Clock
from relaybot.errors import RelaybotError

Object = dict[str, Any]
Chance = Callable[[int], bytes]  # that many random bytes

CHECKOUT_SECONDS_MIN = 1_800  # as Stripe wants it
ID_BYTES = 12


class Refused(RelaybotError):
    """The company refuses a call; the text is its code for that."""


class Card(Enum):
    """The cards that can be paid with, by the numbers that Stripe gives its test cards."""

    GOOD = "4242424242424242"
    CHALLENGED = "4000002760003184"  # its bank always asks who pays
    DECLINED = "4000000000000002"
    DISPUTED = "4000000000000259"  # good, and disputed at once
    WARNED = "4000000000005423"  # good, and the bank warns of fraud
    REVIEWED = "4000000000009235"  # good, and the company wants to look at it


class Outcome(Enum):
    """What comes of a card that is given."""

    PAID = "paid"
    CHALLENGE = "challenge"  # the cardholder is asked first (3-D Secure)
    DECLINED = "declined"


class CardWorld:
    """All objects, in memory and in one file."""

    def __init__(self, path: Path | None, clock: Clock, chance: Chance, tell: Callable[[Object], None]) -> None:
        """Read what is remembered; `tell` hears of each event as it happens."""
        self._path, self._clock, self._chance, self._tell = path, clock, chance, tell
        known = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self.sessions: dict[str, Object] = known.get("sessions", {})
        self.intents: dict[str, Object] = known.get("intents", {})
        self.disputes: dict[str, Object] = known.get("disputes", {})
        self.warnings: dict[str, Object] = known.get("warnings", {})
        self.events: list[Object] = known.get("events", [])
        self._made: dict[str, str] = known.get("made", {})  # idempotency key → object

    def create_session(self, form: Mapping[str, str], key: str, pay_url: str) -> Object:
        """Make a checkout; Refused where Stripe would refuse. The same key is the same checkout."""
        if key and key in self._made:
            return self.session(self._made[key])
        line = "line_items[0][price_data]"
        minor, expires_at = form.get(f"{line}[unit_amount]", ""), form.get("expires_at", "")
        if not minor.isdigit() or not expires_at.isdigit() or form.get("mode") != "payment":
            raise Refused("parameter_invalid")
        if int(expires_at) < self._clock.now() + CHECKOUT_SECONDS_MIN:
            raise Refused("expires_at_too_soon")
        session_id = self._id("cs_test")
        self.sessions[session_id] = {
            "id": session_id,
            "object": "checkout.session",
            "status": "open",
            "payment_status": "unpaid",
            "amount_total": int(minor),
            "currency": form.get(f"{line}[currency]", ""),
            "client_reference_id": form.get("client_reference_id"),
            "created": self._clock.now(),
            "expires_at": int(expires_at),
            "livemode": False,
            "payment_intent": None,
            "success_url": form.get("success_url", ""),
            "cancel_url": form.get("cancel_url", ""),
            "url": f"{pay_url}/{session_id}",
            "description": form.get(f"{line}[product_data][name]", ""),
            "challenge": form.get("payment_method_options[card][request_three_d_secure]") == "any",
        }
        if key:
            self._made[key] = session_id
        self._save()
        return self.sessions[session_id]

    def session(self, session_id: str) -> Object:
        """Return a checkout as it is now; Refused if there is none."""
        session = self.sessions.get(session_id)
        if session is None:
            raise Refused("resource_missing")
        if session["status"] == "open" and session["expires_at"] <= self._clock.now():
            session |= {"status": "expired", "url": None}
            self._happened("checkout.session.expired", session)
        return session

    def give_card(self, session_id: str, number: str, *, passed: bool = False) -> Outcome:
        """Give a card; `passed` says that its holder was asked and confirmed. Refused if it cannot be paid."""
        session = self.session(session_id)
        if session["status"] != "open":
            raise Refused("checkout_over")
        try:
            card = Card(number.replace(" ", ""))
        except ValueError:
            return Outcome.DECLINED
        if card is Card.DECLINED:
            return Outcome.DECLINED
        if (session["challenge"] or card is Card.CHALLENGED) and not passed:
            return Outcome.CHALLENGE
        self._paid(session, card, passed=passed)
        return Outcome.PAID

    def _paid(self, session: Object, card: Card, *, passed: bool) -> None:
        intent_id, now = self._id("pi"), self._clock.now()
        charge: Object = {
            "id": self._id("ch"),
            "object": "charge",
            "created": now,
            "amount": session["amount_total"],
            "amount_refunded": 0,
            "refunded": False,
            "payment_intent": intent_id,
            "payment_method_details": {
                "card": {"three_d_secure": {"result": "authenticated"} if passed else None},
            },
        }
        intent: Object = {
            "id": intent_id,
            "object": "payment_intent",
            "status": "succeeded",
            "amount_received": session["amount_total"],
            "currency": session["currency"],
            "created": now,
            "livemode": False,
            "latest_charge": charge,
            "review": None,
        }
        self.intents[intent_id] = intent
        session |= {"status": "complete", "payment_status": "paid", "payment_intent": intent_id, "url": None}
        if card is Card.REVIEWED:
            self.review(intent_id, is_open=True)
        self._happened("checkout.session.completed", session)
        if card is Card.DISPUTED:
            self.dispute(intent_id, "needs_response")
        if card is Card.WARNED:
            self.warn(intent_id)

    def intent(self, intent_id: str) -> Object:
        """Return a payment; Refused if there is none."""
        intent = self.intents.get(intent_id)
        if intent is None:
            raise Refused("resource_missing")
        return intent

    def dispute(self, intent_id: str, status: str, amount: int | None = None) -> None:
        """Open a dispute of a payment, or move the one there is to `status`."""
        intent, known = self.intent(intent_id), self.disputes.get(intent_id)
        before = known["status"] if known is not None else ""
        dispute = known or {
            "id": self._id("dp"),
            "object": "dispute",
            "payment_intent": intent_id,
            "amount": amount or intent["amount_received"],
            "created": self._clock.now(),
        }
        dispute["status"] = status
        self.disputes[intent_id] = dispute
        is_over = status in {"won", "lost", "warning_closed"}
        name = "closed" if is_over else "updated" if before else "created"
        self._happened(f"charge.dispute.{name}", dispute)

    def warn(self, intent_id: str) -> None:
        """Let the bank warn of fraud."""
        self.intent(intent_id)
        warning = {"id": self._id("issfr"), "object": "radar.early_fraud_warning", "payment_intent": intent_id}
        self.warnings[intent_id] = warning
        self._happened("radar.early_fraud_warning.created", warning)

    def review(self, intent_id: str, *, is_open: bool) -> None:
        """Open or close the company's own review of a payment."""
        review = {"id": f"prv_{intent_id[3:]}", "object": "review", "open": is_open, "payment_intent": intent_id}
        self.intent(intent_id)["review"] = review
        self._happened("review.opened" if is_open else "review.closed", review)

    def refund(self, intent_id: str, key: str = "", amount: int | None = None) -> Object:
        """Give a payment back, whole or in part; the same key gives it back once."""
        if not key or key not in self._made:
            charge, whole = self.intent(intent_id)["latest_charge"], self.intent(intent_id)["amount_received"]
            back = charge["amount_refunded"] + (amount or whole - charge["amount_refunded"])
            if back > whole or back == charge["amount_refunded"]:
                raise Refused("charge_already_refunded")
            charge |= {"amount_refunded": back, "refunded": back == whole}
            if key:
                self._made[key] = intent_id
            self._happened("charge.refunded", charge)
        return {"id": f"re_{intent_id[3:]}", "object": "refund", "payment_intent": intent_id, "status": "succeeded"}

    def events_since(self, since: int, after: str, limit: int) -> tuple[Sequence[Object], bool]:
        """Return the newest events from a time on, the newest first, older than `after`; and whether there are more."""
        listed = [event for event in reversed(self.events) if event["created"] >= since]
        if after:
            place = next((place for place, event in enumerate(listed) if event["id"] == after), len(listed))
            listed = listed[place + 1 :]
        return listed[:limit], len(listed) > limit

    def _happened(self, kind: str, about: Object) -> None:
        event = {
            "id": self._id("evt"),
            "object": "event",
            "type": kind,
            "created": self._clock.now(),
            "livemode": False,
            "data": {"object": json.loads(json.dumps(about))},
        }
        self.events.append(event)
        self._save()
        self._tell(event)

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._chance(ID_BYTES).hex()}"

    def _save(self) -> None:
        if self._path is None:
            return
        kept = {name: getattr(self, name) for name in ("sessions", "intents", "disputes", "warnings", "events")}
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({**kept, "made": self._made}))
        os.replace(draft, self._path)  # noqa: PTH105  whole or not at all
