"""What can be stopped, and by whom: kinds of payments and rails, by the operator or a doubt of ours; one user's exits.

Every Plan that sends money guards these rows, so a switch holds from the moment it is
thrown; what was sent before is settled all the same. Pure.
"""

from __future__ import annotations

from relaybot.db.database import Row
from wallet.ledger import Plan, Update, Values

SCOPES = ("payouts", "withdrawals", "lightning", "onchain")
RESTORED = "restored"  # everything, from a restore until books and node agree: `relaybot books agree` opens it
PAUSED_BY_DOUBT = ("payouts", "withdrawals")  # while our books and the node's differ
OPERATOR, RECONCILIATION, RESTORE = "operator", "reconciliation", "restore"  # who paused
OPEN, PAUSED, CLOSED = "open", "paused", "closed"
REASON_CHARACTERS_MAX = 200


def plan_pause(row: Row, *, reason: str, by: str, now: int) -> Plan | None:
    """Return the Plan that pauses one scope, a row of `pauses`; None if it is paused already.

    What the operator pauses stays so until the operator says otherwise, also where we had paused it before.
    """
    if row["state"] == PAUSED and (by != OPERATOR or row["paused_by"] == OPERATOR):
        return None
    values: Values = {"state": PAUSED, "reason": reason[:REASON_CHARACTERS_MAX], "paused_by": by, "since": now}
    return _changed(row, values)


def plan_resume(row: Row, *, by: str, now: int) -> Plan | None:
    """Return the Plan that lets one scope go on; None if it does, or if only the operator may say so."""
    if row["state"] == OPEN or (by != OPERATOR and row["paused_by"] != by):
        return None
    return _changed(row, {"state": OPEN, "reason": "", "paused_by": "", "since": now})


def plan_withdrawals(owner: Row, *, state: str, reason: str, now: int) -> Plan:
    """Return the Plan that closes or opens every exit of one user, a row of `users`.

    When they are opened the balance is looked at: what was earned meanwhile may be due.
    """
    values: Values = {"withdrawals": state, "withdrawals_reason": reason[:REASON_CHARACTERS_MAX]}
    if state == OPEN:
        values = {**values, "payout_check_at": now}
    change = Update("users", owner["id"], values, expect={"version": owner["version"]})
    return Plan(f"users/{owner['id']}/withdrawals/{owner['version']}", changes=(change,))


def _changed(row: Row, values: Values) -> Plan:
    change = Update("pauses", row["id"], values, expect={"version": row["version"]})
    return Plan(f"pauses/{row['id']}/{row['version']}", changes=(change,))
