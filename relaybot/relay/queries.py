"""Filters as SQL: one statement for a whole REQ, each filter by the index that fits its shape.

A *run* is one stretch of an index that is already in NIP-01's order (newest first, ties by
lowest id): one (author, kind), one (tag value, kind), or one kind. A filter is answered by
taking `limit` events of each of its runs and keeping the first `limit` of them all, so no
query reads more than runs x limit rows, however much is stored. Where a filter names
both authors and tags, the others are checked row by row, and `probe` says which is the
narrower. No connection is used here.
"""

# ruff: noqa: S608 - text of a client never becomes SQL: every value is bound, all else stands in this file

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relaybot.nostr.filters import Filter
from relaybot.relay.event_table import short_key, tag_key

PROBE_MAX = 500  # entries counted of each index; above that, two are equally wide
AUTHORS = ""  # the choice "by authors"; other choices are the name of a tag

_ORDER = "created_at DESC, rank, seq"  # NIP-01: newest first, ties by lowest id
_NO_LIMIT = -1


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with numbered parameters, and their values."""

    sql: str
    values: tuple[int | bytes, ...]


class _Values:
    """The values of a statement under construction."""

    def __init__(self) -> None:
        self.bound: list[int | bytes] = []

    def bind(self, value: int | bytes) -> str:
        self.bound.append(value)
        return f"?{len(self.bound)}"

    def bind_all(self, values: Iterable[int | bytes]) -> str:
        return ",".join([self.bind(value) for value in values])


def choices(filter_: Filter) -> list[str]:
    """Return what a run could begin with: names of tags, and AUTHORS."""
    return [*filter_.tags, *([AUTHORS] if filter_.authors is not None else [])]


def probe(filter_: Filter) -> Statement:
    """Return the statement that counts, up to PROBE_MAX, the index entries behind each of `choices`."""
    values = _Values()
    counts = []
    for choice in choices(filter_):
        if choice == AUTHORS:
            keys = values.bind_all(map(short_key, filter_.authors or ()))
            entries = f"FROM event INDEXED BY event_author WHERE author IN ({keys})"
        else:
            entries = f"FROM tag WHERE key IN ({_tag_keys(filter_, choice, values)})"
        kinds = "" if filter_.kinds is None else f" AND kind IN ({values.bind_all(filter_.kinds)})"
        counts.append(f"(SELECT count(*) FROM (SELECT 1 {entries}{kinds} LIMIT {PROBE_MAX}))")
    return Statement(f"SELECT {', '.join(counts)}", tuple(values.bound))


def build_raws(plans: Sequence[tuple[Filter, str | None]]) -> Statement:
    """Return the statement whose one value holds the JSON of all answers, one a line, in order."""
    values = _Values()
    sql = (
        f"SELECT CAST(group_concat(e.raw, x'0A') AS BLOB) FROM ({_union(plans, values)}) AS q "
        "CROSS JOIN event AS e ON e.seq = q.seq"
    )
    return Statement(sql, tuple(values.bound))


def build_listing(plans: Sequence[tuple[Filter, str | None]]) -> Statement:
    """Return the statement whose one value lists `seq size` of all answers, in order, for reading by pages."""
    values = _Values()
    sql = (
        "SELECT group_concat(seq || ' ' || size) FROM "
        f"(SELECT e.seq AS seq, length(e.raw) AS size FROM ({_union(plans, values)}) AS q "
        "CROSS JOIN event AS e ON e.seq = q.seq)"
    )
    return Statement(sql, tuple(values.bound))


# The page of a listing: ?1 is a JSON array of seqs.
PAGE_SQL = (
    "SELECT CAST(group_concat(e.raw, x'0A') AS BLOB) "
    "FROM json_each(?1) AS page CROSS JOIN event AS e ON e.seq = page.value"
)


def _union(plans: Sequence[tuple[Filter, str | None]], values: _Values) -> str:
    selects = [_select(filter_, choice, values) for filter_, choice in plans]
    if len(selects) == 1:
        return selects[0]
    united = " UNION ".join(f"SELECT created_at, rank, seq FROM ({select})" for select in selects)
    return f"{united} ORDER BY {_ORDER}"


def _select(filter_: Filter, choice: str | None, values: _Values) -> str:
    """Return a query of (created_at, rank, seq) in order; `choice` is of `choices`, None if there is none."""
    if filter_.ids is not None:
        return _by_ids(filter_, values)
    if choice is None and filter_.kinds is None:
        where = _where(_times(filter_, values))
        return f"SELECT created_at, rank, seq FROM event AS i INDEXED BY event_time {where} {_tail(filter_, values)}"
    return _by_runs(filter_, choice, values)


def _by_ids(filter_: Filter, values: _Values) -> str:
    ids = filter_.ids or frozenset()
    conditions = [
        f"i.rank IN ({values.bind_all(map(short_key, ids))})",
        f"i.id IN ({values.bind_all(map(bytes.fromhex, ids))})",
        *_author_condition(filter_, values),
        *_tag_conditions(filter_, filter_.tags, values),
        *_times(filter_, values),
    ]
    if filter_.kinds is not None:
        conditions.append(f"i.kind IN ({values.bind_all(filter_.kinds)})")
    return (
        "SELECT created_at, rank, seq FROM event AS i INDEXED BY event_rank "
        f"{_where(conditions)} {_tail(filter_, values)}"
    )


def _by_runs(filter_: Filter, choice: str | None, values: _Values) -> str:
    conditions = ["i.kind = run.kind"]
    distinct = ""
    if choice is None:
        table = "event AS i INDEXED BY event_kind"
    elif choice == AUTHORS:
        table = "event AS i INDEXED BY event_author"
        # the short key leads to the run, the whole key is compared
        conditions += ["i.author = run.key", *_author_condition(filter_, values)]
        conditions += _tag_conditions(filter_, filter_.tags, values)
    else:
        table = "tag AS i"
        conditions += ["i.key = run.key", *_author_of_tag_condition(filter_, values)]
        conditions += _tag_conditions(filter_, [name for name in filter_.tags if name != choice], values)
        # an event may carry several of the values
        distinct = "DISTINCT " if len(filter_.tags[choice]) > 1 else ""
    conditions += _times(filter_, values)
    tail = _tail(filter_, values)
    return (
        f"{_runs(filter_, choice, values)} SELECT {distinct}e.created_at, e.rank, e.seq FROM run CROSS JOIN event AS e "
        f"WHERE e.seq IN (SELECT i.seq FROM {table} {_where(conditions)} {tail}) "
        f"ORDER BY e.created_at DESC, e.rank, e.seq LIMIT {_limit(filter_, values)}"
    )


def _runs(filter_: Filter, choice: str | None, values: _Values) -> str:
    """Return the table `run` of (key, kind) or (kind); kinds that are not given are read off the index."""
    kinds = None if filter_.kinds is None else _table(filter_.kinds, values)
    if choice is None:
        return f"WITH run(kind) AS ({kinds})"
    if choice == AUTHORS:
        keys = _table(map(short_key, filter_.authors or ()), values)
        least = "(SELECT min(kind) FROM event INDEXED BY event_author WHERE author = {key}{above})"
    else:
        keys = _table((tag_key(choice, value) for value in filter_.tags[choice]), values)
        least = "(SELECT min(kind) FROM tag WHERE tag.key = {key}{above})"
    if kinds is not None:
        return f"WITH given(key) AS ({keys}), kinds(kind) AS ({kinds}), run AS (SELECT key, kind FROM given, kinds)"
    first = least.format(key="given.key", above="")
    following = least.format(key="run.key", above=" AND kind > run.kind")
    return (
        f"WITH RECURSIVE given(key) AS ({keys}), run(key, kind) AS (SELECT key, {first} FROM given "
        f"UNION ALL SELECT run.key, {following} FROM run WHERE run.kind IS NOT NULL)"
    )


def _table(rows: Iterable[int | bytes], values: _Values) -> str:
    listed = [f"({values.bind(row)})" for row in rows]
    return f"VALUES {','.join(listed)}" if listed else "SELECT NULL WHERE 0"


def _tag_keys(filter_: Filter, name: str, values: _Values) -> str:
    return values.bind_all(tag_key(name, value) for value in filter_.tags[name])


def _author_condition(filter_: Filter, values: _Values) -> list[str]:
    if filter_.authors is None:
        return []
    return [f"i.pubkey IN ({values.bind_all(map(bytes.fromhex, filter_.authors))})"]


def _author_of_tag_condition(filter_: Filter, values: _Values) -> list[str]:
    if filter_.authors is None:
        return []
    pubkeys = values.bind_all(map(bytes.fromhex, filter_.authors))
    return [f"EXISTS (SELECT 1 FROM event AS a WHERE a.seq = i.seq AND a.pubkey IN ({pubkeys}))"]


def _tag_conditions(filter_: Filter, names: Iterable[str], values: _Values) -> list[str]:
    # all columns of the primary key are given: one step down the tree for each value
    return [
        f"EXISTS (SELECT 1 FROM tag AS t WHERE t.key IN ({_tag_keys(filter_, name, values)}) AND t.kind = i.kind "
        "AND t.created_at = i.created_at AND t.rank = i.rank AND t.seq = i.seq)"
        for name in names
    ]


def _times(filter_: Filter, values: _Values) -> list[str]:
    conditions = []
    if filter_.since is not None:
        conditions.append(f"i.created_at >= {values.bind(filter_.since)}")
    if filter_.until is not None:
        conditions.append(f"i.created_at <= {values.bind(filter_.until)}")
    return conditions


def _where(conditions: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _tail(filter_: Filter, values: _Values) -> str:
    return f"ORDER BY i.created_at DESC, i.rank, i.seq LIMIT {_limit(filter_, values)}"


def _limit(filter_: Filter, values: _Values) -> str:
    return values.bind(_NO_LIMIT if filter_.limit is None else filter_.limit)
