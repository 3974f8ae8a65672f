"""Hold the shared journal's SQL. All times that it compares with are the database's own."""

from __future__ import annotations

from bothost.journal.migrations import HOLDS_TURN, KEPT, ON_ITS_WAY, PARKED, POSTING, QUIET, SUSPECT
from bothost.journal.past import NEWEST, columns
from bothost.journal.rows import COLUMNS, FIELDS, FIXED_FIELDS

SCHEMA = "bothost"
LOCK = 7_262_417_001
"""The number of the advisory lock around migrations."""
CHANNEL = "bothost"
LOOK_AHEAD = 200
MOST_AT_ONCE = 20_000
MOST_WAITING = 100

NOW = "extract(epoch from now())::double precision"
"""It is `now()` and not `clock_timestamp()`, because an index serves only values that are stable within a statement."""
TABLE = f"{SCHEMA}.delivery"

_TYPES = {
    "text": {"id", "bot", "kind", "state", "door", "turn", "owner", "rerun", "error", "version", "trace"},
    "bigint": {"task", "comment", "fence", "posted", "revision"},
    "integer": {"step", "tries", "seen", "runs", "deaths", "status"},
    "boolean": {"cancel", "delivered", "failed"},
    "bytea": {"answer", "history"},
}
TYPE_OF = {name: kind for kind, names in _TYPES.items() for name in names}


def _value(place: int) -> str:
    return f"${place + 1}::{TYPE_OF.get(FIELDS[place], 'double precision')}"


_VALUES = ", ".join(_value(place) for place in range(len(FIELDS)))
BODY = f"${len(FIELDS) + 1}::bytea"


def _at(name: str) -> str:
    return _value(FIELDS.index(name))


_UNTIL = f"case when {_at('state')} = 'running' and {_at('limit_s')} > 0 then {NOW} + {_at('limit_s')} else 0 end"
_NEWEST = ("seen", "seen_at")
_SET = ", ".join(
    f"{name} = greatest(delivery.{name}, excluded.{name})" if name in _NEWEST else f"{name} = excluded.{name}"
    for name in FIELDS
    if name not in FIXED_FIELDS
)
WRITE = f"""
insert into {TABLE} as delivery ({COLUMNS}, until, body) values ({_VALUES}, {_UNTIL}, {BODY})
on conflict (id) do update set {_SET},
    until = case when excluded.fence = delivery.fence and (excluded.answer is null) = (delivery.answer is null)
            then delivery.until else excluded.until end,
    body = coalesce(delivery.body, excluded.body)
where delivery.revision = excluded.revision - 1
returning id
"""
"""The write that applies only to the revision that the entry was decided on."""


def _turn_runs(bot: str, turn: str, key: str) -> str:
    return f"exists (select 1 from {TABLE} r where r.bot = {bot} and r.turn = {turn} and r.id <> {key} and {_of('r', HOLDS_TURN)})"


def _older_waits(bot: str, turn: str, key: str, created: str) -> str:
    return (
        f"exists (select 1 from {TABLE} o where o.bot = {bot} and o.turn = {turn} and {_of('o', PARKED)} "
        f"and (o.created, o.id) < ({created}, {key}))"
    )


def _of(alias: str, condition: str) -> str:
    for name in ("state", "door", "answer", "tries"):
        condition = condition.replace(f"{name} ", f"{alias}.{name} ")
    return condition


