"""Filters as SQL: one statement for a whole REQ, each filter by the index that fits its shape.

A *run* is one stretch of an index that is already in NIP-01's order (newest first, ties by
lowest id): one (author, kind), one (tag value, kind), or one kind. Few runs are merged, and
the merging stops at `limit`; of many, `limit` events of each are taken and the first `limit`
of them all are kept. So no query reads more than runs x limit rows, however much is stored.
Where a filter names both authors and tags, the others are checked row by row, and `probe`
says which is the narrower. No connection is used here.
"""

# ruff: noqa: S608 - text of a client never becomes SQL: every value is bound, all else stands in this file

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relaybot.nostr.filters import Filter
from relaybot.nostr.nip59 import WRAP_KINDS
from relaybot.relay.event_table import short_key, tag_key

MERGED_RUNS_MAX = 16  # each number of runs is another statement to prepare
PROBE_MAX = 500  # entries counted of each index; above that, two are equally wide
AUTHORS = ""  # the choice "by authors"; other choices are the name of a tag

_ORDER = "created_at DESC, rank, seq"  # NIP-01: newest first, ties by lowest id
_NO_LIMIT = -1
_WRAPS = ",".join(map(str, sorted(WRAP_KINDS)))
_NOTHING = "SELECT NULL AS created_at, NULL AS rank, NULL AS seq WHERE 0"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with numbered parameters, and their values."""

    sql: str
    values: tuple[int | bytes | str, ...]


class _Values:
    """The values of a statement under construction, and whether it compares whole keys of authors."""

    def __init__(self, *, whole_keys: bool = True) -> None:
        self.bound: list[int | bytes] = []
        self.whole_keys = whole_keys

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
        index = "event INDEXED BY event_author WHERE author" if choice == AUTHORS else "tag WHERE key"
        entries = f"SELECT 1 FROM {index} IN ({values.bind_all(_keys(filter_, choice))})"
        kinds = "" if filter_.kinds is None else f" AND kind IN ({values.bind_all(filter_.kinds)})"
        counts.append(f"(SELECT count(*) FROM ({entries}{kinds} LIMIT {PROBE_MAX}))")
    return Statement(f"SELECT {', '.join(counts)}", tuple(values.bound))


def kinds_of(filter_: Filter, choice: str) -> Statement | None:
    """Return the statement that lists the kinds behind a choice of one key; None if it has several."""
    values = _Values()
    keys = _keys(filter_, choice)
    if len(keys) != 1:
        return None
    return Statement(f"{_runs(choice, keys, None, values)} SELECT group_concat(kind) FROM run", tuple(values.bound))


def build_one(filters: Sequence[Filter]) -> Statement | None:
    """Return the statement that reads the JSON of the event that is asked for by its id; None if more is asked for."""
    filter_ = filters[0]
    if len(filters) > 1 or filter_.ids is None or len(filter_.ids) != 1 or filter_.wraps_to or not filter_.limit:
        return None
    (id_,) = filter_.ids
    if filter_ != Filter(ids=filter_.ids, limit=filter_.limit, wraps_to=filter_.wraps_to):
        return None
    sql = ONE_SQL if filter_.wraps_to is None else ONE_READABLE_SQL
    return Statement(sql, (short_key(id_), bytes.fromhex(id_)))


def build_numbers(plans: Sequence[tuple[Filter, str | None]], *, whole_keys: bool) -> Statement:
    """Return the statement whose one value lists the numbers (seq) of all answers, in order.

    Without `whole_keys`, of authors that are looked up only the short key is compared, which
    the index has: the caller compares the whole one.
    """
    values = _Values(whole_keys=whole_keys)
    sql = f"SELECT group_concat(seq) FROM ({_union(plans, values)})"
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


def build_count(plans: Sequence[tuple[Filter, str | None]], now: int) -> Statement:
    """Return the statement that counts all answers which have not expired."""
    values = _Values()
    sql = (
        f"SELECT count(*) FROM ({_union(plans, values)}) AS q WHERE NOT EXISTS "
        f"(SELECT 1 FROM expiration AS x WHERE x.seq = q.seq AND x.expires_at <= {values.bind(now)})"
    )
    return Statement(sql, tuple(values.bound))


# One event, by the short key and the whole of its id; of gift wraps, nothing.
ONE_SQL = "SELECT raw FROM event INDEXED BY event_rank WHERE rank = ?1 AND id = ?2"
ONE_READABLE_SQL = f"{ONE_SQL} AND kind NOT IN ({_WRAPS})"

# The page of a listing: ?1 is a JSON array of seqs. Returned are those that are there, and their JSON, one a line.
PAGE_SQL = (
    "SELECT group_concat(e.seq), CAST(group_concat(e.raw, x'0A') AS BLOB) "
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
        where = _where([*_times(filter_, values), *_wrap_condition(filter_, values)])
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
        *_wrap_condition(filter_, values),
    ]
    if filter_.kinds is not None:
        conditions.append(f"i.kind IN ({values.bind_all(filter_.kinds)})")
    return (
        "SELECT created_at, rank, seq FROM event AS i INDEXED BY event_rank "
        f"{_where(conditions)} {_tail(filter_, values)}"
    )


def _by_runs(filter_: Filter, choice: str | None, values: _Values) -> str:
    keys = _keys(filter_, choice)
    others_wraps = WRAP_KINDS if filter_.wraps_to == frozenset() else frozenset()  # whole runs of what may not be read
    kinds = None if filter_.kinds is None else list(filter_.kinds - others_wraps)
    if kinds == [] or (choice is not None and not keys):
        return _NOTHING
    conditions = _conditions_in_run(filter_, choice, values)
    tail = f"LIMIT {_limit(filter_, values)}"
    if kinds is not None and len(kinds) * (1 if choice is None else len(keys)) <= MERGED_RUNS_MAX:
        bound_kinds = [values.bind(kind) for kind in kinds]
        bound_keys = [values.bind(key) for key in keys] or [""]
        runs = [_run(choice, conditions, key=key, kind=kind) for key in bound_keys for kind in bound_kinds]
        # an event may carry several values of a tag, and stands in the run of each
        union = " UNION ALL " if choice in (None, AUTHORS) else " UNION "
        return f"{union.join(runs)} ORDER BY {_ORDER} {tail}"
    run = _run(choice, conditions, key="run.key", kind="run.kind")
    distinct = "" if choice in (None, AUTHORS) else "DISTINCT "
    readable = f"run.kind NOT IN ({_WRAPS}) AND " if others_wraps else ""
    return (
        f"{_runs(choice, keys, kinds, values)} "
        f"SELECT {distinct}e.created_at, e.rank, e.seq FROM run CROSS JOIN event AS e WHERE {readable}e.seq IN "
        f"(SELECT seq FROM ({run} ORDER BY {_ORDER} {tail})) ORDER BY e.created_at DESC, e.rank, e.seq {tail}"
    )


def _conditions_in_run(filter_: Filter, choice: str | None, values: _Values) -> list[str]:
    """Return what an entry of a run must meet beside the key and the kind of the run."""
    others = [name for name in filter_.tags if name != choice]
    conditions = [
        *_tag_conditions(filter_, others, values),
        *_times(filter_, values),
        *_wrap_condition(filter_, values),
    ]
    if choice == AUTHORS:
        # the short key leads to the run, the whole key is compared
        return [*conditions, *(_author_condition(filter_, values) if values.whole_keys else [])]
    return conditions if choice is None else [*conditions, *_author_of_tag_condition(filter_, values)]


def _run(choice: str | None, conditions: Sequence[str], *, key: str, kind: str) -> str:
    """Return the query of one run; `key` and `kind` are SQL, `key` counts only if there is a choice."""
    ours = [f"i.kind = {kind}"]
    if choice is None:
        table = "event AS i INDEXED BY event_kind"
    elif choice == AUTHORS:
        table = "event AS i INDEXED BY event_author"
        ours.append(f"i.author = {key}")
    else:
        table = "tag AS i"
        ours.append(f"i.key = {key}")
    where = _where([*ours, *conditions])
    return f"SELECT i.created_at AS created_at, i.rank AS rank, i.seq AS seq FROM {table} {where}"


def _runs(choice: str | None, keys: Sequence[int | bytes], kinds: Sequence[int] | None, values: _Values) -> str:
    """Return the table `run` of (key, kind) or (kind); kinds that are not given are read off the index."""
    given_kinds = "" if kinds is None else _table(kinds, values)
    if choice is None:
        return f"WITH run(kind) AS ({given_kinds})"
    given = f"given(key) AS ({_table(keys, values)})"
    if kinds is not None:
        return f"WITH {given}, kinds(kind) AS ({given_kinds}), run AS (SELECT key, kind FROM given, kinds)"
    index = "event INDEXED BY event_author WHERE author" if choice == AUTHORS else "tag WHERE tag.key"
    return (
        f"WITH RECURSIVE {given}, run(key, kind) AS ("
        f"SELECT key, (SELECT min(kind) FROM {index} = given.key) FROM given UNION ALL "
        f"SELECT run.key, (SELECT min(kind) FROM {index} = run.key AND kind > run.kind) FROM run "
        "WHERE run.kind IS NOT NULL)"
    )


def _keys(filter_: Filter, choice: str | None) -> list[int | bytes]:
    """Return the index keys of a choice."""
    if choice is None:
        return []
    if choice == AUTHORS:
        return [short_key(author) for author in filter_.authors or ()]
    return [tag_key(choice, value) for value in filter_.tags[choice]]


def _table(rows: Iterable[int | bytes], values: _Values) -> str:
    listed = [f"({values.bind(row)})" for row in rows]
    return f"VALUES {','.join(listed)}" if listed else "SELECT NULL WHERE 0"


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
        f"EXISTS (SELECT 1 FROM tag AS t WHERE t.key IN ({values.bind_all(_keys(filter_, name))}) AND t.kind = i.kind "
        "AND t.created_at = i.created_at AND t.rank = i.rank AND t.seq = i.seq)"
        for name in names
    ]


def _wrap_condition(filter_: Filter, values: _Values) -> list[str]:
    if filter_.wraps_to is None:
        return []
    is_no_wrap = f"i.kind NOT IN ({_WRAPS})"
    if not filter_.wraps_to:
        return [is_no_wrap]
    keys = values.bind_all([tag_key("p", recipient) for recipient in filter_.wraps_to])
    is_theirs = (
        f"EXISTS (SELECT 1 FROM tag AS w WHERE w.key IN ({keys}) AND w.kind = i.kind "
        "AND w.created_at = i.created_at AND w.rank = i.rank AND w.seq = i.seq)"
    )
    return [f"({is_no_wrap} OR {is_theirs})"]


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
