create table if not exists migration (name text primary key not null, applied text not null);
create table delivery (
    id text primary key not null, bot text not null, kind text not null, state text not null, door text not null,
    task integer not null, turn text, comment integer not null, step integer not null, due real not null,
    fence integer not null, owner text not null, tries integer not null, seen integer not null, seen_at real not null,
    runs integer not null, deaths integer not null, rerun text not null, cancel integer not null, delivered integer not null,
    status integer not null, answer blob, failed integer not null, error text not null, post_begun real not null,
    posted integer not null, version text not null, trace text not null, ms real not null, created real not null,
    updated real not null, limit_s real not null,
    until real not null, body blob, body_at text
);
create index d_created on delivery (created, id);
create index d_bot on delivery (bot, created);
create index d_open on delivery (state, created, bot) where state <> 'answered';
create unique index d_turn on delivery (bot, turn) where state = 'running' and (answer is null or tries = 0);
create index d_running on delivery (owner) where state = 'running';
create index d_ready on delivery (bot, due) where state = 'ready' and door = 'api' and answer is null;
create index d_line on delivery (bot, turn, created) where state = 'ready' and door = 'api' and answer is null;
create index d_post on delivery (due) where state = 'ready' and door = 'api' and answer is not null;
create index d_posts on delivery (bot, task, created) where state in ('ready', 'running') and door = 'api' and answer is not null;
create index d_kept on delivery (bot, created) where state not in ('ready', 'running') and (body is not null or body_at is not null or answer is not null);
create index d_bodies on delivery (body_at) where body_at is not null;
create index d_quiet on delivery (due) where door = 'response' and (state = 'ready' or (state = 'answered' and delivered = 0));
insert into migration (name, applied) values ('0001 deliveries', '2023-11-14T22:13:20+00:00');
create table owner (id text primary key not null, boot text not null, lease real not null);
create table control (name text primary key not null, value text not null);
create table gate (name text primary key not null, tokens real not null, at real not null);
insert into migration (name, applied) values ('0002 owners, controls and gates', '2023-11-14T22:13:20+00:00');
drop index d_running;
create index d_running on delivery (owner) where state = 'running' and owner <> '';
create index d_suspect on delivery (owner) where state = 'running' and deaths > 0 and rerun = 'crash' and answer is null;
create index d_parked on delivery (bot, created) where state = 'ready' and door = 'api' and answer is null;
insert into migration (name, applied) values ('0003 indexes of owners, suspects and lines', '2023-11-14T22:13:20+00:00');
create table written (
    bot text not null, task integer not null, comment integer not null, at real not null, primary key (bot, task, comment)
);
create index w_at on written (at);
insert into migration (name, applied) values ('0004 comments of handlers', '2023-11-14T22:13:20+00:00');
alter table delivery add column revision integer not null default 1;
insert into migration (name, applied) values ('0005 revisions of deliveries', '2023-11-14T22:13:20+00:00');
create table value (
    space text not null, name text not null, value blob not null, expires real not null, primary key (space, name)
);
create index v_expires on value (expires) where expires > 0;
insert into migration (name, applied) values ('0006 values of plugins', '2023-11-14T22:13:20+00:00');
alter table delivery add column history blob;
insert into migration (name, applied) values ('0007 histories of deliveries', '2023-11-14T22:13:20+00:00');

insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:7:comment:1', 'refunds', 'hook', 'answered', 'response', 7, null, 1, 0, 0.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', 0, 1, 200, X'7b2274657874223a225c75303433345c7530343330227d', 0, '', 0.0, 0, '1.0', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:8:comment:2', 'refunds', 'hook', 'answered', 'response', 8, '8', 2, 0, 0.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', 0, 0, 0, X'7b2274657874223a22796573227d', 0, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:9:comment:3', 'refunds', 'hook', 'ready', 'response', 9, '9', 3, 0, 0.0, 1, '', 0, 1, 1700000000.0, 1, 0, 'error', 0, 0, 0, null, 0, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:10:comment:4', 'refunds', 'hook', 'ready', 'api', 10, '10', 4, 0, 1700000000.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', 0, 0, 0, null, 0, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:11:comment:5', 'refunds', 'hook', 'ready', 'api', 11, '11', 5, 0, 1700000000.0, 1, '', 0, 1, 1700000000.0, 0, 0, '', 0, 0, 0, X'7b2274657874223a226c617465227d', 0, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:12:comment:6', 'refunds', 'hook', 'running', 'api', 12, '12', 6, 0, 0.0, 1, 'a-host-that-was-killed', 0, 1, 1700000000.0, 1, 0, '', 0, 0, 0, null, 0, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:13:comment:7', 'refunds', 'hook', 'failed', 'api', 13, '13', 7, 0, 0.0, 0, '', 0, 1, 1700000000.0, 3, 0, '', 0, 0, 0, null, 0, 'ValueError: no
line', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
insert into delivery (id, bot, kind, state, door, task, turn, comment, step, due, fence, owner, tries, seen, seen_at, runs, deaths, rerun, cancel, delivered, status, answer, failed, error, post_begun, posted, version, trace, ms, created, updated, limit_s, revision, history, until, body) values ('refunds:14:comment:8', 'refunds', 'hook', 'cancelled', 'response', 14, '14', 8, 0, 0.0, 0, '', 0, 1, 1700000000.0, 0, 0, '', 1, 0, 0, null, 0, '', 0.0, 0, '', '', 0.0, 1700000000.0, 1700000000.0, 0.0, 1, null, 0.0, X'7b227461736b5f6964223a20372c202274657874223a2022d09fd180d0b8d0b2d0b5d182227d');