CLAIM = f"""
insert into {TABLE} ({COLUMNS}, until, body) select {_VALUES}, {_UNTIL}, {BODY}
where {_at("turn")} is null or not ({_turn_runs(_at("bot"), _at("turn"), _at("id"))}
    or {_older_waits(_at("bot"), _at("turn"), _at("id"), _at("created"))})
on conflict do nothing returning id
"""
FIND = f"select {COLUMNS} from {TABLE} where id = $1"
FIND_ALL = f"select {COLUMNS} from {TABLE} where id = any($1::text[])"
LATEST = f"""
select {COLUMNS} from {TABLE} where id = $1 or (id > $1 || '~' and id < $1 || '~:')
order by length(id) desc, id desc limit 1
"""
_BECOMES_OURS = f"""
state = 'running', fence = u.fence + 1, revision = u.revision + 1, owner = $1, cancel = false, updated = $2,
until = case when u.limit_s > 0 then {NOW} + u.limit_s else 0 end
"""
_U_COLUMNS = ", ".join(f"u.{name}" for name in FIELDS)
TAKE = f"""
update {TABLE} u set {_BECOMES_OURS}, seen = greatest(u.seen, $4), seen_at = greatest(u.seen_at, $5)
where u.id = $3 and u.state = 'ready' and u.door = 'response'
and (u.turn is null or not ({_turn_runs("u.bot", "u.turn", "u.id")} or {_older_waits("u.bot", "u.turn", "u.id", "u.created")}))
returning {_U_COLUMNS}
"""
BODY_OF = f"select body from {TABLE} where id = $1"

_SUSPECT = "(d.deaths > 0 and d.rerun = 'crash')"
_SUSPECT_RUNS = f"exists (select 1 from {TABLE} where {SUSPECT} and owner = $1)"
_ELIGIBLE = f"""
(d.turn is null or not ({_turn_runs("d.bot", "d.turn", "d.id")} or {_older_waits("d.bot", "d.turn", "d.id", "d.created")}))
"""
_D_PARKED = _of("d", PARKED)
_LOCKED = f"""
select d.id, {_SUSPECT} as suspect, d.due from {TABLE} d
where coalesce(d.state, '') = 'ready' and d.door = 'api' and d.answer is null and
"""
"""The start of the look at one entry by its id. It is no join, and its condition is no index's: a plan that was made while the
table was empty took all parked entries for each one, and looked for their turns before it compared the ids. 3,000 of them took
minutes."""
_CHOSEN = f"""
chosen as (
    select id from (select id, suspect, row_number() over (partition by suspect order by due) as n from picked) p
    where not suspect or (n = 1 and not {_SUSPECT_RUNS}) limit $5
)
update {TABLE} u set {_BECOMES_OURS} from chosen where u.id = chosen.id returning {_U_COLUMNS}
"""
HEADS = f"""
with picked as (
    select h.* from unnest($3::text[], $4::int[]) as r(bot, room) cross join lateral (
        select e.* from (
            select x.id, x.due from {TABLE} x where x.bot = r.bot and {_of("x", PARKED)} and x.due <= {NOW}
            order by x.due limit {LOOK_AHEAD}
        ) c cross join lateral ({_LOCKED} d.id = c.id and {_ELIGIBLE} for update of d skip locked) e
        order by c.due limit r.room
    ) h
), {_CHOSEN}
"""
TURNS = f"""
with recursive t(turn) as (
    (select turn from {TABLE} d where d.bot = ($3::text[])[1] and {_D_PARKED} and d.turn is not null order by turn limit 1)
    union all
    select (select d.turn from {TABLE} d where d.bot = ($3::text[])[1] and {_D_PARKED} and d.turn > t.turn order by d.turn limit 1)
    from t where t.turn is not null
), heads as (
    select (select d.id from {TABLE} d where d.bot = ($3::text[])[1] and d.turn = t.turn and {_D_PARKED}
            order by d.created, d.id limit 1) as id from t where t.turn is not null
    union all
    (select d.id from {TABLE} d where d.bot = ($3::text[])[1] and d.turn is null and {_D_PARKED} and d.due <= {NOW}
     order by d.created limit $5)
), picked as (
    select e.* from heads cross join lateral (
        {_LOCKED} d.id = heads.id and d.due <= {NOW} and {_ELIGIBLE} for update of d skip locked
    ) e limit ($4::int[])[1]
), {_CHOSEN}
"""
BY_AGE = f"""
select r.bot from unnest($1::text[]) as r(bot) cross join lateral (
    select d.due from {TABLE} d where d.bot = r.bot and {_D_PARKED} and d.due <= {NOW} order by d.due limit 1
) h order by h.due
"""
HAS_MANY = f"""
select r.bot from unnest($1::text[]) as r(bot) where exists (
    select 1 from {TABLE} d where d.bot = r.bot and {_D_PARKED} and d.due <= {NOW} order by d.due offset {LOOK_AHEAD})
"""
POSTS = f"""
with picked as (
    select d.id from {TABLE} d where {_of("d", POSTING)} and d.due <= {NOW} and d.bot = any($3::text[])
    and (d.task = 0 or not exists (select 1 from {TABLE} o where o.bot = d.bot and o.task = d.task and {_of("o", ON_ITS_WAY)}
         and (o.created, o.id) < (d.created, d.id)))
    and (d.tries > 0 or d.turn is null or not {_turn_runs("d.bot", "d.turn", "d.id")})
    order by d.due limit $4 for update of d skip locked
)
update {TABLE} u set {_BECOMES_OURS} from picked where u.id = picked.id returning {_U_COLUMNS}
"""


