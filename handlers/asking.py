"""Jobs by private message: `agents` tells what can be asked for, `job` asks.

A job that is asked for here takes the way of every other: the message's Plan puts a
request that nobody signed into the inbox, where it is held, done, split and charged like
those that come as events. What comes of it is told by message (`answers.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from handlers.answers import unsigned_request
from handlers.bot import Agent, Bot
from handlers.companies import ORG
from handlers.conversation import Asked, Reply
from relaybot.errors import Rejected
from relaybot.inbox import arrived
from relaybot.nostr import nip19
from wallet.money import format_sat

SOURCE = "message"  # where such a request came from, in the inbox


async def agents(bot: Bot, _asked: Asked) -> Reply:
    """`agents`: who can be asked, for what, at which price."""
    known = sorted(bot.agents.values(), key=lambda agent: agent.id)
    return Reply("\n\n".join(map(partial(_introduced, bot), known)) or "Nobody can be asked yet.")


def _introduced(bot: Bot, agent: Agent) -> str:
    lines = [f"{agent.name}, {_price(bot, agent)}: job {agent.id} …"]
    lines += [f"    {agent.about}"] if agent.about else []
    for name, param in agent.params.items():
        values = " | ".join(param.values) or "…"
        lines.append(f"    {name}={values}{'' if param.required else ' (if you like)'} {param.about}".rstrip())
    return "\n".join([*lines, f"    {nip19.encode_npub(agent.keypair.pubkey)}"])


def _price(bot: Bot, agent: Agent) -> str:
    low, high = agent.split.price_min, agent.split.price_max
    return bot.shown(high) if low == high else f"{format_sat(low)} to {bot.shown(high)}"


async def job(bot: Bot, asked: Asked) -> Reply:
    """`job <agent> [<param>=<value> …] <input>`: ask an agent for a job; what comes of it follows.

    The parameter `org` names the company that pays for it.
    """
    if not asked.words:
        raise Rejected("invalid", "say which agent; agents lists them")
    agent = named_agent(bot, asked.words[0])
    params, text = _params(agent, _rest(asked.text))
    return await ask_for(bot, asked, agent, params, text)


async def ask_for(bot: Bot, asked: Asked, agent: Agent, params: Sequence[tuple[str, str]], text: str) -> Reply:
    """Ask `agent` for a job with this input, in the name of who asked."""
    if not text:
        raise Rejected("invalid", "say what shall be done")
    tags: list[Sequence[str]] = [("i", text, "text"), *(("param", *param) for param in params)]
    request = unsigned_request(
        asked.sender,
        kind=min(agent.kinds),
        tags=[*tags, ("p", agent.keypair.pubkey)],
        rumor=asked.rumor,
        nip04=asked.nip04,
        created_at=bot.believed_date(asked.created_at),
    )
    if await bot.book.row("inbox", request.id) is not None:  # by a published event of the same words and date
        raise Rejected("duplicate", "this was asked already")
    return Reply(
        f"{agent.name} is asked: job {request.id[:8]}. What comes of it follows here.",
        (arrived(request, SOURCE, bot.clock.now(), asked.process),),
    )


def named_agent(bot: Bot, word: str) -> Agent:
    """Return who is meant: an id before a name, config.yaml's before others. Rejected if nobody is."""
    word = word.lower()
    known = sorted(bot.agents.values(), key=lambda agent: (agent.id != word, agent.author != ""))
    for agent in known:
        if word in {agent.id, agent.name.lower(), agent.id.partition(".")[0]}:
            return agent
    raise Rejected("invalid", "no agent of that name; agents lists them", found=word[:40])


def _params(agent: Agent, text: str) -> tuple[list[tuple[str, str]], str]:
    """Take the parameters that the agent knows, and the company's, off the front of the text."""
    params: list[tuple[str, str]] = []
    while text:
        name, equals, value = text.split(maxsplit=1)[0].partition("=")
        if not equals or name not in {ORG, *agent.params}:
            break
        params.append((name, value))
        text = _rest(text)
    return params, text


def _rest(text: str) -> str:
    """Return what follows the first word."""
    _, *rest = text.split(maxsplit=1)
    return rest[0] if rest else ""
