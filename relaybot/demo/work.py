"""The demo's work: it resolves an issue in words, and fails when asked to.

The same issue always gets the same words, so that a story told twice ends the same.
"""

from __future__ import annotations

import hashlib

from relaybot.nostr.nip90 import JobRequest
from relaybot.worker.work import Done, Say, WorkFailed

FAIL_WORDS = "please fail"  # in an input: the story needs a job that cannot be done
_TITLE_CHARACTERS_MAX = 80


async def resolve_issue(job: JobRequest, _say: Say) -> Done:
    """Return a pull request's description for the issue in the first input; WorkFailed if an input asks for it."""
    if not job.inputs:
        raise WorkFailed("no issue given")
    if any(FAIL_WORDS in one.data for one in job.inputs):
        raise WorkFailed("the issue cannot be reproduced")
    issue = " ".join(job.inputs[0].data.split())[:_TITLE_CHARACTERS_MAX]
    digest = hashlib.sha256("\n".join(one.data for one in job.inputs).encode()).digest()
    number, lines = int.from_bytes(digest[:2], "big") % 900 + 100, digest[2] % 40 + 3
    return Done(f"Resolved: {issue}\n\nPull request #{number} is open: {lines} lines changed, all checks passed.")