def bots_in(condition: str, also: str = "") -> str:
    """Return SQL that gives each bot of a partial index once, by one step in the index for each."""
    return f"""
with recursive b(bot) as (
    (select bot from {TABLE} where {condition} order by bot limit 1)
    union all
    select (select d.bot from {TABLE} d where d.bot > b.bot and {condition} order by d.bot limit 1) from b where b.bot is not null
)
select bot{also} from b where bot is not null
"""


BOTS = bots_in("true")
BOTS_PARKED = bots_in(PARKED)
BOTS_KEPT = bots_in(KEPT)
WAITING = bots_in(
    PARKED,
    f", (select count(*) from (select 1 from {TABLE} d where d.bot = b.bot and {_D_PARKED} and d.due <= {NOW} order by d.due limit {MOST_WAITING}) n)",
)
POSTS_WAITING = f"""
select bot, count(*) from (select bot from {TABLE} where {POSTING} and due <= {NOW} order by due limit {MOST_WAITING}) p group by bot
"""
SLEEPERS = f"select {COLUMNS} from {TABLE} where {QUIET['postgres']} and due <= {NOW} order by due limit $1 for update skip locked"
EXPIRED = f"""
select x.* from unnest($1::text[], $2::double precision[]) as r(bot, before) cross join lateral (
    select {COLUMNS} from {TABLE} d where d.bot = r.bot and {_D_PARKED} and d.created < r.before
    order by d.created limit $3 for update of d skip locked
) x
"""
RUNNING_OF = (
    f"select {COLUMNS} from {TABLE} where state = 'running' and owner <> '' and owner = $1 for update skip locked"
)
OVERDUE = f"""
select {COLUMNS} from {TABLE} where state = 'running' and owner <> '' and owner <> $1 and until > 0 and until < {NOW}
for update skip locked
"""
"""It leaves out this owner's rows, because the owner knows what it runs, and writes the end as soon as the journal takes it."""
PUT = (
    f"update {TABLE} set "
    + ", ".join(f"{name} = {_value(place)}" for place, name in enumerate(FIELDS) if name != "id")
    + " where id = $1"
)
"""The write of an entry that this transaction has locked, whatever its fence."""

BEAT = f"""
insert into {SCHEMA}.owner as owner (id, boot, lease) values ($1, $2, {NOW} + $3)
on conflict (id) do update set lease = excluded.lease
"""
RUNNING = f"select id, fence, cancel from {TABLE} where state = 'running' and owner <> '' and owner = $1"
OWNERS = f"""
select id, boot, lease < {NOW} as over from {SCHEMA}.owner where id <> $1
union all
select distinct owner, '', true from {TABLE}
where state = 'running' and owner <> '' and owner <> $1 and owner not in (select id from {SCHEMA}.owner)
"""
LIVING = f"select id from {SCHEMA}.owner where $1 or lease >= {NOW}"
IS_OVER = f"select lease < {NOW} from {SCHEMA}.owner where id = $1 for update"
"""The owner's row is locked, so that its next beat comes after its entries were freed."""
FORGET_OWNER = f"delete from {SCHEMA}.owner where id = $1"

RECENT = f"""
select {COLUMNS} from {TABLE} where created >= $1 - 3600 and (seen_at >= $1 or updated >= $1) and kind <> 'job'
union select {COLUMNS} from {TABLE} where state <> 'answered' and state in ('ready', 'running') and kind <> 'job' order by created, id
"""
HIGHEST = f"""
select bot, max(comment), max(id) from (select id, bot, comment from {TABLE} where id > $1 order by id limit {MOST_AT_ONCE}) part
group by bot
"""
"""It reads a part of the table, because to read a million rows takes longer than a statement may."""
_OF_BOT = f"from {TABLE} d where d.bot = b.bot"
NEWEST_OF_BOTS = bots_in(
    "true",
    f""", coalesce(
    (select max(seen_at) from (select seen_at {_OF_BOT} order by created desc limit {NEWEST}) n where seen_at > 0),
    (select seen_at {_OF_BOT} and seen_at > 0 order by created desc limit 1)),
    (select string_agg(ms::text, ' ') from (select ms {_OF_BOT} order by created desc limit {NEWEST}) n where ms > 0)""",
)
BY_MINUTE = f"""
select {columns("floor((created + $3) / 60)::bigint")} from {TABLE}
where created >= $1 and created < $2 group by 1, 2
"""
LAST_STEP = f"""
select step from {TABLE} where id >= $1 and id < $2 and kind not in ('timer', 'job', 'request')
and (runs > 0 or state = 'running') order by created desc, id desc limit 1
"""
COUNTS = f"""
select bot, state, count(*) from {TABLE} where state <> 'answered' and state in ('ready', 'running', 'failed')
group by bot, state
"""
DROP_BODIES = f"""
update {TABLE} set body = null where id in (
    select id from {TABLE} where bot = $1 and {KEPT} and created < {NOW} - $2 and body is not null limit $3)
"""
DROP_ANSWERS = f"""
update {TABLE} set answer = null, revision = revision + 1 where id in (
    select id from {TABLE} where bot = $1 and {KEPT} and created < {NOW} - $2 and answer is not null limit $3)
"""
DROP_KEYS = f"""
delete from {TABLE} where id in (
    select id from {TABLE} where created < {NOW} - $1 and state not in ('ready', 'running') limit $2)
"""
DROP_TICKS = f"""
delete from {TABLE} where id in (
    select id from {TABLE} where id >= 'timer:' and id < 'timer;'
    and created < {NOW} - $1 and state not in ('ready', 'running') limit $2)
"""
WROTE = f"insert into {SCHEMA}.written (bot, task, comment, at) values ($1, $2, $3, {NOW}) on conflict do nothing"
WRITTEN = f"select comment from {SCHEMA}.written where bot = $1 and task = $2"
DROP_WRITTEN = f"""
delete from {SCHEMA}.written where (bot, task, comment) in (
    select bot, task, comment from {SCHEMA}.written where at < {NOW} - $1 limit $2)
"""
DROP_OWNERS = f"""
delete from {SCHEMA}.owner where id in (
    select id from {SCHEMA}.owner o where lease < {NOW} - $1
    and not exists (select 1 from {TABLE} where state = 'running' and owner <> '' and owner = o.id) limit $2)
"""
GATE = f"select tokens, at, {NOW} from {SCHEMA}.gate where name = $1 for update"
MAKE_GATE = f"insert into {SCHEMA}.gate (name, tokens, at) values ($1, $2, {NOW}) on conflict do nothing"
SET_GATE = f"""
insert into {SCHEMA}.gate (name, tokens, at) values ($1, $2, {NOW})
on conflict (name) do update set tokens = excluded.tokens, at = excluded.at
"""
SET_CONTROL = f"""
insert into {SCHEMA}.control (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value
"""
DROP_CONTROL = f"delete from {SCHEMA}.control where name = $1"
CONTROLS = f"select name, value from {SCHEMA}.control where name <> 'clock'"
